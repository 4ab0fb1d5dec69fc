//! What a desktop that is no more left in the home, and what keeps the next one from starting well: locks that name a dead process or
//! another host, sockets that nobody listens on, the browser's note that it crashed. A volume that was restored from a Snapshot is full
//! of them, since it was taken while everything ran.
//!
//! What is to be repaired is found first, noted for the runner, which compares restored homes, and then done. Documents are never touched.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::{
        fs::{FileTypeExt, OpenOptionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use nix::{sys::signal::kill, unistd::Pid};

/// Names of profile locks of Chromium and of everything made from it. They hold a host and a process id.
const PROFILE_LOCKS: [&str; 3] = ["SingletonLock", "SingletonCookie", "SingletonSocket"];
/// Folders that hold nothing of interest and very much of it.
const SKIPPED: [&str; 6] = [".cache", "node_modules", ".git", "Trash", "chromium", "google-chrome"];
/// The home is looked through before anybody can use it, so this must end soon.
const MOST_ENTRIES: usize = 50_000;
const DEEPEST: usize = 10;
/// A file with a process id holds little else.
const PID_FILE: u64 = 4096;
/// Browser preferences are some 100 KiB.
const PREFERENCES: u64 = 8 << 20;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Repair {
    Remove(PathBuf),
    /// The browser's preferences say that it crashed.
    Calm(PathBuf),
}

impl Repair {
    fn path(&self) -> &Path {
        match self {
            Self::Remove(path) | Self::Calm(path) => path,
        }
    }
}

/// Repairs `home` before anything runs in it, and appends what it touched to `note`. `first`: nothing has run in this pod yet, so that
/// every process id in the home is one of the dead.
pub fn repair(home: &Path, first: bool, note: &Path) {
    let mut all = BTreeSet::new();
    profiles(home, &mut all);
    if first {
        known(home, &mut all);
        let mut left = MOST_ENTRIES;
        walk(home, DEEPEST, &mut left, &mut all);
        if left == 0 {
            tracing::warn!("the home has too many files to look for stale locks in all of them");
        }
    }
    if all.is_empty() {
        return;
    }
    // Noted before it is done: what the runner sees changed must be on the list already.
    if let Err(error) = write_note(home, &all, note) {
        tracing::warn!(%error, "cannot note the repairs; a restored home will seem to differ by them");
    }
    for repair in &all {
        let done = match repair {
            Repair::Remove(path) => fs::remove_file(path),
            Repair::Calm(path) => calm(path),
        };
        match done {
            Ok(()) => tracing::info!(?repair, "repaired"),
            // A folder in its place, or a volume that cannot be written: the program that minds it will say so.
            Err(error) => tracing::warn!(?repair, %error, "cannot be repaired"),
        }
    }
}

fn write_note(home: &Path, all: &BTreeSet<Repair>, note: &Path) -> io::Result<()> {
    let mut text = Vec::new();
    for path in all.iter().filter_map(|repair| repair.path().strip_prefix(home).ok()) {
        text.extend_from_slice(path.as_os_str().as_encoded_bytes());
        text.push(b'\n');
    }
    OpenOptions::new().append(true).create(true).mode(0o640).open(note)?.write_all(&text)
}

fn present(path: PathBuf, all: &mut BTreeSet<Repair>) {
    if path.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
        all.insert(Repair::Remove(path));
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

fn named(entry: &fs::DirEntry, test: impl Fn(&str) -> bool) -> bool {
    entry.file_name().to_str().is_some_and(test)
}

fn ends(entry: &fs::DirEntry, extension: &str) -> bool {
    entry.path().extension().is_some_and(|found| found == extension)
}

/// Browsers, and programs made from one. Their processes are this container's, so that these locks are stale whenever deskd starts.
fn profiles(home: &Path, all: &mut BTreeSet<Repair>) {
    for program in entries(&home.join(".config")) {
        for lock in PROFILE_LOCKS {
            present(program.path().join(lock), all);
        }
        for profile in entries(&program.path()) {
            if named(&profile, |name| name == "Default" || name.starts_with("Profile ")) {
                let preferences = profile.path().join("Preferences");
                if crashed(&preferences) {
                    all.insert(Repair::Calm(preferences));
                }
            }
        }
    }
    for profile in entries(&home.join(".mozilla/firefox")) {
        present(profile.path().join("lock"), all);
    }
}

/// Places of other programs.
fn known(home: &Path, all: &mut BTreeSet<Repair>) {
    for name in [
        ".Xauthority",
        ".Xauthority-c",
        ".Xauthority-l",
        ".ICEauthority",
        ".ICEauthority-c",
        ".ICEauthority-l",
    ] {
        present(home.join(name), all);
    }
    // An office program that finds it asks whether it runs already.
    for version in entries(&home.join(".config/libreoffice")) {
        present(version.path().join(".lock"), all);
    }
    for entry in entries(&home.join(".config/pulse")) {
        if named(&entry, |name| name.ends_with("-runtime")) {
            present(entry.path(), all);
        }
    }
    // With another host's name in it, gpg waits for such a lock for ever.
    for entry in entries(&home.join(".gnupg")) {
        if named(&entry, |name| name.starts_with(".#lk")) || ends(&entry, "lock") {
            present(entry.path(), all);
        }
    }
    for entry in entries(&home.join(".cache/at-spi")) {
        present(entry.path(), all);
    }
}

/// Locks beside documents, sockets and process ids can be anywhere.
fn walk(folder: &Path, depth: usize, left: &mut usize, all: &mut BTreeSet<Repair>) {
    for entry in entries(folder) {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            if depth > 0 && !named(&entry, |name| SKIPPED.contains(&name)) {
                walk(&entry.path(), depth - 1, left, all);
            }
        } else if (kind.is_socket() && deserted(&entry.path()))
            || (kind.is_file() && named(&entry, |name| name.starts_with(".~lock.") && name.ends_with('#')))
            || (kind.is_file() && ends(&entry, "pid") && dead(&entry.path()))
        {
            all.insert(Repair::Remove(entry.path()));
        }
    }
}

fn deserted(socket: &Path) -> bool {
    UnixStream::connect(socket).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The file begins with the id of a process that is no more.
fn dead(file: &Path) -> bool {
    let Some(text) = read(file, PID_FILE) else { return false };
    let id = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()).filter(|id| *id > 0);
    id.is_some_and(|id| kill(Pid::from_raw(id), None) == Err(nix::errno::Errno::ESRCH))
}

const CRASHED: [(&str, &str); 2] = [
    ("\"exit_type\":\"Crashed\"", "\"exit_type\":\"Normal\""),
    ("\"exited_cleanly\":false", "\"exited_cleanly\":true"),
];

fn crashed(preferences: &Path) -> bool {
    read(preferences, PREFERENCES).is_some_and(|text| CRASHED.iter().any(|(said, _)| text.contains(said)))
}

/// The browser would begin with a question about the pages of its last run.
fn calm(preferences: &Path) -> io::Result<()> {
    let text = fs::read_to_string(preferences)?;
    let text = CRASHED.iter().fold(text, |text, (said, says)| text.replace(said, says));
    let part = preferences.with_extension("a8s-part");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)?
        .write_all(text.as_bytes())?;
    fs::rename(part, preferences)
}

