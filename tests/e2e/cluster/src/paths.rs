//! Where everything lives: one folder of state for each cluster, one folder of caches for all of them.
//! Nothing here touches the disk except [`Paths::create`].

use std::env;
use std::path::{Path, PathBuf};

/// Folders and well-known files of one named cluster.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The cluster's name, `a8s` unless told otherwise.
    pub name: String,
    /// Root of the source repository.
    pub repo: PathBuf,
    /// Products that can be rebuilt, shared by all clusters (`A8S_CACHE`).
    pub cache: PathBuf,
    /// Parent of the state folders of all clusters.
    pub clusters: PathBuf,
    /// This cluster's state: removing it and stopping its processes removes the cluster.
    pub state: PathBuf,
    /// Cargo's target folder; release binaries are in `target/release`.
    pub target: PathBuf,
}

/// A cluster name or environment that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PathsError {
    /// The name would not fit into interface, cgroup and folder names.
    #[error(
        "cluster name {0:?} is not usable: give 1 to 20 lower-case letters, digits or '-', starting with a letter"
    )]
    Name(String),
    /// Neither `HOME` nor the explicit variables are set.
    #[error("HOME is not set: set HOME, or A8S_CACHE and A8S_STATE")]
    NoHome,
    /// The repository could not be found.
    #[error("no a8s repository at or above {0}: run from inside the repository or set A8S_REPO")]
    NoRepo(PathBuf),
}

impl Paths {
    /// Paths of the cluster `name` as the environment variables `A8S_STATE`, `A8S_CACHE`, `A8S_REPO` and
    /// `CARGO_TARGET_DIR` say; below the home folder where they say nothing.
    pub fn from_env(name: &str) -> Result<Self, PathsError> {
        let var = |key: &str| env::var_os(key).filter(|v| !v.is_empty()).map(PathBuf::from);
        let cwd = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let absolute = |p: PathBuf| cwd.join(p);
        let repo = match var("A8S_REPO") {
            Some(repo) => absolute(repo),
            None => find_repo(&cwd)
                .or_else(|| find_repo(Path::new(env!("CARGO_MANIFEST_DIR"))))
                .ok_or_else(|| PathsError::NoRepo(cwd.clone()))?,
        };
        let home = var("HOME");
        let under_home = |rest: &str| home.as_ref().map(|h| h.join(rest)).ok_or(PathsError::NoHome);
        let cache = var("A8S_CACHE").map_or_else(|| under_home(".cache/a8s"), |p| Ok(absolute(p)))?;
        let clusters =
            var("A8S_STATE").map_or_else(|| under_home(".local/share/a8s/clusters"), |p| Ok(absolute(p)))?;
        let target = var("CARGO_TARGET_DIR").map_or_else(|| cache.join("target"), absolute);
        Self::new(name, repo, cache, clusters, target)
    }

    /// Paths from their parts. `A8S_STATE` names the folder that holds all clusters, so that two clusters never
    /// share a folder even when one variable is set for both.
    pub fn new(
        name: &str,
        repo: PathBuf,
        cache: PathBuf,
        clusters: PathBuf,
        target: PathBuf,
    ) -> Result<Self, PathsError> {
        if !valid_name(name) {
            return Err(PathsError::Name(name.to_owned()));
        }
        let state = clusters.join(name);
        Ok(Self { name: name.to_owned(), repo, cache, clusters, state, target })
    }

    /// Creates the folders that every step may rely on.
    pub fn create(&self) -> std::io::Result<()> {
        for dir in [self.bin_cache(), self.images_cache(), self.logs(), self.pki(), self.config()] {
            std::fs::create_dir_all(dir)?;
        }
        Ok(())
    }

    /// Go tools, one folder for each pinned build.
    pub fn bin_cache(&self) -> PathBuf {
        self.cache.join("bin")
    }
    /// OCI archives and their layers.
    pub fn images_cache(&self) -> PathBuf {
        self.cache.join("images")
    }
    /// Release binaries of this repository.
    pub fn release(&self) -> PathBuf {
        self.target.join("release")
    }
    /// Log files of the cluster's processes.
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }
    /// Keys and certificates.
    pub fn pki(&self) -> PathBuf {
        self.state.join("pki")
    }
    /// Rendered configuration files and kubeconfigs of the components.
    pub fn config(&self) -> PathBuf {
        self.state.join("config")
    }
    /// The administrator's kubeconfig, mode 0600.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("admin.kubeconfig")
    }
    /// The API server's audit log, where it writes one.
    pub fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.jsonl")
    }
    /// What processes of the cluster see as `/etc/resolv.conf`.
    pub fn resolv_conf(&self) -> PathBuf {
        self.config().join("resolv.conf")
    }
    /// The Go module pins beside the tool.
    pub fn go_pins(&self) -> PathBuf {
        self.repo.join("tests/e2e/cluster/go")
    }
}

fn valid_name(name: &str) -> bool {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 20
        && name.chars().all(ok)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name != "current"
}

fn find_repo(from: &Path) -> Option<PathBuf> {
    from.ancestors().find(|dir| dir.join("tests/e2e/cluster/go").is_dir()).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(name: &str) -> Result<Paths, PathsError> {
        Paths::new(name, "/r".into(), "/c".into(), "/s".into(), "/t".into())
    }

    #[test]
    fn two_names_never_share_a_state_folder() {
        let (a, b) = (paths("a8s").unwrap(), paths("test-1").unwrap());
        assert_ne!(a.state, b.state);
        assert_eq!(a.cache, b.cache);
    }

    #[test]
    fn names_that_would_escape_the_folder_or_the_interface_name_are_refused() {
        for bad in ["", "../x", "A", "1a", "a_b", "a-", "current", "aaaaaaaaaaaaaaaaaaaaa"] {
            assert_eq!(paths(bad).map(|p| p.name), Err(PathsError::Name(bad.to_owned())));
        }
    }

    #[test]
    fn the_repository_is_found_from_a_folder_inside_it() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(find_repo(&here.join("src")), find_repo(here));
        assert!(find_repo(here).is_some());
    }
}
