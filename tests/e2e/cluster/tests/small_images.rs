//! The small images hold all that a program of ours needs to start, and no more.

use std::{fs, path::Path, process::Command};

use a8s_cluster::{
    Paths, Progress,
    images::{self, BuiltImage},
};

/// Unpacks all layers of an image's archive.
fn unpack(image: &BuiltImage, folder: &Path) {
    let layout = folder.join("layout");
    let root = folder.join("root");
    fs::create_dir_all(&layout).expect("a folder");
    fs::create_dir_all(&root).expect("a folder");
    tar(&image.archive, &layout);
    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
    };
    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"].as_str().expect("a digest");
        layout.join("blobs").join(digest.replace(':', "/"))
    };
    let index = read(&layout.join("index.json"));
    let manifest = read(&blob(&index["manifests"][0]));
    for layer in manifest["layers"].as_array().expect("layers") {
        tar(&blob(layer), &root);
    }
}

fn tar(archive: &Path, folder: &Path) {
    let status = Command::new("tar").arg("-C").arg(folder).arg("-xpf").arg(archive).status().expect("tar");
    assert!(status.success(), "{}", archive.display());
}

#[test]
#[ignore = "installs a Debian the first time; needs root"]
fn programs_start_in_the_small_images_which_hold_no_shell() {
    let folder = tempfile::tempdir().expect("a folder");
    let real = Paths::from_env("a8s").expect("paths");
    // This test is itself a program that links against the same libraries as ours.
    let target = folder.path().join("target");
    fs::create_dir_all(target.join("release")).expect("a folder");
    let own = std::env::current_exe().expect("own path");
    for name in ["a8s-controller", "a8s-webhook", "a8s-console", "a8s-vnc-proxy", "a8s-runner"] {
        fs::copy(&own, target.join("release").join(name)).expect("a copy");
    }
    // The bases are those of the real cache, the images themselves go elsewhere.
    let cache = folder.path().join("cache");
    let paths = Paths::new("t", real.repo.clone(), cache, folder.path().into(), target).expect("paths");
    fs::create_dir_all(paths.images_cache()).expect("a folder");
    fs::create_dir_all(real.images_cache()).expect("a folder");
    share_bases(&real, &paths);
    let built = images::build_small(&paths, &Progress::new(1)).expect("images");
    share_bases(&paths, &real);
    for (name, program) in [("control-plane", "/usr/bin/a8s-console"), ("runner", "/a8s-runner")] {
        let image = built.iter().find(|image| image.name == name).expect("the image");
        let unpacked = folder.path().join(name);
        unpack(image, &unpacked);
        let root = unpacked.join("root");
        let output = Command::new("chroot").arg(&root).args([program, "--help"]).output().expect("chroot");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!root.join("bin/sh").exists() && !root.join("usr/bin/sh").exists(), "{name} has a shell");
        assert!(image.reference.starts_with("localhost/a8s/"), "{}", image.reference);
    }
    assert!(folder.path().join("control-plane/root/etc/ssl/certs/ca-certificates.crt").exists());
    assert!(folder.path().join("control-plane/root/usr/share/zoneinfo/Europe/Berlin").exists());
}

/// Links the Debian bases of one cache into another.
fn share_bases(from: &Paths, to: &Paths) {
    for entry in fs::read_dir(from.images_cache()).expect("a cache") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let target = to.images_cache().join(&name);
        if name.starts_with("debian-libraries-") && !target.exists() {
            fs::copy(&path, target).expect("a copy");
        }
    }
}
