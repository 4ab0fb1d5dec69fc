//! `desktop`: the image of the Environment `desktop`. Its recipe is data in `environments/desktop`: packages, what to leave
//! out, a hook, the files laid over it, and how a container runs. This module only puts the layers together.

use std::{fs, io, path::Path, process::Command};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    BuiltImage, ImageError, binary,
    debian::{self, Recipe},
    file,
    layer::LayerWriter,
    oci::{Layer, RunConfig, assemble},
    run, wallpaper,
};
use crate::{Paths, Progress};

/// Our programs in the image, and what they are built as.
const PROGRAMS: [(&str, &str); 3] = [("deskd", "a8s-deskd"), ("agent", "a8s-agent"), ("shim", "a8s-shim")];
/// User and group of everything in the desktop.
const USER: u64 = 1000;

/// `image.json` of a recipe.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Run {
    user: String,
    entrypoint: Vec<String>,
    env: Vec<String>,
    folder: String,
    /// Folders that are mounts in the pod, owned by the user so that the image also works without mounts.
    mounts: Vec<String>,
}

pub fn build(paths: &Paths, progress: &Progress) -> Result<BuiltImage, ImageError> {
    let recipe = paths.repo.join("environments/desktop");
    let image = read_run(&recipe.join("image.json"))?;
    let programs = programs(paths)?;
    let base = base(paths, &recipe, progress)?;
    let overlay = overlay(paths, &recipe, &image)?;
    let config =
        RunConfig { user: image.user, entrypoint: image.entrypoint, env: image.env, folder: image.folder };
    assemble(paths, "desktop", None, &config, &[base, overlay, programs])
}

/// Unpacks what a desktop looks like (Debian and configuration, without our programs) into an empty folder.
pub fn unpack(paths: &Paths, progress: &Progress, folder: &Path) -> Result<(), ImageError> {
    let recipe = paths.repo.join("environments/desktop");
    let image = read_run(&recipe.join("image.json"))?;
    for layer in [base(paths, &recipe, progress)?, overlay(paths, &recipe, &image)?] {
        run(Command::new("tar").arg("-C").arg(folder).arg("-xpf").arg(layer.path))?;
    }
    Ok(())
}

fn read_run(path: &Path) -> Result<Run, ImageError> {
    let text = fs::read(path).map_err(file(path))?;
    serde_json::from_slice(&text).map_err(|error| file(path)(error.into()))
}

fn base(paths: &Paths, recipe: &Path, progress: &Progress) -> Result<Layer, ImageError> {
    let list = recipe.join("packages.txt");
    let packages = debian::packages(&fs::read_to_string(&list).map_err(file(&list))?);
    let recipe = Recipe {
        name: "desktop",
        variant: "minbase",
        packages,
        dpkg_options: Some(recipe.join("dpkg.cfg")),
        customize: Some(recipe.join("customize.sh")),
        pack: true,
    };
    recipe.layer(paths, progress)
}

fn overlay(paths: &Paths, recipe: &Path, image: &Run) -> Result<Layer, ImageError> {
    let path = paths.images_cache().join("layer-desktop-files.tar");
    let write = || {
        let mut layer = LayerWriter::create(&path)?;
        layer.tree(&recipe.join("files"))?;
        layer.bytes("/usr/share/a8s/wallpaper.png", 0o644, &wallpaper(paths)?)?;
        for folder in &image.mounts {
            layer.folder(folder, 0o755, USER)?;
        }
        layer.finish()
    };
    write().map_err(file(&path))?;
    Layer::measure(path)
}

/// The wallpaper, drawn once for each version of the code that draws it: an unoptimised build takes seconds.
fn wallpaper(paths: &Paths) -> io::Result<Vec<u8>> {
    let version = hex::encode(Sha256::digest(include_bytes!("wallpaper.rs")));
    let path = paths.images_cache().join(format!("wallpaper-{}.png", &version[..12]));
    if let Ok(picture) = fs::read(&path) {
        return Ok(picture);
    }
    let picture = wallpaper::png(1920, 1200)?;
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, &picture)?;
    fs::rename(unfinished, path)?;
    Ok(picture)
}

fn programs(paths: &Paths) -> Result<Layer, ImageError> {
    let path = paths.images_cache().join("layer-desktop-programs.tar");
    let mut layer = LayerWriter::create(&path).map_err(file(&path))?;
    for (name, built) in PROGRAMS {
        let from = binary(paths, built)?;
        layer.file(&format!("/usr/libexec/a8s/{name}"), 0o755, &from).map_err(file(&from))?;
    }
    layer.finish().map_err(file(&path))?;
    Layer::measure(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../environments/desktop")
    }

    #[test]
    fn the_recipe_is_complete_and_runs_as_the_user_that_owns_the_mounts() {
        let run = read_run(&recipe().join("image.json")).unwrap();
        assert_eq!(run.user, format!("{USER}:{USER}"));
        assert_eq!(run.entrypoint, ["/usr/libexec/a8s/deskd"]);
        for mount in ["/home/agent", "/run/user-1000", "/run/a8s/desk", "/run/a8s/acp", "/etc/a8s/tls"] {
            assert!(run.mounts.iter().any(|folder| folder == mount), "{mount}");
        }
        for part in ["packages.txt", "dpkg.cfg", "customize.sh", "files", "environment.yaml"] {
            assert!(recipe().join(part).exists(), "{part}");
        }
    }

    #[test]
    fn every_program_of_the_desktop_comes_from_a_listed_package() {
        let list = fs::read_to_string(recipe().join("packages.txt")).unwrap();
        let packages = debian::packages(&list);
        let text = fs::read(recipe().join("files/etc/a8s/desktop.json")).unwrap();
        let desktop: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let services = desktop["services"].as_array().unwrap().iter().map(|service| &service["command"]);
        let applications = desktop["applications"].as_object().unwrap().values();
        for command in services.chain(applications) {
            let program = command[0].as_str().unwrap();
            let package = if program == "dbus-daemon" { "dbus" } else { program };
            assert!(packages.iter().any(|listed| listed == package), "{program}");
        }
    }
}
