//! What can go wrong when the agent uses the desktop. Each error has a code that programs compare and a text that a model can act on.

use a8s_wire::ControlState;

/// Why a tool call did nothing, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// A person has the mouse and the keyboard.
    #[error(
        "{user} has had control of the desktop since {since}; do nothing on the desktop until it is handed back, then take a screenshot"
    )]
    ControlHeldByUser {
        /// Who.
        user: String,
        /// RFC 3339 time.
        since: String,
    },
    /// The lease is changing hands at this moment.
    #[error("control of the desktop is changing hands; try again in a moment")]
    ControlPending,
    /// A person had control since the agent last saw the desktop: what it meant to do may fit no longer.
    #[error(
        "control was handed back by {user}; nothing was done, as the screen may look different now: look at it, then decide anew"
    )]
    ControlHandedBack {
        /// Who.
        user: String,
    },
    /// The caller has withdrawn the call, or is gone.
    #[error("the call was withdrawn; nothing more is done, and what it held down was let go")]
    Cancelled,
    /// The call itself makes no sense.
    #[error("{0}")]
    BadArgument(String),
    /// Neither a configured application nor a program on PATH.
    #[error("there is no program {program:?}; applications are: {known}")]
    ProgramNotFound {
        /// What was asked for.
        program: String,
        /// Names that exist.
        known: String,
    },
    /// It ended with an error at once.
    #[error("{program} ended at once: {status}")]
    ProgramFailed {
        /// What was started.
        program: String,
        /// Exit status in words.
        status: String,
    },
    /// What was waited for did not happen.
    #[error("{0}")]
    Timeout(String),
    /// The X server does not answer.
    #[error("the display does not answer: {0}")]
    Display(String),
}

impl DeskError {
    /// The error for a lease that a person holds.
    pub fn held(state: &ControlState) -> Self {
        Self::ControlHeldByUser {
            user: state.user.clone().unwrap_or_else(|| "a person".into()),
            since: state.since.clone(),
        }
    }

    /// Stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ControlHeldByUser { .. } => "control_held_by_user",
            Self::ControlPending => "control_pending",
            Self::ControlHandedBack { .. } => "control_handed_back",
            Self::Cancelled => "cancelled",
            Self::BadArgument(_) => "bad_argument",
            Self::ProgramNotFound { .. } => "program_not_found",
            Self::ProgramFailed { .. } => "program_failed",
            Self::Timeout(_) => "timeout",
            Self::Display(_) => "display_unavailable",
        }
    }
}

impl From<std::io::Error> for DeskError {
    fn from(error: std::io::Error) -> Self {
        Self::Display(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_the_name_that_agents_compare_and_words_that_say_more() {
        let text = || "x".to_owned();
        let all = [
            (DeskError::ControlHeldByUser { user: text(), since: text() }, "control_held_by_user"),
            (DeskError::ControlPending, "control_pending"),
            (DeskError::ControlHandedBack { user: text() }, "control_handed_back"),
            (DeskError::Cancelled, "cancelled"),
            (DeskError::BadArgument("needs `text`".into()), "bad_argument"),
            (DeskError::ProgramNotFound { program: text(), known: text() }, "program_not_found"),
            (DeskError::ProgramFailed { program: text(), status: text() }, "program_failed"),
            (DeskError::Timeout("no window came".into()), "timeout"),
            (std::io::Error::other("gone").into(), "display_unavailable"),
        ];
        for (error, code) in all {
            assert_eq!(error.code(), code);
            assert!(error.to_string().len() > 10, "{code}: {error}");
        }
    }
}
