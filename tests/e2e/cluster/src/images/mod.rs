//! Container images without a registry: built here, written as OCI archives, imported into containerd by the caller.
//!
//! An image is a list of layers. The layer that is expensive to make (a Debian) is kept in the cache under the hash of its
//! recipe; what changes often (our programs, the desktop's configuration) lies above it and costs a second. A tag is a
//! hash of the image's content: the same content has the same reference everywhere, and a changed one never hides behind
//! an old name. Nothing here talks to a registry or to a container runtime.

mod control_plane;
mod debian;
mod difference;
mod environment;
mod layer;
mod oci;
mod pause;
mod runner;
mod wallpaper;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::fcntl::{Flock, FlockArg};

use crate::{Paths, Progress};

/// Prefix of all references; the kubelet never pulls from such a host.
const REPOSITORY: &str = "localhost/a8s";

/// An image that is ready to be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// `pause`, `control-plane`, `runner` or an Environment's name.
    pub name: String,
    /// `localhost/a8s/<name>:<tag>`.
    pub reference: String,
    /// Digest of the manifest, `sha256:...`: an importer may skip what it has.
    pub digest: String,
    /// OCI archive that holds exactly this image under this reference.
    pub archive: PathBuf,
}

/// Why an image cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A program of ours was not built.
    #[error("{0} is missing: build the release binaries first (cargo build --release)")]
    MissingBinary(PathBuf),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("cannot run {program}: {source} (is it installed?)")]
    Start {
        /// The program.
        program: String,
        /// The reason.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed ({status}); the end of what it said:\n{said}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// The last lines of its output.
        said: String,
    },
    /// A base does not hold what is needed from it.
    #[error("{path} holds no {what}: delete it and try again")]
    Incomplete {
        /// The base's archive.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// The machine's processor is one for which no image can be made.
    #[error("no images can be made for {0}: only x86_64 and aarch64 are known")]
    Architecture(&'static str),
}

/// Builds every image that is not built already and returns all of them. The release binaries must exist.
pub fn build_all(paths: &Paths, progress: &Progress) -> Result<Vec<BuiltImage>, ImageError> {
    let mut images = build_small(paths, progress)?;
    let _lock = lock(paths)?;
    for name in environment::names(paths)? {
        images.push(environment::build(paths, &name, progress)?);
    }
    Ok(images)
}

/// Builds every image but those of Environments.
pub fn build_small(paths: &Paths, progress: &Progress) -> Result<Vec<BuiltImage>, ImageError> {
    let pause = build_pause(paths, progress)?;
    let _lock = lock(paths)?;
    Ok(vec![pause, control_plane::build(paths, progress)?, runner::build(paths, progress)?])
}

/// Builds the image that the container runtime needs for every pod, and nothing else.
pub fn build_pause(paths: &Paths, progress: &Progress) -> Result<BuiltImage, ImageError> {
    let _lock = lock(paths)?;
    pause::build(paths, progress)
}

/// Two clusters that start at the same time share the cache: one builds, the other waits and finds it built.
fn lock(paths: &Paths) -> Result<Flock<File>, ImageError> {
    let folder = paths.images_cache();
    fs::create_dir_all(&folder).map_err(file(&folder))?;
    let path = folder.join("lock");
    let open = File::options().create(true).truncate(false).write(true).open(&path).map_err(file(&path))?;
    Flock::lock(open, FlockArg::LockExclusive).map_err(|(_, errno)| file(&path)(errno.into()))
}

/// Unpacks the image of an Environment, without our programs, into an empty folder: for tests of its look.
pub fn unpack_environment(
    paths: &Paths,
    name: &str,
    progress: &Progress,
    folder: &Path,
) -> Result<(), ImageError> {
    let _lock = lock(paths)?;
    environment::unpack(paths, name, progress, folder)
}

fn file(path: &Path) -> impl Fn(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::File { path: path.clone(), source }
}

/// Runs a program to its end; what it says is kept for the error.
fn run(command: &mut Command) -> Result<String, ImageError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ImageError::Start { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = said.lines().collect();
    let said = lines[lines.len().saturating_sub(20)..].join("\n");
    Err(ImageError::Failed { program, status: output.status.to_string(), said })
}

/// SHA-256 of a file in hexadecimal. An unoptimised build of this tool hashes slowly, coreutils do not.
fn digest(path: &Path) -> Result<String, ImageError> {
    let line = run(Command::new("sha256sum").arg("--binary").arg("--").arg(path))?;
    // A leading backslash marks an escaped file name.
    Ok(line.trim_start_matches('\\').chars().take(64).collect())
}

/// The release binary `name`.
fn binary(paths: &Paths, name: &str) -> Result<PathBuf, ImageError> {
    let path = paths.release().join(name);
    if path.is_file() { Ok(path) } else { Err(ImageError::MissingBinary(path)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "abc").unwrap();
        assert_eq!(
            digest(&path).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_failing_program_is_reported_with_what_it_said_last() {
        let error = run(Command::new("sh").args(["-c", "seq 50 >&2; echo broken >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("broken") && text.contains("exit status: 3"), "{text}");
        assert!(!text.contains("\n10\n"), "only the end: {text}");
    }

    #[test]
    fn a_missing_binary_names_the_file_and_the_remedy() {
        let paths = Paths::new("t", "/r".into(), "/c".into(), "/s".into(), "/none".into()).unwrap();
        let text = binary(&paths, "a8s-runner").unwrap_err().to_string();
        assert!(text.contains("/none/release/a8s-runner") && text.contains("--release"), "{text}");
    }
}
