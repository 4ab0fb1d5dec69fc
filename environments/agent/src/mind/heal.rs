//! Histories that every provider accepts: each tool call is answered in the next message, and each answer has its call. A cancelled turn, a
//! crash or a torn file leave others.

use std::collections::HashSet;

use a8s_llm::{Message, Part, Role, ToolResult};

const INTERRUPTED: &str =
    "interrupted: the call was cut off and may or may not have had its effect; look before you repeat it";

/// The history put in order; `None` if it is.
pub fn healed(messages: &[Message]) -> Option<Vec<Message>> {
    let mut fresh: Vec<Message> = Vec::with_capacity(messages.len());
    let mut open: Vec<String> = Vec::new();
    for message in messages {
        let mut message = message.clone();
        if message.role == Role::Assistant {
            if fresh.is_empty() {
                // The person speaks first.
                continue;
            }
            if !open.is_empty() {
                fresh.push(answers(&open));
            }
            let mut seen = HashSet::new();
            // Two calls of one id would be answered by one result.
            message.parts.retain(|part| match part {
                Part::ToolUse(call) => seen.insert(call.id.clone()),
                Part::ToolResult(_) => false,
                _ => true,
            });
            open = message.tool_uses().map(|call| call.id.clone()).collect();
        } else {
            let mut missing = std::mem::take(&mut open);
            message.parts.retain(|part| match part {
                Part::ToolResult(result) => match missing.iter().position(|id| *id == result.id) {
                    Some(at) => {
                        missing.remove(at);
                        true
                    }
                    None => false,
                },
                Part::ToolUse(_) => false,
                _ => true,
            });
            message.parts.extend(answers(&missing).parts);
        }
        if !message.parts.is_empty() {
            fresh.push(message);
        }
    }
    if !open.is_empty() {
        fresh.push(answers(&open));
    }
    (fresh != messages).then_some(fresh)
}

fn answers(ids: &[String]) -> Message {
    let parts = ids.iter().map(|id| Part::ToolResult(ToolResult::error(id, INTERRUPTED))).collect();
    Message { role: Role::User, parts }
}

#[cfg(test)]
mod tests {
    use a8s_llm::ToolUse;

    use super::*;

    fn calls(ids: &[&str]) -> Message {
        let call =
            |id: &&str| Part::ToolUse(ToolUse { id: (*id).into(), name: "x".into(), ..ToolUse::default() });
        Message { role: Role::Assistant, parts: ids.iter().map(call).collect() }
    }

    fn results(ids: &[&str]) -> Message {
        let result = |id: &&str| Part::ToolResult(ToolResult::text(*id, "ok"));
        Message { role: Role::User, parts: ids.iter().map(result).collect() }
    }

    /// What providers insist on.
    fn is_valid(messages: &[Message]) -> bool {
        let mut open: Vec<&str> = Vec::new();
        for message in messages {
            let answered: Vec<&str> = message.tool_results().map(|result| result.id.as_str()).collect();
            let mut wanted = open.clone();
            let mut given = answered.clone();
            wanted.sort_unstable();
            given.sort_unstable();
            if wanted != given {
                return false;
            }
            open = message.tool_uses().map(|call| call.id.as_str()).collect();
        }
        open.is_empty() && messages.first().is_none_or(|first| first.role == Role::User)
    }

    #[test]
    fn a_history_in_order_is_left_alone() {
        let messages =
            [Message::user("a"), calls(&["1", "2"]), results(&["2", "1"]), Message::assistant("b")];
        assert!(is_valid(&messages));
        assert_eq!(healed(&messages), None);
    }

    #[test]
    fn whatever_is_lost_the_history_is_valid_afterwards_and_stays_as_it_is() {
        let whole = [
            Message::user("a"),
            calls(&["1", "2"]),
            results(&["1", "2"]),
            Message::assistant("b"),
            Message::user("c"),
            calls(&["3"]),
            results(&["3"]),
            calls(&["4", "4"]),
            results(&["4"]),
        ];
        // Every subset of messages may be lost.
        for kept in 0..(1u32 << whole.len()) {
            let messages: Vec<_> = whole
                .iter()
                .enumerate()
                .filter(|(at, _)| (kept >> at) & 1 == 1)
                .map(|(_, m)| m.clone())
                .collect();
            let fresh = healed(&messages).unwrap_or(messages);
            assert!(is_valid(&fresh), "{fresh:?}");
            assert_eq!(healed(&fresh), None);
        }
    }
}
