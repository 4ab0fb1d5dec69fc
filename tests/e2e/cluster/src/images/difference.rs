//! What an installation has that a layer below it has not. Installing all of it anew and leaving out what is the same needs no
//! package manager inside a container, and what the two share exists once on every node.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
};

use super::{
    ImageError, file,
    layer::{TIME, walk},
    oci::Layer,
    run,
};

/// Has `install` fill a folder, and writes what differs from `below` to the archive `target`. Everything happens in `folder`, which is
/// removed in the end and replaced if an earlier attempt left it.
pub fn tar(
    folder: &Path,
    below: &Layer,
    install: impl FnOnce(&Path) -> Result<(), ImageError>,
    target: &Path,
) -> Result<(), ImageError> {
    let wrong = file(folder);
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(&wrong)?;
    }
    let (old, new) = (folder.join("old"), folder.join("new"));
    fs::create_dir_all(&old).map_err(&wrong)?;
    install(&new)?;
    run(Command::new("tar").arg("-C").arg(&old).arg("-xpf").arg(&below.path))?;
    subtract(&old, &new).map_err(&wrong)?;
    run(Command::new("tar")
        .args(["--sort=name", "--numeric-owner", "--clamp-mtime", "--format=gnu"])
        .arg(format!("--mtime=@{TIME}"))
        .arg("-C")
        .arg(&new)
        .arg("-cf")
        .arg(target)
        .arg("."))?;
    fs::remove_dir_all(folder).map_err(&wrong)
}

/// Removes from `new` what is the same in `old`, and marks what is only in `old` as removed, as OCI layers do.
fn subtract(old: &Path, new: &Path) -> io::Result<()> {
    // Devices are the runtime's business.
    if new.join("dev").is_dir() {
        fs::remove_dir_all(new.join("dev"))?;
    }
    for path in walk(old)? {
        let name = path.strip_prefix(old).map_err(io::Error::other)?;
        let (other, before) = (new.join(name), path.symlink_metadata()?);
        if name.starts_with("dev") {
            continue;
        }
        match other.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Below a folder that is gone as a whole there is nothing to mark.
                if let (Some(parent), Some(gone)) = (other.parent().filter(|p| p.is_dir()), name.file_name())
                {
                    File::create(parent.join(format!(".wh.{}", gone.to_string_lossy())))?;
                }
            }
            Err(error) => return Err(error),
            Ok(after) if !before.is_dir() && same(&path, &before, &other, &after)? => fs::remove_file(other)?,
            Ok(_) => {}
        }
    }
    for path in walk(new)?.into_iter().rev() {
        let name = path.strip_prefix(new).map_err(io::Error::other)?;
        let after = path.symlink_metadata()?;
        let below = old.join(name).symlink_metadata();
        let known = below.is_ok_and(|before| before.is_dir() && modes(&before) == modes(&after));
        if after.is_dir() && known && fs::read_dir(&path)?.next().is_none() {
            fs::remove_dir(&path)?;
        }
    }
    Ok(())
}

fn modes(metadata: &Metadata) -> (u32, u32, u32) {
    (metadata.mode(), metadata.uid(), metadata.gid())
}

fn same(old: &Path, before: &Metadata, new: &Path, after: &Metadata) -> io::Result<bool> {
    if modes(before) != modes(after) || before.len() != after.len() {
        return Ok(false);
    }
    if before.is_symlink() {
        return Ok(fs::read_link(old)? == fs::read_link(new)?);
    }
    if !before.is_file() {
        return Ok(false);
    }
    let (mut old, mut new) = (File::open(old)?, File::open(new)?);
    let (mut one, mut two) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = old.read(&mut one)?;
        if read == 0 {
            return Ok(true);
        }
        new.read_exact(&mut two[..read])?;
        if one[..read] != two[..read] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn only_what_is_new_changed_or_gone_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        for root in [&old, &new] {
            put(root, "usr/bin/same", "same");
            put(root, "etc/only/same", "same");
            std::os::unix::fs::symlink("same", root.join("usr/bin/link")).unwrap();
        }
        put(&old, "etc/status", "one");
        put(&new, "etc/status", "two");
        put(&old, "etc/gone", "x");
        put(&old, "var/gone/deep", "x");
        put(&new, "opt/new", "x");
        fs::create_dir_all(new.join("var")).unwrap();
        subtract(&old, &new).unwrap();
        let left: Vec<_> =
            walk(&new).unwrap().iter().map(|p| p.strip_prefix(&new).unwrap().display().to_string()).collect();
        assert_eq!(left, ["etc", "etc/.wh.gone", "etc/status", "opt", "opt/new", "var", "var/.wh.gone"]);
    }

    #[test]
    fn another_mode_is_another_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        put(&old, "tool", "x");
        put(&new, "tool", "x");
        fs::set_permissions(new.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
        subtract(&old, &new).unwrap();
        assert!(new.join("tool").exists());
    }
}
