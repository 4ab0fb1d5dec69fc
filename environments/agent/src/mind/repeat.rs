//! Notices when the model does the same thing again and again while nothing changes on the screen.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::Value;

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// The model is told.
    Tell,
    /// The turn ends.
    Stop,
}

/// Times after which the model is told, and after which the turn ends.
const LIMITS: (u32, u32) = (4, 8);
/// The same for looking and waiting, which may be right for a long time.
const PATIENT_LIMITS: (u32, u32) = (15, 60);

/// Counts.
#[derive(Debug, Default)]
pub struct Repeats {
    seen: HashMap<u64, u32>,
    told: bool,
}

impl Repeats {
    /// Counts a call and what came of it. Anything new on the screen starts the count anew only for what was done there: going in circles
    /// over a few screens is noticed as well.
    pub fn note(&mut self, tool: &str, input: &Value, outcome: &[&str]) -> Verdict {
        let mut hasher = DefaultHasher::new();
        (tool, input.to_string(), outcome).hash(&mut hasher);
        let count = self.seen.entry(hasher.finish()).or_default();
        *count += 1;
        let patient = matches!(tool, "desktop_info" | "wait_settled" | "wait_for_window" | "shell")
            || matches!(input["action"].as_str(), Some("wait" | "screenshot" | "cursor_position" | "zoom"));
        let (tell, stop) = if patient { PATIENT_LIMITS } else { LIMITS };
        if *count >= stop {
            Verdict::Stop
        } else if *count >= tell && (*count == tell || !self.told) {
            self.told = true;
            Verdict::Tell
        } else {
            Verdict::Fine
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_model_is_told_the_fourth_time_and_stopped_if_it_does_not_listen() {
        let mut repeats = Repeats::default();
        let click = json!({"action": "left_click", "coordinate": [1, 2]});
        let verdicts: Vec<_> = (0..8).map(|_| repeats.note("computer", &click, &["screen"])).collect();
        assert_eq!(&verdicts[..4], [Verdict::Fine, Verdict::Fine, Verdict::Fine, Verdict::Tell]);
        assert_eq!((verdicts[5], verdicts[7]), (Verdict::Fine, Verdict::Stop));
    }

    #[test]
    fn a_screen_that_changes_and_a_wait_that_lasts_are_no_repetition() {
        let mut repeats = Repeats::default();
        let scroll = json!({"action": "scroll"});
        let wait = json!({"action": "wait", "duration": 5});
        for number in 0..14 {
            let screen = number.to_string();
            assert_eq!(repeats.note("computer", &scroll, &[&screen]), Verdict::Fine);
            assert_eq!(repeats.note("computer", &wait, &["same"]), Verdict::Fine);
        }
        assert_eq!(repeats.note("computer", &wait, &["same"]), Verdict::Tell);
    }
}
