//! The objects that events become. They are functions of Session and event alone, so that a replay makes the same ones.

use a8s_crds::{
    Approval, Artifact, ArtifactSpec, Author, AuthorKind, ContentRef, Delivery, Input, InputType, Message,
    MessageSpec, ObjectRef, OptionKind, Request, RequestOption, RequestSpec, RequestType, labels, names,
};
use a8s_wire::{ArtifactInfo, EventId, Field, Question, SessionIdentity, event::LongText};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
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

    /// What the agent said, or a8s about it. A person's Message may have taken the name; then it gets the Session's hash.
    pub fn message(
        &self,
        id: EventId,
        author: AuthorKind,
        text: &str,
        more: Option<&LongText>,
        taken: bool,
    ) -> Message {
        let mut name = names::message(&self.name, id.epoch, id.seq);
        if taken {
            name = format!("{name}-{}", names::short_hash(&self.uid));
        }
        let name_of_author = if author == AuthorKind::Agent { "builtin" } else { "a8s" };
        let author = Author { kind: author, name: name_of_author.into() };
        let spec = MessageSpec {
            session: self.name.clone(),
            content: Some(bounded(text, 32_768)),
            content_ref: more.map(|more| ContentRef { sha256: more.sha256.clone(), size: more.size }),
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

    /// What the agent asks; nothing if it cannot be said in the words of the API.
    pub fn request(&self, question: &Question, epoch: i64, policy: Approval, taken: bool) -> Option<Request> {
        let kind: RequestType = serde_json::from_value(question.kind.clone().into()).ok()?;
        let title = if question.title.trim().is_empty() { &question.kind } else { &question.title };
        // The question's id is the place of the event that asked it.
        let mut name = format!("{}-{}", self.name, names::slug(&question.id));
        if taken {
            name = format!("{name}-{}", names::short_hash(&self.uid));
        }
        let options = question.options.iter().map(|choice| RequestOption {
            id: choice.id.clone(),
            title: Some(bounded(&choice.title, 256)),
            // What is not understood permits nothing.
            kind: serde_json::from_value(choice.kind.clone().into()).unwrap_or(OptionKind::RejectOnce),
        });
        let spec = RequestSpec {
            session: self.name.clone(),
            kind,
            title: bounded(title, 256),
            detail: question.detail.as_deref().map(|text| bounded(text, 4_096)),
            options: options.collect(),
            form: question.form.iter().map(input).collect(),
            subject: question.subject.clone(),
            handoff: None,
            policy,
            turn: Some(question.turn),
            epoch,
            id: Some(question.id.clone()),
            expires: question.expires.parse().ok().map(Time),
        };
        let mut request = Request::new(&name, spec);
        request.metadata.namespace = Some(self.namespace.clone());
        request.metadata.owner_references = Some(vec![self.owner(true)]);
        request.labels_mut().extend(self.labels());
        // Whom it was asked of is gone when a backup comes back, and only the controller may make one.
        request.labels_mut().insert(labels::VELERO_EXCLUDE.into(), "true".into());
        Some(request)
    }

    /// Whether this Session made the Request.
    pub fn made(&self, request: &Request) -> bool {
        request.owner_references().iter().any(|r| r.controller == Some(true) && r.uid == self.uid)
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

fn input(field: &Field) -> Input {
    Input {
        name: field.name.clone(),
        title: field.title.as_deref().map(|title| bounded(title, 256)),
        kind: serde_json::from_value(field.kind.clone().into()).unwrap_or(InputType::Text),
        options: field.options.clone(),
        optional: field.optional,
    }
}

/// At most `max` characters, which is what the API counts.
fn bounded(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max - 2).collect::<String>() + " …"
}
