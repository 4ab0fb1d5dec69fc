//! One call of a tool, from the lease to the picture.

use a8s_wire::recording::Actor;
use base64::{Engine, engine::general_purpose::STANDARD};
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    computer::{self, Shot, seconds},
    input::{
        BatchInput, ClipboardAction, ClipboardInput, ComputerInput, LaunchInput, WaitForWindowInput,
        WaitSettledInput,
    },
};
use crate::{desk::Desk, error::DeskError, hands::Hands, record::words};

const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(100);
const MOST_ACTIONS: usize = 10;
const LONGEST_WAIT: f64 = 120.0;

/// What is called, with its arguments.
#[derive(Clone, Debug)]
pub enum Call {
    /// `computer`
    Computer(ComputerInput),
    /// `computer_batch`
    Batch(BatchInput),
    /// `launch`
    Launch(LaunchInput),
    /// `clipboard`
    Clipboard(ClipboardInput),
    /// `wait_for_window`
    WaitForWindow(WaitForWindowInput),
    /// `wait_settled`
    WaitSettled(WaitSettledInput),
}

impl Call {
    /// Whether it changes something on the desktop.
    fn acts(&self) -> bool {
        match self {
            Self::Computer(input) => !input.action.looks(),
            Self::Batch(input) => input.actions.iter().any(|input| !input.action.looks()),
            Self::Launch(_) => true,
            Self::Clipboard(input) => input.action == ClipboardAction::Set,
            Self::WaitForWindow(_) | Self::WaitSettled(_) => false,
        }
    }
}

/// What went wrong, and how far it had come.
#[derive(Debug)]
pub struct Failed {
    error: DeskError,
    details: Value,
    shot: Shot,
}

impl From<DeskError> for Failed {
    fn from(error: DeskError) -> Self {
        // Who is to look anew gets something to look at.
        let handed_back = matches!(error, DeskError::ControlHandedBack { .. });
        Self { error, details: json!({}), shot: if handed_back { Shot::Screen } else { Shot::None } }
    }
}

/// Does it and writes the answer.
pub async fn run(desk: &Desk, hands: &Hands, call: Call) -> CallToolResult {
    let outcome = perform(desk, hands, &call).await;
    hands.finish().await;
    match outcome {
        Ok((mut value, shot)) => match image(desk, hands, shot).await {
            Ok(image) => {
                note(&mut value, image.as_ref().and_then(|_| desk.resized()));
                let content = image.into_iter().chain([ContentBlock::text(value.to_string())]);
                CallToolResult::success(content.collect())
            }
            Err(error) => failure(Failed::from(error), None),
        },
        Err(mut failed) => {
            // A picture is a help here, not what was asked for.
            let image = image(desk, hands, failed.shot).await.ok().flatten();
            note(&mut failed.details, image.as_ref().and_then(|_| desk.resized()));
            failure(failed, image)
        }
    }
}

async fn perform(desk: &Desk, hands: &Hands, call: &Call) -> Result<(Value, Shot), Failed> {
    hands.check()?;
    // Two calls at once would type into each other's words.
    let _alone = if call.acts() { Some(hands.wait(desk.acting.lock()).await?) } else { None };
    hands.check()?;
    let handed_back = desk.lease.take_handed_back();
    if let Some(user) = &handed_back
        && call.acts()
    {
        return Err(DeskError::ControlHandedBack { user: user.clone() }.into());
    }
    desk.recorder.did(Actor::Agent, || told(desk, call));
    let (mut value, mut shot) = match call {
        Call::Computer(input) => computer::act(desk, hands, input, true).await?,
        Call::Batch(input) => batch(desk, hands, input).await?,
        Call::Launch(input) => (json!({"pid": desk.launch(&input.program, &input.args).await?}), Shot::None),
        Call::Clipboard(input) => (clipboard(desk, hands, input).await?, Shot::None),
        Call::WaitForWindow(input) => (find_window(desk, hands, input).await?, Shot::None),
        Call::WaitSettled(input) => {
            let quiet = seconds(input.quiet_seconds, 0.4, LONGEST_WAIT)?;
            let limit = seconds(input.timeout_seconds, 10.0, LONGEST_WAIT)?;
            (json!({"settled": hands.settled(quiet, limit).await?}), Shot::None)
        }
    };
    if let Some(user) = handed_back {
        note(&mut value, Some(format!("control was handed back by {user}")));
        if shot == Shot::None {
            shot = Shot::Screen;
        }
    }
    Ok((value, shot))
}

/// Says something beside what was asked for.
fn note(value: &mut Value, text: Option<String>) {
    if let Some(text) = text {
        let before = value["note"].as_str().map(|before| format!("{before}; ")).unwrap_or_default();
        value["note"] = json!(before + &text);
    }
}

