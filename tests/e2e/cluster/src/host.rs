//! What this machine allows, read from it and never assumed.

use std::fs;
use std::path::Path;

/// Facts that decide flags of the components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Controllers are on cgroup v1 hierarchies (also "hybrid").
    pub cgroup_v1: bool,
    /// The capability to lower a process' OOM score is there.
    pub may_lower_oom_score: bool,
}

const CAP_SYS_RESOURCE: u32 = 24;

impl HostFacts {
    /// Reads them.
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            cgroup_v1: !Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
            may_lower_oom_score: has_capability(&status, CAP_SYS_RESOURCE),
        }
    }
}

fn has_capability(status: &str, bit: u32) -> bool {
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
    effective
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|caps| caps >> bit & 1 == 1)
}

/// Identity of the running kernel's boot; another one after a restart.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_read_from_the_effective_set() {
        let status = "CapPrm:\t000001ffffffffff\nCapEff:\t0000000001000000\n";
        assert!(has_capability(status, CAP_SYS_RESOURCE));
        assert!(!has_capability(status, 25));
        assert!(!has_capability("", CAP_SYS_RESOURCE));
    }
}
