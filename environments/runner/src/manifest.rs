//! The list of the files in the home, written whenever everything is brought to the disk, so that a volume that is made from a Snapshot
//! later can be compared with what was there.
//!
//! The list is made of what the file system tells for nothing: size, time and mode of each file; small files are also read, as many as a
//! short while allows, and once read they are not read again until they change. What changes by itself is left out: caches, the browser's
//! profile, locks. Folders that are closed to this process are left out too. The list is never seen by the agent, and nothing is ever
//! repaired by it.

use std::{
    collections::HashMap,
    fs::{self, DirEntry, File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use a8s_wire::Flushed;
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Largest file whose content is read.
const SMALL: u64 = 64 << 10;
/// Time for reading in one go; people wait for the Snapshot that follows.
const READING: Duration = Duration::from_millis(40);
/// Most files that are listed; the rest of a larger home is not compared.
const MOST: usize = 200_000;
/// Folders that change by themselves or can be made again, by their path below the home.
const SKIPPED: [&[u8]; 6] = [
    b".cache",
    b".config/chromium",
    b".config/google-chrome",
    b".config/pulse",
    b".dbus",
    b".mozilla/firefox",
];

/// What is known of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// Time of the last change of any kind. It is not written down: it says only whether what was read is still there.
    pub changed: i64,
    /// Kind and permissions.
    pub mode: u32,
    /// First half of the SHA-256 of its content, if it was read.
    pub content: Option<[u8; 16]>,
}

impl Entry {
    /// Whether both were told the same by the file system.
    pub fn looks_like(&self, other: &Self) -> bool {
        (self.size, self.modified, self.mode) == (other.size, other.modified, other.mode)
    }
}

/// Files by their path below the home.
pub type Files = HashMap<Vec<u8>, Entry>;

/// The list, with the place in the conversation at which it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// When, and where in the conversation.
    pub flushed: Flushed,
    /// The files.
    pub files: Files,
}

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    #[serde(flatten)]
    flushed: Flushed,
    files: usize,
    sha256: String,
}

/// Lists the files below `home`. `known` saves reading what was read before.
pub fn scan(home: &Path, known: Option<&Files>) -> Files {
    let mut files = Files::new();
    walk(home, &mut Vec::new(), &mut files);
    let until = Instant::now() + READING;
    for (path, entry) in &mut files {
        let before = known.and_then(|known| known.get(path));
        entry.content = match before {
            Some(before)
                if before.changed == entry.changed
                    && before.looks_like(entry)
                    && before.content.is_some() =>
            {
                before.content
            }
            _ if Instant::now() < until => read(home, path, entry),
            _ => None,
        };
    }
    files
}

/// Lists the files without looking into them.
pub fn look(home: &Path) -> Files {
    let mut files = Files::new();
    walk(home, &mut Vec::new(), &mut files);
    files
}

fn walk(folder: &Path, path: &mut Vec<u8>, files: &mut Files) {
    // A folder that is closed to us, or gone by now.
    let Ok(entries) = fs::read_dir(folder) else { return };
    let length = path.len();
    for entry in entries.flatten() {
        if files.len() >= MOST {
            return;
        }
        path.truncate(length);
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(entry.file_name().as_bytes());
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            if !SKIPPED.contains(&path.as_slice()) {
                walk(&entry.path(), path, files);
            }
        } else if (kind.is_file() || kind.is_symlink())
            && !passing(entry.file_name().as_bytes())
            && let Some(found) = describe(&entry)
        {
            files.insert(path.clone(), found);
        }
    }
    path.truncate(length);
}

/// Locks and unfinished files.
fn passing(name: &[u8]) -> bool {
    name.starts_with(b"Singleton")
        || name.starts_with(b".~lock.")
        || [b".pid".as_slice(), b".lock", b".a8s-part", b".swp"].iter().any(|end| name.ends_with(end))
}

fn describe(entry: &DirEntry) -> Option<Entry> {
    let found = entry.metadata().ok()?;
    Some(Entry {
        size: found.size(),
        modified: found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec()),
        changed: found.ctime().saturating_mul(1_000_000_000).saturating_add(found.ctime_nsec()),
        mode: found.mode(),
        content: None,
    })
}

