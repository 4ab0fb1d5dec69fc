//! Label, annotation and finalizer keys. Labels are indexes for people and selectors; ownership is always by UID.

/// Marks every object that a8s makes.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`].
pub const MANAGER: &str = "a8s";
/// Name of the Session an object belongs to.
pub const SESSION: &str = "a8s.dev/session";
/// Name of the Workspace an object belongs to.
pub const WORKSPACE: &str = "a8s.dev/workspace";
/// UID of the Workspace an object belongs to; what the NetworkPolicy selects.
pub const WORKSPACE_UID: &str = "a8s.dev/workspace-uid";
/// `true` on Messages whose epoch was left behind by a restore.
pub const ABANDONED: &str = "a8s.dev/abandoned";
/// Annotation on a Session or Share: the user who created it, stamped by the webhook.
pub const CREATED_BY: &str = "a8s.dev/created-by";
/// Annotation: the groups of that user then, as a JSON list. A right is asked for with both, since most are given to groups.
pub const CREATED_BY_GROUPS: &str = "a8s.dev/created-by-groups";

/// Annotation on a Workspace: any new value wakes it when it was suspended for idleness.
pub const WAKE: &str = "a8s.dev/wake";
/// Label on a Workspace that waits in a WarmPool: the pool's name. It goes when a Session takes the Workspace over.
pub const POOL: &str = "a8s.dev/pool";
/// Annotation on a Workspace of a pool: hash of what it was made from.
pub const TEMPLATE: &str = "a8s.dev/template";
/// Annotation on a Workspace that a WarmPool made: its number in the pool. It stays when a Session takes the Workspace over.
pub const ORDINAL: &str = "a8s.dev/ordinal";
/// Annotation on a Workspace of a pool: the golden Snapshot that is to be taken of it. Until then nobody takes it over.
pub const SEEDS: &str = "a8s.dev/seeds";
/// Label on a claim: which volume of its Workspace it is; see `status.storage.generation`.
pub const GENERATION: &str = "a8s.dev/generation";
/// Label on the Role and RoleBinding of a Share: its name.
pub const SHARE: &str = "a8s.dev/share";
/// Label beside [`SHARE`]: the Share's UID, by which they are told from those of another Share of that name, and found without their owner.
pub const SHARE_UID: &str = "a8s.dev/share-uid";
/// Label on a Snapshot that was not asked for by a person: its trigger.
pub const TRIGGER: &str = "a8s.dev/trigger";

/// Label that Velero puts on everything that it restores.
pub const VELERO_RESTORE: &str = "velero.io/restore-name";
/// Annotation: Velero restores the status too.
pub const VELERO_RESTORE_STATUS: &str = "velero.io/restore-status";
/// Annotation: the backend's name of the snapshot.
pub const VELERO_HANDLE: &str = "velero.io/csi-volumesnapshot-handle";
/// Annotation: the CSI driver.
pub const VELERO_DRIVER: &str = "velero.io/csi-driver-name";
/// Annotation: what becomes of the backend's snapshot.
pub const VELERO_POLICY: &str = "velero.io/csi-vsc-deletion-policy";
/// Annotation: smallest volume that can take it.
pub const VELERO_RESTORE_SIZE: &str = "velero.io/csi-volumesnapshot-restore-size";
/// Label: not part of any backup, because it is made anew.
pub const VELERO_EXCLUDE: &str = "velero.io/exclude-from-backup";

/// Finalizer of a Workspace: published files are brought to safety first.
pub const WORKSPACE_FINALIZER: &str = "a8s.dev/save-artifacts";
/// Finalizer of a Snapshot: the backend's snapshot is deleted or kept as the policy says.
pub const SNAPSHOT_FINALIZER: &str = "a8s.dev/backend-snapshot";
/// Finalizer of an Artifact: its content in the artifact store is deleted.
pub const ARTIFACT_FINALIZER: &str = "a8s.dev/stored-content";
