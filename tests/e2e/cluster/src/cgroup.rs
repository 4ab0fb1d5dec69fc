//! The cluster's branch of the control group trees, made before it starts and removed after it ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// The branch as the kubelet names it.
pub fn path(name: &str) -> String {
    format!("/a8s-{name}")
}

/// Every hierarchy's mount point: one on v2, one for each controller on v1.
fn hierarchies(root: &Path) -> Vec<PathBuf> {
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_path_buf()];
    }
    let Ok(entries) = fs::read_dir(root) else { return Vec::new() };
    let mut all: Vec<_> = entries
        .flatten()
        // Links such as cpu -> cpu,cpuacct name the same hierarchy twice.
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.path())
        .filter(|p| p.join("cgroup.procs").exists())
        .collect();
    all.sort();
    all
}

/// Makes the branch in every hierarchy; on v2 it hands the controllers down.
pub fn create(name: &str) -> io::Result<()> {
    let root = Path::new(ROOT);
    for hierarchy in hierarchies(root) {
        let branch = hierarchy.join(path(name).trim_start_matches('/'));
        fs::create_dir_all(&branch)?;
        if hierarchy == root {
            for dir in [&hierarchy, &branch] {
                let offered = fs::read_to_string(dir.join("cgroup.controllers"))?;
                for controller in offered.split_whitespace() {
                    // One that cannot be handed down is missing in the kubelet's own check, which names it.
                    let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
                }
            }
        }
    }
    Ok(())
}

/// Removes the branch everywhere. All its processes must have ended.
pub fn remove(name: &str) -> io::Result<()> {
    for branch in existing(name) {
        remove_tree(&branch)?;
    }
    Ok(())
}

/// Branches of the cluster that exist now.
pub fn existing(name: &str) -> Vec<PathBuf> {
    let leaf = path(name);
    let branch = |h: PathBuf| h.join(leaf.trim_start_matches('/'));
    hierarchies(Path::new(ROOT)).into_iter().map(branch).filter(|b| b.is_dir()).collect()
}

/// Processes in the cluster's containers, as the caller's process namespace numbers them.
pub fn processes(name: &str) -> Vec<i32> {
    // Each hierarchy has them all; the first tells.
    existing(name).first().map(|branch| processes_below(branch)).unwrap_or_default()
}

fn processes_below(dir: &Path) -> Vec<i32> {
    let own = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let mut all: Vec<i32> = own.lines().filter_map(|l| l.parse().ok()).filter(|pid| *pid > 0).collect();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            all.extend(processes_below(&entry.path()));
        }
    }
    all
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_all_containers_are_found_and_foreign_ones_are_not_zero() {
        let dir = tempfile::tempdir().unwrap();
        let pod = dir.path().join("kubepods/pod1");
        fs::create_dir_all(&pod).unwrap();
        fs::write(dir.path().join("cgroup.procs"), "").unwrap();
        // A process outside the reader's namespace is shown as 0: a signal to it would go to the reader's group.
        fs::write(pod.join("cgroup.procs"), "12\n0\n13\n").unwrap();
        assert_eq!(processes_below(dir.path()), [12, 13]);
    }

    #[test]
    fn version_one_has_a_branch_for_each_controller_and_version_two_has_one() {
        let dir = tempfile::tempdir().unwrap();
        for controller in ["cpu", "memory"] {
            fs::create_dir(dir.path().join(controller)).unwrap();
            fs::write(dir.path().join(controller).join("cgroup.procs"), "").unwrap();
        }
        fs::create_dir(dir.path().join("not-a-hierarchy")).unwrap();
        assert_eq!(hierarchies(dir.path()).len(), 2);
        fs::write(dir.path().join("cgroup.controllers"), "cpu memory").unwrap();
        assert_eq!(hierarchies(dir.path()), vec![dir.path().to_path_buf()]);
    }
}