/// What a small file holds, if it can be read and is the file that was described.
pub fn read(home: &Path, path: &[u8], entry: &Entry) -> Option<[u8; 16]> {
    const REGULAR: u32 = 0o100_000;
    if entry.size > SMALL || entry.mode & 0o170_000 != REGULAR {
        return None;
    }
    // The agent owns the home: what was a file a moment ago may be a pipe, or lead elsewhere.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let path = home.join(std::ffi::OsStr::from_bytes(path));
    let mut file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut content = Vec::with_capacity(usize::try_from(entry.size).unwrap_or_default());
    Read::by_ref(&mut file).take(SMALL + 1).read_to_end(&mut content).ok()?;
    let digest = Sha256::digest(&content);
    digest[..16].try_into().ok()
}

impl Manifest {
    /// Writes the list in place of an older one. A crash leaves the old one or the new one; that it is on the disk is the caller's to see to.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        let mut body = Vec::with_capacity(self.files.len() * 80);
        let mut paths: Vec<_> = self.files.keys().collect();
        paths.sort_unstable();
        for path in paths {
            let entry = &self.files[path];
            write!(body, "{} {} {:o} ", entry.size, entry.modified, entry.mode)?;
            body.extend_from_slice(entry.content.map_or_else(|| "-".to_owned(), hex::encode).as_bytes());
            body.push(b' ');
            escape(path, &mut body);
            body.push(b'\n');
        }
        let head = Head {
            version: 1,
            flushed: self.flushed.clone(),
            files: self.files.len(),
            sha256: hex::encode(Sha256::digest(&body)),
        };
        let part = file.with_extension("part");
        let mut to = BufWriter::new(File::create(&part)?);
        serde_json::to_writer(&mut to, &head)?;
        to.write_all(b"\n")?;
        to.write_all(&body)?;
        to.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
        fs::rename(part, file)
    }

    /// Reads a list; `None` if there is none, or if it is not whole.
    pub fn read(file: &Path) -> Option<Self> {
        let text = fs::read(file).ok()?;
        let manifest = Self::parse(&text);
        if manifest.is_none() {
            tracing::warn!(file = %file.display(), "the list of files is damaged; nothing is compared with it");
        }
        manifest
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let end = text.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&text[..end]).ok()?;
        let body = &text[end + 1..];
        if head.version != 1 || head.sha256 != hex::encode(Sha256::digest(body)) {
            return None;
        }
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let files = lines.map(entry).collect::<Option<Files>>()?;
        Some(Self { flushed: head.flushed, files })
    }
}

fn entry(line: &[u8]) -> Option<(Vec<u8>, Entry)> {
    let mut fields = line.splitn(5, |byte| *byte == b' ');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let (size, modified) = (text()?.parse().ok()?, text()?.parse().ok()?);
    let mode = u32::from_str_radix(text()?, 8).ok()?;
    let content = match text()? {
        "-" => None,
        digits => Some(hex::decode(digits).ok()?.try_into().ok()?),
    };
    Some((unescape(fields.next()?), Entry { size, modified, changed: 0, mode, content }))
}

fn escape(path: &[u8], to: &mut Vec<u8>) {
    for byte in path {
        match byte {
            b'\n' => to.extend_from_slice(b"\\n"),
            b'\\' => to.extend_from_slice(b"\\\\"),
            other => to.push(*other),
        }
    }
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        path.push(match byte {
            b'\\' if bytes.next() == Some(&b'n') => b'\n',
            other => *other,
        });
    }
    path
}

