//! `control-plane`: controller, webhook, console and VNC proxy on the least of a Debian that carries them, without shell
//! or package manager. Also the source of the C library for other images of ours.

use std::{io, path::PathBuf};

use super::{
    BuiltImage, ImageError, binary,
    debian::{self, Recipe},
    file,
    layer::LayerWriter,
    oci::{Layer, RunConfig, assemble},
};
use crate::{Paths, Progress};

const PROGRAMS: [&str; 4] = ["a8s-controller", "a8s-webhook", "a8s-console", "a8s-vnc-proxy"];
const USER: u64 = 65532;
const PASSWD: &str = "root:x:0:0:root:/:/sbin/nologin\na8s:x:65532:65532:a8s:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\na8s:x:65532:\n";

pub fn build(paths: &Paths, progress: &Progress) -> Result<BuiltImage, ImageError> {
    let programs = PROGRAMS.map(|name| Ok::<_, ImageError>((name, binary(paths, name)?)));
    let base = least(paths, progress)?;
    let path = paths.images_cache().join("layer-control-plane.tar");
    let mut layer = LayerWriter::create(&path).map_err(file(&path))?;
    for program in programs {
        let (name, from) = program?;
        layer.file(&format!("/usr/bin/{name}"), 0o755, &from).map_err(file(&from))?;
    }
    layer.finish().map_err(file(&path))?;
    let config = RunConfig {
        user: format!("{USER}:{USER}"),
        env: vec!["PATH=/usr/bin".to_owned(), "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt".to_owned()],
        folder: "/".to_owned(),
        ..RunConfig::default()
    };
    assemble(paths, "control-plane", None, &config, &[base, Layer::measure(path)?])
}

/// Libraries that Rust programs link against, and where the loader is expected.
pub struct Libraries {
    /// Folder and name of the loader, as programs have it written in them.
    loader: &'static str,
    /// Folder of the libraries.
    folder: &'static str,
}

/// Names of the libraries. The last three are empty since glibc 2.34, but programs may still ask for them.
const NAMES: [&str; 8] = [
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "libresolv.so.2",
    "libnss_dns.so.2",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
];

impl Libraries {
    /// Of this machine's processor.
    pub fn here() -> Result<Self, ImageError> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Self { loader: "lib64/ld-linux-x86-64.so.2", folder: "lib/x86_64-linux-gnu" }),
            "aarch64" => Ok(Self { loader: "lib/ld-linux-aarch64.so.1", folder: "lib/aarch64-linux-gnu" }),
            other => Err(ImageError::Architecture(other)),
        }
    }

    /// Where the file `path` of a Debian goes in an image, if it is one of the libraries.
    pub fn place(&self, path: &str) -> Option<String> {
        let name = path.strip_prefix(self.folder)?.strip_prefix('/')?;
        if self.loader.ends_with(&format!("/{name}")) {
            return Some(self.loader.to_owned());
        }
        NAMES.contains(&name).then(|| path.to_owned())
    }
}

/// The Debian that the small images take their files from.
pub fn source(paths: &Paths, progress: &Progress) -> Result<Layer, ImageError> {
    let packages = ["libc6", "libgcc-s1", "ca-certificates", "tzdata"].map(str::to_owned).to_vec();
    // "extract" runs no installation script, so nothing but these packages' files is in it.
    let recipe = Recipe {
        name: "libraries",
        variant: "extract",
        packages,
        dpkg_options: None,
        customize: Vec::new(),
        without: None,
        pack: false,
    };
    recipe.layer(paths, progress)
}

fn least(paths: &Paths, progress: &Progress) -> Result<Layer, ImageError> {
    let debian = source(paths, progress)?;
    let path = paths.images_cache().join(format!("layer-least-{}.tar", &debian.digest[..12]));
    let libraries = Libraries::here()?;
    let mut layer = LayerWriter::create(&path).map_err(file(&path))?;
    let mut certificates = Vec::new();
    let mut found = 0;
    debian::each_file(&debian.path, |name, size, content| {
        if let Some(place) = libraries.place(name) {
            found += 1;
            layer.stream(&place, 0o755, size, content)
        } else if name.starts_with("share/ca-certificates/mozilla/") {
            io::copy(content, &mut certificates)?;
            certificates.push(b'\n');
            Ok(())
        } else if name.starts_with("share/zoneinfo/") && !name.contains("/right/") {
            layer.stream(&format!("/usr/{name}"), 0o644, size, content)
        } else {
            Ok(())
        }
    })?;
    complete(&debian.path, found)?;
    let mut rest = || {
        layer.bytes("/etc/ssl/certs/ca-certificates.crt", 0o644, &certificates)?;
        layer.bytes("/etc/passwd", 0o644, PASSWD.as_bytes())?;
        layer.bytes("/etc/group", 0o644, GROUP.as_bytes())?;
        layer.bytes("/etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
        layer.folder("/tmp", 0o1777, 0)
    };
    rest().map_err(file(&path))?;
    layer.finish().map_err(file(&path))?;
    Layer::measure(path)
}

/// All libraries and the loader must have been found.
pub fn complete(source: &std::path::Path, found: usize) -> Result<(), ImageError> {
    if found == NAMES.len() + 1 {
        return Ok(());
    }
    let what = format!("complete C library ({found} of {} files)", NAMES.len() + 1);
    Err(ImageError::Incomplete { path: PathBuf::from(source), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_goes_where_programs_look_for_it_and_other_files_stay_behind() {
        let libraries = Libraries { loader: "lib64/ld-linux-x86-64.so.2", folder: "lib/x86_64-linux-gnu" };
        let place = |path| libraries.place(path);
        assert_eq!(
            place("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2").as_deref(),
            Some("lib64/ld-linux-x86-64.so.2")
        );
        assert_eq!(
            place("lib/x86_64-linux-gnu/libc.so.6").as_deref(),
            Some("lib/x86_64-linux-gnu/libc.so.6")
        );
        assert_eq!(place("lib/x86_64-linux-gnu/libssl.so.3"), None);
        assert_eq!(place("lib/x86_64-linux-gnu/gconv/libc.so.6"), None);
    }
}
