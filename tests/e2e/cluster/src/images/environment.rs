//! Images of the catalogue's Environments. Their recipes are data in `environments/<name>`: packages, what to leave out, a hook,
//! the files laid over it, and how a container runs. A recipe that extends another has that one's layers below its own, so that a
//! node keeps one copy of what they share. This module only puts the layers together.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use serde_json::{Value, json};
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
/// Where the panel's and the menu's entries are put in.
const PANEL: &str = "etc/a8s/tint2rc";
const MENU: &str = "etc/a8s/openbox/menu.xml";
const DESKTOP: &str = "etc/a8s/desktop.json";

/// `image.json` of a recipe that stands on its own.
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

/// `image.json` of a recipe that extends another.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Extension {
    extends: String,
    applications: Vec<Application>,
}

/// A program that deskd, panel and menu offer besides those of the extended image.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Application {
    name: String,
    label: String,
    command: Vec<String>,
    /// Its desktop entry in `/usr/share/applications`.
    launcher: String,
}

/// What `image.json` says.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Image {
    Extension(Extension),
    Whole(Run),
}

/// Names of all recipes; one that others extend comes before them.
pub fn names(paths: &Paths) -> Result<Vec<String>, ImageError> {
    let folder = paths.repo.join("environments");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(file(&folder))? {
        let path = entry.map_err(file(&folder))?.path();
        if path.join("image.json").is_file() {
            let extends = matches!(read(&path)?, Image::Extension(_));
            found.push((extends, path.file_name().unwrap_or_default().to_string_lossy().into_owned()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, name)| name).collect())
}

/// Builds the image of the Environment `name`.
pub fn build(paths: &Paths, name: &str, progress: &Progress) -> Result<BuiltImage, ImageError> {
    let programs = programs(paths)?;
    let (run, mut layers) = layers(paths, name, progress)?;
    layers.push(programs);
    let config = RunConfig { user: run.user, entrypoint: run.entrypoint, env: run.env, folder: run.folder };
    assemble(paths, name, None, &config, &layers)
}

/// Unpacks what a desktop looks like (Debian and configuration, without our programs) into an empty folder.
pub fn unpack(paths: &Paths, name: &str, progress: &Progress, folder: &Path) -> Result<(), ImageError> {
    for layer in layers(paths, name, progress)?.1 {
        run(Command::new("tar").arg("-C").arg(folder).arg("-xpf").arg(layer.path))?;
    }
    Ok(())
}

fn read(recipe: &Path) -> Result<Image, ImageError> {
    let path = recipe.join("image.json");
    let text = fs::read(&path).map_err(file(&path))?;
    serde_json::from_slice(&text).map_err(|error| file(&path)(error.into()))
}

fn layers(paths: &Paths, name: &str, progress: &Progress) -> Result<(Run, Vec<Layer>), ImageError> {
    let recipe = paths.repo.join("environments").join(name);
    match read(&recipe)? {
        Image::Whole(run) => {
            let base = base(name, &recipe)?.layer(paths, progress)?;
            let overlay = overlay(paths, name, &recipe, &run)?;
            Ok((run, vec![base, overlay]))
        }
        Image::Extension(extension) => {
            let below = paths.repo.join("environments").join(&extension.extends);
            let (run, mut layers) = layers(paths, &extension.extends, progress)?;
            let mut recipe_of_all = base(&extension.extends, &below)?;
            recipe_of_all.name = name;
            recipe_of_all.packages.extend(packages(&recipe)?);
            recipe_of_all.customize.extend(optional(&recipe, "customize.sh"));
            recipe_of_all.without = layers.first().cloned();
            layers.insert(1, recipe_of_all.layer(paths, progress)?);
            layers.push(additions(paths, name, &recipe, &below, &extension)?);
            Ok((run, layers))
        }
    }
}

fn packages(recipe: &Path) -> Result<Vec<String>, ImageError> {
    let list = recipe.join("packages.txt");
    Ok(debian::packages(&fs::read_to_string(&list).map_err(file(&list))?))
}

fn optional(recipe: &Path, name: &str) -> Option<PathBuf> {
    Some(recipe.join(name)).filter(|path| path.is_file())
}

fn base<'a>(name: &'a str, recipe: &Path) -> Result<Recipe<'a>, ImageError> {
    Ok(Recipe {
        name,
        variant: "minbase",
        packages: packages(recipe)?,
        dpkg_options: optional(recipe, "dpkg.cfg"),
        customize: optional(recipe, "customize.sh").into_iter().collect(),
        pack: true,
        without: None,
    })
}