/// What a recording tells of a call. A batch tells of each action when it comes to it.
fn told(desk: &Desk, call: &Call) -> Option<String> {
    match call {
        Call::Computer(input) => words::computer(input),
        Call::Launch(input) => Some(words::launch(&input.program, &desk.applications())),
        Call::Clipboard(input) => Some(words::clipboard(input.action, input.text.as_deref())),
        Call::Batch(_) | Call::WaitForWindow(_) | Call::WaitSettled(_) => None,
    }
}

async fn batch(desk: &Desk, hands: &Hands, input: &BatchInput) -> Result<(Value, Shot), Failed> {
    let count = input.actions.len();
    if count == 0 || count > MOST_ACTIONS {
        return Err(
            DeskError::BadArgument(format!("{count} actions; a batch has 1 to {MOST_ACTIONS}")).into()
        );
    }
    let mut results = Vec::new();
    let mut seen = Shot::None;
    for (index, action) in input.actions.iter().enumerate() {
        desk.recorder.did(Actor::Agent, || words::computer(action));
        let outcome = computer::act(desk, hands, action, index + 1 == count).await;
        match outcome.and_then(|done| hands.check().map(|()| done)) {
            Ok((value, shot)) => {
                seen = shot;
                results.push(value);
            }
            Err(error) => {
                let details = json!({"failed": index, "done": index, "results": results});
                return Err(Failed { error, details, shot: Shot::Screen });
            }
        }
    }
    Ok((json!({"done": count, "results": results}), seen))
}

async fn clipboard(desk: &Desk, hands: &Hands, input: &ClipboardInput) -> Result<Value, DeskError> {
    match (input.action, &input.text) {
        (ClipboardAction::Set, Some(text)) => {
            desk.copy(text.clone()).await?;
            hands.barrier().await?;
            Ok(json!({"characters": text.chars().count()}))
        }
        (ClipboardAction::Set, None) => Err(DeskError::BadArgument("set needs `text`".into())),
        (ClipboardAction::Get, _) => {
            let text = desk.clipboard().await?;
            // A person may have taken control in between and copied something.
            hands.check()?;
            Ok(json!({"text": text.unwrap_or_default()}))
        }
    }
}

async fn find_window(desk: &Desk, hands: &Hands, input: &WaitForWindowInput) -> Result<Value, DeskError> {
    let wanted = input.title_contains.to_lowercase();
    let until = Instant::now() + seconds(input.timeout_seconds, 10.0, LONGEST_WAIT)?;
    loop {
        let windows = desk.windows.list().await?;
        hands.check()?;
        if let Some(window) = windows.iter().find(|window| window.title.to_lowercase().contains(&wanted)) {
            return Ok(json!(window));
        }
        if Instant::now() >= until {
            let titles: Vec<_> = windows.into_iter().map(|window| window.title).collect();
            let text =
                format!("no window titled {:?} has opened; open windows: {titles:?}", input.title_contains);
            return Err(DeskError::Timeout(text));
        }
        hands.pause(LOOK_AGAIN).await?;
    }
}

async fn image(desk: &Desk, hands: &Hands, shot: Shot) -> Result<Option<ContentBlock>, DeskError> {
    let jpeg = match shot {
        Shot::None => return Ok(None),
        Shot::Screen => desk.screenshot().await?,
        Shot::Region(region) => desk.zoom(region).await?,
    };
    // Control may have changed while the action ran or the picture was made.
    hands.check()?;
    Ok(Some(ContentBlock::image(STANDARD.encode(jpeg), "image/jpeg")))
}

/// An error that the model reads as text and the runner by its code.
fn failure(failed: Failed, image: Option<ContentBlock>) -> CallToolResult {
    let Failed { error, mut details, .. } = failed;
    let progress = match details["failed"].as_u64() {
        Some(index) => format!(" (action {} of the batch; what came before it was done)", index + 1),
        None => String::new(),
    };
    let noted = details["note"].as_str().map(|note| format!(" ({note})")).unwrap_or_default();
    let text = ContentBlock::text(format!("{}: {error}{progress}{noted}", error.code()));
    let mut result = CallToolResult::error([text].into_iter().chain(image).collect());
    details["error"] = json!(error.code());
    match &error {
        DeskError::ControlHeldByUser { user, since } => {
            details["user"] = json!(user);
            details["since"] = json!(since);
        }
        DeskError::ControlHandedBack { user } => details["user"] = json!(user),
        _ => {}
    }
    result.structured_content = Some(details);
    result
}

/// The answer of a call that did nothing.
pub fn failed(error: DeskError) -> CallToolResult {
    failure(Failed::from(error), None)
}
