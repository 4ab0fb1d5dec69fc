//! Volumes and snapshots, as the sidecars ask for them.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};

use super::{Driver, blocking, given, unsupported};
use crate::{
    csi::{
        ControllerGetCapabilitiesRequest, ControllerGetCapabilitiesResponse, ControllerServiceCapability,
        CreateSnapshotRequest, CreateSnapshotResponse, CreateVolumeRequest, CreateVolumeResponse,
        DeleteSnapshotRequest, DeleteSnapshotResponse, DeleteVolumeRequest, DeleteVolumeResponse,
        GetCapacityRequest, GetCapacityResponse, ListSnapshotsRequest, ListSnapshotsResponse, Snapshot,
        Timestamp, ValidateVolumeCapabilitiesRequest, ValidateVolumeCapabilitiesResponse, Volume,
        VolumeCapability, VolumeContentSource,
        controller_server::Controller,
        controller_service_capability,
        list_snapshots_response::Entry,
        validate_volume_capabilities_response::Confirmed,
        volume_content_source::{SnapshotSource, Type as Content, VolumeSource},
    },
    naming::{Id, Kind},
    record::{SnapshotRecord, Source},
    store::Wanted,
};

/// The Controller service.
#[derive(Debug, Clone)]
pub struct ControllerService(pub Arc<Driver>);

#[async_trait]
impl Controller for ControllerService {
    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Result<Response<CreateVolumeResponse>, Status> {
        let request = request.into_inner();
        given(&request.name, "name")?;
        supported(&request.volume_capabilities)?;
        let range = request.capacity_range.unwrap_or_default();
        let wanted = Wanted { required: range.required_bytes, limit: range.limit_bytes };
        let source = request.volume_content_source.map(source).transpose()?;
        blocking(&self.0, move |driver| {
            let (id, record) = driver.store.create_volume(&request.name, wanted, source)?;
            let volume = Volume {
                capacity_bytes: record.capacity_bytes,
                volume_id: id.to_string(),
                // The provisioner refuses a restored volume that does not repeat its source.
                content_source: record.source.map(content),
            };
            Ok(CreateVolumeResponse { volume: Some(volume) })
        })
        .await
    }

