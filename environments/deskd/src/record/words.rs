//! What the agent did, in words that give away nothing that was typed, copied or searched for.

use a8s_rfb::keysym;

use crate::mcp::input::{Action, ClipboardAction, ComputerInput, Direction};

/// Keys that make a shortcut of others: Control, Meta, Alt, Super.
fn chord(symbol: u32) -> bool {
    matches!(symbol, 0xffe3 | 0xffe4 | 0xffe7..=0xffec)
}

/// Keys that type no character. The keypad types digits.
fn function(symbol: u32) -> bool {
    matches!(symbol, 0xfe00..=0xff7f | 0xffbe..=0xffff)
}

/// An action of `computer`; `None` if it is none that is seen.
pub fn computer(input: &ComputerInput) -> Option<String> {
    let at = input.coordinate.map(place).unwrap_or_default();
    let text = match input.action {
        Action::Screenshot | Action::Zoom | Action::CursorPosition | Action::Wait => return None,
        Action::LeftClick => format!("click{at}"),
        Action::RightClick => format!("right click{at}"),
        Action::MiddleClick => format!("middle click{at}"),
        Action::DoubleClick => format!("double click{at}"),
        Action::TripleClick => format!("triple click{at}"),
        Action::MouseMove => format!("move{at}"),
        Action::LeftMouseDown => format!("press{at}"),
        Action::LeftMouseUp => format!("release{at}"),
        Action::LeftClickDrag => {
            let from = input.start_coordinate.map(|from| format!(" from{}", place(from))).unwrap_or_default();
            format!("drag{from} to{at}")
        }
        Action::Scroll => {
            let direction = match input.scroll_direction? {
                Direction::Up => "up",
                Direction::Down => "down",
                Direction::Left => "left",
                Direction::Right => "right",
            };
            format!("scroll {direction}{at}")
        }
        Action::Type => format!("type ({})", characters(input.text.as_deref()?)),
        Action::Key => format!("key {}", keys(input.keys()?)),
        Action::HoldKey => format!("hold key {}", keys(input.keys()?)),
    };
    Some(text)
}

/// What was done with the clipboard.
pub fn clipboard(action: ClipboardAction, text: Option<&str>) -> String {
    match action {
        ClipboardAction::Get => "read the clipboard".into(),
        ClipboardAction::Set => format!("copy ({})", characters(text.unwrap_or_default())),
    }
}

/// A program was started. Arguments are not told, nor is a name that is none of the desktop's own applications.
pub fn launch(program: &str, applications: &[&str]) -> String {
    if applications.contains(&program) { format!("launch {program}") } else { "launch a program".into() }
}

fn place([x, y]: [i32; 2]) -> String {
    format!(" {x},{y}")
}

fn characters(text: &str) -> String {
    match text.chars().count() {
        1 => "1 character".into(),
        count => format!("{count} characters"),
    }
}

/// Key by key somebody may type a password: a character is told only if it is part of a shortcut.
fn keys(text: &str) -> String {
    let names: Vec<&str> = text.split('+').map(str::trim).filter(|name| !name.is_empty()).collect();
    let symbols: Option<Vec<u32>> = names.iter().map(|name| keysym::from_name(name)).collect();
    let Some(symbols) = symbols.filter(|symbols| !symbols.is_empty()) else { return "(1 character)".into() };
    let shortcut = symbols.iter().copied().any(chord);
    let shown = |(name, symbol): (&&str, &u32)| {
        if shortcut || function(*symbol) { (*name).to_owned() } else { "(1 character)".to_owned() }
    };
    names.iter().zip(&symbols).map(shown).collect::<Vec<_>>().join("+")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(input: Value) -> Option<String> {
        computer(&serde_json::from_value(input).unwrap())
    }

    #[test]
    fn kinds_and_places_are_told() {
        for (input, expected) in [
            (json!({"action": "left_click", "coordinate": [10, 20]}), "click 10,20"),
            (json!({"action": "double_click"}), "double click"),
            (
                json!({"action": "left_click_drag", "start_coordinate": [1, 2], "coordinate": [3, 4]}),
                "drag from 1,2 to 3,4",
            ),
            (
                json!({"action": "scroll", "scroll_direction": "down", "coordinate": [5, 6]}),
                "scroll down 5,6",
            ),
            (json!({"action": "key", "text": "ctrl+shift+s"}), "key ctrl+shift+s"),
            (json!({"action": "hold_key", "key": "Return"}), "hold key Return"),
        ] {
            assert_eq!(said(input).as_deref(), Some(expected));
        }
        assert_eq!(said(json!({"action": "screenshot"})), None);
        assert_eq!(launch("browser", &["browser"]), "launch browser");
    }

    #[test]
    fn nothing_that_was_typed_or_copied_is_told() {
        let secret = "hunter2";
        let all = [
            said(json!({"action": "type", "text": secret})),
            said(json!({"action": "key", "text": secret})),
            said(json!({"action": "key", "text": "shift+Q"})),
            said(json!({"action": "key", "text": "q"})),
            said(json!({"action": "key", "text": "KP_7"})),
            Some(clipboard(ClipboardAction::Set, Some(secret))),
            Some(launch(secret, &["browser"])),
        ];
        let all: Vec<String> = all.into_iter().flatten().collect();
        assert_eq!(
            all,
            [
                "type (7 characters)",
                "key (1 character)",
                "key shift+(1 character)",
                "key (1 character)",
                "key (1 character)",
                "copy (7 characters)",
                "launch a program"
            ]
        );
    }
}
