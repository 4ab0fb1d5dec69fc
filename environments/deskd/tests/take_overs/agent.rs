//! The agent's part: it works without a pause, whoever takes the desktop away from it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::host;

/// What only the agent types.
pub const LETTERS: [char; 3] = ['x', 'y', 'z'];
/// Only the agent clicks left of this.
pub const COLUMN: u16 = 200;
/// What it may hear while others have control.
const REFUSALS: [&str; 3] = ["control_held_by_user", "control_pending", "control_handed_back"];

/// What story and agent know of each other.
#[derive(Default)]
pub struct Shared {
    /// Held by the agent during each of its calls.
    pub turn: tokio::sync::Mutex<()>,
    /// Grows by one when another holder is asked for, and once more when it is so.
    pub reign: AtomicU64,
    /// A person has control, or is about to.
    pub people: AtomicBool,
    pub over: AtomicBool,
    pub did: AtomicUsize,
    pub refused: AtomicUsize,
    /// The reign in which the agent pressed the button that it did not let go since.
    pub pressed: Mutex<Option<u64>>,
}

/// Works until it is over.
pub async fn work(agent: host::Agent, shared: Arc<Shared>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while !shared.over.load(Ordering::SeqCst) {
        let turn = shared.turn.lock().await;
        let (reign, people) = (shared.reign.load(Ordering::SeqCst), shared.people.load(Ordering::SeqCst));
        let (tool, arguments, presses) = something(&mut random);
        let answer = agent.call(tool, arguments.clone()).await;
        let undisturbed = shared.reign.load(Ordering::SeqCst) == reign;
        if answer.error {
            let refused = answer.json["error"].as_str().unwrap_or_default();
            assert!(REFUSALS.contains(&refused), "{tool} {arguments}: {}", answer.text);
            shared.refused.fetch_add(1, Ordering::Relaxed);
        } else {
            shared.did.fetch_add(1, Ordering::Relaxed);
            if let Some(down) = presses {
                *shared.pressed.lock().unwrap() = down.then_some(reign);
            }
        }
        if undisturbed && people {
            assert!(answer.error && answer.jpeg.is_none(), "the agent saw what a person holds: {tool}");
        }
        drop(turn);
        if answer.error {
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

/// A call, and whether it leaves the button pressed or released.
fn something(random: &mut StdRng) -> (&'static str, Value, Option<bool>) {
    let mut place = || json!([random.random_range(5..COLUMN), random.random_range(5..600)]);
    let (here, there) = (place(), place());
    let words: String = (0..random.random_range(1..80)).map(|_| *LETTERS.choose(random).unwrap()).collect();
    let computer = |arguments: Value, presses| ("computer", arguments, presses);
    match random.random_range(0..9) {
        0 => computer(json!({"action": "left_click", "coordinate": here}), Some(false)),
        1 => computer(json!({"action": "left_mouse_down", "coordinate": here}), Some(true)),
        2 => computer(json!({"action": "left_mouse_up", "coordinate": here}), Some(false)),
        3 => computer(json!({"action": "mouse_move", "coordinate": here}), None),
        4 => computer(json!({"action": "hold_key", "text": "shift", "duration": 0.4}), None),
        5 => {
            let drag = json!({"action": "left_click_drag", "start_coordinate": here, "coordinate": there});
            computer(drag, Some(false))
        }
        6 => computer(json!({"action": "screenshot"}), None),
        7 => {
            let actions = json!([
                {"action": "left_click", "coordinate": here, "text": "shift"},
                {"action": "type", "text": words},
                {"action": "left_mouse_up", "coordinate": there},
            ]);
            ("computer_batch", json!({"actions": actions}), Some(false))
        }
        _ => computer(json!({"action": "type", "text": words}), None),
    }
}
