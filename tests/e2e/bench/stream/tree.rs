//! What a process and its children cost, by the kernel's own counts: nanoseconds of CPU and proportional memory.

use std::{collections::BTreeMap, fs};

/// CPU time of a process, all its children and all their threads, in seconds. Ticks of a hundredth would miss what runs for
/// microseconds at a time.
pub fn cpu(root: u32) -> f64 {
    let nanoseconds = |pid: u32| -> u64 {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        threads
            .filter_map(|thread| {
                let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
                text.split_whitespace().next()?.parse::<u64>().ok()
            })
            .sum()
    };
    std::time::Duration::from_nanos(tree(root).into_iter().map(nanoseconds).sum()).as_secs_f64()
}

/// Memory of a process and all its children in KiB. What several share counts in parts.
pub fn memory(root: u32) -> f64 {
    let kib = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    tree(root).into_iter().filter_map(kib).sum()
}

/// A process and all below it.
pub fn tree(root: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let parents: BTreeMap<u32, u32> = entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name in parentheses may hold anything.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut all = vec![root];
    let mut at = 0;
    while let Some(parent) = all.get(at).copied() {
        all.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_counted_with_its_children() {
        let me = std::process::id();
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        assert!(tree(me).contains(&child.id()));
        assert!(memory(me) > memory(child.id()) && memory(child.id()) > 0.0);
        assert!(cpu(me) > 0.0);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
