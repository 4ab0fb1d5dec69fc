//! Many conversations at once, with a real API server, the real controller and real runners and agents; only the displays are toys.

mod struck;
mod turns;

use std::{path::PathBuf, time::Duration};

use a8s_e2e::{
    pods::Programs,
    programs::built,
    steady::{self, MOST},
    world::World,
};

/// The programs of control plane and pods: those of `A8S_PROGRAMS`, or built as the tests are.
pub fn programs() -> Programs {
    if let Some(folder) = std::env::var_os("A8S_PROGRAMS") {
        return Programs { folder: PathBuf::from(folder) };
    }
    let packages = ["a8s-controller", "a8s-deskd", "a8s-runner", "a8s-shim", "a8s-agent"];
    Programs { folder: built(&packages).expect("the programs") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "T3: takes some minutes; run by `make test-conversations`"]
async fn fifty_agents_at_work_write_seldom() {
    let world = World::start(programs()).await.expect("a world");
    let time = Duration::from_mins(1);
    let writes = steady::measure(&world, 50, time).await.expect("fifty Sessions work");
    let (name, most) = writes.most();
    assert!(writes.total() > 50, "what they say is recorded: {:?}", writes.by_kind());
    let allowed = MOST * time.as_secs_f64();
    assert!(f64::from(u32::try_from(most).expect("few")) <= allowed, "{name}: {most} writes: {writes:?}");
}
