//! Many conversations at once, with a real API server, the real controller and real runners and agents; only the displays are toys.

mod struck;
mod turns;

use std::{path::PathBuf, process::Command, time::Duration};

use a8s_e2e::{
    pods::Programs,
    steady::{self, MOST},
    world::{World, repository},
};

/// The programs of control plane and pods: those of `A8S_PROGRAMS`, or built as the tests are.
pub fn programs() -> Programs {
    if let Some(folder) = std::env::var_os("A8S_PROGRAMS") {
        return Programs { folder: PathBuf::from(folder) };
    }
    // `cargo test --workspace` builds them first, with the features of all packages together.
    if std::env::var_os("A8S_PROGRAMS_BUILT").is_none() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "-p", "a8s-controller"]).current_dir(repository());
        for package in ["a8s-deskd", "a8s-runner", "a8s-shim", "a8s-agent"] {
            build.args(["-p", package]);
        }
        assert!(build.status().expect("cargo runs").success(), "the programs do not compile");
    }
    let test = std::env::current_exe().expect("a test has a path");
    Programs { folder: test.ancestors().nth(2).map(PathBuf::from).expect("target/debug") }
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
