//! What the runner is asked and what it answers.

use serde::{Deserialize, Serialize};

use crate::{
    event::PlanEntry,
    request::{Question, Settings, Usage},
};

/// Body of `POST /v1/prompt`: one user message for the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prompt {
    /// Identity of the message; posting it twice has the effect of once.
    pub message_id: String,
    /// Markdown.
    pub content: String,
    /// Kubernetes user name of the author.
    pub author: String,
    /// File names below the attachments directory that belong to this message.
    #[serde(default)]
    pub attachments: Vec<String>,
}

/// Answer to a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromptAccepted {
    /// The turn that carries, or will carry, this message.
    pub turn: i64,
    /// 0 while its turn runs or has run, else its place in the queue.
    pub position: usize,
}

/// Body of `POST /v1/interrupt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupt {
    /// The turn that the person meant to stop; another turn is left alone.
    pub turn: i64,
}

/// Answer to an interrupt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupted {
    /// False if that turn was over already.
    pub applied: bool,
}

/// What the runner is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunnerPhase {
    /// The harness is being started.
    #[default]
    Starting,
    /// No turn runs.
    Idle,
    /// A turn runs.
    Running,
    /// The harness cannot be started; `RunnerState::reason` says why.
    Failed,
}

/// Answer of `GET /v1/state`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunnerState {
    /// Conversation epoch.
    pub epoch: i64,
    /// Sequence number of the last event in the transcript.
    pub seq: i64,
    /// The running turn, or the last one; 0 before the first.
    pub turn: i64,
    /// What the runner is doing.
    pub state: RunnerPhase,
    /// Why, if `state` is `Failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The volume has no room left: neither files nor the conversation can be kept.
    #[serde(default)]
    pub volume_full: bool,
    /// Ids of accepted messages whose turn has not begun, oldest first.
    #[serde(default)]
    pub queue: Vec<String>,
    /// Ids of all messages whose turn is over, oldest first.
    #[serde(default)]
    pub consumed: Vec<String>,
    /// Title of the last tool call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The newest plan.
    #[serde(default)]
    pub plan: Vec<PlanEntry>,
    /// Everything published so far.
    #[serde(default)]
    pub artifacts: Vec<ArtifactInfo>,
    /// RFC 3339 time of the last event.
    #[serde(default)]
    pub last_activity: String,
    /// The Session whose conversation this is; absent while the pod waits in a pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionIdentity>,
    /// Questions that wait for an answer, oldest first.
    #[serde(default)]
    pub questions: Vec<Question>,
    /// What was used so far.
    #[serde(default)]
    pub usage: Usage,
    /// The limit that is reached, if one is: `turns`, `tokens` or `activeDuration`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// How the agent is run; absent until somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    /// What was found on a volume that was made from a Snapshot; absent on other volumes, and until the comparison is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
}

/// Body of `PUT /v1/session`: whose conversation this is from now on. A pod that waited in a pool learns it by this call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionIdentity {
    /// Name of the Session.
    pub session: String,
    /// Its UID; a Session of the same name and another UID is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// A place in the conversation at which everything was brought to the disk and the files of the home were listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flushed {
    /// The turn that ran, or the last one.
    pub turn: i64,
    /// Conversation epoch.
    pub epoch: i64,
    /// Sequence number of the last event.
    pub seq: i64,
    /// RFC 3339 time.
    pub at: String,
}

/// How the files and the conversation of a restored volume compare with the last list that was written before the Snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// What the volume was made from, as `A8S_RESTORED_FROM` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where the conversation stood when the files were listed; absent if there is no list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flushed: Option<Flushed>,
    /// Files that are as they were.
    pub files: i64,
    /// Files that were written after the list, so that there is nothing to compare them with.
    #[serde(default)]
    pub later: i64,
    /// Files that differ or are missing.
    #[serde(default)]
    pub different: i64,
    /// What differs, at most [`Restored::NAMED`] of them: `missing Documents/a.txt`.
    #[serde(default)]
    pub differs: Vec<String>,
    /// The transcript is whole and goes at least as far as the list says. It may go further: a Snapshot without a flush is newer than the
    /// list.
    pub conversation_ok: bool,
    /// The transcript goes no further than the list: the flush was the last thing before the Snapshot.
    #[serde(default)]
    pub exact: bool,
}

impl Restored {
    /// Most differences that are named.
    pub const NAMED: usize = 10;

    /// Whether everything that can be compared is as it was.
    pub fn intact(&self) -> bool {
        self.flushed.is_some() && self.different == 0 && self.conversation_ok
    }

    /// One sentence for people.
    pub fn summary(&self) -> String {
        let Some(flushed) = &self.flushed else {
            return "The volume has no list of files to compare with: nothing was flushed before the Snapshot.".into();
        };
        // People do not read nanoseconds.
        let at = flushed.at.split_once('.').map_or_else(|| flushed.at.clone(), |(at, _)| format!("{at}Z"));
        let files = if self.different == 0 {
            format!("{} files are as they were at {at}", self.files)
        } else {
            format!("{} files differ from those of {at}: {}", self.different, self.differs.join(", "))
        };
        let later = match self.later {
            0 => String::new(),
            later => format!("; {later} were written after that"),
        };
        let conversation = match (self.conversation_ok, self.exact) {
            (true, true) => "the conversation ends where it was flushed",
            (true, false) => "the conversation goes on after the last flush",
            (false, _) => "the conversation has lost events",
        };
        format!("{files}{later}; {conversation}.")
    }
}

/// One published file. Its content is `GET /v1/blobs/<sha256>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactInfo {
    /// Same path published again: same name, next version.
    pub name: String,
    /// 1, 2, 3, …
    pub version: i64,
    /// Human-readable title.
    pub title: String,
    /// File name offered for a download.
    pub file_name: String,
    /// Media type such as `application/pdf`.
    pub media_type: String,
    /// Bytes.
    pub size: i64,
    /// Lower-case hex SHA-256 of the content.
    pub sha256: String,
    /// The turn that made it.
    pub turn: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_volume_is_intact_only_if_there_was_something_to_compare_with_and_nothing_differs() {
        let mut restored = Restored { files: 3, conversation_ok: true, exact: true, ..Restored::default() };
        assert!(!restored.intact());
        assert!(restored.summary().contains("no list of files"));
        restored.flushed = Some(Flushed { at: "2026-11-22T12:00:00Z".into(), ..Flushed::default() });
        assert!(restored.intact());
        restored.different = 1;
        restored.differs = vec!["missing Documents/a.txt".into()];
        assert!(!restored.intact());
        assert!(restored.summary().contains("missing Documents/a.txt"), "{}", restored.summary());
    }

    #[test]
    fn a_state_of_an_older_runner_is_still_read() {
        let state: RunnerState =
            serde_json::from_str(r#"{"epoch":1,"seq":2,"turn":1,"state":"Idle"}"#).unwrap();
        assert_eq!((state.seq, state.restored, state.session), (2, None, None));
    }
}
