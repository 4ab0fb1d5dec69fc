//! What a turn costs the API server.

use std::time::Duration;

use a8s_e2e::{steady::Writes, world::World};
use serde_json::{Value, json};

use crate::programs;

const LIMIT: Duration = Duration::from_mins(3);
/// Most writes of all processes about the Session for one turn.
const MOST: usize = 12;

struct Turns<'w> {
    world: &'w World,
    session: &'static str,
}

impl<'w> Turns<'w> {
    async fn begin(world: &'w World, session: &'static str) -> Self {
        let goal = json!({"goal": "/say ready", "environment": "desktop"});
        world.make("Session", session, &goal).await.expect("a Session");
        let turns = Self { world, session };
        turns.rest().await;
        turns
    }

    /// Waits until no turn runs.
    async fn rest(&self) {
        let over = async || Ok(self.events().last().is_some_and(|e| e["type"] == "turnEnded"));
        self.world.until("no turn runs", LIMIT, over).await.expect("none does");
    }

    async fn say(&self, name: &str, content: &str) {
        self.world.say(self.session, name, content).await.expect("a Message");
    }

    /// The Message's turn is over, and all of it is recorded.
    async fn is_over(&self, name: &str) {
        let over = async || {
            let state = self.world.get("Message", name).await?["status"]["state"].clone();
            let recorded = self.world.get("Session", self.session).await?["status"]["seq"].clone();
            Ok(state == "Consumed" && self.events().last().is_some_and(|event| event["seq"] == recorded))
        };
        self.world.until("the turn is over and recorded", LIMIT, over).await.expect("it is over");
    }

    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.world.transcript(self.session)).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["type"].is_string()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "T3: takes some minutes; run by `make test-conversations`"]
async fn a_turn_costs_few_writes_however_many_steps_it_takes_and_however_long() {
    let world = World::start(programs()).await.expect("a world");
    let turns = Turns::begin(&world, "turns").await;
    let steps = |count: usize, pause: u64| {
        let all: Vec<_> = (0..count).map(|n| format!("/write step-{} x\n/sleep {pause}", n % 7)).collect();
        format!("{}\n/say done", all.join("\n"))
    };
    let log = world.server.audit_log();
    let mut dear = Vec::new();
    for (name, content) in [
        ("turns-one", steps(1, 0)),
        ("turns-another", steps(1, 0)),
        ("turns-many", steps(100, 0)),
        ("turns-long", steps(100, 600)),
        ("turns-last", steps(1, 0)),
    ] {
        let length = std::fs::metadata(&log).expect("a log").len();
        turns.say(name, &content).await;
        turns.is_over(name).await;
        let writes = Writes::since(&log, length, &["turns".to_owned()]).expect("it can be read");
        eprintln!(
            "{name}: {} writes, the person's Message among them: {:?}",
            writes.total(),
            writes.by_kind()
        );
        // One is the person's.
        if writes.total() > MOST + 1 {
            dear.push(format!("{name}: {:?}", writes.by_kind()));
        }
    }
    assert!(dear.is_empty(), "{dear:?}");
}
