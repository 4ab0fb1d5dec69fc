//! OCI images as files: blobs, configuration, manifest, index, and the archive that holds them.
//!
//! Layers travel from one folder of a machine to another, so only a large one that stays the same is worth packing: that is
//! done once, and halves the time of each import. All others are written as they are.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

use super::{BuiltImage, ImageError, REPOSITORY, digest, file, layer::TIME};
use crate::Paths;

/// Time in which whoever asked for an archive has imported it.
const IN_USE: Duration = Duration::from_hours(1);

/// A finished layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// SHA-256 of the file, in hexadecimal.
    pub digest: String,
    /// SHA-256 of the tar archive in it: the same if it is not packed.
    pub diff: String,
    /// Bytes of the file.
    pub size: u64,
    /// The tar archive, packed by zstd if it ends so.
    pub path: PathBuf,
}

impl Layer {
    /// A layer with known digests.
    pub fn of(path: PathBuf, digest: String, diff: String) -> Result<Self, ImageError> {
        let size = fs::metadata(&path).map_err(file(&path))?.len();
        Ok(Self { digest, diff, size, path })
    }

    /// Takes an archive that was just written.
    pub fn measure(path: PathBuf) -> Result<Self, ImageError> {
        let digest = digest(&path)?;
        Self::of(path, digest.clone(), digest)
    }

    fn descriptor(&self) -> Value {
        let packed = self.path.extension().is_some_and(|extension| extension == "zst");
        let kind = if packed { "layer.v1.tar+zstd" } else { "layer.v1.tar" };
        descriptor(kind, &self.digest, self.size)
    }
}

/// What a container of the image runs by default, as OCI calls it.
#[derive(Debug, Clone, Default)]
pub struct RunConfig {
    /// `uid:gid`.
    pub user: String,
    /// Program and arguments.
    pub entrypoint: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Working folder.
    pub folder: String,
}

/// OCI's name of this machine's processor.
pub fn architecture() -> Result<&'static str, ImageError> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => Err(ImageError::Architecture(other)),
    }
}

/// Writes the archive of an image unless it is there, and removes those of the same name that nobody asked for in the
/// last hour. Without a `tag` the image is tagged with a hash of its content.
pub fn assemble(
    paths: &Paths,
    name: &str,
    tag: Option<&str>,
    config: &RunConfig,
    layers: &[Layer],
) -> Result<BuiltImage, ImageError> {
    let config = to_blob(&configuration(config, layers, architecture()?));
    let manifest = to_blob(&manifest(&config, layers));
    let content = &manifest.digest[..12];
    let reference = format!("{REPOSITORY}/{name}:{}", tag.unwrap_or(content));
    let archive = paths.images_cache().join(format!("{name}-{content}.oci.tar"));
    if !archive.exists() {
        let unfinished = archive.with_extension("unfinished");
        write_archive(&unfinished, &reference, &[&config, &manifest], layers)
            .and_then(|()| fs::rename(&unfinished, &archive))
            .map_err(file(&unfinished))?;
    }
    File::open(&archive).and_then(|f| f.set_modified(SystemTime::now())).map_err(file(&archive))?;
    remove_unused(paths, name, &archive).map_err(file(&archive))?;
    Ok(BuiltImage {
        name: name.to_owned(),
        reference,
        digest: format!("sha256:{}", manifest.digest),
        archive,
    })
}

struct Blob {
    digest: String,
    bytes: Vec<u8>,
}

fn to_blob(value: &Value) -> Blob {
    let bytes = value.to_string().into_bytes();
    Blob { digest: hex::encode(Sha256::digest(&bytes)), bytes }
}

fn configuration(config: &RunConfig, layers: &[Layer], architecture: &str) -> Value {
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": config.user,
            "Entrypoint": config.entrypoint,
            "Env": config.env,
            "WorkingDir": config.folder,
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|layer| format!("sha256:{}", layer.diff)).collect::<Vec<_>>(),
        },
    })
}

fn descriptor(kind: &str, digest: &str, size: u64) -> Value {
    json!({
        "mediaType": format!("application/vnd.oci.image.{kind}"),
        "digest": format!("sha256:{digest}"),
        "size": size,
    })
}

fn manifest(config: &Blob, layers: &[Layer]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", &config.digest, config.bytes.len() as u64),
        "layers": layers.iter().map(Layer::descriptor).collect::<Vec<_>>(),
    })
}

fn index(reference: &str, manifest: &Blob) -> Value {
    let mut entry = descriptor("manifest.v1+json", &manifest.digest, manifest.bytes.len() as u64);
    // The first is what containerd imports the image as, the second is for everything else that reads OCI archives.
    entry["annotations"] = json!({
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": reference,
    });
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    })
}

