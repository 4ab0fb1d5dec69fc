//! The `snapshot.storage.k8s.io` API as far as a8s uses it, and the choice of a VolumeSnapshotClass. The choice is Velero's, so that a
//! cluster that is set up for Velero is set up for a8s. It reads types and decides; it never calls a server.

mod api;
mod class;

pub use api::{
    ContentSource, ContentStatus, SnapshotError, SnapshotRef, SnapshotSource, VolumeSnapshot,
    VolumeSnapshotClass, VolumeSnapshotContent, VolumeSnapshotContentSpec, VolumeSnapshotSpec,
    VolumeSnapshotStatus,
};
pub use class::{CLAIM_ANNOTATION, CLASS_LABEL, ClassError, DEFAULT_ANNOTATION, choose};

/// API version of all kinds.
pub const API_VERSION: &str = "snapshot.storage.k8s.io/v1";
