//! Scenarios: text to steps, and what a step does.

use std::time::Duration;

use serde_json::{Value, json};

/// One answer of the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    pub pieces: Vec<Piece>,
    pub calls: Vec<Call>,
    pub faults: Vec<Fault>,
    pub stop: Stop,
    pub safety: Option<String>,
    pub usage: Option<(u64, u64)>,
    pub slow: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Say(String),
    Think(String),
    Echo,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub name: String,
    /// Text, since models write arguments that are no JSON too.
    pub arguments: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    #[default]
    Normal,
    Refusal,
    MaxTokens,
}

/// Something that goes wrong the first `times` times.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub kind: FaultKind,
    pub times: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    Status { status: u16, retry_after: Option<String> },
    Cut,
    Malformed,
    Overloaded,
    Hang,
}

const COMMANDS: &[&str] = &[
    "/say",
    "/echo",
    "/think",
    "/tool",
    "/and",
    "/safety",
    "/usage",
    "/refuse",
    "/max-tokens",
    "/status",
    "/cut",
    "/malformed",
    "/overloaded",
    "/hang",
    "/slow",
    "/huge",
    "/counted",
];

/// The lines of a text that belong to a scenario.
pub fn lines(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .map(str::trim)
        .filter_map(|line| {
            let end = line.find(char::is_whitespace).unwrap_or(line.len());
            COMMANDS.contains(&&line[..end]).then(|| (&line[..end], line[end..].trim()))
        })
        .collect()
}

/// The steps of a scenario; never empty.
pub fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = Step::default();
    for (command, rest) in lines(text) {
        if !step.calls.is_empty() && command != "/and" {
            steps.push(std::mem::take(&mut step));
        }
        read(&mut step, command, rest);
    }
    let called = !step.calls.is_empty();
    steps.push(step);
    if called {
        steps.push(Step { pieces: vec![Piece::Say("Done.".into())], ..Step::default() });
    }
    steps
}

fn read(step: &mut Step, command: &str, rest: &str) {
    let option =
        |name: &str| rest.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let times = option("times").and_then(|text| text.parse().ok()).unwrap_or(u32::MAX);
    let mut fault = |kind| step.faults.push(Fault { kind, times });
    match command {
        "/say" => step.pieces.push(Piece::Say(rest.to_owned())),
        "/think" => step.pieces.push(Piece::Think(rest.to_owned())),
        "/echo" => step.pieces.push(Piece::Echo),
        "/huge" => step.pieces.push(Piece::Say("x".repeat(rest.parse().unwrap_or(1000)))),
        "/tool" | "/and" => {
            let (name, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, "{}"));
            step.calls.push(Call { name: name.to_owned(), arguments: arguments.trim().to_owned() });
        }
        "/safety" => step.safety = Some(rest.to_owned()),
        "/refuse" => step.stop = Stop::Refusal,
        "/max-tokens" => step.stop = Stop::MaxTokens,
        "/usage" => {
            let mut numbers = rest.split_whitespace().filter_map(|word| word.parse().ok());
            step.usage = numbers.next().zip(numbers.next());
        }
        "/slow" => step.slow = Some(Duration::from_millis(rest.parse().unwrap_or(0))),
        "/status" => {
            let status = rest.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(500);
            fault(FaultKind::Status { status, retry_after: option("retry-after").map(str::to_owned) });
        }
        "/cut" => fault(FaultKind::Cut),
        "/malformed" => fault(FaultKind::Malformed),
        "/overloaded" => fault(FaultKind::Overloaded),
        "/hang" => fault(FaultKind::Hang),
        _ => {}
    }
}

/// The step that comes after so many tool results.
pub fn after_results(steps: &[Step], mut results: usize) -> &Step {
    for step in steps {
        if step.calls.is_empty() || results < step.calls.len() {
            return step;
        }
        results -= step.calls.len();
    }
    steps.last().unwrap_or(&EMPTY)
}

static EMPTY: Step = Step {
    pieces: Vec::new(),
    calls: Vec::new(),
    faults: Vec::new(),
    stop: Stop::Normal,
    safety: None,
    usage: None,
    slow: None,
};

/// An action of ours in the words of OpenAI's computer tool.
pub fn openai_action(input: &Value) -> Value {
    let at = |field: &str, i: usize| input[field][i].clone();
    let (x, y) = (at("coordinate", 0), at("coordinate", 1));
    match input["action"].as_str().unwrap_or_default() {
        "left_click" => json!({"type": "click", "button": "left", "x": x, "y": y}),
        "right_click" => json!({"type": "click", "button": "right", "x": x, "y": y}),
        "double_click" => json!({"type": "double_click", "x": x, "y": y}),
        "mouse_move" => json!({"type": "move", "x": x, "y": y}),
        "type" => json!({"type": "type", "text": input["text"]}),
        "key" => {
            let keys: Vec<_> =
                input["text"].as_str().unwrap_or_default().split('+').map(str::to_uppercase).collect();
            json!({"type": "keypress", "keys": keys})
        }
        "scroll" => json!({"type": "scroll", "x": x, "y": y, "scroll_x": 0, "scroll_y": 300}),
        "wait" => json!({"type": "wait"}),
        _ => json!({"type": "screenshot"}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_call_ends_an_answer_and_the_rest_waits_for_its_result() {
        let text = "please:\n/say first\n/tool a {\"x\":1}\n/and b {}\n/status 529 times=1\n/say last\n/home/agent/x";
        let steps = steps(text);
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[0].calls.len(), 2);
        assert_eq!(after_results(&steps, 0), &steps[0]);
        assert_eq!(after_results(&steps, 2), &steps[1]);
        assert_eq!(steps[1].faults.len(), 1);
        assert_eq!(steps[1].pieces, [Piece::Say("last".into())]);
    }
}