fn overlay(paths: &Paths, name: &str, recipe: &Path, image: &Run) -> Result<Layer, ImageError> {
    let path = paths.images_cache().join(format!("layer-{name}-files.tar"));
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

/// Files of an extension, and the extended image's panel, menu and applications with its own put in.
fn additions(
    paths: &Paths,
    name: &str,
    recipe: &Path,
    below: &Path,
    extension: &Extension,
) -> Result<Layer, ImageError> {
    let path = paths.images_cache().join(format!("layer-{name}-files.tar"));
    let write = || {
        let text = |name: &str| fs::read_to_string(below.join("files").join(name));
        let mut layer = LayerWriter::create(&path)?;
        if recipe.join("files").is_dir() {
            layer.tree(&recipe.join("files"))?;
        }
        let more = &extension.applications;
        layer.bytes(PANEL, 0o644, panel(&text(PANEL)?, more).as_bytes())?;
        layer.bytes(MENU, 0o644, menu(&text(MENU)?, more).as_bytes())?;
        layer.bytes(DESKTOP, 0o644, desktop(&text(DESKTOP)?, more)?.as_bytes())?;
        layer.finish()
    };
    write().map_err(file(&path))?;
    Layer::measure(path)
}

/// The new programs come first: they are what the image is for.
fn panel(text: &str, more: &[Application]) -> String {
    const ENTRY: &str = "launcher_item_app = /usr/share/applications/";
    let own: Vec<_> = more.iter().map(|a| [ENTRY, &a.launcher, "\n"].concat()).collect();
    text.replacen(ENTRY, &(own.concat() + ENTRY), 1)
}

fn menu(text: &str, more: &[Application]) -> String {
    const END: &str = "<separator/>";
    let entry = |a: &Application| {
        let (label, command) = (&a.label, a.command.join(" "));
        format!(
            "<item label=\"{label}\"><action name=\"Execute\"><command>{command}</command></action></item>\n    "
        )
    };
    let own: Vec<_> = more.iter().map(entry).collect();
    text.replacen(END, &(own.concat() + END), 1)
}

fn desktop(text: &str, more: &[Application]) -> io::Result<String> {
    let mut all: Value = serde_json::from_str(text)?;
    for application in more {
        all["applications"][&application.name] = json!(application.command);
    }
    all.sort_all_objects();
    Ok(all.to_string())
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

    fn recipe(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../environments").join(name)
    }

    #[test]
    fn the_recipe_is_complete_and_runs_as_the_user_that_owns_the_mounts() {
        let Image::Whole(run) = read(&recipe("desktop")).unwrap() else { panic!("an extension") };
        assert_eq!(run.user, format!("{USER}:{USER}"));
        assert_eq!(run.entrypoint, ["/usr/libexec/a8s/deskd"]);
        for mount in ["/home/agent", "/run/user-1000", "/run/a8s/desk", "/run/a8s/acp", "/etc/a8s/tls"] {
            assert!(run.mounts.iter().any(|folder| folder == mount), "{mount}");
        }
        for part in ["packages.txt", "dpkg.cfg", "customize.sh", "files", "environment.yaml"] {
            assert!(recipe("desktop").join(part).exists(), "{part}");
        }
    }

    #[test]
    fn every_program_of_the_desktop_comes_from_a_listed_package() {
        let packages = packages(&recipe("desktop")).unwrap();
        let text = fs::read(recipe("desktop").join("files").join(DESKTOP)).unwrap();
        let desktop: Value = serde_json::from_slice(&text).unwrap();
        let services = desktop["services"].as_array().unwrap().iter().map(|service| &service["command"]);
        let applications = desktop["applications"].as_object().unwrap().values();
        for command in services.chain(applications) {
            let program = command[0].as_str().unwrap();
            let package = if program == "dbus-daemon" { "dbus" } else { program };
            assert!(packages.iter().any(|listed| listed == package), "{program}");
        }
    }

    #[test]
    fn an_extension_offers_its_programs_in_the_panel_the_menu_and_to_the_agent() {
        for name in ["office", "code"] {
            let Image::Extension(extension) = read(&recipe(name)).unwrap() else {
                panic!("{name} stands alone")
            };
            let text =
                |path: &str| fs::read_to_string(recipe(&extension.extends).join("files").join(path)).unwrap();
            let more = &extension.applications;
            let all: Value = serde_json::from_str(&desktop(&text(DESKTOP), more).unwrap()).unwrap();
            assert!(all["applications"]["browser"].is_array(), "what the desktop offers stays");
            for application in more {
                assert!(panel(&text(PANEL), more).contains(&application.launcher));
                assert!(menu(&text(MENU), more).contains(&application.label));
                assert_eq!(all["applications"][&application.name][0], application.command[0].as_str());
            }
            assert!(recipe(name).join("environment.yaml").is_file());
        }
    }
}
