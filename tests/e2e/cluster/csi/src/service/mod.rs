//! The three gRPC services over the store.
//!
//! Each call checks its arguments first, then runs on a blocking thread: the store forks and writes files.

mod controller;
mod identity;
mod node;

use std::{path::PathBuf, sync::Arc};

use tonic::{Response, Status};

pub use self::{controller::ControllerService, identity::IdentityService, node::NodeService};
use crate::{
    csi::{VolumeCapability, volume_capability::AccessType, volume_capability::access_mode::Mode},
    store::{Store, StoreError},
};

/// What the services share.
#[derive(Debug)]
pub struct Driver {
    /// Volumes and snapshots.
    pub store: Store,
    /// The node's name, as Kubernetes knows it.
    pub node_name: String,
    /// Volumes are published below this folder and nowhere else.
    pub kubelet_dir: PathBuf,
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(
    driver: &Arc<Driver>,
    work: impl FnOnce(&Driver) -> Result<T, Status> + Send + 'static,
) -> Result<Response<T>, Status> {
    let driver = Arc::clone(driver);
    match tokio::task::spawn_blocking(move || work(&driver)).await {
        Ok(result) => result.map(Response::new),
        Err(error) => Err(Status::internal(format!("the call was not finished: {error}"))),
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::NoVolume(_) | StoreError::NoSnapshot(_) => Self::not_found(message),
            StoreError::Conflict { .. } => Self::already_exists(message),
            StoreError::Size(_) => Self::out_of_range(message),
            StoreError::Full(_) => Self::resource_exhausted(message),
            StoreError::Command(_) | StoreError::File { .. } => {
                tracing::error!(%message, "a call failed");
                Self::internal(message)
            }
        }
    }
}

fn given<'a>(value: &'a str, field: &str) -> Result<&'a str, Status> {
    if value.is_empty() { Err(Status::invalid_argument(format!("{field} is missing"))) } else { Ok(value) }
}

/// Why a volume cannot be used as `capability` says; `None` if it can. There is one node, so every access mode is
/// satisfied by it. The file system type is not looked at: a volume is a folder of the pool.
fn unsupported(capability: &VolumeCapability) -> Option<String> {
    match &capability.access_type {
        None => return Some("access_type is missing".to_owned()),
        Some(AccessType::Block(_)) => {
            return Some("block volumes are not offered, only file systems".to_owned());
        }
        Some(AccessType::Mount(_)) => {}
    }
    let mode = capability.access_mode.unwrap_or_default().mode();
    (mode == Mode::Unknown).then(|| "access_mode is missing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csi::volume_capability::{AccessMode, BlockVolume, MountVolume};

    fn capability(access: AccessType, mode: Mode) -> VolumeCapability {
        VolumeCapability { access_type: Some(access), access_mode: Some(AccessMode { mode: mode.into() }) }
    }

    #[test]
    fn file_systems_are_offered_and_block_devices_are_not() {
        let mount = AccessType::Mount(MountVolume::default());
        assert_eq!(unsupported(&capability(mount.clone(), Mode::SingleNodeWriter)), None);
        assert_eq!(unsupported(&capability(mount.clone(), Mode::MultiNodeMultiWriter)), None);
        assert!(unsupported(&capability(mount, Mode::Unknown)).is_some());
        assert!(
            unsupported(&capability(AccessType::Block(BlockVolume {}), Mode::SingleNodeWriter)).is_some()
        );
        assert!(unsupported(&VolumeCapability::default()).is_some());
    }
}
