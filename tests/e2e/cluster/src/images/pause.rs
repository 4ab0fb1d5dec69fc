//! `pause`: holds a pod's namespaces. One static program, nothing else.

use std::process::Command;

use super::{
    BuiltImage, ImageError, file,
    layer::LayerWriter,
    oci::{Layer, RunConfig, assemble},
    run,
};
use crate::{Paths, Progress};

/// The runtime's configuration names this reference, so its tag does not move with the content.
const TAG: &str = "1";

pub fn build(paths: &Paths, _: &Progress) -> Result<BuiltImage, ImageError> {
    let source = paths.repo.join("tests/e2e/cluster/images/pause.c");
    let program = paths.images_cache().join("pause");
    run(Command::new("cc")
        .args(["-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=none", "-o"])
        .arg(&program)
        .arg(source))?;
    let path = paths.images_cache().join("layer-pause.tar");
    let write = || {
        let mut layer = LayerWriter::create(&path)?;
        layer.file("/pause", 0o755, &program)?;
        layer.finish()
    };
    write().map_err(file(&path))?;
    let config = RunConfig {
        user: "65535:65535".to_owned(),
        entrypoint: vec!["/pause".to_owned()],
        folder: "/".to_owned(),
        ..RunConfig::default()
    };
    assemble(paths, "pause", Some(TAG), &config, &[Layer::measure(path)?])
}
