//! The scripted brain: decides what a message asks for.

mod phrases;
mod script;

use crate::{
    report,
    turn::{Failure, Turn},
};

const HELP: &str = "I am the built-in agent without a language model, so I understand only a few things:\n\n\
- **Make a report of rain and temperature** from an attached CSV file with the columns `date`, `precipitation`, `temp_max`, `temp_min`; then *use one chart per year*, or *use one chart*\n\
- **Write a note that says …**\n\
- **Open a browser at …**\n\
- Lines of the scenario language: `/say`, `/think`, `/plan a|b`, `/launch program args`, `/type text`, `/key combo`, `/click x y`, `/wait-window title`, `/shell command`, `/write path text`, `/publish path title`, `/ask`, `/sleep ms`, `/fail message`, `/wait-for-cancel`";

/// Answers a message. Failures are said in the chat.
pub async fn answer(turn: &Turn) {
    if let Err(failure) = respond(turn).await {
        turn.say(failure.to_string());
    }
}

async fn respond(turn: &Turn) -> Result<(), Failure> {
    if turn.text.lines().any(|line| line.trim_start().starts_with('/')) {
        return script::run(turn).await;
    }
    if let Some(request) = report::Request::read(turn) {
        return report::run(turn, request).await;
    }
    if let Some(phrase) = phrases::Phrase::read(&turn.text) {
        return phrase.run(turn).await;
    }
    turn.say(HELP);
    Ok(())
}
