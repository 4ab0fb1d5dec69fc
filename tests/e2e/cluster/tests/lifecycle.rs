//! A cluster's whole life on this machine: up, used, hurt, up again, and gone without a trace.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use a8s_cluster::supervise::ProcessState;
use a8s_cluster::{Cluster, ControlPlane, Options, Paths, down, lifecycle};

fn is_root() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    eprintln!("skipped: needs root");
    false
}

fn until(what: &str, limit: u64, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(limit);
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen within {limit} s");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn output(program: &str, args: &[&str]) -> String {
    String::from_utf8(Command::new(program).args(args).output().unwrap().stdout).unwrap()
}

/// What a cluster could leave behind, a line a thing. Processes are those that name `state`.
fn traces(state: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut add = |kind: &str, text: String| all.extend(text.lines().map(|l| format!("{kind} {l}")));
    add("mount", fs::read_to_string("/proc/mounts").unwrap());
    let links = output("ip", &["-o", "link"]);
    add("link", links.lines().filter_map(|l| Some(l.split(": ").nth(1)?.to_owned() + "\n")).collect());
    add("nft", output("nft", &["list", "ruleset"]));
    add("loop", output("losetup", &["--list", "--noheadings", "--output", "NAME,BACK-FILE"]));
    add("netns", output("lsns", &["--type", "net", "--noheadings", "--output", "NS"]));
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let inner = fs::read_dir(hierarchy.path()).into_iter().flatten().flatten();
        let dirs = inner.filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
        dirs.for_each(|e| add("cgroup", e.path().display().to_string()));
    }
    for setting in ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward"] {
        add(setting, fs::read_to_string(format!("/proc/sys/{setting}")).unwrap());
    }
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if line.contains(&*state.to_string_lossy()) {
            add("process", line.replace('\0', " "));
        }
    }
    all
}

const CLAIM: &str = r"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 64Mi}}}
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {name: first}
spec: {source: {persistentVolumeClaimName: data}}
---
apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: c, image: 'localhost/a8s/pause:1', imagePullPolicy: IfNotPresent, volumeMounts: [{name: d, mountPath: /data}]}
  volumes: [{name: d, persistentVolumeClaim: {claimName: data}}]
";

/// Removes its cluster when it is dropped, so that a test that fails leaves none.
struct Removed(Paths);

impl Drop for Removed {
    fn drop(&mut self) {
        if self.0.state.exists()
            && let Err(error) = down::down(&self.0, false)
        {
            eprintln!("cluster {} is left behind: {error:#}", self.0.name);
        }
    }
}

/// The process that a test's cluster belongs to: `test-<pid>`.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix("test-")?.parse().ok()
}

fn of(known: &Paths, clusters: &Path, name: &str) -> Paths {
    let Paths { repo, cache, target, .. } = known.clone();
    Paths::new(name, repo, cache, clusters.to_owned(), target).unwrap()
}

/// Removes what runs of this test left that were killed.
fn remove_leftovers(known: &Paths, clusters: &Path) {
    for folder in fs::read_dir(clusters).into_iter().flatten().flatten() {
        let name = folder.file_name().to_string_lossy().into_owned();
        let Some(pid) = owner(&name) else { continue };
        if !Path::new("/proc").join(pid.to_string()).exists() {
            drop(Removed(of(known, clusters, &name)));
        }
    }
}

#[test]
fn only_clusters_of_this_test_are_leftovers() {
    assert_eq!(owner("test-17"), Some(17));
    for other in ["a8s", "test-", "test-e2e", "my-test-17"] {
        assert_eq!(owner(other), None, "{other}");
    }
}

#[test]
fn a_cluster_survives_crashes_and_leaves_nothing_behind() {
    if !is_root() {
        return;
    }
    let name = format!("test-{}", std::process::id());
    let known = Paths::from_env(&name).unwrap();
    // One folder for all runs: the next one finds what a killed one left.
    let clusters = known.cache.join("test-clusters");
    remove_leftovers(&known, &clusters);
    let paths = of(&known, &clusters, &name);
    let _removed = Removed(paths.clone());
    let before = traces(&paths.state);
    let options = Options {
        product: false,
        tool: Some(env!("CARGO_BIN_EXE_a8s-cluster").into()),
        verbose: false,
        ..Options::default()
    };
    let up = || Cluster::up_at(paths.clone(), &options).unwrap();

    let cluster = up();
    let kubectl = cluster.kubectl();
    kubectl.apply(CLAIM).unwrap();
    let works = || {
        kubectl.run(&["wait", "--for=condition=Ready", "pod/one", "--timeout=60s"]).unwrap();
        let ready = "--for=jsonpath={.status.readyToUse}=true";
        kubectl.run(&["wait", ready, "volumesnapshot/first", "--timeout=30s"]).unwrap();
    };
    works();

    let pids = || lifecycle::status(&paths).into_iter().map(|s| (s.name, s.pid)).collect::<Vec<_>>();
    let first = pids();
    up();
    assert_eq!(pids(), first, "a second up restarts nothing");

    let victim = |name: &str| lifecycle::status(&paths).into_iter().find(|s| s.name == name).unwrap();
    let init = lifecycle::running(&paths).unwrap().init;
    let pid = victim("csi-driver").pid.unwrap().to_string();
    assert!(lifecycle::inside(&init).args(["kill", "-9", &pid]).status().unwrap().success());
    for hurt in ["csi-driver", "csi-provisioner", "csi-snapshotter"] {
        until(&format!("restart of {hurt}"), 30, || {
            let now = victim(hurt);
            now.restarts == 1 && now.state == ProcessState::Ready
        });
    }

    let holder = lifecycle::running(&paths).unwrap().holder;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(holder.pid), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    until("end of all processes", 10, || !init.is_alive());
    up();
    works();

    // What is left is found and removed even if the first process ended without removing anything.
    let init = lifecycle::running(&paths).unwrap().init;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(init.pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    cluster.down().unwrap();
    // Other tests on this machine come and go meanwhile: what is still there at every look was left by this one.
    let new = || traces(&paths.state).difference(&before).cloned().collect::<BTreeSet<_>>();
    let mut left = new();
    until("removal of everything", 30, || {
        left = left.intersection(&new()).cloned().collect();
        if !left.is_empty() {
            eprintln!("still there: {left:?}");
        }
        left.is_empty()
    });
    assert!(!paths.state.exists());
}

#[test]
fn an_api_server_alone_stores_objects_and_ends_with_its_owner() {
    let api = ControlPlane::start().unwrap();
    let kubectl = api.kubectl().clone();
    kubectl.run(&["create", "namespace", "somewhere"]).unwrap();
    kubectl.run(&["create", "configmap", "thing", "-n", "somewhere", "--from-literal=a=b"]).unwrap();
    let value =
        kubectl.run(&["get", "configmap", "thing", "-n", "somewhere", "-o=jsonpath={.data.a}"]).unwrap();
    assert_eq!(value, "b");
    let address = api.url().trim_start_matches("https://").to_owned();
    drop(api);
    assert!(std::net::TcpStream::connect(address).is_err(), "the server ended");
}
