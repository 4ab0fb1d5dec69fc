//! What a turn costs the API server.

use super::*;

#[tokio::test]
async fn a_turn_of_a_hundred_steps_costs_no_more_writes_than_one_without() {
    let mut costs = Vec::new();
    for steps in [0, 100] {
        let world = Fake::default();
        let before = live_on(&world, rain()).await.unwrap();
        let subject = Subject { recorded: before.recorded, last_message: before.last_message, ..rain() };
        world.state().steps = steps;
        let (calls, said) = {
            let state = world.state();
            (state.calls, state.said.len())
        };
        world.say_as("a", 1, Delivery::Queue, Some("go on"));
        let live = live_on(&world, subject).await.unwrap();
        assert_eq!(live.last_step.is_some(), steps > 0);
        // The prompt goes to the runner; the rest are writes, and Events are writes too. Session.status comes to it: when the turn begins,
        // when it ends, and every ten seconds in between.
        let state = world.state();
        costs.push((state.calls - calls - 1) + (state.said.len() - said));
    }
    assert_eq!(costs[0], costs[1]);
    assert!(costs[0] <= 9, "{costs:?}");
}
