//! What a turn costs the API server, and how long a Message takes to the agent's turn.

use std::time::{Duration, SystemTime};

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
        let author = json!({"kind": "User", "name": "jane"});
        let spec = json!({"session": self.session, "content": content, "author": author});
        self.world.make("Message", name, &spec).await.expect("a Message");
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

    /// When the turn of this number began, by the runner's clock.
    fn began(&self, words: &str) -> Option<SystemTime> {
        let events = self.events();
        let began = events.iter().find(|e| e["type"] == "turnStarted" && e["data"]["content"] == words)?;
        let at: jiff::Timestamp = began["ts"].as_str()?.parse().ok()?;
        Some(at.into())
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "T3: takes some minutes; run by `make test-conversations`"]
async fn a_message_does_not_wait_for_what_the_agent_said_before_it_to_be_recorded() {
    let world = World::start(programs()).await.expect("a world");
    let turns = Turns::begin(&world, "prompt").await;
    let words: Vec<_> = (0..20).map(|n| format!("/say word {n}")).collect();
    let mut times: [Vec<u128>; 2] = Default::default();
    for round in 0..6 {
        for (kind, times) in ["rest", "after"].into_iter().zip(&mut times) {
            let talked = format!("prompt-{kind}-talk-{round}");
            turns.say(&talked, &format!("{}\n/say {talked}", words.join("\n"))).await;
            if kind == "rest" {
                turns.is_over(&talked).await;
            } else {
                let begun = async || Ok(turns.events().iter().any(|e| e["data"]["text"] == talked.as_str()));
                world.until("it talks", LIMIT, begun).await.expect("it does");
                turns.rest().await;
            }
            let name = format!("prompt-{kind}-{round}");
            let content = format!("/say {name}");
            let said = SystemTime::now();
            turns.say(&name, &content).await;
            turns.is_over(&name).await;
            let began = turns.began(&content).expect("its turn");
            times.push(began.duration_since(said).unwrap_or_default().as_millis());
        }
    }
    let [rest, after] = times.map(|mut times| {
        times.sort_unstable();
        times
    });
    eprintln!(
        "ms from before the Message was made to its turn: at rest {rest:?}, right after another {after:?}"
    );
    // To record 21 words takes longer than this; the machine may be busy.
    assert!(after[3] <= rest[3] * 4 + 100, "at rest {rest:?}, right after another {after:?}");
}
