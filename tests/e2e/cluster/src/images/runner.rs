//! `runner`: one program and the C library, nothing else. It starts in every workspace pod, so it must be small.

use super::{
    BuiltImage, ImageError, binary,
    control_plane::{Libraries, complete, source},
    debian, file,
    layer::LayerWriter,
    oci::{Layer, RunConfig, assemble},
};
use crate::{Paths, Progress};

pub fn build(paths: &Paths, progress: &Progress) -> Result<BuiltImage, ImageError> {
    let program = binary(paths, "a8s-runner")?;
    let debian = source(paths, progress)?;
    let libraries = Libraries::here()?;
    let path = paths.images_cache().join("layer-runner.tar");
    let mut layer = LayerWriter::create(&path).map_err(file(&path))?;
    let mut found = 0;
    debian::each_file(&debian.path, |name, size, content| match libraries.place(name) {
        Some(place) => {
            found += 1;
            layer.stream(&place, 0o755, size, content)
        }
        None => Ok(()),
    })?;
    complete(&debian.path, found)?;
    let mut rest = || {
        layer.bytes("/etc/passwd", 0o644, b"runner:x:1001:1000:runner:/:/sbin/nologin\n")?;
        // Mount points: the root file system is read-only in the pod.
        for folder in ["/state", "/home/agent", "/run/a8s/acp", "/run/a8s/desk", "/etc/a8s/tls"] {
            layer.folder(folder, 0o755, 0)?;
        }
        layer.folder("/tmp", 0o1777, 0)?;
        layer.file("/a8s-runner", 0o755, &program)
    };
    rest().map_err(file(&path))?;
    layer.finish().map_err(file(&path))?;
    let config = RunConfig {
        user: "1001:1000".to_owned(),
        entrypoint: vec!["/a8s-runner".to_owned()],
        folder: "/".to_owned(),
        ..RunConfig::default()
    };
    assemble(paths, "runner", None, &config, &[Layer::measure(path)?])
}