fn read(file: &Path, most: u64) -> Option<String> {
    let found = file.symlink_metadata().ok()?;
    (found.is_file() && found.len() <= most).then(|| fs::read_to_string(file).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    fn home(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (home, note) = (dir.path().join("home"), dir.path().join("repaired"));
        for (name, text) in files {
            fs::create_dir_all(home.join(name).parent().unwrap()).unwrap();
            fs::write(home.join(name), text).unwrap();
        }
        (dir, home, note)
    }

    fn left(home: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![home.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in entries(&folder) {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    found.push(entry.path().strip_prefix(home).unwrap().display().to_string());
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn locks_of_the_dead_go_and_documents_stay() {
        let (_dir, home, note) = home(&[
            (".config/chromium/Local State", "{}"),
            (".config/libreoffice/4/.lock", ""),
            (".gnupg/pubring.kbx.lock", ""),
            (".gnupg/pubring.kbx", "keys"),
            (".Xauthority-l", ""),
            ("Documents/.~lock.letter.odt#", ",jane,oldhost,22.11.2026;"),
            ("Documents/letter.odt", "Dear"),
            ("Documents/notes.pid", "not a number"),
            ("pgdata/postmaster.pid", "999999999\n/home/agent/pgdata\n"),
            ("mine.pid", "1\n"),
        ]);
        symlink("oldhost-4711", home.join(".config/chromium/SingletonLock")).unwrap();
        fs::create_dir_all(home.join(".mozilla/firefox/x.default")).unwrap();
        symlink("10.0.0.1:+4711", home.join(".mozilla/firefox/x.default/lock")).unwrap();
        drop(UnixListener::bind(home.join(".gnupg/S.gpg-agent")).unwrap());
        let _living = UnixListener::bind(home.join("living")).unwrap();

        repair(&home, true, &note);
        assert_eq!(
            left(&home),
            [
                ".config/chromium/Local State",
                ".gnupg/pubring.kbx",
                "Documents/letter.odt",
                "Documents/notes.pid",
                "living",
                "mine.pid"
            ]
        );
        let note = fs::read_to_string(note).unwrap();
        assert!(
            note.contains("Documents/.~lock.letter.odt#\n")
                && note.contains(".config/chromium/SingletonLock\n")
        );
        assert!(!note.contains("letter.odt\n"), "{note}");
    }

    #[test]
    fn a_restarted_deskd_leaves_alone_what_another_container_may_hold() {
        let (_dir, home, note) =
            home(&[("Documents/.~lock.letter.odt#", "x"), (".config/Code/Preferences", "{}")]);
        symlink("host-1", home.join(".config/Code/SingletonLock")).unwrap();
        repair(&home, false, &note);
        assert_eq!(left(&home), [".config/Code/Preferences", "Documents/.~lock.letter.odt#"]);
    }

    #[test]
    fn a_browser_that_was_cut_off_does_not_say_that_it_crashed() {
        let preferences = ".config/chromium/Default/Preferences";
        let text = r#"{"a":[1.50],"profile":{"exit_type":"Crashed","name":"x"}}"#;
        let (_dir, home, note) = home(&[(preferences, text)]);
        repair(&home, true, &note);
        let calm = r#"{"a":[1.50],"profile":{"exit_type":"Normal","name":"x"}}"#;
        assert_eq!(fs::read_to_string(home.join(preferences)).unwrap(), calm);
        assert_eq!(fs::read_to_string(&note).unwrap(), format!("{preferences}\n"));
        fs::remove_file(&note).unwrap();
        repair(&home, true, &note);
        assert!(!note.exists(), "a home in order needs no repair");
    }

    #[test]
    fn links_out_of_the_home_are_not_followed() {
        let (dir, home, note) = home(&[("a.txt", "")]);
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join(".~lock.a#"), "").unwrap();
        symlink(&outside, home.join("link")).unwrap();
        repair(&home, true, &note);
        assert!(outside.join(".~lock.a#").exists());
    }
}
