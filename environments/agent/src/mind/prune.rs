//! Old screenshots go, many at a time: providers keep the unchanged beginning of a conversation in a cache, and each removal changes it.

use a8s_llm::{Message, Part, ResultPart};

/// Pictures that always stay.
const KEEP: usize = 3;
/// What a picture costs, in tokens, about.
pub const IMAGE_TOKENS: u64 = 1_500;
const REMOVED: &str = "[an old screenshot was removed]";

/// How many pictures may come together before the old ones go.
fn interval(window: u64) -> usize {
    // A third of the window for pictures, between a few and forty of them.
    usize::try_from(window / 3 / IMAGE_TOKENS).unwrap_or(40).clamp(4, 40)
}

/// The history without old pictures; `None` while there are few.
pub fn pruned(messages: &[Message], window: u64) -> Option<Vec<Message>> {
    let pictures = count(messages);
    if pictures <= KEEP + interval(window) {
        return None;
    }
    Some(keep(messages, KEEP))
}

/// The history with the newest pictures only.
pub fn keep(messages: &[Message], newest: usize) -> Vec<Message> {
    let mut old = count(messages).saturating_sub(newest);
    let mut fresh = messages.to_vec();
    for part in fresh.iter_mut().flat_map(|message| &mut message.parts) {
        match part {
            Part::Image(_) if old > 0 => {
                old -= 1;
                *part = Part::text(REMOVED);
            }
            Part::ToolResult(result) => {
                for part in &mut result.content {
                    if old > 0 && matches!(part, ResultPart::Image(_)) {
                        old -= 1;
                        *part = ResultPart::text(REMOVED);
                    }
                }
            }
            _ => {}
        }
    }
    fresh
}

/// Pictures in a history.
pub fn count(messages: &[Message]) -> usize {
    let in_part = |part: &Part| match part {
        Part::Image(_) => 1,
        Part::ToolResult(result) => result.images().count(),
        _ => 0,
    };
    messages.iter().flat_map(|message| &message.parts).map(in_part).sum()
}

#[cfg(test)]
mod tests {
    use a8s_llm::{Image, Role, ToolResult};

    use super::*;

    fn shot(number: usize) -> Message {
        let image = Image { media_type: "image/jpeg".into(), data: number.to_string() };
        let result = ToolResult {
            id: number.to_string(),
            content: vec![ResultPart::Image(image)],
            ..ToolResult::default()
        };
        Message { role: Role::User, parts: vec![Part::ToolResult(result)] }
    }

    #[test]
    fn the_beginning_of_a_conversation_changes_once_in_forty_pictures() {
        let mut messages = Vec::new();
        let mut changes = 0;
        for number in 0..200 {
            messages.push(shot(number));
            if let Some(fresh) = pruned(&messages, 200_000) {
                changes += 1;
                messages = fresh;
                assert_eq!(count(&messages), KEEP);
            }
        }
        assert_eq!(messages.len(), 200);
        assert_eq!(changes, 4);
        let last = messages.last().unwrap().tool_results().next().unwrap();
        assert_eq!(last.images().count(), 1);
    }

    #[test]
    fn a_small_window_holds_few_pictures() {
        let messages: Vec<_> = (0..9).map(shot).collect();
        assert!(pruned(&messages, 200_000).is_none());
        assert_eq!(count(&pruned(&messages, 8_000).unwrap()), KEEP);
    }
}
