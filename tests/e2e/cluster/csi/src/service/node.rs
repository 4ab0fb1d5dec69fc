//! Volumes in pods: bind mounts below the kubelet's folder.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use nix::mount::MsFlags;
use tonic::{Request, Response, Status, async_trait};

use super::{Driver, blocking, given, unsupported};
use crate::{
    csi::{
        NodeGetCapabilitiesRequest, NodeGetCapabilitiesResponse, NodeGetInfoRequest, NodeGetInfoResponse,
        NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse, NodePublishVolumeRequest,
        NodePublishVolumeResponse, NodeServiceCapability, NodeUnpublishVolumeRequest,
        NodeUnpublishVolumeResponse, VolumeCapability, VolumeUsage,
        node_server::Node,
        node_service_capability,
        volume_capability::{AccessType, access_mode::Mode},
        volume_usage::Unit,
    },
    mounts,
    naming::Kind,
};

/// The Node service.
#[derive(Debug, Clone)]
pub struct NodeService(pub Arc<Driver>);

#[async_trait]
impl Node for NodeService {
    async fn node_publish_volume(
        &self,
        request: Request<NodePublishVolumeRequest>,
    ) -> Result<Response<NodePublishVolumeResponse>, Status> {
        let request = request.into_inner();
        // Arguments before existence: a wrong call is wrong whether or not the volume exists.
        given(&request.volume_id, "volume_id")?;
        let target = self.target(&request.target_path)?;
        let capability = request
            .volume_capability
            .ok_or_else(|| Status::invalid_argument("volume_capability is missing"))?;
        if let Some(reason) = unsupported(&capability) {
            return Err(Status::invalid_argument(reason));
        }
        let flags = flags(&capability, request.readonly)?;
        blocking(&self.0, move |driver| {
            let (id, _) = driver.store.volume(&request.volume_id)?;
            let root = format!("/{}/{id}", Kind::Volume.folder());
            match mounts::at(&target).map_err(|error| internal(&target, &error))? {
                Some(mount) if mount.root != root => {
                    return Err(Status::already_exists(format!("{} holds another mount", target.display())));
                }
                _ => {}
            }
            mounts::bind(&driver.store.path(Kind::Volume, &id), &target, flags)
                .map_err(|error| internal(&target, &error))?;
            Ok(NodePublishVolumeResponse {})
        })
        .await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<NodeUnpublishVolumeRequest>,
    ) -> Result<Response<NodeUnpublishVolumeResponse>, Status> {
        let request = request.into_inner();
        given(&request.volume_id, "volume_id")?;
        let target = self.target(&request.target_path)?;
        blocking(&self.0, move |_| {
            mounts::unbind(&target).map_err(|error| internal(&target, &error))?;
            Ok(NodeUnpublishVolumeResponse {})
        })
        .await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<NodeGetVolumeStatsRequest>,
    ) -> Result<Response<NodeGetVolumeStatsResponse>, Status> {
        let request = request.into_inner();
        given(&request.volume_id, "volume_id")?;
        given(&request.volume_path, "volume_path")?;
        blocking(&self.0, move |driver| {
            let (id, record) = driver.store.volume(&request.volume_id)?;
            let path = Path::new(&request.volume_path);
            let mounted = mounts::at(path).map_err(|error| internal(path, &error))?;
            if mounted.is_none_or(|mount| mount.root != format!("/{}/{id}", Kind::Volume.folder())) {
                return Err(Status::not_found(format!("{id} is not mounted at {}", path.display())));
            }
            let used = driver.store.used(&id)?;
            let space = driver.store.pool().space().map_err(|error| internal(path, &error))?;
            let usage = VolumeUsage {
                // What the quota leaves, unless the pool below has less.
                available: (record.capacity_bytes - used).min(space.free).max(0),
                total: record.capacity_bytes,
                used,
                unit: Unit::Bytes.into(),
            };
            Ok(NodeGetVolumeStatsResponse { usage: vec![usage] })
        })
        .await
    }

