//! SIGKILL in the middle of a turn, and a leader that stands still until another one leads, and then goes on.

use std::time::Duration;

use a8s_e2e::world::World;
use serde_json::{Value, json};

use crate::programs;

const LIMIT: Duration = Duration::from_mins(2);

/// A turn that says a line every so many milliseconds. The newest 200 Messages of a Session are kept, so it does not say more.
fn counting(prefix: &str, lines: usize, pause: u64) -> String {
    (0..lines).map(|n| format!("/say {prefix} {n}\n/sleep {pause}")).collect::<Vec<_>>().join("\n")
}

struct Talk<'w> {
    world: &'w World,
    session: &'static str,
}

impl<'w> Talk<'w> {
    async fn begin(world: &'w World, session: &'static str) -> Self {
        let goal = json!({"goal": "/say ready", "environment": "desktop"});
        world.make("Session", session, &goal).await.expect("a Session");
        let talk = Self { world, session };
        talk.hears("ready").await;
        talk
    }

    async fn say(&self, name: &str, content: &str) {
        self.world.say(self.session, name, content).await.expect("a Message");
    }

    async fn messages(&self) -> Vec<Value> {
        let mut all = self.world.all("Message").await.expect("a list");
        all.retain(|m| m["spec"]["session"] == self.session);
        all
    }

    /// Texts of what authors of this kind said.
    async fn said_by(&self, kind: &str) -> Vec<String> {
        let all = self.messages().await;
        let theirs = all.iter().filter(|m| m["spec"]["author"]["kind"] == kind);
        theirs.filter_map(|m| m["spec"]["content"].as_str().map(str::to_owned)).collect()
    }

    async fn hears(&self, words: &str) {
        let what = format!("the agent says {words:?}");
        let said = async || Ok(self.said_by("Agent").await.iter().any(|text| text == words));
        self.world.until(&what, LIMIT, said).await.expect("it says so");
    }

    async fn is_struck(&self, program: &str) {
        let kill = async || Ok(self.world.signal("-9", program, self.session)? > 0);
        self.world.until(&format!("{program} is killed"), LIMIT, kill).await.expect("it runs");
    }

    /// Everything that people said is over, nothing is there twice, and each Message has a place and a turn of its own.
    async fn nothing_is_lost_or_doubled(&self) {
        let over = async || {
            let all = self.messages().await;
            let mut people = all.iter().filter(|m| m["spec"]["author"]["kind"] == "User");
            Ok(people.all(|m| m["status"]["state"] == "Consumed"))
        };
        self.world.until("all that people said is over", LIMIT, over).await.expect("it is over");
        let placed = async || Ok(self.messages().await.iter().all(|m| m["status"]["seq"].is_i64()));
        self.world.until("each Message has a place", LIMIT, placed).await.expect("it has");
        let all = self.messages().await;
        let once = |what: &str, mut values: Vec<String>| {
            values.sort();
            let twice: Vec<_> = values.windows(2).filter(|two| two[0] == two[1]).collect();
            assert!(twice.is_empty(), "{what} twice: {twice:?}");
        };
        once("said", self.said_by("Agent").await);
        once("a place is given", all.iter().map(|m| m["status"]["seq"].to_string()).collect());
        let people = all.iter().filter(|m| m["spec"]["author"]["kind"] == "User");
        once("a turn is given", people.map(|m| m["status"]["turn"].to_string()).collect());
    }

    async fn count(&self, prefix: &str) -> usize {
        self.said_by("Agent").await.iter().filter(|text| text.starts_with(prefix)).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "T3: takes some minutes; run by `make test-conversations`"]
async fn killing_controller_runner_and_agent_in_a_turn_loses_and_doubles_nothing() {
    let mut world = World::start(programs()).await.expect("a world");
    Talk::begin(&world, "struck").await.say("talk", &counting("talk", 60, 100)).await;
    for n in [5, 20, 40] {
        let talk = Talk { world: &world, session: "struck" };
        talk.hears(&format!("talk {n}")).await;
        talk.say(&format!("during-{n}"), &format!("/say heard {n}")).await;
        world.kill_controller();
        world.start_controller().expect("it starts again");
    }
    let talk = Talk { world: &world, session: "struck" };
    for n in [5, 20, 40] {
        talk.hears(&format!("heard {n}")).await;
    }
    assert_eq!(talk.count("talk ").await, 60, "the turn went on without the controller and was recorded");
    assert_eq!(talk.said_by("System").await, [""; 0], "no turn failed");

    for (program, prefix) in [("a8s-runner", "runner"), ("a8s-agent", "agent")] {
        talk.say(&format!("{prefix}-long"), &counting(prefix, 100, 1_000)).await;
        talk.hears(&format!("{prefix} 3")).await;
        talk.say(&format!("{prefix}-next"), &format!("/say after {prefix}")).await;
        talk.is_struck(program).await;
        talk.hears(&format!("after {prefix}")).await;
    }
    talk.nothing_is_lost_or_doubled().await;
    let told = talk.said_by("System").await;
    assert_eq!(told.len(), 2, "people are told what happened: {told:?}");
    assert!(told.iter().all(|text| text.starts_with("The turn ended with an error: ")), "{told:?}");
    assert!(told.iter().any(|text| text.contains("the runner was restarted during this turn")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "T3: takes some minutes; run by `make test-conversations`"]
async fn a_leader_that_stood_still_and_goes_on_beside_the_next_one_doubles_nothing() {
    let world = World::start(programs()).await.expect("a world");
    let talk = Talk::begin(&world, "ruled").await;
    let _second = world.another_controller("a8s-controller-1").expect("a second one");
    talk.say("talk", &counting("talk", 120, 300)).await;
    talk.hears("talk 3").await;
    let first = world.controller().expect("it runs");
    first.signal("-STOP").expect("it stands still");
    for n in 0..5 {
        talk.say(&format!("meanwhile-{n}"), &format!("/say heard {n}")).await;
    }
    // The second one leads once the lease has run out.
    let known = async || Ok(talk.messages().await.iter().all(|m| m["status"]["seq"].is_i64()));
    world.until("the second one works", LIMIT, known).await.expect("it does");
    talk.say("late", "/say heard late").await;
    first.signal("-CONT").expect("it goes on");
    for n in 0..5 {
        talk.hears(&format!("heard {n}")).await;
    }
    talk.hears("heard late").await;
    assert_eq!(talk.count("talk ").await, 120, "all of it was recorded");
    talk.nothing_is_lost_or_doubled().await;
}
