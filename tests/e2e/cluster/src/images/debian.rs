//! Debian as a layer: made by mmdebstrap from the machine's own package sources, kept in the cache under the hash of
//! everything that decides its content except the packages' versions.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use super::{ImageError, difference, digest, file, layer::TIME, oci::Layer, run};
use crate::{Paths, Progress};

/// The release that all images are made of.
const SUITE: &str = "bookworm";

/// What to make.
#[derive(Debug)]
pub struct Recipe<'a> {
    /// Name in the cache and in messages.
    pub name: &'a str,
    /// How complete: mmdebstrap's variant.
    pub variant: &'a str,
    /// Packages besides the variant's own.
    pub packages: Vec<String>,
    /// Options of dpkg, one a line.
    pub dpkg_options: Option<PathBuf>,
    /// Programs that are called with the root folder, one after the other, once all is installed.
    pub customize: Vec<PathBuf>,
    /// Pack the layer: for a large one that goes into an image as it is.
    pub pack: bool,
    /// Only what this layer does not hold already.
    pub without: Option<Layer>,
}

impl Recipe<'_> {
    fn key(&self) -> Result<String, ImageError> {
        let mut hash = Sha256::new();
        // A separator that no part contains keeps two recipes from meeting in one hash.
        let mut add = |part: &[u8]| {
            hash.update(part);
            hash.update([0]);
        };
        add(SUITE.as_bytes());
        add(std::env::consts::ARCH.as_bytes());
        add(self.variant.as_bytes());
        add(self.packages.join("\n").as_bytes());
        if let Some(below) = &self.without {
            add(below.diff.as_bytes());
        }
        for path in self.dpkg_options.iter().chain(&self.customize) {
            add(&fs::read(path).map_err(file(path))?);
        }
        Ok(hex::encode(hash.finalize())[..12].to_owned())
    }

    /// The layer, from the cache or made now.
    pub fn layer(&self, paths: &Paths, progress: &Progress) -> Result<Layer, ImageError> {
        let extension = if self.pack { "tar.zst" } else { "tar" };
        let stem = format!("debian-{}-{}", self.name, self.key()?);
        let path = paths.images_cache().join(format!("{stem}.{extension}"));
        let known = paths.images_cache().join(format!("{stem}.sha256"));
        if path.exists()
            && let Ok(digests) = fs::read_to_string(&known)
            && let Some((digest, diff)) = digests.trim().split_once(' ')
        {
            return Layer::of(path, digest.to_owned(), diff.to_owned());
        }
        progress.note(&format!(
            "{}: installing Debian {SUITE} and {} packages",
            self.name,
            self.packages.len()
        ));
        let unfinished = paths.images_cache().join(format!("{stem}.unfinished.tar"));
        match &self.without {
            None => drop(run(&mut self.command("tar", &unfinished))?),
            Some(below) => {
                let folder = paths.images_cache().join(format!("{stem}.unfinished"));
                let install = |root: &Path| run(&mut self.command("directory", root)).map(drop);
                difference::tar(&folder, below, install, &unfinished)?;
            }
        }
        let diff = digest(&unfinished)?;
        let (finished, digest) = if self.pack { pack(&unfinished)? } else { (unfinished, diff.clone()) };
        fs::rename(&finished, &path).map_err(file(&path))?;
        fs::write(&known, format!("{digest} {diff}")).map_err(file(&known))?;
        self.remove_older(&stem, paths)?;
        Layer::of(path, digest, diff)
    }

    fn command(&self, format: &str, target: &Path) -> Command {
        // In a mount namespace of its own: what it mounts goes with it, even if it is killed.
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "--", "mmdebstrap"])
            .env("SOURCE_DATE_EPOCH", TIME.to_string())
            .args(["--mode=root", "--format", format, "--variant", self.variant])
            .arg("--aptopt=APT::Install-Recommends \"false\"")
            .arg(format!("--include={}", self.packages.join(",")));
        if let Some(options) = &self.dpkg_options {
            command.arg(format!("--dpkgopt={}", options.display()));
        }
        for customize in &self.customize {
            command.arg(format!("--customize-hook={}", customize.display()));
        }
        command.arg(SUITE).arg(target);
        command
    }

    fn remove_older(&self, keep: &str, paths: &Paths) -> Result<(), ImageError> {
        let (folder, prefix) = (paths.images_cache(), format!("debian-{}-", self.name));
        for entry in fs::read_dir(&folder).map_err(file(&folder))? {
            let path = entry.map_err(file(&folder))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with(&prefix) && name.split('.').next() != Some(keep) {
                fs::remove_file(&path).map_err(file(&path))?;
            }
        }
        Ok(())
    }
}

