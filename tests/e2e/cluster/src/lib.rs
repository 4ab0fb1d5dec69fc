//! The embedded cluster: a real single-node Kubernetes in its own namespaces, built from pinned Go modules, with a
//! local CSI driver and images that need no registry. `a8s-cluster` is its command line; tests use this library.

pub mod binaries;
mod certs;
mod cgroup;
mod cluster;
pub mod components;
pub mod current;
pub mod down;
pub mod forward;
mod host;
pub mod identity;
pub mod images;
mod install;
pub mod keeper;
mod kubectl;
pub mod lifecycle;
pub mod network;
pub mod paths;
mod preflight;
pub mod products;
pub mod progress;
mod run;
pub mod standalone;
pub mod supervise;

pub use cluster::{Cluster, Options};
pub use install::{DEMO, SYSTEM_NAMESPACE, snapshot_definitions};
pub use keeper::Keeper;
pub use kubectl::Kubectl;
pub use paths::Paths;
pub use progress::Progress;
pub use standalone::ControlPlane;
