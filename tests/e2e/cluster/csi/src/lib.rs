//! A CSI driver for one node: volumes are btrfs subvolumes in a loop-mounted image file, snapshots are read-only
//! subvolume snapshots, so taking one is atomic and costs the same for any amount of data.
//!
//! It exists because a cluster without an image registry and without cloud disks still needs real snapshots, clones and
//! enforced quotas. It keeps no state in memory that matters: what exists is decided by the record files beside the
//! subvolumes, so it may be killed at any point. It never formats an image it did not create, and it never deletes a
//! folder's content: only whole subvolumes that it made.

pub mod btrfs;
pub mod locks;
pub mod mounts;
pub mod naming;
pub mod pool;
pub mod record;
pub mod registration;
pub mod service;
pub mod store;

/// The wire types and services of the Container Storage Interface, generated from `proto/csi.proto`.
#[allow(missing_docs, unused_qualifications, clippy::pedantic)]
pub mod csi {
    tonic::include_proto!("csi.v1");
}

/// The messages of the kubelet's plugin registration, generated from `proto/registration.proto`.
#[allow(missing_docs, unused_qualifications, clippy::pedantic)]
pub mod pluginregistration {
    tonic::include_proto!("pluginregistration");
}

/// The driver's name: what a StorageClass calls `provisioner` and a VolumeSnapshotClass calls `driver`.
pub const DRIVER_NAME: &str = "local.csi.a8s.dev";
