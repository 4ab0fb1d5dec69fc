//! The conversation in short, for a harness that starts without memory.

use std::sync::Arc;

use a8s_wire::{Event, EventBody};

/// The longest summary in bytes; what was said last matters most.
const MAX: usize = 8 * 1024;

/// What was said, oldest first; `None` if nothing was.
pub fn of(events: &[Arc<Event>]) -> Option<String> {
    let mut lines = Vec::new();
    let mut size = 0;
    for event in events.iter().rev() {
        let line = match &event.body {
            EventBody::TurnStarted { content, author, .. } => format!("{author}: {content}"),
            EventBody::Message { text, .. } => format!("agent: {text}"),
            _ => continue,
        };
        size += line.len();
        if size > MAX {
            break;
        }
        lines.push(line);
    }
    lines.reverse();
    (!lines.is_empty()).then(|| {
        let said = lines.join("\n");
        format!("[You were restarted. This is the conversation so far; do not answer it again.]\n{said}")
    })
}

#[cfg(test)]
mod tests {
    use a8s_wire::EventId;

    use super::*;

    fn message(seq: i64, text: String) -> Arc<Event> {
        let id = EventId { epoch: 0, seq };
        Arc::new(Event { id, ts: String::new(), turn: 1, body: EventBody::Message { text, more: None } })
    }

    #[test]
    fn a_long_conversation_is_cut_at_its_old_end() {
        assert_eq!(of(&[]), None);
        let events: Vec<_> = (0..100).map(|seq| message(seq, format!("{seq} {}", "x".repeat(200)))).collect();
        let summary = of(&events).unwrap();
        assert!(summary.len() < MAX + 200);
        assert!(summary.contains("agent: 99 ") && !summary.contains("agent: 0 "));
    }
}
