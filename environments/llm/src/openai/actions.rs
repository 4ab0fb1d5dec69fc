//! The actions of OpenAI's computer tool in the words of Anthropic's, which the desktop understands.

use serde_json::{Value, json};

/// What `computer_call` asks for: one action, or `{"actions": [...]}`.
pub(crate) fn translate(item: &Value) -> Value {
    let actions: Vec<Value> = match (item["actions"].as_array(), item.get("action")) {
        (Some(actions), _) => actions.iter().flat_map(action).collect(),
        (None, Some(one)) => action(one),
        (None, None) => Vec::new(),
    };
    match <[Value; 1]>::try_from(actions) {
        Ok([one]) => one,
        Err(actions) if actions.is_empty() => json!({"action": "screenshot"}),
        Err(actions) => json!({"actions": actions}),
    }
}

fn action(action: &Value) -> Vec<Value> {
    let at = json!([whole(&action["x"]), whole(&action["y"])]);
    let held = keys(&action["keys"]);
    let with_held = |mut value: Value| {
        if !held.is_empty() {
            value["text"] = json!(held);
        }
        vec![value]
    };
    match action["type"].as_str().unwrap_or_default() {
        "click" => match action["button"].as_str().unwrap_or("left") {
            "right" => with_held(json!({"action": "right_click", "coordinate": at})),
            "wheel" | "middle" => with_held(json!({"action": "middle_click", "coordinate": at})),
            "back" => vec![json!({"action": "key", "text": "alt+Left"})],
            "forward" => vec![json!({"action": "key", "text": "alt+Right"})],
            _ => with_held(json!({"action": "left_click", "coordinate": at})),
        },
        "double_click" => with_held(json!({"action": "double_click", "coordinate": at})),
        "triple_click" => with_held(json!({"action": "triple_click", "coordinate": at})),
        "move" => vec![json!({"action": "mouse_move", "coordinate": at})],
        "drag" => drag(action["path"].as_array().map(Vec::as_slice).unwrap_or_default()),
        "keypress" => vec![json!({"action": "key", "text": held})],
        "type" => vec![json!({"action": "type", "text": action["text"].as_str().unwrap_or_default()})],
        "wait" => vec![json!({"action": "wait", "duration": 2})],
        "scroll" => scroll(action, &at, &held),
        _ => vec![json!({"action": "screenshot"})],
    }
}

fn whole(value: &Value) -> i64 {
    #[allow(clippy::cast_possible_truncation)] // the desktop checks what is a place on the screen
    value.as_i64().or_else(|| value.as_f64().map(|number| number.round() as i64)).unwrap_or_default()
}

fn place(point: &Value) -> Value {
    match point.as_array() {
        Some(pair) => json!([pair.first().map_or(0, whole), pair.get(1).map_or(0, whole)]),
        None => json!([whole(&point["x"]), whole(&point["y"])]),
    }
}

fn drag(path: &[Value]) -> Vec<Value> {
    match path {
        [] => vec![json!({"action": "screenshot"})],
        [from, to] => {
            vec![
                json!({"action": "left_click_drag", "start_coordinate": place(from), "coordinate": place(to)}),
            ]
        }
        [from, rest @ ..] => {
            let moved = |point: &Value| json!({"action": "mouse_move", "coordinate": place(point)});
            let mut actions = vec![moved(from), json!({"action": "left_mouse_down"})];
            actions.extend(rest.iter().map(moved));
            actions.push(json!({"action": "left_mouse_up"}));
            actions
        }
    }
}

/// Pixels become wheel clicks, a hundred to each.
fn scroll(action: &Value, at: &Value, held: &str) -> Vec<Value> {
    let distances = [("scroll_y", "up", "down"), ("scroll_x", "left", "right")];
    let turns = distances.into_iter().filter_map(|(field, less, more)| {
        let pixels = whole(&action[field]);
        let clicks = pixels.unsigned_abs().div_ceil(100).min(50);
        let direction = if pixels < 0 { less } else { more };
        let mut turn = json!({"action": "scroll", "coordinate": at, "scroll_direction": direction, "scroll_amount": clicks});
        if !held.is_empty() {
            turn["text"] = json!(held);
        }
        (clicks > 0).then_some(turn)
    });
    turns.collect()
}

