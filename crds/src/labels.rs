//! Label, annotation and finalizer keys. Labels are indexes for people and selectors; ownership is always by UID.

/// Marks every object that a8s makes.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`].
pub const MANAGER: &str = "a8s";
/// Name of the Session an object belongs to.
pub const SESSION: &str = "a8s.dev/session";
/// Name of the Workspace an object belongs to.
pub const WORKSPACE: &str = "a8s.dev/workspace";
/// UID of the Workspace an object belongs to; what NetworkPolicy and Service select.
pub const WORKSPACE_UID: &str = "a8s.dev/workspace-uid";
/// `true` on Messages whose epoch was left behind by a restore.
pub const ABANDONED: &str = "a8s.dev/abandoned";
/// Annotation on a Session: the user who created it, stamped by the webhook.
pub const CREATED_BY: &str = "a8s.dev/created-by";

/// Annotation on a Workspace: any new value wakes it when it was suspended for idleness.
pub const WAKE: &str = "a8s.dev/wake";
/// Label on a Workspace that waits in a WarmPool: the pool's name. It goes when a Session takes the Workspace over.
pub const POOL: &str = "a8s.dev/pool";
/// Annotation on a Workspace of a pool: hash of what it was made from.
pub const TEMPLATE: &str = "a8s.dev/template";
/// Label on a Snapshot that was not asked for by a person: its trigger.
pub const TRIGGER: &str = "a8s.dev/trigger";

/// Finalizer of a Workspace: published files are brought to safety first.
pub const WORKSPACE_FINALIZER: &str = "a8s.dev/save-artifacts";
/// Finalizer of a Snapshot: the backend's snapshot is deleted or kept as the policy says.
pub const SNAPSHOT_FINALIZER: &str = "a8s.dev/backend-snapshot";
/// Finalizer of an Artifact: its content in the artifact store is deleted.
pub const ARTIFACT_FINALIZER: &str = "a8s.dev/stored-content";
