//! ACP's types to ours. Kinds that we do not show, or do not know, are left out.

use std::fmt::Write;

use a8s_wire::{Prompt, event::PlanEntry};
use agent_client_protocol::v1::schema::{
    ContentBlock, PermissionOptionKind, RequestPermissionOutcome, RequestPermissionRequest, ResourceLink,
    SelectedPermissionOutcome, SessionUpdate, TextContent,
};
use serde::Serialize;

use super::Update;
use crate::config::Permissions;

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
                Some(Update::Text { text: text.text, message })
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
        _ => None,
    }
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

/// Answers a permission request by the policy: an option is chosen by its kind, never by its place, and never one that lasts.
pub fn decide(policy: Permissions, request: &RequestPermissionRequest) -> RequestPermissionOutcome {
    let once = request.options.iter().find(|option| option.kind == PermissionOptionKind::AllowOnce);
    match (policy, once) {
        (Permissions::Allow, Some(option)) => {
            RequestPermissionOutcome::Selected(SelectedPermissionOutcome::new(option.option_id.clone()))
        }
        _ => RequestPermissionOutcome::Cancelled,
    }
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
