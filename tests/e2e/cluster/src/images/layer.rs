//! One layer: a tar archive whose bytes depend on nothing but the content put in. Times, owners and order are fixed, so
//! that an unchanged layer has an unchanged digest.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tar::{Builder, EntryType, Header};

/// The time of every file: none is younger than what it replaces.
pub const TIME: u64 = 1_700_000_000;

/// A layer under construction, written to a file as it grows.
pub struct LayerWriter {
    tar: Builder<File>,
}

impl LayerWriter {
    /// Starts a layer in the file `path`.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { tar: Builder::new(File::create(path)?) })
    }

    /// Adds a folder. `mode` may carry the sticky bit.
    pub fn folder(&mut self, path: &str, mode: u32, owner: u64) -> io::Result<()> {
        let mut header = header(EntryType::Directory, mode, owner);
        self.tar.append_data(&mut header, format!("{}/", relative(path)), io::empty())
    }

    /// Adds a file with the given content.
    pub fn bytes(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.stream(path, mode, content.len() as u64, content)
    }

    /// Adds a file with content from a reader of known length.
    pub fn stream(&mut self, path: &str, mode: u32, size: u64, content: impl Read) -> io::Result<()> {
        let mut header = header(EntryType::Regular, mode, 0);
        header.set_size(size);
        self.tar.append_data(&mut header, relative(path), content)
    }

    /// Adds a copy of a file of this machine.
    pub fn file(&mut self, path: &str, mode: u32, from: &Path) -> io::Result<()> {
        let content = File::open(from)?;
        let size = content.metadata()?.len();
        self.stream(path, mode, size, content)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &Path) -> io::Result<()> {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        self.tar.append_link(&mut header, relative(path), target)
    }

    /// Adds everything below `from` at the same place below the root. A file that anybody may execute stays so; every
    /// other mode and every owner is fixed.
    pub fn tree(&mut self, from: &Path) -> io::Result<()> {
        for path in walk(from)? {
            let name = path.strip_prefix(from).map_err(io::Error::other)?.to_string_lossy().into_owned();
            let metadata = path.symlink_metadata()?;
            if metadata.is_dir() {
                self.folder(&name, 0o755, 0)?;
            } else if metadata.is_symlink() {
                self.link(&name, &fs::read_link(&path)?)?;
            } else {
                let executable = metadata.permissions().mode() & 0o111 != 0;
                self.file(&name, if executable { 0o755 } else { 0o644 }, &path)?;
            }
        }
        Ok(())
    }

    /// Completes the layer.
    pub fn finish(self) -> io::Result<()> {
        self.tar.into_inner()?.sync_data()
    }
}

/// Everything below a folder, folders before their content, in the order of names.
pub fn walk(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    let mut all = Vec::new();
    for path in entries {
        let below = if path.symlink_metadata()?.is_dir() { walk(&path)? } else { Vec::new() };
        all.push(path);
        all.extend(below);
    }
    Ok(all)
}

fn header(kind: EntryType, mode: u32, owner: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(TIME);
    header.set_size(0);
    header
}

fn relative(path: &str) -> &str {
    path.trim_matches('/')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn build(path: &Path, tree: &Path) {
        let mut layer = LayerWriter::create(path).unwrap();
        layer.folder("/tmp", 0o1777, 0).unwrap();
        layer.bytes("/etc/name", 0o644, b"a8s").unwrap();
        layer.tree(tree).unwrap();
        layer.finish().unwrap();
    }

    #[test]
    fn a_layer_holds_what_was_put_in_and_is_the_same_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join("usr/bin")).unwrap();
        fs::write(tree.join("usr/bin/tool"), "#!").unwrap();
        fs::set_permissions(tree.join("usr/bin/tool"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(tree.join("usr/data"), "d").unwrap();
        std::os::unix::fs::symlink("bin/tool", tree.join("usr/link")).unwrap();
        let (first, second) = (folder.path().join("1"), folder.path().join("2"));
        build(&first, &tree);
        fs::write(tree.join("usr/data"), "d").unwrap();
        build(&second, &tree);
        assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());

        let mut archive = tar::Archive::new(File::open(&first).unwrap());
        let modes: BTreeMap<_, _> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap())
            })
            .collect();
        assert_eq!(modes.get("tmp/"), Some(&0o1777));
        assert_eq!(modes.get("usr/bin/tool"), Some(&0o755));
        assert_eq!(modes.get("usr/data"), Some(&0o644));
        assert_eq!(modes.len(), 7, "{modes:?}");
    }
}
