//! Addresses: every cluster gets a /24 of its own, one virtual link between the machine and the cluster's network
//! namespace, and a port for the console. The registry in the folder of all clusters remembers who has what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::Paths;
use crate::certs::write_private;
use crate::components::well_known::{API_PORT, CONSOLE_NODE_PORT};
use crate::run::run;

/// What one cluster owns on the machine's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Third number of its addresses: 10.111.`index`.x.
    pub index: u8,
    /// Port of 127.0.0.1 that leads to the console.
    pub console_port: u16,
}

type Registry = BTreeMap<String, Network>;

impl Network {
    /// The machine's end.
    pub fn host(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 111, self.index, 1)
    }
    /// The node's address: also the API server's.
    pub fn node(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 111, self.index, 2)
    }
    /// Name of the machine's end of the link.
    pub fn link(&self) -> String {
        format!("a8s-{}", self.index)
    }
    /// URL of the API server, the same from the machine and from inside.
    pub fn api_url(&self) -> String {
        format!("https://{}:{API_PORT}", self.node())
    }
    /// Where the console's Service listens.
    pub fn console_target(&self) -> String {
        format!("{}:{CONSOLE_NODE_PORT}", self.node())
    }
    /// What a person opens.
    pub fn console_url(&self) -> String {
        format!("http://localhost:{}", self.console_port)
    }

    /// The cluster's network, allocated at its first start and kept until it is removed.
    pub fn claim(paths: &Paths) -> Result<Self> {
        edit(paths, |all| {
            if let Some(known) = all.get(&paths.name) {
                return Ok(known.clone());
            }
            let addresses = run(Command::new("ip").args(["-o", "-4", "addr", "show"]))?;
            let taken = taken(all, &addresses);
            let index = free_index(&taken).context("all 254 cluster networks 10.111.x.0/24 are in use")?;
            let reserved: BTreeSet<u16> = all.values().map(|n| n.console_port).collect();
            let wish = 8080 + u16::from(index) - 1;
            let console_port = (wish..wish + 500)
                .find(|port| !reserved.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok())
                .with_context(|| format!("no free port on 127.0.0.1 from {wish} for the console"))?;
            let network = Self { index, console_port };
            all.insert(paths.name.clone(), network.clone());
            Ok(network)
        })
    }

    /// The cluster's network if it has one.
    pub fn known(paths: &Paths) -> Result<Option<Self>> {
        Ok(read(paths)?.remove(&paths.name))
    }

    /// Gives the addresses back.
    pub fn release(paths: &Paths) -> Result<()> {
        edit(paths, |all| {
            all.remove(&paths.name);
            Ok(())
        })
    }

    /// Makes the link: one end here, the other as `eth0` in the namespace of `pid`.
    pub fn connect(&self, pid: i32) -> Result<()> {
        self.disconnect()?;
        let (link, pid) = (self.link(), pid.to_string());
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &pid])
            .context("making the link to the cluster: does the kernel have veth?")?;
        ip(&["addr", "add", &format!("{}/24", self.host()), "dev", &link])?;
        ip(&["link", "set", &link, "up"])
    }

    /// Whether the machine's end is there.
    pub fn is_connected(&self) -> bool {
        fs::exists(format!("/sys/class/net/{}", self.link())).unwrap_or(false)
    }

    /// Removes the machine's end if it is there.
    pub fn disconnect(&self) -> Result<()> {
        if self.is_connected() {
            // It may go by itself in this very moment: only what remains is an error.
            let deleted = ip(&["link", "del", &self.link()]);
            if self.is_connected() {
                return deleted;
            }
        }
        Ok(())
    }
}

/// Runs `ip`.
pub fn ip(args: &[&str]) -> Result<()> {
    run(Command::new("ip").args(args)).map(drop)
}

fn file(paths: &Paths) -> std::path::PathBuf {
    paths.clusters.join("networks.json")
}

