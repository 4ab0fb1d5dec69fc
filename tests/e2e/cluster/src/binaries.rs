//! The Kubernetes binaries, built from the pinned Go modules beside this tool. A build is kept under a folder named by
//! the hash of everything that decides it, so a changed pin builds anew and an unchanged one costs nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{Paths, Progress};

/// One pinned Go module and the programs taken from it.
#[derive(Debug)]
pub struct Pin {
    /// Folder below `go/` with `go.mod` and `go.sum`.
    pub dir: &'static str,
    /// Build tags, empty for none. A tag implies cgo here: only runc has one.
    tags: &'static str,
    /// More linker flags.
    ldflags: &'static str,
    /// `(file name, package)`.
    programs: &'static [(&'static str, &'static str)],
}

const KUBERNETES_LDFLAGS: &str = "-X k8s.io/component-base/version.gitVersion=v1.36.3 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";

/// Everything the cluster runs, slowest first.
pub const PINS: &[Pin] = &[
    Pin {
        dir: "kubernetes",
        tags: "",
        ldflags: KUBERNETES_LDFLAGS,
        programs: &[
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
            ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
            ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
            ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        ],
    },
    Pin { dir: "etcd", tags: "", ldflags: "", programs: &[("etcd", "go.etcd.io/etcd/server/v3")] },
    Pin {
        dir: "containerd",
        tags: "",
        ldflags: "",
        programs: &[
            ("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
            ("containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"),
            ("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
        ],
    },
    Pin {
        dir: "runc",
        tags: "seccomp",
        ldflags: "",
        programs: &[("runc", "github.com/opencontainers/runc")],
    },
    Pin {
        dir: "cni",
        tags: "",
        ldflags: "",
        programs: &[
            ("ptp", "github.com/containernetworking/plugins/plugins/main/ptp"),
            ("loopback", "github.com/containernetworking/plugins/plugins/main/loopback"),
            ("host-local", "github.com/containernetworking/plugins/plugins/ipam/host-local"),
            ("portmap", "github.com/containernetworking/plugins/plugins/meta/portmap"),
        ],
    },
    Pin { dir: "coredns", tags: "", ldflags: "", programs: &[("coredns", "github.com/coredns/coredns")] },
    Pin {
        dir: "snapshotter",
        tags: "",
        ldflags: "",
        programs: &[
            (
                "snapshot-controller",
                "github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller",
            ),
            ("csi-snapshotter", "github.com/kubernetes-csi/external-snapshotter/v8/cmd/csi-snapshotter"),
        ],
    },
    Pin {
        dir: "provisioner",
        tags: "",
        ldflags: "",
        programs: &[(
            "csi-provisioner",
            "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner",
        )],
    },
    Pin { dir: "helm", tags: "", ldflags: "", programs: &[("helm", "helm.sh/helm/v4/cmd/helm")] },
];

/// What only measurements run; built when it is asked for by name.
const OPTIONAL: &[Pin] =
    &[Pin { dir: "kwok", tags: "", ldflags: "", programs: &[("kwok", "sigs.k8s.io/kwok/cmd/kwok")] }];

/// Module that carries the CustomResourceDefinitions of VolumeSnapshots.
const SNAPSHOT_CLIENT: &str = "github.com/kubernetes-csi/external-snapshotter/client/v8";

impl Pin {
    /// Twelve digits that change when anything deciding the build changes.
    fn key(&self, go_mod: &[u8], go_sum: &[u8]) -> String {
        let mut hash = Sha256::new();
        for part in
            [go_mod, go_sum, self.tags.as_bytes(), self.ldflags.as_bytes(), std::env::consts::ARCH.as_bytes()]
        {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        for (name, package) in self.programs {
            hash.update(name);
            hash.update(package);
        }
        hex::encode(hash.finalize())[..12].to_owned()
    }

    /// Where this pin's programs are once built.
    pub fn folder(&self, paths: &Paths) -> Result<PathBuf> {
        let dir = paths.go_pins().join(self.dir);
        let read = |file: &str| {
            fs::read(dir.join(file)).with_context(|| format!("reading {}", dir.join(file).display()))
        };
        Ok(paths.bin_cache().join(format!("{}-{}", self.dir, self.key(&read("go.mod")?, &read("go.sum")?))))
    }

    fn build(&self, paths: &Paths, into: &Path, progress: &Progress) -> Result<()> {
        // A folder that is complete appears by a rename: an interrupted build leaves no half of one.
        let partial = into.with_extension("partial");
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir_all(&partial)?;
        for (name, package) in self.programs {
            progress.note(&format!("go build {name}"));
            let mut command = go(paths, self.dir);
            command.env("CGO_ENABLED", if self.tags.is_empty() { "0" } else { "1" });
            command.args(["build", "-trimpath", "-ldflags", &format!("-s -w {}", self.ldflags)]);
            if !self.tags.is_empty() {
                command.args(["-tags", self.tags]);
            }
            command.arg("-o").arg(partial.join(name)).arg(package);
            let status = command.status().context("starting go: is Go installed and in PATH?")?;
            if !status.success() {
                bail!("go build of {package} failed ({status}); its output is above");
            }
        }
        fs::rename(&partial, into).with_context(|| format!("moving the build to {}", into.display()))
    }
}

fn go(paths: &Paths, dir: &str) -> Command {
    let mut command = Command::new("go");
    // The pins decide, not the person's settings.
    command.current_dir(paths.go_pins().join(dir)).env("GOFLAGS", "-buildvcs=false").env("GOWORK", "off");
    command.stdin(Stdio::null());
    command
}

/// The built programs by name.
#[derive(Clone, Debug)]
pub struct Binaries {
    by_name: BTreeMap<String, PathBuf>,
}

impl Binaries {
    /// Builds what is missing of the pins in these folders, when there are none of all that every cluster runs. Two tools running at once wait
    /// for each other.
    pub fn build(paths: &Paths, only: &[&str], progress: &Progress) -> Result<Self> {
        fs::create_dir_all(paths.bin_cache())?;
        let lock = File::create(paths.bin_cache().join("lock"))?;
        lock.lock().context("waiting for another build")?;
        for pin in selected(only) {
            let folder = pin.folder(paths)?;
            if !folder.is_dir() {
                pin.build(paths, &folder, progress)?;
            }
        }
        Self::locate(paths, only)
    }

    /// Names the programs without building; an error says which one is not there.
    pub fn locate(paths: &Paths, only: &[&str]) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        for pin in selected(only) {
            let folder = pin.folder(paths)?;
            for (name, _) in pin.programs {
                let file = folder.join(name);
                if !file.is_file() {
                    bail!("{name} is not built ({} is missing): run `make up`", file.display());
                }
                by_name.insert((*name).to_owned(), file);
            }
        }
        Ok(Self { by_name })
    }

    /// Path of a program.
    ///
    /// # Panics
    /// If no pin lists `name`: the callers' names are constants.
    pub fn path(&self, name: &str) -> &Path {
        self.by_name.get(name).expect("a program that is listed in PINS")
    }

    /// Path of a program as text for an argument vector.
    pub fn arg(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Folder that holds a program.
    pub fn folder_of(&self, name: &str) -> PathBuf {
        self.path(name).parent().map(Path::to_path_buf).unwrap_or_default()
    }
}

fn selected(only: &[&str]) -> impl Iterator<Item = &'static Pin> {
    let named = OPTIONAL.iter().filter(move |pin| only.contains(&pin.dir));
    PINS.iter().filter(move |pin| only.is_empty() || only.contains(&pin.dir)).chain(named)
}

/// Folder with the VolumeSnapshot definitions of exactly the version the snapshot controller links.
pub fn snapshot_crds(paths: &Paths) -> Result<PathBuf> {
    let output = go(paths, "snapshotter")
        .args(["list", "-m", "-f", "{{.Dir}}", SNAPSHOT_CLIENT])
        .output()
        .context("starting go")?;
    let mut dir = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if dir.is_empty() {
        // Built binaries do not prove that the module's files are still in Go's cache.
        let output = go(paths, "snapshotter")
            .args(["mod", "download", "-json", SNAPSHOT_CLIENT])
            .output()
            .context("starting go")?;
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).with_context(|| {
            format!("go mod download {SNAPSHOT_CLIENT}: {}", String::from_utf8_lossy(&output.stderr))
        })?;
        told["Dir"].as_str().unwrap_or_default().clone_into(&mut dir);
    }
    let crds = Path::new(&dir).join("config/crd");
    if dir.is_empty() || !crds.is_dir() {
        bail!(
            "the VolumeSnapshot definitions of {SNAPSHOT_CLIENT} are not to be had: `go mod download` failed"
        );
    }
    Ok(crds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_pin_moves_to_another_folder() {
        let pin = &PINS[0];
        assert_eq!(pin.key(b"a", b"b"), pin.key(b"a", b"b"));
        assert_ne!(pin.key(b"a", b"b"), pin.key(b"a", b"c"));
        assert_ne!(pin.key(b"ab", b""), pin.key(b"a", b"b"));
        assert_ne!(pin.key(b"a", b"b"), PINS[1].key(b"a", b"b"));
    }

    #[test]
    fn every_pin_has_its_module_files_beside_the_tool() {
        let pins = Path::new(env!("CARGO_MANIFEST_DIR")).join("go");
        for pin in PINS.iter().chain(OPTIONAL) {
            let text = fs::read_to_string(pins.join(pin.dir).join("go.mod")).unwrap();
            assert!(pins.join(pin.dir).join("go.sum").is_file(), "{}", pin.dir);
            for (_, package) in pin.programs {
                assert!(text.contains(package), "{} has no tool line for {package}", pin.dir);
            }
        }
    }

    #[test]
    fn the_version_the_servers_report_is_the_pinned_one() {
        let go_mod = Path::new(env!("CARGO_MANIFEST_DIR")).join("go/kubernetes/go.mod");
        let text = fs::read_to_string(go_mod).unwrap();
        assert!(text.contains("k8s.io/kubernetes v1.36.3"), "change KUBERNETES_LDFLAGS with the pin");
    }
}
