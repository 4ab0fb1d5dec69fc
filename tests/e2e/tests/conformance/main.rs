//! The server in memory against the real one: whatever is asked of both, in any order, they answer alike and have the same objects in
//! the end. So what the schedules show on the one is worth something on the other. A list of requests that shows a difference is cut down
//! to what is needed for it and printed with its seed; `A8S_SEED=<seed>` runs only that one, `A8S_LISTS=<number>` more or fewer.

mod requests;
mod servers;

use std::{io::Write, path::Path};

use a8s_cluster::ControlPlane;
use a8s_sim::{Key, Sim};
use futures::{StreamExt, stream};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use requests::{Lot, Request};
use serde_json::Value;
use servers::{for_real, in_memory, plain, read, version};

const NAMESPACE: &str = "team";
/// Any name: each run of a list is about objects of its own.
const NAME: &str = "any";
/// So many take some ten seconds; `make test-conformance` tries many more.
const LISTS: u64 = 60;
const REQUESTS: usize = 20;

/// What was asked of which of the three objects.
type List = Vec<(usize, Request)>;

const KINDS: [(&str, &str); 3] =
    [("v1", "ConfigMap"), ("a8s.dev/v1alpha1", "Workspace"), ("a8s.dev/v1alpha1", "Workspace")];

/// A list of requests; it depends on nothing but its seed.
fn list(seed: u64) -> List {
    let mut lot = Lot::new(seed);
    let request = |_| {
        let index = lot.of(KINDS.len());
        let (version, kind) = KINDS[index];
        (index, lot.request(&Key::new(version, kind, NAMESPACE, NAME)))
    };
    (0..REQUESTS).map(request).collect()
}

/// Where the two part, and in which words.
struct Difference {
    /// So many requests of the list were asked until then.
    asked: usize,
    words: String,
}

/// One list of requests to both, about objects of their own; what differs, if anything does.
async fn differs(client: &Client, prefix: &str, list: &List) -> Option<Difference> {
    let mut sim = Sim::new(1);
    let keys: Vec<_> = KINDS
        .iter()
        .enumerate()
        .map(|(n, (version, kind))| Key::new(version, kind, NAMESPACE, &format!("{prefix}-{n}")))
        .collect();
    // Nobody else writes: what was read after one request is there before the next.
    let mut there: Vec<Option<Value>> = vec![None; keys.len()];
    let mut answered = Vec::new();
    for (asked, (index, request)) in list.iter().enumerate() {
        let key = &keys[*index];
        let request = request.about(&key.name);
        let before = (version(sim.get(key)), version(there[*index].as_ref()));
        let answers = (
            in_memory(&mut sim, key, &request),
            for_real(client, key, there[*index].as_ref(), &request).await,
        );
        answered.push(format!("object {index}: {request} -> {answers:?}"));
        there[*index] = read(client, key).await;
        let real = there[*index].as_ref();
        let after = (version(sim.get(key)), version(real));
        let wrote = (before.0 != after.0, before.1 != after.1);
        let objects = (plain(sim.get(key)), plain(real));
        if answers.0 != answers.1 || objects.0 != objects.1 || wrote.0 != wrote.1 {
            let managed = real.map(|o| o["metadata"]["managedFields"].to_string()).unwrap_or_default();
            let words = format!(
                "{}\nanswers {answers:?} (in memory, for real)\nwrote {wrote:?}\nin memory {}\nfor real {}\nmanaged {managed}",
                answered.join("\n"),
                objects.0.unwrap_or_default(),
                objects.1.unwrap_or_default(),
            );
            return Some(Difference { asked: asked + 1, words });
        }
    }
    None
}

/// The list of this seed; if it shows a difference, the shortest one that still shows any, found by leaving out one request after another.
async fn shortest(client: &Client, seed: u64) -> Option<String> {
    let mut list = list(seed);
    let mut found = differs(client, &format!("c{seed}"), &list).await?;
    list.truncate(found.asked);
    let (mut at, mut tries) = (0, 0);
    while at < list.len() {
        let mut shorter = list.clone();
        shorter.remove(at);
        tries += 1;
        match differs(client, &format!("c{seed}-{tries}"), &shorter).await {
            Some(difference) => {
                shorter.truncate(difference.asked);
                // What was needed before may not be any more.
                (list, found, at) = (shorter, difference, 0);
            }
            None => at += 1,
        }
    }
    Some(format!("A8S_SEED={seed}, {} of {REQUESTS} requests:\n{}", list.len(), found.words))
}

async fn client(server: &ControlPlane) -> Client {
    // Which provider is a matter of the features of all packages together.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let file = Kubeconfig::read_from(server.kubeconfig()).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("a config")).expect("a client")
}

/// The seeds to try: one, or as many as there shall be.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text} is no number")))
    };
    let seeds = match number("A8S_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("A8S_LISTS").unwrap_or(LISTS),
    };
    assert!(!seeds.is_empty(), "a run without a list says nothing");
    seeds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_in_memory_answers_as_the_real_one_does() {
    let seeds = seeds();
    let server = ControlPlane::start().expect("an API server");
    let kubectl = server.kubectl();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two folders up");
    let file = folder.join("crds/yaml").display().to_string();
    kubectl.run(&["apply", "--server-side", "-f", &file]).expect("definitions");
    kubectl
        .run(&["wait", "--for=condition=Established", "--timeout=30s", "crd/workspaces.a8s.dev"])
        .expect("established");
    kubectl.run(&["create", "namespace", NAMESPACE]).expect("a namespace");
    let client = client(&server).await;
    let many = seeds.end - seeds.start;
    let all = stream::iter(seeds).map(|seed| shortest(&client, seed)).buffer_unordered(8);
    // The first few say enough: a difference is rarely alone.
    let found: Vec<_> = all.filter_map(std::future::ready).take(3).collect().await;
    assert!(found.is_empty(), "the two differ:\n\n{}", found.join("\n\n"));
    let said =
        format!("{many} lists of {REQUESTS} requests: the server in memory answered as the real one does\n");
    std::io::stderr().write_all(said.as_bytes()).expect("written");
}
