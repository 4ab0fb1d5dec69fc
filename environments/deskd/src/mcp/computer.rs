//! The actions of the `computer` tool, under the names and with the arguments that Anthropic's models know.

use std::time::Duration;

use a8s_rfb::{Kind, encode, keysym};
use serde_json::{Value, json};

use super::input::{Action, ComputerInput, Direction};
use crate::{desk::Desk, error::DeskError, hands::Hands, typing::key};

const LEFT: u8 = 1;
const MIDDLE: u8 = 2;
const RIGHT: u8 = 4;
const DRAG_STEPS: i32 = 12;
const DRAG_PAUSE: Duration = Duration::from_millis(8);
const MAX_DURATION: f64 = 100.0;
const MOST_WHEEL: u32 = 50;
/// After an action the screen counts as settled when it was quiet for this long, and is not waited for longer than that.
const SETTLE: (Duration, Duration) = (Duration::from_millis(150), Duration::from_secs(2));
/// The same between the actions of a batch: enough for a menu to open, as nobody looks.
const SETTLE_BETWEEN: (Duration, Duration) = (Duration::from_millis(60), Duration::from_millis(500));

/// What the caller wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shot {
    /// Nothing.
    None,
    /// The screen.
    Screen,
    /// A part of it, enlarged: x, y, width, height.
    Region([u16; 4]),
}

/// Does what `input` says, `last` of all or one of several. The value describes the outcome; the caller adds the picture.
pub async fn act(
    desk: &Desk,
    hands: &Hands,
    input: &ComputerInput,
    last: bool,
) -> Result<(Value, Shot), DeskError> {
    let mut shot = if input.screenshot_after.unwrap_or(true) { Shot::Screen } else { Shot::None };
    match input.action {
        Action::Screenshot => shot = Shot::Screen,
        Action::Zoom => shot = Shot::Region(region(desk, input)?),
        Action::CursorPosition => {
            let (x, y) = desk.windows.pointer().await?;
            return Ok((json!({"x": x, "y": y}), Shot::None));
        }
        Action::Wait => hands.pause(seconds(input.duration, 1.0, MAX_DURATION)?).await?,
        Action::Type => {
            let text = input.text.as_deref().ok_or_else(|| missing("text", "the text to type"))?;
            hands.type_text(text).await?;
        }
        Action::Key => hands.press(&keys(input)?, None).await?,
        Action::HoldKey => {
            hands.press(&keys(input)?, Some(seconds(input.duration, 1.0, MAX_DURATION)?)).await?;
        }
        _ => mouse(desk, hands, input).await?,
    }
    let settled = if matches!(input.action, Action::Screenshot | Action::Zoom) {
        None
    } else {
        hands.barrier().await?;
        let (quiet, limit) = if last { SETTLE } else { SETTLE_BETWEEN };
        Some(hands.settled(quiet, limit).await?)
    };
    if !last {
        return Ok((json!({"settled": settled}), shot));
    }
    let (x, y) = desk.windows.pointer().await?;
    let (width, height) = desk.screen.size();
    let active = desk.windows.active().await?;
    let value =
        json!({"pointer": [x, y], "size": [width, height], "activeWindow": active, "settled": settled});
    Ok((value, shot))
}

async fn mouse(desk: &Desk, hands: &Hands, input: &ComputerInput) -> Result<(), DeskError> {
    let held = input.keys().map(combination).transpose()?.unwrap_or_default();
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
        Action::Scroll => events.extend(wheel(input, target)?),
        Action::LeftClickDrag => {
            input.coordinate.ok_or_else(|| missing("coordinate", "where the drag ends"))?;
            let from = match input.start_coordinate {
                Some(coordinate) => inside(desk, coordinate)?,
                None => here,
            };
            return drag(hands, events, &held, from, target).await;
        }
        Action::Screenshot
        | Action::Zoom
        | Action::Type
        | Action::Key
        | Action::HoldKey
        | Action::Wait
        | Action::CursorPosition => {}
    }
    events.extend(held.iter().rev().map(|symbol| key(*symbol, false)));
    hands.input(&events).await
}

