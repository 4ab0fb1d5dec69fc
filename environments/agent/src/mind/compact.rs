//! When the conversation grows too long for the model, it is summarised. What the person said is not: the requirement and their messages
//! stay word for word.

use a8s_llm::{Client, LlmError, Message, Part, Request, ResultPart, Role};

use super::prune::IMAGE_TOKENS;

const MARK: &str = "[The conversation so far was too long and was summarised.]";
/// What the person said, as far as it is kept besides the first and the last message, in characters.
const MAX_KEPT: usize = 16_000;
/// Longest piece of a tool result in what is summarised.
const MAX_RESULT: usize = 1_500;

const ORDERS: &str = "You summarise a conversation between a person and an agent that works on a desktop, so that the agent can go on without \
having seen it. Write, in this order: what was done and with which result; facts that were found (names, paths, numbers, addresses, \
exactly as they are); what is open on the desktop; what was decided and what the person ruled out; what is to be done next. Be complete and \
dense. Do not repeat the person's own messages: they are kept. Do not invent anything.";

/// Tokens of a history, about.
pub fn estimate(messages: &[Message]) -> u64 {
    let tokens = |characters: usize| u64::try_from(characters / 4 + 4).unwrap_or(u64::MAX);
    let in_part = |part: &Part| match part {
        Part::Text { text } => tokens(text.len()),
        Part::Image(_) => IMAGE_TOKENS,
        Part::ToolUse(call) => tokens(call.input.to_string().len() + call.name.len()),
        Part::ToolResult(result) => {
            let images = u64::try_from(result.images().count()).unwrap_or_default();
            tokens(result.all_text().len()) + images * IMAGE_TOKENS
        }
        Part::Opaque(opaque) => tokens(opaque.value.to_string().len()),
    };
    messages.iter().flat_map(|message| &message.parts).map(in_part).sum()
}

/// The conversation made short.
pub async fn compacted(client: &Client, messages: &[Message], window: u64) -> Result<Vec<Message>, LlmError> {
    let transcript = transcript(messages);
    // Half of the window, four characters to a token.
    let mut room = usize::try_from(window).unwrap_or(usize::MAX).saturating_mul(2);
    let summary = loop {
        let skip = transcript.len().saturating_sub(room);
        let from = (skip..=transcript.len()).find(|at| transcript.is_char_boundary(*at)).unwrap_or_default();
        let request = Request {
            system: ORDERS.to_owned(),
            messages: vec![Message::user(format!("Summarise this conversation.\n\n{}", &transcript[from..]))],
            max_tokens: Some(4_096),
            ..Request::default()
        };
        match client.ask(request).await {
            Ok(reply) => break reply.message.text(),
            Err(LlmError::TooLong { .. }) if room > 4_000 => room = room.min(transcript.len()) / 2,
            Err(error) => return Err(error),
        }
    };
    let mut parts = vec![Part::text(format!("{MARK}\n\nSummary:\n{}", summary.trim()))];
    let said = kept(said(messages));
    if !said.is_empty() {
        parts.push(Part::text("What the person said, word for word, oldest first:"));
        parts.extend(said.into_iter().map(Part::text));
    }
    parts.push(Part::text("[Go on with what the person wants. Look at the screen first.]"));
    Ok(vec![Message { role: Role::User, parts }])
}

/// Every text of the person, oldest first; also through earlier summaries.
fn said(messages: &[Message]) -> Vec<String> {
    let texts =
        messages.iter().filter(|message| message.role == Role::User).flat_map(|message| &message.parts);
    let texts = texts.filter_map(|part| match part {
        Part::Text { text } => Some(text),
        _ => None,
    });
    // Our own words are in brackets, or begin a summary.
    let ours = |text: &str| text.starts_with('[') || text.starts_with("What the person said, word for word");
    texts.filter(|text| !ours(text) && !text.trim().is_empty()).cloned().collect()
}

/// The first and the last text, and of the others the newest that fit.
fn kept(mut said: Vec<String>) -> Vec<String> {
    let mut room = MAX_KEPT;
    let last = said.len().saturating_sub(1);
    let mut keep: Vec<bool> = said.iter().map(|_| false).collect();
    for (at, text) in said.iter().enumerate().rev() {
        let fits = text.len() <= room;
        if fits || at == 0 || at == last {
            keep[at] = true;
            room = room.saturating_sub(text.len());
        }
    }
    let mut keep = keep.into_iter();
    said.retain(|_| keep.next().unwrap_or(false));
    said
}

fn transcript(messages: &[Message]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for message in messages {
        let who = if message.role == Role::User { "Person" } else { "Agent" };
        for part in &message.parts {
            match part {
                Part::Text { text } => lines.push(format!("{who}: {text}")),
                Part::ToolUse(call) => lines.push(format!("Agent calls {}: {}", call.name, call.input)),
                Part::ToolResult(result) => {
                    let said = result.content.iter().map(|part| match part {
                        ResultPart::Text { text } => text.chars().take(MAX_RESULT).collect::<String>(),
                        ResultPart::Image(_) => "(a screenshot)".to_owned(),
                    });
                    let failed = if result.is_error { " (failed)" } else { "" };
                    lines.push(format!("Result{failed}: {}", said.collect::<Vec<_>>().join(" ")));
                }
                Part::Image(_) => lines.push(format!("{who} shows a picture.")),
                Part::Opaque(_) => {}
            }
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_message_stay_however_long_they_are() {
        let long = |letter: &str| letter.repeat(MAX_KEPT);
        let texts = vec![long("a"), long("b"), "short".into(), long("c")];
        assert_eq!(kept(texts), [long("a"), long("c")]);
        let texts = vec!["first".into(), "second".into(), "third".into()];
        assert_eq!(kept(texts.clone()), texts);
        assert!(kept(Vec::new()).is_empty());
    }

    #[test]
    fn a_second_summary_still_has_what_was_said_before_the_first() {
        let parts = vec![
            Part::text(format!("{MARK}\n\nSummary:\nx")),
            Part::text("What the person said, word for word, oldest first:"),
            Part::text("the requirement"),
            Part::text("[Go on]"),
        ];
        let messages =
            [Message { role: Role::User, parts }, Message::assistant("ok"), Message::user("and this")];
        assert_eq!(said(&messages), ["the requirement", "and this"]);
    }
}
