//! Message: one final utterance of a Session.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Attachment;

/// One final utterance of a Session. People create Messages to talk to the agent; what the agent says is recorded as Messages too.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "a8s.dev",
    version = "v1alpha1",
    kind = "Message",
    namespaced,
    shortname = "msg",
    category = "a8s",
    status = "MessageStatus",
    derive = "PartialEq",
    selectable = ".spec.session",
    selectable = ".status.state",
    doc = "One final utterance of a Session. People create Messages to talk to the agent; what the agent says is recorded as Messages too.",
    printcolumn(name = "Session", type_ = "string", json_path = ".spec.session"),
    printcolumn(name = "Seq", type_ = "integer", json_path = ".status.seq"),
    printcolumn(name = "Author", type_ = "string", json_path = ".spec.author.name"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Content", type_ = "string", json_path = ".spec.content", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = Rule::new("self == oldSelf").message("a Message cannot be changed; send another"))]
#[x_kube(validation = Rule::new("has(self.content) || self.delivery == 'Interrupt'").message("content may be empty only if delivery is Interrupt, which then means Stop"))]
#[x_kube(validation = Rule::new("!has(self.attachments) || self.attachments.all(a, !has(a.connection))").message("a Connection is attached to the Session, in spec.attachments; or the agent asks for it"))]
#[x_kube(validation = Rule::new("!has(self.attachments) || self.attachments.map(a, has(a.text) ? size(a.text) : 0).sum() <= 262144").message("the texts attached to one Message may have 262144 characters in all; put more into a ConfigMap or an Artifact"))]
pub struct MessageSpec {
    /// Name of the Session in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub session: String,
    /// Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32768))]
    pub content: Option<String>,
    /// Where the whole text is, if `content` is only its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_ref: Option<ContentRef>,
    /// Files that belong to it; the agent finds them in `~/Attachments`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub attachments: Vec<Attachment>,
    /// When the agent gets it.
    #[serde(default)]
    pub delivery: Delivery,
    /// For Interrupt: the turn that is meant; another turn is left alone. Default: the one that runs when the Message arrives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub turn: Option<i64>,
    /// Who said it. Stamped by the webhook from the request; what a client writes here is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
}

/// Where a text is that is too long for an object: in the Workspace, by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContentRef {
    /// Lower-case hex SHA-256 of the whole text.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// Its bytes.
    pub size: i64,
}

/// When the agent gets a Message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Delivery {
    /// After the running turn.
    #[default]
    Queue,
    /// At once: the running turn is interrupted and this Message is next.
    Steer,
    /// The running turn is stopped; content, if any, is the next Message.
    Interrupt,
}

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Author {
    /// A person (or a program with a Kubernetes account), the agent, or a8s itself.
    pub kind: AuthorKind,
    /// Kubernetes user name, or the harness's name.
    #[schemars(length(min = 1, max = 512))]
    pub name: String,
}

/// Kind of author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthorKind {
    /// A person, or a program with an account.
    User,
    /// The agent.
    Agent,
    /// a8s itself.
    System,
}

/// What became of a Message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MessageState {
    /// It waits; once the agent is there it has its place in the order.
    Queued,
    /// The runner has it.
    Delivered,
    /// Its turn is over, or (agent's Messages) it is recorded.
    Consumed,
    /// It will not be delivered, or its turn was lost with the desktop; the conditions say why.
    Dropped,
}

/// What is known of a Message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MessageStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready and Delivered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Place in the conversation; creation times have a resolution of one second only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    /// What became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<MessageState>,
    /// The turn that it started, or that it was said in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<i64>,
    /// When it was said (agent) or handed over (people).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

impl MessageStatus {
    /// Whether what became of it is final: nobody delivers it any more.
    pub fn is_settled(&self) -> bool {
        matches!(self.state, Some(MessageState::Consumed | MessageState::Dropped))
    }
}

impl Author {
    /// Name of the chat agent, which speaks before there is a desktop.
    pub const CHAT: &'static str = "chat";
}

impl Message {
    /// Whether it belongs to the talk with the chat agent, before the first turn: no transcript of a desktop knows it.
    pub fn is_of_the_chat(&self) -> bool {
        match self.spec.author.as_ref().filter(|a| a.kind != AuthorKind::User) {
            Some(author) => author.kind == AuthorKind::Agent && author.name == Author::CHAT,
            // A runner gives each Message a turn, the chat agent none.
            None => {
                self.spec.content.is_some()
                    && self.status.as_ref().is_some_and(|s| {
                        s.seq.is_some() && s.turn.is_none() && s.state == Some(MessageState::Consumed)
                    })
            }
        }
    }

    /// Whether the agent, or a8s itself, said it; such a Message is only a record.
    pub fn is_from_agent(&self) -> bool {
        self.spec.author.as_ref().is_some_and(|a| a.kind != AuthorKind::User)
    }

    /// Whether nothing is to be done for it: it is a record, or what became of it is final.
    pub fn is_settled(&self) -> bool {
        self.is_from_agent() || self.status.as_ref().is_some_and(MessageStatus::is_settled)
    }

    /// Whether it was said for the agent to answer and no agent has had it yet.
    pub fn is_undelivered(&self) -> bool {
        let delivered = self.status.as_ref().is_some_and(|s| s.state == Some(MessageState::Delivered));
        self.spec.content.is_some()
            && !delivered
            && !self.is_settled()
            && self.metadata.deletion_timestamp.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_settled_when_it_is_over_or_only_a_record() {
        let said = |kind, state| {
            let author = Some(Author { kind, name: "a".into() });
            let content = Some("c".to_owned());
            let spec = MessageSpec {
                session: "s".into(),
                content,
                content_ref: None,
                attachments: Vec::new(),
                delivery: Delivery::Queue,
                turn: None,
                author,
            };
            let mut message = Message::new("m", spec);
            message.status = Some(MessageStatus { state, ..MessageStatus::default() });
            message
        };
        for (state, settled, undelivered) in [
            (None, false, true),
            (Some(MessageState::Queued), false, true),
            (Some(MessageState::Delivered), false, false),
            (Some(MessageState::Consumed), true, false),
            (Some(MessageState::Dropped), true, false),
        ] {
            let message = said(AuthorKind::User, state);
            assert_eq!((message.is_settled(), message.is_undelivered()), (settled, undelivered), "{state:?}");
            let record = said(AuthorKind::Agent, state);
            assert_eq!((record.is_settled(), record.is_undelivered()), (true, false), "{state:?}");
        }
        let mut chat = said(AuthorKind::User, Some(MessageState::Consumed));
        chat.status.as_mut().unwrap().seq = Some(1);
        assert!(chat.is_of_the_chat());
        chat.status.as_mut().unwrap().turn = Some(1);
        assert!(!chat.is_of_the_chat(), "an agent had it in its first turn");
        let mut stop = said(AuthorKind::User, None);
        stop.spec.content = None;
        assert!(!stop.is_undelivered(), "a Stop asks for no answer");
    }
}
