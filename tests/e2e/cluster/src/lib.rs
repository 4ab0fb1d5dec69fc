//! The embedded cluster: a real single-node Kubernetes in its own namespaces, built from pinned Go modules, with a
//! local CSI driver and images that need no registry. `a8s-cluster` is its command line; tests use this library.

pub mod images;
pub mod paths;
pub mod progress;

pub use paths::Paths;
pub use progress::Progress;
