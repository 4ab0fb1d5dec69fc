//! Somebody deletes the desktop of a Session. Whatever happens on the way, no other is made until somebody says something, and then
//! exactly one, whose conversation has a later epoch.

use rand::Rng;
use serde_json::{Value, json};

use crate::{
    anything, chaos, seeds,
    world::{NAME, NS, User, World, core, ours},
};

fn workspace(world: &World) -> Option<String> {
    world.sim.get(&ours("Workspace")).map(|w| w["metadata"]["uid"].as_str().unwrap().to_owned())
}

fn epoch(world: &World) -> i64 {
    let claim = world.sim.get(&core("PersistentVolumeClaim", &a8s_crds::names::claim(NAME, 1))).unwrap();
    claim["metadata"]["annotations"]["a8s.dev/epoch"].as_str().unwrap().parse().unwrap()
}

fn say(world: &mut World) {
    let author = json!({"kind": "User", "name": "jane"});
    world
        .sim
        .create(json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Message", "metadata": {"name": "m", "namespace": NS},
            "spec": {"session": NAME, "content": "go on", "author": author},
        }))
        .unwrap();
}

/// Everybody does anything, and in the end all is as it was wished at first. False if somebody ended the Session meanwhile.
fn upheaval(world: &mut World, steps: usize, sees: impl Fn(&World)) -> bool {
    for _ in 0..steps {
        anything(world);
        sees(world);
    }
    let over = world.user.terminated;
    if !over {
        world.user = User::default();
        world.settle();
    }
    !over
}

#[test]
fn a_deleted_desktop_comes_back_for_a_message_only_and_in_a_later_epoch() {
    let mut whole = 0;
    for seed in seeds("a deleted desktop") {
        let mut world = chaos(seed, 0, anything);
        if !upheaval(&mut world, 20, |_| ()) {
            continue;
        }
        let (first, before) = (workspace(&world).unwrap(), epoch(&world));
        world.sim.delete(&ours("Workspace"), None, None).unwrap();
        let nobody_asked = |world: &World| {
            let now = workspace(world);
            assert!(now.is_none_or(|uid| uid == first), "seed {seed}: a desktop that nobody asked for");
        };
        if !upheaval(&mut world, 40, nobody_asked) {
            continue;
        }
        assert_eq!(workspace(&world), None, "seed {seed}");
        let session = world.sim.get(&ours("Session")).unwrap();
        let text = "The desktop was deleted; the next Message starts a new, empty one.";
        assert_eq!(session["status"]["doing"], text, "seed {seed}");
        world.forget_claim();
        say(&mut world);
        let steps = world.sim.rng().random_range(0..20);
        if !upheaval(&mut world, steps, |_| ()) {
            continue;
        }
        assert!(epoch(&world) > before, "seed {seed}");
        let session: &Value = world.sim.get(&ours("Session")).unwrap();
        let named = session["status"]["workspace"]["uid"].as_str().map(str::to_owned);
        assert_eq!(named, workspace(&world), "seed {seed}");
        assert_ne!(named, Some(first), "seed {seed}");
        whole += 1;
    }
    assert!(whole > 0, "every Session was ended on the way");
}