    async fn delete_volume(
        &self,
        request: Request<DeleteVolumeRequest>,
    ) -> Result<Response<DeleteVolumeResponse>, Status> {
        let id = request.into_inner().volume_id;
        given(&id, "volume_id")?;
        blocking(&self.0, move |driver| {
            driver.store.delete(Kind::Volume, &id)?;
            Ok(DeleteVolumeResponse {})
        })
        .await
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<ValidateVolumeCapabilitiesResponse>, Status> {
        let request = request.into_inner();
        given(&request.volume_id, "volume_id")?;
        if request.volume_capabilities.is_empty() {
            return Err(Status::invalid_argument("volume_capabilities is missing"));
        }
        blocking(&self.0, move |driver| {
            driver.store.volume(&request.volume_id)?;
            let message = request.volume_capabilities.iter().find_map(unsupported);
            let confirmed = message.is_none().then_some(Confirmed {
                volume_context: request.volume_context,
                volume_capabilities: request.volume_capabilities,
                parameters: request.parameters,
            });
            Ok(ValidateVolumeCapabilitiesResponse { confirmed, message: message.unwrap_or_default() })
        })
        .await
    }

    async fn get_capacity(
        &self,
        _: Request<GetCapacityRequest>,
    ) -> Result<Response<GetCapacityResponse>, Status> {
        blocking(&self.0, |driver| {
            let space = driver.store.pool().space().map_err(|error| Status::internal(error.to_string()))?;
            Ok(GetCapacityResponse { available_capacity: space.free })
        })
        .await
    }

    async fn controller_get_capabilities(
        &self,
        _: Request<ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<ControllerGetCapabilitiesResponse>, Status> {
        use controller_service_capability::{Rpc, Type, rpc};
        let capabilities = [
            rpc::Type::CreateDeleteVolume,
            rpc::Type::GetCapacity,
            rpc::Type::CreateDeleteSnapshot,
            rpc::Type::ListSnapshots,
            rpc::Type::CloneVolume,
        ]
        .map(|rpc| ControllerServiceCapability { r#type: Some(Type::Rpc(Rpc { r#type: rpc.into() })) })
        .to_vec();
        Ok(Response::new(ControllerGetCapabilitiesResponse { capabilities }))
    }

    async fn create_snapshot(
        &self,
        request: Request<CreateSnapshotRequest>,
    ) -> Result<Response<CreateSnapshotResponse>, Status> {
        let request = request.into_inner();
        given(&request.name, "name")?;
        given(&request.source_volume_id, "source_volume_id")?;
        blocking(&self.0, move |driver| {
            let (id, record) = driver.store.create_snapshot(&request.name, &request.source_volume_id)?;
            Ok(CreateSnapshotResponse { snapshot: Some(snapshot(&id, record)) })
        })
        .await
    }

    async fn delete_snapshot(
        &self,
        request: Request<DeleteSnapshotRequest>,
    ) -> Result<Response<DeleteSnapshotResponse>, Status> {
        let id = request.into_inner().snapshot_id;
        given(&id, "snapshot_id")?;
        blocking(&self.0, move |driver| {
            driver.store.delete(Kind::Snapshot, &id)?;
            Ok(DeleteSnapshotResponse {})
        })
        .await
    }

    async fn list_snapshots(
        &self,
        request: Request<ListSnapshotsRequest>,
    ) -> Result<Response<ListSnapshotsResponse>, Status> {
        let request = request.into_inner();
        if request.max_entries < 0 {
            return Err(Status::invalid_argument("max_entries is negative"));
        }
        blocking(&self.0, move |driver| page(driver.store.snapshots()?, &request)).await
    }
}

/// Cuts the page that `request` asks for out of all snapshots. A token is the last id of the page before, so that it
/// stays right while others come and go.
fn page(
    all: Vec<(Id, SnapshotRecord)>,
    request: &ListSnapshotsRequest,
) -> Result<ListSnapshotsResponse, Status> {
    let after =
        match request.starting_token.as_str() {
            "" => None,
            token => Some(Id::parse(Kind::Snapshot, token).ok_or_else(|| {
                Status::aborted(format!("starting_token {token:?} is not from this driver"))
            })?),
        };
    let wanted = |wish: &str, value: &str| wish.is_empty() || wish == value;
    let mut rest = all
        .into_iter()
        .filter(|(id, record)| {
            after.as_ref().is_none_or(|after| id > after)
                && wanted(&request.snapshot_id, id.as_str())
                && wanted(&request.source_volume_id, &record.volume)
        })
        .peekable();
    let most = match usize::try_from(request.max_entries) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(most) => most,
    };
    let mut entries: Vec<Entry> = Vec::new();
    let mut last = String::new();
    while entries.len() < most
        && let Some((id, record)) = rest.next()
    {
        last = id.to_string();
        entries.push(Entry { snapshot: Some(snapshot(&id, record)) });
    }
    let next_token = if rest.peek().is_some() { last } else { String::new() };
    Ok(ListSnapshotsResponse { entries, next_token })
}

fn supported(capabilities: &[VolumeCapability]) -> Result<(), Status> {
    if capabilities.is_empty() {
        return Err(Status::invalid_argument("volume_capabilities is missing"));
    }
    capabilities.iter().find_map(unsupported).map_or(Ok(()), |reason| Err(Status::invalid_argument(reason)))
}

fn source(source: VolumeContentSource) -> Result<Source, Status> {
    match source.r#type {
        Some(Content::Snapshot(from)) => {
            Ok(Source::Snapshot(given(&from.snapshot_id, "snapshot_id")?.to_owned()))
        }
        Some(Content::Volume(from)) => Ok(Source::Volume(given(&from.volume_id, "volume_id")?.to_owned())),
        None => Err(Status::invalid_argument("volume_content_source names neither a snapshot nor a volume")),
    }
}

fn content(source: Source) -> VolumeContentSource {
    let content = match source {
        Source::Snapshot(snapshot_id) => Content::Snapshot(SnapshotSource { snapshot_id }),
        Source::Volume(volume_id) => Content::Volume(VolumeSource { volume_id }),
    };
    VolumeContentSource { r#type: Some(content) }
}

fn snapshot(id: &Id, record: SnapshotRecord) -> Snapshot {
    Snapshot {
        size_bytes: record.size_bytes,
        snapshot_id: id.to_string(),
        source_volume_id: record.volume,
        creation_time: Some(Timestamp {
            seconds: record.created.as_second(),
            nanos: record.created.subsec_nanosecond(),
        }),
        ready_to_use: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(names: &[&str]) -> Vec<(Id, SnapshotRecord)> {
        let mut all: Vec<_> = names
            .iter()
            .map(|name| {
                let volume = format!("vol-of-{name}");
                let created = jiff::Timestamp::UNIX_EPOCH;
                let record = SnapshotRecord { name: (*name).to_owned(), volume, size_bytes: 1, created };
                (Id::of_name(Kind::Snapshot, name), record)
            })
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    #[test]
    fn pages_together_hold_every_snapshot_once() {
        let all = records(&["a", "b", "c", "d", "e"]);
        let mut seen = Vec::new();
        let mut request = ListSnapshotsRequest { max_entries: 2, ..Default::default() };
        loop {
            let page = page(all.clone(), &request).unwrap();
            assert!(page.entries.len() <= 2);
            seen.extend(page.entries.into_iter().map(|entry| entry.snapshot.unwrap().snapshot_id));
            if page.next_token.is_empty() {
                break;
            }
            request.starting_token = page.next_token;
        }
        let expected: Vec<_> = all.iter().map(|(id, _)| id.to_string()).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_listing_may_ask_for_one_snapshot_or_one_volume() {
        let all = records(&["a", "b", "c"]);
        let by_id = ListSnapshotsRequest { snapshot_id: all[1].0.to_string(), ..Default::default() };
        assert_eq!(page(all.clone(), &by_id).unwrap().entries.len(), 1);
        let by_volume =
            ListSnapshotsRequest { source_volume_id: "vol-of-a".to_owned(), ..Default::default() };
        assert_eq!(page(all.clone(), &by_volume).unwrap().entries.len(), 1);
        let none = ListSnapshotsRequest { snapshot_id: "unknown".to_owned(), ..Default::default() };
        assert_eq!(page(all, &none).unwrap().entries.len(), 0);
    }

    #[test]
    fn a_token_from_elsewhere_is_refused() {
        let request = ListSnapshotsRequest { starting_token: "7".to_owned(), ..Default::default() };
        assert_eq!(page(records(&["a"]), &request).unwrap_err().code(), tonic::Code::Aborted);
    }
}
