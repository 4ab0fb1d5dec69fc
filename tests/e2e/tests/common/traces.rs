//! What a cluster is on the machine, to find out whether something of it is left when it is gone. Other clusters may run beside it.

use std::{collections::BTreeSet, fs, process::Command};

use a8s_cluster::{Paths, network::Network};
use anyhow::{Context, Result};

/// A running cluster's marks.
pub struct Traces {
    state: String,
    group: String,
    link: String,
    namespaces: BTreeSet<String>,
}

impl Traces {
    /// Of a cluster that runs now.
    pub fn of(paths: &Paths) -> Result<Self> {
        let network = Network::known(paths)?.context("a running cluster has a network")?;
        let mut traces = Self {
            state: paths.state.display().to_string(),
            group: format!("/a8s-{}", paths.name),
            link: network.link(),
            namespaces: BTreeSet::new(),
        };
        let here = fs::read_link("/proc/self/ns/net")?;
        for pid in traces.processes() {
            let namespace = fs::read_link(format!("/proc/{pid}/ns/net")).ok();
            traces.namespaces.extend(namespace.filter(|n| *n != here).map(|n| n.display().to_string()));
        }
        anyhow::ensure!(traces.namespaces.len() > 1, "the cluster and its pods have networks of their own");
        Ok(traces)
    }

    fn processes(&self) -> Vec<String> {
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.map(|e| e.file_name().to_string_lossy().into_owned());
        let ours = |pid: &String| {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let group = read("cgroup").lines().any(|line| {
                line.split_once(&self.group).is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('/'))
            });
            group || read("cmdline").contains(&format!("{}/", self.state))
        };
        pids.filter(|pid| pid.bytes().all(|b| b.is_ascii_digit())).filter(ours).collect()
    }

    /// What of it is still there, a line a thing.
    pub fn left(&self) -> BTreeSet<String> {
        let mut all: BTreeSet<_> = self.processes().into_iter().map(|pid| format!("process {pid}")).collect();
        let mut add = |kind: &str, text: &str, mark: &str| {
            all.extend(text.lines().filter(|l| l.contains(mark)).map(|l| format!("{kind} {l}")));
        };
        add("mount", &fs::read_to_string("/proc/mounts").unwrap_or_default(), &self.state);
        add(
            "loop device",
            &output("losetup", &["--list", "--noheadings", "--output", "NAME,BACK-FILE"]),
            &self.state,
        );
        add("interface", &output("ip", &["-o", "link"]), &format!(" {}@", self.link));
        add("nft", &output("nft", &["list", "ruleset"]), &self.link);
        let networks = output("lsns", &["--type", "net", "--noheadings", "--output", "NS"]);
        for namespace in &self.namespaces {
            let number = namespace.trim_start_matches("net:[").trim_end_matches(']');
            add("network namespace", &networks, number);
        }
        let groups = output(
            "find",
            &["/sys/fs/cgroup", "-maxdepth", "2", "-type", "d", "-path", &format!("*{}", self.group)],
        );
        add("control group", &groups, "");
        if fs::exists(&self.state).unwrap_or(true) {
            all.insert(format!("folder {}", self.state));
        }
        all
    }
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default()
}
