//! The desktop image runs under the conditions of its pod and shows what it should. The picture stays beside the cache, for
//! a person to look at.

use std::{path::Path, process::Command};

use a8s_cluster::{Paths, Progress, images};

#[test]
#[ignore = "installs a Debian the first time: minutes; needs root"]
fn the_desktop_starts_without_privileges_and_opens_every_application() {
    let paths = Paths::from_env("a8s").expect("paths");
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    std::fs::create_dir(&root).expect("a root folder");
    let name = std::env::var("A8S_IMAGE").unwrap_or_else(|_| "desktop".to_owned());
    images::unpack_environment(&paths, &name, &Progress::new(1), &root).expect("the image");
    let picture = paths.images_cache().join(format!("{name}.png"));
    let _ = std::fs::remove_file(&picture);
    let status = Command::new(paths.repo.join("environments/desktop/smoke.sh"))
        .arg(&root)
        .arg(&picture)
        .status()
        .expect("smoke.sh");
    assert!(status.success(), "{status}");
    assert!(is_png(&picture), "{}", picture.display());
    println!("picture: {}", picture.display());
}

fn is_png(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG"))
}