    async fn node_get_capabilities(
        &self,
        _: Request<NodeGetCapabilitiesRequest>,
    ) -> Result<Response<NodeGetCapabilitiesResponse>, Status> {
        use node_service_capability::{Rpc, Type, rpc};
        let stats = Rpc { r#type: rpc::Type::GetVolumeStats.into() };
        let capabilities = vec![NodeServiceCapability { r#type: Some(Type::Rpc(stats)) }];
        Ok(Response::new(NodeGetCapabilitiesResponse { capabilities }))
    }

    async fn node_get_info(
        &self,
        _: Request<NodeGetInfoRequest>,
    ) -> Result<Response<NodeGetInfoResponse>, Status> {
        Ok(Response::new(NodeGetInfoResponse { node_id: self.0.node_name.clone() }))
    }
}

impl NodeService {
    /// The folder to publish at: it must lie below the kubelet's own.
    fn target(&self, path: &str) -> Result<PathBuf, Status> {
        let path = Path::new(given(path, "target_path")?);
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if plain && path.is_absolute() && path.starts_with(&self.0.kubelet_dir) {
            return Ok(path.to_owned());
        }
        let (path, folder) = (path.display(), self.0.kubelet_dir.display());
        Err(Status::invalid_argument(format!("target_path {path} is not below {folder}")))
    }
}

fn internal(path: &Path, error: &std::io::Error) -> Status {
    let message = format!("{}: {error}", path.display());
    tracing::error!(%message, "a call failed");
    Status::internal(message)
}

fn flags(capability: &VolumeCapability, readonly: bool) -> Result<MsFlags, Status> {
    let mut flags = MsFlags::empty();
    let mode = capability.access_mode.unwrap_or_default().mode();
    if readonly || matches!(mode, Mode::SingleNodeReaderOnly | Mode::MultiNodeReaderOnly) {
        flags |= MsFlags::MS_RDONLY;
    }
    if let Some(AccessType::Mount(mount)) = &capability.access_type {
        for option in &mount.mount_flags {
            flags |= match option.as_str() {
                "ro" => MsFlags::MS_RDONLY,
                "nodev" => MsFlags::MS_NODEV,
                "noexec" => MsFlags::MS_NOEXEC,
                "nosuid" => MsFlags::MS_NOSUID,
                other => {
                    let reason = format!("mount option {other:?} is not one of ro, nodev, noexec, nosuid");
                    return Err(Status::invalid_argument(reason));
                }
            };
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csi::volume_capability::{AccessMode, MountVolume};

    fn capability(mode: Mode, options: &[&str]) -> VolumeCapability {
        let mount_flags = options.iter().map(|&option| option.to_owned()).collect();
        VolumeCapability {
            access_type: Some(AccessType::Mount(MountVolume { mount_flags, ..Default::default() })),
            access_mode: Some(AccessMode { mode: mode.into() }),
        }
    }

    #[test]
    fn a_volume_is_read_only_if_anything_in_the_request_says_so() {
        let writer = capability(Mode::SingleNodeWriter, &[]);
        assert_eq!(flags(&writer, false).unwrap(), MsFlags::empty());
        assert_eq!(flags(&writer, true).unwrap(), MsFlags::MS_RDONLY);
        let reader = capability(Mode::SingleNodeReaderOnly, &[]);
        assert_eq!(flags(&reader, false).unwrap(), MsFlags::MS_RDONLY);
        let option = capability(Mode::SingleNodeWriter, &["ro", "nodev"]);
        assert_eq!(flags(&option, false).unwrap(), MsFlags::MS_RDONLY | MsFlags::MS_NODEV);
    }

    #[test]
    fn an_unknown_mount_option_is_refused_by_name() {
        let error = flags(&capability(Mode::SingleNodeWriter, &["subvol=/"]), false).unwrap_err();
        assert!(error.message().contains("subvol=/"), "{error}");
    }
}