/// `blobs` ends with the manifest.
fn write_archive(path: &Path, reference: &str, blobs: &[&Blob], layers: &[Layer]) -> io::Result<()> {
    let mut tar = Builder::new(File::create(path)?);
    let mut add = |name: &str, size: u64, content: &mut dyn io::Read| {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(TIME);
        header.set_size(size);
        tar.append_data(&mut header, name, content)
    };
    let mut text = |name: &str, bytes: &[u8]| add(name, bytes.len() as u64, &mut &bytes[..]);
    text("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    for blob in blobs {
        text(&format!("blobs/sha256/{}", blob.digest), &blob.bytes)?;
    }
    if let Some(manifest) = blobs.last() {
        text("index.json", index(reference, manifest).to_string().as_bytes())?;
    }
    for layer in layers {
        let name = format!("blobs/sha256/{}", layer.digest);
        add(&name, layer.size, &mut File::open(&layer.path)?)?;
    }
    tar.into_inner()?.sync_data()
}

/// An archive's time is when it was last asked for: another cluster's `up` may be about to import it.
fn remove_unused(paths: &Paths, name: &str, keep: &Path) -> io::Result<()> {
    let now = SystemTime::now();
    for entry in fs::read_dir(paths.images_cache())? {
        let entry = entry?;
        let path = entry.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let tag = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        let ours = tag.and_then(|tag| tag.strip_suffix(".oci.tar")).is_some_and(|tag| tag.len() == 12);
        if ours
            && path != keep
            && now.duration_since(entry.metadata()?.modified()?).is_ok_and(|age| age > IN_USE)
        {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read};

    use super::*;
    use crate::images::layer::LayerWriter;

    fn setup(folder: &Path) -> (Paths, Layer) {
        let paths = Paths::new("t", folder.into(), folder.into(), folder.into(), folder.into()).unwrap();
        fs::create_dir_all(paths.images_cache()).unwrap();
        let path = folder.join("layer.tar");
        let mut layer = LayerWriter::create(&path).unwrap();
        layer.bytes("x", 0o644, b"x").unwrap();
        layer.finish().unwrap();
        (paths, Layer::measure(path).unwrap())
    }

    fn read(archive: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(File::open(archive).unwrap()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), bytes);
        }
        files
    }

    #[test]
    fn every_digest_in_an_archive_leads_to_a_blob_with_that_digest() {
        let folder = tempfile::tempdir().unwrap();
        let (paths, layer) = setup(folder.path());
        let image = assemble(&paths, "x", None, &RunConfig::default(), &[layer]).unwrap();
        let files = read(&image.archive);
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
            let bytes = &files[&format!("blobs/sha256/{digest}")];
            assert_eq!(hex::encode(Sha256::digest(bytes)), digest);
            assert_eq!(descriptor["size"], bytes.len());
            bytes
        };
        let index = json(&files["index.json"]);
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], image.reference);
        let manifest = json(blob(&index["manifests"][0]));
        let layer = blob(&manifest["layers"][0]);
        let config = json(blob(&manifest["config"]));
        let diff = format!("sha256:{}", hex::encode(Sha256::digest(layer)));
        assert_eq!(config["rootfs"]["diff_ids"][0], diff);
    }

    #[test]
    fn a_packed_layer_is_named_so_and_counts_as_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("base.tar.zst");
        fs::write(&path, "packed").unwrap();
        let layer = Layer::of(path, "aa".to_owned(), "bb".to_owned()).unwrap();
        let descriptor = layer.descriptor();
        assert_eq!(descriptor["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
        assert_eq!(descriptor["digest"], "sha256:aa");
        let config = configuration(&RunConfig::default(), &[layer], "amd64");
        assert_eq!(config["rootfs"]["diff_ids"][0], "sha256:bb");
    }

    #[test]
    fn a_tag_changes_with_the_content_and_archives_stay_while_they_may_be_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let (paths, layer) = setup(folder.path());
        let build = |name: &str, user: &str| {
            let config = RunConfig { user: user.to_owned(), ..RunConfig::default() };
            assemble(&paths, name, None, &config, std::slice::from_ref(&layer)).unwrap()
        };
        let other = build("x-y", "1");
        let first = build("x", "1");
        assert_eq!(first, build("x", "1"));
        let second = build("x", "2");
        assert_ne!(first.reference, second.reference);
        assert!(first.archive.exists(), "another `up` may be about to import it");
        for image in [&first, &second, &other] {
            let long_ago = SystemTime::now() - 2 * IN_USE;
            File::open(&image.archive).unwrap().set_modified(long_ago).unwrap();
        }
        assert_eq!(second, build("x", "2"));
        assert!(!first.archive.exists() && second.archive.exists() && other.archive.exists());
    }
}