/// `["CTRL", "L"]` as `ctrl+l`.
fn keys(keys: &Value) -> String {
    let names = keys.as_array().into_iter().flatten().filter_map(Value::as_str).map(key);
    names.collect::<Vec<_>>().join("+")
}

fn key(name: &str) -> String {
    let known = match name.to_ascii_uppercase().as_str() {
        "CTRL" | "CONTROL" => "ctrl",
        "ALT" | "OPTION" => "alt",
        "SHIFT" => "shift",
        "CMD" | "META" | "SUPER" | "WIN" | "COMMAND" => "super",
        "ENTER" | "RETURN" => "Return",
        "ESC" | "ESCAPE" => "Escape",
        "TAB" => "Tab",
        "SPACE" | " " => "space",
        "BACKSPACE" => "BackSpace",
        "DEL" | "DELETE" => "Delete",
        "INSERT" => "Insert",
        "HOME" => "Home",
        "END" => "End",
        "PAGEUP" | "PAGE_UP" => "Page_Up",
        "PAGEDOWN" | "PAGE_DOWN" => "Page_Down",
        "ARROWLEFT" | "LEFT" => "Left",
        "ARROWRIGHT" | "RIGHT" => "Right",
        "ARROWUP" | "UP" => "Up",
        "ARROWDOWN" | "DOWN" => "Down",
        "CAPSLOCK" => "Caps_Lock",
        upper if upper.len() > 1 && upper.starts_with('F') && upper[1..].parse::<u8>().is_ok() => {
            return upper.to_owned();
        }
        _ if name.chars().count() == 1 => return name.to_lowercase(),
        _ => return name.to_owned(),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_of_the_hosted_tool_has_one_of_ours() {
        let one = |action: Value| translate(&json!({"action": action}));
        let click = json!({"type": "click", "button": "left", "x": 10.4, "y": 20, "keys": ["CTRL"]});
        assert_eq!(one(click), json!({"action": "left_click", "coordinate": [10, 20], "text": "ctrl"}));
        assert_eq!(
            one(json!({"type": "click", "button": "back", "x": 1, "y": 1})),
            json!({"action": "key", "text": "alt+Left"})
        );
        assert_eq!(
            one(json!({"type": "keypress", "keys": ["CTRL", "SHIFT", "T"]})),
            json!({"action": "key", "text": "ctrl+shift+t"})
        );
        assert_eq!(one(json!({"type": "keypress", "keys": ["f5"]}))["text"], "F5");
        assert_eq!(one(json!({"type": "type", "text": "ä"})), json!({"action": "type", "text": "ä"}));
        let scroll = json!({"type": "scroll", "x": 1, "y": 2, "scroll_x": 0, "scroll_y": -250});
        assert_eq!(
            one(scroll),
            json!({"action": "scroll", "coordinate": [1, 2], "scroll_direction": "up", "scroll_amount": 3})
        );
        let drag = json!({"type": "drag", "path": [{"x": 1, "y": 2}, [3, 4]]});
        assert_eq!(
            one(drag),
            json!({"action": "left_click_drag", "start_coordinate": [1, 2], "coordinate": [3, 4]})
        );
        let long =
            one(json!({"type": "drag", "path": [{"x": 1, "y": 2}, {"x": 3, "y": 4}, {"x": 5, "y": 6}]}));
        assert_eq!(long["actions"].as_array().unwrap().len(), 5);
        let batch = translate(&json!({"actions": [{"type": "screenshot"}, {"type": "wait"}]}));
        assert_eq!(batch["actions"][1]["action"], "wait");
        assert_eq!(one(json!({"type": "invented"})), json!({"action": "screenshot"}));
    }
}