/// A path of the list as a path of the system.
pub fn below(home: &Path, path: &[u8]) -> PathBuf {
    home.join(std::ffi::OsString::from_vec(path.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flushed() -> Flushed {
        Flushed { turn: 3, epoch: 1, seq: 12, at: "2026-11-22T12:00:00Z".into() }
    }

    #[test]
    fn a_list_is_read_as_it_was_written_whatever_the_files_are_called() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        fs::create_dir_all(home.join("a b/c")).unwrap();
        for name in ["a b/c/two\nlines", "back\\nslash", " spaces ", "ü.txt"] {
            fs::write(home.join(name), name).unwrap();
        }
        fs::write(home.join(std::ffi::OsStr::from_bytes(b"not\xfftext")), "x").unwrap();
        let files = scan(&home, None);
        assert_eq!(files.len(), 5);
        assert!(files.values().all(|entry| entry.content.is_some()));
        let file = folder.path().join("manifest");
        Manifest { flushed: flushed(), files: files.clone() }.write(&file).unwrap();
        let read = Manifest::read(&file).unwrap();
        assert_eq!(read.flushed, flushed());
        let written: Files =
            files.into_iter().map(|(path, entry)| (path, Entry { changed: 0, ..entry })).collect();
        assert_eq!(read.files, written);
    }

    #[test]
    fn what_changes_by_itself_is_not_listed() {
        let home = tempfile::tempdir().unwrap();
        for folder in [".cache/x", ".config/chromium/Default", "Documents"] {
            fs::create_dir_all(home.path().join(folder)).unwrap();
            fs::write(home.path().join(folder).join("file"), "").unwrap();
        }
        fs::write(home.path().join("Documents/.~lock.file#"), "").unwrap();
        nix::unistd::mkfifo(&home.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let files = scan(home.path(), None);
        assert_eq!(files.into_keys().collect::<Vec<_>>(), [b"Documents/file"]);
    }

    #[test]
    fn a_list_that_was_cut_anywhere_is_no_list() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), "a").unwrap();
        let file = folder.path().join("manifest.list");
        Manifest { flushed: flushed(), files: scan(folder.path(), None) }.write(&file).unwrap();
        let whole = fs::read(&file).unwrap();
        assert!(Manifest::parse(&whole).is_some());
        for length in 0..whole.len() {
            assert_eq!(Manifest::parse(&whole[..length]), None, "cut after {length} bytes");
        }
        let mut damaged = whole;
        let last = damaged.len() - 2;
        damaged[last] ^= 1;
        assert_eq!(Manifest::parse(&damaged), None);
    }

    /// `cargo test --release -p a8s-runner --lib ten_thousand -- --ignored --nocapture` prints how long it takes.
    #[test]
    #[ignore = "a measurement"]
    fn ten_thousand_files_are_listed_in_a_fifth_of_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        for at in 0..10_000 {
            let parent = home.join(format!("project-{}/src-{}", at / 1000, at / 50));
            fs::create_dir_all(&parent).unwrap();
            fs::write(parent.join(format!("file-{at}.txt")), format!("content {at}").repeat(40)).unwrap();
        }
        let file = folder.path().join("manifest");
        let mut known = None;
        for round in 0..5 {
            let began = Instant::now();
            let files = scan(&home, known.as_ref());
            let scanned = began.elapsed();
            let manifest = Manifest { flushed: flushed(), files };
            manifest.write(&file).unwrap();
            let read = manifest.files.values().filter(|entry| entry.content.is_some()).count();
            eprintln!(
                "round {round}: scan {scanned:?}, with writing {:?}, {read} of them read",
                began.elapsed()
            );
            assert!(began.elapsed() < Duration::from_millis(if cfg!(debug_assertions) { 2000 } else { 200 }));
            known = Some(manifest.files);
        }
        let began = Instant::now();
        assert_eq!(Manifest::read(&file).unwrap().files.len(), 10_000);
        let read = began.elapsed();
        let began = Instant::now();
        assert_eq!(look(&home).len(), 10_000);
        eprintln!("to compare: list {read:?}, home {:?}", began.elapsed());
    }

    #[test]
    fn a_file_is_read_again_only_if_it_changed() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("a.txt");
        fs::write(&file, "one").unwrap();
        let mut first = scan(home.path(), None);
        // As if it had been read as something else: the list believes what it knows.
        let known = Some([7; 16]);
        first.get_mut(b"a.txt".as_slice()).unwrap().content = known;
        assert_eq!(scan(home.path(), Some(&first))[b"a.txt".as_slice()].content, known);
        fs::write(&file, "other").unwrap();
        assert_ne!(scan(home.path(), Some(&first))[b"a.txt".as_slice()].content, known);
    }
}