/// Packs a tar archive, removes it, and returns the result with its digest.
fn pack(tar: &Path) -> Result<(PathBuf, String), ImageError> {
    let packed = tar.with_extension("tar.zst");
    run(Command::new("zstd").args(["-6", "-T0", "--quiet", "--force", "--rm", "-o"]).arg(&packed).arg(tar))?;
    let digest = digest(&packed)?;
    Ok((packed, digest))
}

/// Reads a list of packages: names separated by blanks, `#` starts a comment.
pub fn packages(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// Calls `take` with the path (without a leading `./` and without `usr/`) of every regular file of an archive.
pub fn each_file(
    archive: &Path,
    mut take: impl FnMut(&str, u64, &mut dyn Read) -> std::io::Result<()>,
) -> Result<(), ImageError> {
    let wrong = file(archive);
    let mut tar = tar::Archive::new(File::open(archive).map_err(&wrong)?);
    for entry in tar.entries().map_err(&wrong)? {
        let mut entry = entry.map_err(&wrong)?;
        if entry.header().entry_type() != tar::EntryType::Regular {
            continue;
        }
        let path = entry.path().map_err(&wrong)?.to_string_lossy().into_owned();
        let path = path.trim_start_matches("./");
        let size = entry.size();
        take(path.strip_prefix("usr/").unwrap_or(path), size, &mut entry).map_err(&wrong)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(packages: &[&str]) -> Recipe<'static> {
        Recipe {
            name: "x",
            variant: "minbase",
            packages: packages.iter().map(|&package| package.to_owned()).collect(),
            dpkg_options: None,
            customize: Vec::new(),
            pack: false,
            without: None,
        }
    }

    #[test]
    fn a_list_of_packages_may_be_wrapped_and_commented() {
        assert_eq!(packages("a b # c\n\n  # d\ne\n"), ["a", "b", "e"]);
    }

    #[test]
    fn a_packed_layer_replaces_the_archive_and_unpacks_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let tar = folder.path().join("base.unfinished.tar");
        fs::write(&tar, "content ".repeat(1000)).unwrap();
        let (packed, packed_digest) = pack(&tar).unwrap();
        assert!(!tar.exists() && fs::metadata(&packed).unwrap().len() < 1000);
        assert_eq!(packed_digest, digest(&packed).unwrap());
        let back = run(Command::new("zstd").args(["-dc"]).arg(&packed)).unwrap();
        assert_eq!(back, "content ".repeat(1000));
    }

    #[test]
    fn another_package_or_another_hook_is_another_base() {
        let folder = tempfile::tempdir().unwrap();
        let hook = folder.path().join("hook");
        fs::write(&hook, "1").unwrap();
        let plain = recipe(&["a"]).key().unwrap();
        assert_eq!(plain, recipe(&["a"]).key().unwrap());
        assert_ne!(plain, recipe(&["a", "b"]).key().unwrap());
        let with_hook = Recipe { customize: vec![hook.clone()], ..recipe(&["a"]) };
        let before = with_hook.key().unwrap();
        assert_ne!(plain, before);
        fs::write(&hook, "2").unwrap();
        assert_ne!(before, with_hook.key().unwrap());
    }
}
