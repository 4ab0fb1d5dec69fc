//! What a call means in words for people, and what the desktop is asked for it.

use agent_client_protocol::v1::schema::ToolKind;
use serde_json::{Value, json};

/// Longest piece of text that a title repeats.
const MAX_QUOTE: usize = 60;
/// Most actions that the desktop takes at once.
const MAX_BATCH: usize = 10;

/// The MCP calls that carry out a call of the computer tool: name and arguments.
pub fn plan(input: &Value, batches: bool) -> Vec<(&'static str, Value)> {
    let Some(actions) = input["actions"].as_array() else {
        return vec![("computer", input.clone())];
    };
    if batches {
        return actions.chunks(MAX_BATCH).map(|some| ("computer_batch", json!({"actions": some}))).collect();
    }
    let last = actions.len().saturating_sub(1);
    let single = |(at, action): (usize, &Value)| {
        let mut action = action.clone();
        action["screenshot_after"] = json!(at == last);
        ("computer", action)
    };
    actions.iter().enumerate().map(single).collect()
}

/// One line for people.
pub fn title(name: &str, input: &Value) -> String {
    let text = |field: &str| quote(input[field].as_str().unwrap_or_default());
    match name {
        "computer" | "computer_batch" => match input["actions"].as_array() {
            Some(actions) => {
                let titles: Vec<_> = actions.iter().take(4).map(action).collect();
                let more = if actions.len() > 4 { ", …" } else { "" };
                format!("{}{more}", titles.join(", "))
            }
            None => action(input),
        },
        "shell" => format!("run {}", text("command")),
        "launch" => {
            let args = input["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
            quote(&args.fold(format!("launch {}", text("program")), |line, arg| format!("{line} {arg}")))
        }
        "wait_for_window" => format!("wait for the window {}", text("title_contains")),
        "wait_settled" => "wait until the screen stands still".into(),
        "desktop_info" => "look at the open windows".into(),
        "clipboard" if input["action"] == "set" => "copy to the clipboard".into(),
        "clipboard" => "read the clipboard".into(),
        "publish_artifact" => format!("publish {}", text("path")),
        "set_plan" => "set the plan".into(),
        "finish" => "finish".into(),
        "ask_user" => format!("ask: {}", text("question")),
        "request_takeover" => format!("ask you to take over: {}", text("reason")),
        "request_access" => format!("ask for {} {}", text("kind"), text("what")),
        _ => {
            let first =
                input.as_object().into_iter().flatten().find_map(|(_, value)| value.as_str()).map(quote);
            let name = name.replace("__", ": ").replace('_', " ");
            first.map_or(name.clone(), |first| format!("{name} {first}"))
        }
    }
}

fn action(input: &Value) -> String {
    let at = |field: &str| match input[field].as_array().map(Vec::as_slice) {
        Some([x, y]) => format!(" at {x},{y}"),
        _ => String::new(),
    };
    let text = || quote(input["text"].as_str().unwrap_or_default());
    let held = || match input["text"].as_str().or(input["key"].as_str()) {
        Some(keys) if !keys.is_empty() => format!("{keys}+"),
        _ => String::new(),
    };
    let place = at("coordinate");
    match input["action"].as_str().unwrap_or_default() {
        "screenshot" => "look at the screen".into(),
        "left_click" => format!("{}click{place}", held()),
        "right_click" => format!("{}right-click{place}", held()),
        "middle_click" => format!("{}middle-click{place}", held()),
        "double_click" => format!("{}double-click{place}", held()),
        "triple_click" => format!("{}triple-click{place}", held()),
        "mouse_move" => format!("move the pointer{}", place.replace(" at ", " to ")),
        "left_click_drag" => format!(
            "drag{}{}",
            at("start_coordinate").replace(" at ", " from "),
            place.replace(" at ", " to ")
        ),
        "left_mouse_down" => "press the mouse button".into(),
        "left_mouse_up" => "release the mouse button".into(),
        "scroll" => format!("scroll {}{place}", input["scroll_direction"].as_str().unwrap_or_default()),
        "type" => typed(input["text"].as_str().unwrap_or_default()),
        "key" => format!("press {}", text()),
        "hold_key" => format!("hold {}", text()),
        "wait" => match input["duration"].as_f64() {
            Some(seconds) => format!("wait {seconds} s"),
            None => "wait".into(),
        },
        "cursor_position" => "look where the pointer is".into(),
        "zoom" => "look closer".into(),
        "" => "use the computer".into(),
        other => quote(&other.replace('_', " ")),
    }
}

/// How much is typed and never what: it may be a password that a person told the agent, and titles are shown to everybody who may see the
/// Session, also to those who may not read its Messages.
fn typed(text: &str) -> String {
    match text.chars().count() {
        1 => "type 1 character".into(),
        count => format!("type {count} characters"),
    }
}

fn quote(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= MAX_QUOTE {
        return line;
    }
    format!("{}…", line.chars().take(MAX_QUOTE).collect::<String>())
}

/// What kind of step it is.
pub fn kind(name: &str, input: &Value) -> ToolKind {
    match (name, input["action"].as_str().unwrap_or_default()) {
        ("computer", "screenshot" | "cursor_position" | "zoom") | ("desktop_info", _) => ToolKind::Read,
        ("shell" | "computer" | "computer_batch" | "launch" | "clipboard", _) => ToolKind::Execute,
        ("set_plan", _) => ToolKind::Think,
        _ => ToolKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_read_as_a_person_would_say_them() {
        let cases = [
            ("computer", json!({"action": "left_click", "coordinate": [640, 400]}), "click at 640,400"),
            (
                "computer",
                json!({"action": "left_click", "coordinate": [1, 2], "text": "ctrl"}),
                "ctrl+click at 1,2",
            ),
            (
                "computer",
                json!({"action": "left_click_drag", "start_coordinate": [1, 2], "coordinate": [3, 4]}),
                "drag from 1,2 to 3,4",
            ),
            (
                "computer",
                json!({"actions": [{"action": "key", "text": "ctrl+l"}, {"action": "type", "text": "a\nb"}]}),
                "press ctrl+l, type 3 characters",
            ),
            ("shell", json!({"command": "ls -la"}), "run ls -la"),
            ("launch", json!({"program": "editor", "args": ["a.txt"]}), "launch editor a.txt"),
            ("jira__create_issue", json!({"title": "Broken"}), "jira: create issue Broken"),
            ("computer", json!("nonsense"), "use the computer"),
        ];
        for (name, input, words) in cases {
            assert_eq!(title(name, &input), words);
        }
        assert!(title("shell", &json!({"command": "x".repeat(500)})).chars().count() < 80);
    }

    #[test]
    fn what_is_typed_is_in_no_title_however_it_is_typed() {
        let kind = json!({"action": "type", "text": "hunter2 ü"});
        let batch = json!({"actions": [kind.clone(), {"action": "type", "text": "x"}]});
        for (name, input) in [("computer", kind), ("computer", batch.clone()), ("computer_batch", batch)] {
            let words = title(name, &input);
            assert!(!words.contains("hunter2") && words.starts_with("type 9 characters"), "{words}");
        }
        assert_eq!(title("computer", &json!({"action": "type", "text": "x"})), "type 1 character");
        assert_eq!(title("clipboard", &json!({"action": "set", "text": "hunter2"})), "copy to the clipboard");
    }

    #[test]
    fn several_actions_are_one_call_where_the_desktop_takes_them() {
        let input = json!({"actions": (0..12).map(|_| json!({"action": "wait"})).collect::<Vec<_>>()});
        let names: Vec<_> = plan(&input, true).iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["computer_batch", "computer_batch"]);
        let single = plan(&input, false);
        assert_eq!(single.len(), 12);
        assert_eq!(
            (&single[10].1["screenshot_after"], &single[11].1["screenshot_after"]),
            (&json!(false), &json!(true))
        );
    }
}
