//! The `computer` tool: one action, then the picture that it led to.

use std::time::Duration;

use a8s_rfb::{Kind, encode, keysym};
use serde_json::{Value, json};

use super::input::{Action, ComputerInput, Direction};
use crate::{desk::Desk, error::DeskError, typing::key};

const LEFT: u8 = 1;
const MIDDLE: u8 = 2;
const RIGHT: u8 = 4;
const DRAG_STEPS: i32 = 12;
const DRAG_PAUSE: Duration = Duration::from_millis(8);
const MAX_DURATION: f64 = 60.0;
/// After an action the screen counts as settled when it was quiet for this long, and is not waited for longer than that.
const SETTLE: (Duration, Duration) = (Duration::from_millis(150), Duration::from_secs(2));

/// Does what `input` says. The value describes the outcome; the caller adds the picture.
pub async fn act(desk: &Desk, input: &ComputerInput) -> Result<Value, DeskError> {
    desk.lease.agent()?;
    match input.action {
        Action::Screenshot => {}
        Action::CursorPosition => {
            let (x, y) = desk.windows.pointer().await?;
            return Ok(json!({"x": x, "y": y}));
        }
        Action::Wait => wait(desk, seconds(input.duration, 1.0)?).await?,
        Action::Type => {
            let text = input.text.as_deref().ok_or_else(|| missing("text", "the text to type"))?;
            desk.screen.type_text(text).await?;
        }
        Action::Key => desk.screen.press(&keys(input)?, None).await?,
        Action::HoldKey => desk.screen.press(&keys(input)?, Some(seconds(input.duration, 1.0)?)).await?,
        _ => mouse(desk, input).await?,
    }
    let settled = if input.action == Action::Screenshot {
        None
    } else {
        desk.screen.barrier().await?;
        Some(desk.screen.settled(SETTLE.0, SETTLE.1).await)
    };
    let (x, y) = desk.windows.pointer().await?;
    let (width, height) = desk.screen.size();
    Ok(json!({"pointer": [x, y], "size": [width, height], "settled": settled}))
}

async fn mouse(desk: &Desk, input: &ComputerInput) -> Result<(), DeskError> {
    let held = match &input.text {
        Some(text) if !text.is_empty() => combination(text)?,
        _ => Vec::new(),
    };
    let (here, buttons) = (desk.windows.pointer().await?, desk.screen.buttons().await);
    let target = match input.coordinate {
        Some(coordinate) => inside(desk, coordinate)?,
        None => here,
    };
    let mut events: Vec<_> = held.iter().map(|symbol| key(*symbol, true)).collect();
    let click = |mask: u8, times: usize| {
        let mut events = vec![at(0, target)];
        for _ in 0..times {
            events.extend([at(mask, target), at(0, target)]);
        }
        events
    };
    match input.action {
        Action::LeftClick => events.extend(click(LEFT, 1)),
        Action::RightClick => events.extend(click(RIGHT, 1)),
        Action::MiddleClick => events.extend(click(MIDDLE, 1)),
        Action::DoubleClick => events.extend(click(LEFT, 2)),
        Action::TripleClick => events.extend(click(LEFT, 3)),
        Action::MouseMove => {
            input.coordinate.ok_or_else(|| missing("coordinate", "where to move the pointer"))?;
            events.push(at(buttons, target));
        }
        Action::LeftMouseDown => events.extend([at(buttons, target), at(buttons | LEFT, target)]),
        Action::LeftMouseUp => events.extend([at(buttons, target), at(buttons & !LEFT, target)]),
        Action::Scroll => {
            let direction = input
                .scroll_direction
                .ok_or_else(|| missing("scroll_direction", "up, down, left or right"))?;
            let amount = input.scroll_amount.unwrap_or(3).clamp(1, 50) as usize;
            let mask = match direction {
                Direction::Up => 8,
                Direction::Down => 16,
                Direction::Left => 32,
                Direction::Right => 64,
            };
            events.extend(click(mask, amount));
        }
        Action::LeftClickDrag => {
            input.coordinate.ok_or_else(|| missing("coordinate", "where the drag ends"))?;
            let from = match input.start_coordinate {
                Some(coordinate) => inside(desk, coordinate)?,
                None => here,
            };
            return drag(desk, events, &held, from, target).await;
        }
        Action::Screenshot
        | Action::Type
        | Action::Key
        | Action::HoldKey
        | Action::Wait
        | Action::CursorPosition => {}
    }
    events.extend(held.iter().rev().map(|symbol| key(*symbol, false)));
    desk.screen.input(&events).await
}

/// Programs recognise a drag by the way, not by its ends.
async fn drag(
    desk: &Desk,
    mut before: Vec<(Kind, Vec<u8>)>,
    held: &[u32],
    from: (u16, u16),
    to: (u16, u16),
) -> Result<(), DeskError> {
    before.extend([at(0, from), at(LEFT, from)]);
    desk.screen.input(&before).await?;
    for step in 1..=DRAG_STEPS {
        tokio::time::sleep(DRAG_PAUSE).await;
        let between = |a: u16, b: u16| {
            let way = (i32::from(b) - i32::from(a)) * step / DRAG_STEPS;
            u16::try_from(i32::from(a) + way).unwrap_or(b)
        };
        desk.screen.input(&[at(LEFT, (between(from.0, to.0), between(from.1, to.1)))]).await?;
    }
    let mut after = vec![at(0, to)];
    after.extend(held.iter().rev().map(|symbol| key(*symbol, false)));
    desk.screen.input(&after).await
}

/// Waits, but not into a time in which a person has control.
pub async fn wait(desk: &Desk, time: Duration) -> Result<(), DeskError> {
    let mut lease = desk.lease.watch();
    let taken = lease.wait_for(|state| state.holder == a8s_wire::Holder::User);
    // Running into the time limit is what this is for.
    let _ = tokio::time::timeout(time, taken).await;
    desk.lease.agent()
}

/// A duration from an argument.
pub fn seconds(given: Option<f64>, default: f64) -> Result<Duration, DeskError> {
    let seconds = given.unwrap_or(default);
    if !(0.0..=MAX_DURATION * 2.0).contains(&seconds) {
        return Err(DeskError::InvalidArgument(format!(
            "{seconds} seconds is not between 0 and {}",
            MAX_DURATION * 2.0
        )));
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn at(mask: u8, (x, y): (u16, u16)) -> (Kind, Vec<u8>) {
    (Kind::Pointer, encode::pointer(mask, x, y).to_vec())
}

fn inside(desk: &Desk, [x, y]: [i32; 2]) -> Result<(u16, u16), DeskError> {
    let (width, height) = desk.screen.size();
    let place = |value: i32, limit: u16| u16::try_from(value).ok().filter(|value| *value < limit);
    place(x, width).zip(place(y, height)).ok_or_else(|| {
        DeskError::InvalidArgument(format!("[{x}, {y}] is outside the screen of {width}x{height} pixels"))
    })
}

fn keys(input: &ComputerInput) -> Result<Vec<u32>, DeskError> {
    combination(input.text.as_deref().ok_or_else(|| missing("text", "the keys, for example ctrl+s"))?)
}

fn combination(text: &str) -> Result<Vec<u32>, DeskError> {
    keysym::from_combination(text).map_err(|part| {
        DeskError::InvalidArgument(format!(
            "{part:?} in {text:?} is no key; examples: Return, ctrl+s, Page_Down"
        ))
    })
}

fn missing(name: &str, what: &str) -> DeskError {
    DeskError::InvalidArgument(format!("this action needs `{name}`: {what}"))
}