fn wheel(input: &ComputerInput, target: (u16, u16)) -> Result<Vec<(Kind, Vec<u8>)>, DeskError> {
    let direction =
        input.scroll_direction.ok_or_else(|| missing("scroll_direction", "up, down, left or right"))?;
    let amount = input.scroll_amount.unwrap_or(3);
    if !(1..=MOST_WHEEL).contains(&amount) {
        return Err(DeskError::BadArgument(format!(
            "scroll_amount {amount} is not between 1 and {MOST_WHEEL}"
        )));
    }
    let mask = match direction {
        Direction::Up => 8,
        Direction::Down => 16,
        Direction::Left => 32,
        Direction::Right => 64,
    };
    let mut events = vec![at(0, target)];
    for _ in 0..amount {
        events.extend([at(mask, target), at(0, target)]);
    }
    Ok(events)
}

/// Programs recognise a drag by the way, not by its ends.
async fn drag(
    hands: &Hands,
    mut before: Vec<(Kind, Vec<u8>)>,
    held: &[u32],
    from: (u16, u16),
    to: (u16, u16),
) -> Result<(), DeskError> {
    before.extend([at(0, from), at(LEFT, from)]);
    hands.input(&before).await?;
    for step in 1..=DRAG_STEPS {
        hands.pause(DRAG_PAUSE).await?;
        let between = |a: u16, b: u16| {
            let way = (i32::from(b) - i32::from(a)) * step / DRAG_STEPS;
            u16::try_from(i32::from(a) + way).unwrap_or(b)
        };
        hands.input(&[at(LEFT, (between(from.0, to.0), between(from.1, to.1)))]).await?;
    }
    let mut after = vec![at(0, to)];
    after.extend(held.iter().rev().map(|symbol| key(*symbol, false)));
    hands.input(&after).await
}

/// A duration from an argument.
pub fn seconds(given: Option<f64>, default: f64, most: f64) -> Result<Duration, DeskError> {
    let seconds = given.unwrap_or(default);
    if !(0.0..=most).contains(&seconds) {
        return Err(DeskError::BadArgument(format!("{seconds} seconds is not between 0 and {most}")));
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
        DeskError::BadArgument(format!("[{x}, {y}] is outside the screen of {width}x{height} pixels"))
    })
}

/// The corners may be given in any order; the right and lower edge of the screen count as inside.
fn region(desk: &Desk, input: &ComputerInput) -> Result<[u16; 4], DeskError> {
    let [x0, y0, x1, y1] =
        input.region.ok_or_else(|| missing("region", "the corners [x0, y0, x1, y1] of what to enlarge"))?;
    let (width, height) = desk.screen.size();
    let place = |value: i32, limit: u16| u16::try_from(value).ok().filter(|value| *value <= limit);
    let corners = place(x0.min(x1), width)
        .zip(place(y0.min(y1), height))
        .zip(place(x0.max(x1), width).zip(place(y0.max(y1), height)));
    match corners {
        Some(((left, top), (right, bottom))) if right > left && bottom > top => {
            Ok([left, top, right - left, bottom - top])
        }
        _ => Err(DeskError::BadArgument(format!(
            "[{x0}, {y0}, {x1}, {y1}] is no region of the screen of {width}x{height} pixels"
        ))),
    }
}

fn keys(input: &ComputerInput) -> Result<Vec<u32>, DeskError> {
    combination(input.keys().ok_or_else(|| missing("text", "the keys, for example ctrl+s"))?)
}

fn combination(text: &str) -> Result<Vec<u32>, DeskError> {
    keysym::from_combination(text).map_err(|part| {
        DeskError::BadArgument(format!("{part:?} in {text:?} is no key; examples: Return, ctrl+s, Page_Down"))
    })
}

fn missing(name: &str, what: &str) -> DeskError {
    DeskError::BadArgument(format!("this action needs `{name}`: {what}"))
}