fn read(paths: &Paths) -> Result<Registry> {
    match fs::read_to_string(file(paths)) {
        Ok(text) => serde_json::from_str(&text).with_context(|| {
            format!("{} is not readable: remove it when no cluster runs", file(paths).display())
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Registry::new()),
        Err(e) => Err(e).with_context(|| format!("reading {}", file(paths).display())),
    }
}

fn edit<T>(paths: &Paths, change: impl FnOnce(&mut Registry) -> Result<T>) -> Result<T> {
    fs::create_dir_all(&paths.clusters)?;
    let lock = File::create(paths.clusters.join("lock"))?;
    lock.lock()?;
    let mut all = read(paths)?;
    let before = all.clone();
    let result = change(&mut all)?;
    if all.is_empty() {
        // The last cluster leaves an empty folder behind, nothing else.
        if fs::exists(file(paths))? {
            fs::remove_file(file(paths))?;
        }
    } else if all != before {
        write_private(&file(paths), &serde_json::to_string_pretty(&all)?)?;
    }
    Ok(result)
}

fn taken(registry: &Registry, ip_addr_output: &str) -> BTreeSet<u8> {
    let seen = ip_addr_output.split_whitespace().filter_map(|word| {
        let mut parts = word.strip_prefix("10.111.")?.split('.');
        parts.next()?.parse().ok()
    });
    registry.values().map(|n| n.index).chain(seen).collect()
}

fn free_index(taken: &BTreeSet<u8>) -> Option<u8> {
    (1..=254).find(|i| !taken.contains(i))
}

/// Checks that no state folder lies where the cluster mounts its own things.
pub fn check_state_folder(paths: &Paths) -> Result<()> {
    for hidden in ["/run", "/var/run", "/var/lib", "/var/log", "/proc", "/tmp/.X11-unix"] {
        if paths.clusters.starts_with(hidden)
            || paths.cache.starts_with(hidden)
            || paths.target.starts_with(hidden)
        {
            bail!(
                "A8S_STATE, A8S_CACHE and CARGO_TARGET_DIR must not lie below {hidden}: the cluster has its own {hidden}"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_free_only_if_neither_the_registry_nor_the_machine_has_it() {
        let registry = Registry::from([("a".to_owned(), Network { index: 1, console_port: 8080 })]);
        let output = "5: a8s-2    inet 10.111.2.1/24 scope global a8s-2\n";
        assert_eq!(free_index(&taken(&registry, output)), Some(3));
        assert_eq!(free_index(&taken(&registry, "")), Some(2));
    }

    #[test]
    fn clusters_that_start_at_the_same_time_get_different_addresses_and_ports() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let claim = |i: usize| {
            let state = root.into();
            let paths = Paths::new(&format!("c{i}"), "/r".into(), "/c".into(), state, "/t".into());
            Network::claim(&paths.unwrap()).unwrap()
        };
        let claimed: Vec<Network> = std::thread::scope(|scope| {
            let started: Vec<_> = (0..8).map(|i| scope.spawn(move || claim(i))).collect();
            started.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let indexes: BTreeSet<u8> = claimed.iter().map(|n| n.index).collect();
        let ports: BTreeSet<u16> = claimed.iter().map(|n| n.console_port).collect();
        assert_eq!((indexes.len(), ports.len()), (8, 8));
    }

    #[test]
    fn no_address_is_invented_when_all_are_taken() {
        assert_eq!(free_index(&(1..=254).collect()), None);
    }

    #[test]
    fn interface_names_fit_the_kernels_fifteen_characters() {
        assert!(Network { index: 254, console_port: 1 }.link().len() <= 15);
    }

    #[test]
    fn a_state_folder_that_the_cluster_would_hide_from_itself_is_refused() {
        let at = |dir: &str| Paths::new("a", "/r".into(), "/c".into(), dir.into(), "/t".into()).unwrap();
        assert!(check_state_folder(&at("/var/lib/a8s")).is_err());
        assert!(check_state_folder(&at("/home/me/.local/share/a8s")).is_ok());
    }
}
