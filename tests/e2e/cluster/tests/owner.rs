//! What a process has started ends with it, however it ends itself.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use a8s_cluster::ControlPlane;

/// Set in the process that is killed: it is this test once more.
const OWNER: &str = "A8S_TEST_OWNER";
const FOLDER: &str = "folder of the owner: ";

/// Processes that name a folder.
fn of(folder: &Path) -> Vec<String> {
    let lines = fs::read_dir("/proc").unwrap().flatten();
    let lines = lines.map(|p| fs::read_to_string(p.path().join("cmdline")).unwrap_or_default());
    lines.filter(|line| line.contains(&*folder.to_string_lossy())).collect()
}

/// Has an API server until it is killed.
fn own() -> ! {
    let server = ControlPlane::start().unwrap();
    println!("\n{FOLDER}{}", server.kubeconfig().parent().unwrap().display());
    loop {
        std::thread::park();
    }
}

#[test]
fn kill_9_of_who_owns_an_api_server_leaves_neither_process_nor_folder() {
    if std::env::var_os(OWNER).is_some() {
        own();
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--nocapture",
            "--exact",
            "kill_9_of_who_owns_an_api_server_leaves_neither_process_nor_folder",
        ])
        .env(OWNER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(owner.stdout.take().unwrap()).lines().map_while(Result::ok);
    let folder = said.find_map(|line| Some(PathBuf::from(line.strip_prefix(FOLDER)?)));
    let folder = folder.expect("the owner says where its server is");
    assert_eq!(of(&folder).len(), 2, "a store and a server: {:?}", of(&folder));
    assert!(folder.exists());

    owner.kill().unwrap();
    owner.wait().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while folder.exists() || !of(&folder).is_empty() {
        assert!(Instant::now() < until, "left: {folder:?}, {:?}", of(&folder));
        std::thread::sleep(Duration::from_millis(20));
    }
}
