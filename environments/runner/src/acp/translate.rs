//! ACP's types to ours. Kinds that we do not show, or do not know, are left out.

use std::fmt::Write;

use a8s_wire::{
    Prompt,
    event::{LAST_PIECE, PlanEntry},
};
use agent_client_protocol::v1::schema::{
    CompactionStatus, ContentBlock, ResourceLink, SessionUpdate, TextContent, UsageUpdate,
};
use serde::Serialize;

use super::Update;

/// The wire's name of an enum without fields, so that new names pass through unchanged.
pub fn wire_name(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "unknown".to_owned(),
    }
}

/// What a session update means to people.
pub fn update(update: SessionUpdate) -> Option<Update> {
    match update {
        SessionUpdate::AgentMessageChunk(chunk) => match chunk.content {
            ContentBlock::Text(text) => {
                let message = chunk.message_id.map(|id| id.to_string());
                let last = chunk.meta.is_some_and(|meta| meta.get(LAST_PIECE) == Some(&true.into()));
                Some(Update::Text { text: text.text, message, last })
            }
            _ => None,
        },
        SessionUpdate::ToolCall(call) => Some(Update::Step {
            id: call.tool_call_id.to_string(),
            title: Some(call.title),
            status: Some(wire_name(call.status)),
        }),
        SessionUpdate::ToolCallUpdate(call) => Some(Update::Step {
            id: call.tool_call_id.to_string(),
            title: call.fields.title,
            status: call.fields.status.map(wire_name),
        }),
        SessionUpdate::Plan(plan) => Some(Update::Plan(
            plan.entries
                .into_iter()
                .map(|entry| PlanEntry { title: entry.content, status: wire_name(entry.status) })
                .collect(),
        )),
        SessionUpdate::AgentThoughtChunk(chunk) => match chunk.content {
            ContentBlock::Text(text) => Some(Update::Thinking(text.text)),
            _ => None,
        },
        SessionUpdate::Notice(notice) => Some(Update::Notice(match notice.description {
            Some(description) => format!("{}: {description}", notice.title),
            None => notice.title,
        })),
        SessionUpdate::CompactionUpdate(compaction) if compaction.status == CompactionStatus::Completed => {
            Some(Update::Compacted)
        }
        SessionUpdate::UsageUpdate(usage) => Some(spent(&usage)),
        _ => None,
    }
}

#[allow(clippy::cast_possible_truncation)] // A price that needs more than 63 bits is no price.
fn spent(usage: &UsageUpdate) -> Update {
    let cost = usage.cost.as_ref().filter(|cost| cost.currency.eq_ignore_ascii_case("usd"));
    let cost = cost.map(|cost| (cost.amount * 1e6).round() as i64);
    Update::Spent { context: i64::try_from(usage.used).unwrap_or(i64::MAX), cost_micros: cost }
}

/// A message as ACP content: its text, and a link for each attachment.
pub fn blocks(prompt: Prompt, preamble: Option<String>, home: &std::path::Path) -> Vec<ContentBlock> {
    let preamble = preamble.map(|text| ContentBlock::Text(TextContent::new(text)));
    let links = prompt.attachments.into_iter().map(|name| {
        let uri = file_uri(&home.join("Attachments").join(&name));
        ContentBlock::ResourceLink(ResourceLink::new(name, uri))
    });
    preamble
        .into_iter()
        .chain(std::iter::once(ContentBlock::Text(TextContent::new(prompt.content))))
        .chain(links)
        .collect()
}

/// A `file://` link with everything escaped that a link may not hold.
fn file_uri(path: &std::path::Path) -> String {
    let mut uri = "file://".to_owned();
    for byte in path.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_holds_no_spaces_and_no_foreign_letters() {
        assert_eq!(file_uri(std::path::Path::new("/home/a b/é.csv")), "file:///home/a%20b/%C3%A9.csv");
    }
}
