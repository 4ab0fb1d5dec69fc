//! The objects that events become. They are functions of Session and event alone, so that a replay makes the same ones.

use a8s_crds::{
    Artifact, ArtifactSpec, Author, AuthorKind, Delivery, Message, MessageSpec, ObjectRef, labels, names,
};
use a8s_wire::{ArtifactInfo, EventId, SessionIdentity};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

/// The Session that a bridge serves; what does not change while it runs.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Who created it.
    pub created_by: String,
    /// The first message, if there is one.
    pub goal: Option<String>,
    /// Epoch in which the agent was given the goal, as the Session's status has it.
    pub goal_epoch: Option<i64>,
    /// What the agent finds before it begins.
    pub attachments: Vec<a8s_crds::Attachment>,
    /// Its Workspace.
    pub workspace: ObjectRef,
    /// The last event that became objects, as the Session's status has it.
    pub recorded: EventId,
    /// Highest place given to a Message, as the Session's status has it.
    pub last_message: i64,
    /// What the volume was made from: then the transcript may know less than the objects do.
    pub restored_from: Option<String>,
}

impl Subject {
    /// What the runner is told.
    pub fn identity(&self) -> SessionIdentity {
        SessionIdentity { session: self.name.clone(), uid: Some(self.uid.clone()) }
    }

    /// Identity of the goal as a message.
    pub fn goal_id(&self) -> String {
        format!("{}/goal", self.uid)
    }

    /// The Session as the owner of a Message; it is the controller of Messages that it wrote itself.
    pub fn owner(&self, controller: bool) -> OwnerReference {
        OwnerReference {
            api_version: "a8s.dev/v1alpha1".into(),
            kind: "Session".into(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: controller.then_some(true),
            block_owner_deletion: None,
        }
    }

    /// What the agent said. A person's Message may have taken the name; then it gets the Session's hash.
    pub fn message(&self, id: EventId, text: &str, taken: bool) -> Message {
        let mut name = names::message(&self.name, id.epoch, id.seq);
        if taken {
            name = format!("{name}-{}", names::short_hash(&self.uid));
        }
        let author = Author { kind: AuthorKind::Agent, name: "builtin".into() };
        let spec = MessageSpec {
            session: self.name.clone(),
            content: Some(bounded(text, 32_768)),
            content_ref: None,
            attachments: Vec::new(),
            delivery: Delivery::Queue,
            turn: None,
            author: Some(author),
        };
        let mut message = Message::new(&name, spec);
        message.metadata.namespace = Some(self.namespace.clone());
        message.metadata.owner_references = Some(vec![self.owner(true)]);
        message.labels_mut().extend(self.labels());
        message
    }

    /// A published file.
    pub fn artifact(&self, epoch: i64, info: &ArtifactInfo, taken: bool) -> Artifact {
        // A desktop made after another was deleted counts its versions from 1 again.
        let origin = if epoch == 0 { self.uid.clone() } else { format!("{}/{epoch}", self.uid) };
        let name = names::artifact(&self.name, &info.name, info.version, &origin, taken);
        let spec = ArtifactSpec {
            session: Some(self.name.clone()),
            workspace: self.workspace.clone(),
            name: bounded(&info.name, 128),
            version: info.version,
            title: bounded(&info.title, 512),
            file_name: bounded(&info.file_name, 255),
            media_type: bounded(&info.media_type, 255),
            size: info.size,
            sha256: info.sha256.clone(),
            turn: info.turn,
            epoch,
        };
        let mut artifact = Artifact::new(&name, spec);
        artifact.metadata.namespace = Some(self.namespace.clone());
        artifact.labels_mut().extend(self.labels());
        artifact.labels_mut().insert(labels::WORKSPACE.into(), self.workspace.name.clone());
        artifact.labels_mut().insert(labels::WORKSPACE_UID.into(), self.workspace.uid.clone());
        artifact
    }

    fn labels(&self) -> [(String, String); 2] {
        [(labels::MANAGED_BY.into(), labels::MANAGER.into()), (labels::SESSION.into(), self.name.clone())]
    }

    /// Whether this Session wrote the Message, in this or an earlier life of the process.
    pub fn wrote(&self, message: &Message) -> bool {
        message.owner_references().iter().any(|r| r.controller == Some(true) && r.uid == self.uid)
    }

    /// Whether a person's Message is for this Session, and not for an earlier one of the same name.
    pub fn is_addressed(&self, message: &Message) -> bool {
        !message.is_from_agent()
            && !is_for_another(message, &self.uid)
            && message.spec.session == self.name
            && message.metadata.deletion_timestamp.is_none()
    }
}

/// Whether the Message was said to an earlier Session of the same name.
pub fn is_for_another(message: &Message, session_uid: &str) -> bool {
    message.owner_references().iter().any(|r| r.kind == "Session" && r.uid != session_uid)
}

/// At most `max` characters, which is what the API counts.
fn bounded(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max - 2).collect::<String>() + " …"
}
