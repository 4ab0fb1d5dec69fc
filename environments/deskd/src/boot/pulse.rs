//! Whether the display still answers. Xvnc has one thread: if that hangs there are no pictures and no input, and nothing but a new start
//! helps.

use std::time::Duration;

use crate::windows::Windows;

/// Between an answer and the next question.
const EVERY: Duration = Duration::from_secs(1);
/// Questions in a row without an answer. A machine that was frozen as a whole misses one.
const MISSED: u32 = 3;

/// Returns when the display has stopped answering, and says so.
pub async fn lost(display: &Windows) -> String {
    let mut missed = 0;
    while missed < MISSED {
        tokio::time::sleep(EVERY).await;
        match display.answers().await {
            Ok(()) => missed = 0,
            Err(error) => {
                missed += 1;
                tracing::warn!(%error, missed, "no sign of life from the display");
            }
        }
    }
    format!("the display has not answered {MISSED} questions in a row")
}
