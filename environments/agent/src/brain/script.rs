//! The scenario language: one action a line, for tests and demonstrations.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::{
    command, files,
    turn::{Failure, Turn},
};

/// The most output of a command that is said in the chat, in characters.
const MAX_OUTPUT: usize = 4000;
/// Longest run of a command.
const MAX_TIME: Duration = Duration::from_hours(1);

/// Runs every line that starts with a slash.
pub async fn run(turn: &Turn) -> Result<(), Failure> {
    for line in turn.text.lines().map(str::trim).filter(|line| line.starts_with('/')) {
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        act(turn, command, rest.trim()).await?;
    }
    Ok(())
}

async fn act(turn: &Turn, command: &str, rest: &str) -> Result<(), Failure> {
    match command {
        "/say" => turn.say(rest),
        "/think" => turn.think(rest),
        "/plan" => {
            let titles: Vec<&str> = rest.split('|').map(str::trim).collect();
            turn.plan(&titles, 0);
        }
        "/launch" => {
            let words: Vec<&str> = rest.split_whitespace().collect();
            let (program, args) = words
                .split_first()
                .ok_or_else(|| Failure::new("`/launch` needs a program, for example `/launch terminal`"))?;
            turn.step(format!("launch {rest}"), async { Ok(turn.launch(program, args).await?) }).await?;
        }
        "/type" => turn.step("type text", async { Ok(turn.type_text(rest).await?) }).await?,
        "/key" => turn.step(format!("press {rest}"), async { Ok(turn.key(rest).await?) }).await?,
        "/click" => {
            let mut numbers = rest.split([' ', ',']).filter_map(|word| word.parse::<u16>().ok());
            let (Some(x), Some(y)) = (numbers.next(), numbers.next()) else {
                return Err(Failure::new("`/click` needs two numbers, for example `/click 100 200`"));
            };
            let click = async { Ok(turn.computer("left_click", json!({"coordinate": [x, y]})).await?) };
            turn.step(format!("click at {x}, {y}"), click).await?;
        }
        "/wait-window" => {
            let found = turn
                .step(format!("wait for the window {rest}"), async { Ok(turn.window(rest, 20).await?) })
                .await?;
            if !found {
                return Err(Failure::new(format!("no window with the title {rest:?} came up")));
            }
        }
        "/shell" => {
            let output = turn.step(format!("run {rest}"), shell(turn, rest)).await?;
            turn.say(output);
        }
        "/write" => {
            let (path, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let target = files::in_home(&turn.home, path);
            turn.step(format!("write {path}"), async { Ok(files::write(&target, format!("{text}\n"))?) })
                .await?;
        }
        "/publish" => {
            let (path, title) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            // What cannot be shared is refused by the runner, with the reason.
            let _ = files::share(&files::in_home(&turn.home, path));
            let arguments = json!({"path": path, "title": title});
            let (text, _) = turn
                .step(format!("publish {path}"), async {
                    Ok(turn.tool("publish_artifact", arguments).await?)
                })
                .await?;
            turn.say(text);
        }
        "/ask" => {
            let allowed = turn.ask(if rest.is_empty() { "May I go on?" } else { rest }).await?;
            turn.say(if allowed { "You allowed it." } else { "You did not allow it." });
        }
        "/sleep" => sleep(Duration::from_millis(rest.parse().unwrap_or(0))).await,
        "/fail" => return Err(Failure::new(if rest.is_empty() { "I was told to fail." } else { rest })),
        "/wait-for-cancel" => std::future::pending::<()>().await,
        _ => return Err(Failure::new(format!("I do not know `{command}`.\n\n{}", super::HELP))),
    }
    Ok(())
}

async fn shell(turn: &Turn, line: &str) -> Result<String, Failure> {
    let outcome = command::run(&turn.home, line, MAX_TIME, MAX_OUTPUT).await?;
    if outcome.success {
        return Ok(format!("```\n{}\n```", outcome.output));
    }
    Err(Failure::new(format!("`{line}` ended with {}:\n```\n{}\n```", outcome.ended, outcome.output)))
}
