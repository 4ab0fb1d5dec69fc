//! The talk before the work against a real API server and the real controller: with the script, with a model (a mock of one), with a key that
//! is refused, and with a controller that is killed in between.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use a8s_cluster::{ControlPlane, Kubectl};
use a8s_e2e::programs::{Running, program, repository};
use serde_json::{Value, json};

const TEAM: &str = "team";
const SOON: Duration = Duration::from_secs(20);
const KEY: &str = "canary-5521ab-key";

struct World {
    server: ControlPlane,
    folder: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let server = ControlPlane::start().expect("an API server");
        let world = Self { server, folder: tempfile::tempdir().expect("a folder") };
        let definitions = repository().join("crds/yaml").display().to_string();
        world.run(&["apply", "--server-side", "-f", &definitions]);
        world.run(&["wait", "--for=condition=Established", "--timeout=30s", "crd", "--all"]);
        for namespace in [TEAM, "a8s-system"] {
            world.run(&["create", "namespace", namespace]);
        }
        world.apply(&json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "office"}, "spec": {
            "title": "Office", "image": "office:1", "match": {"keywords": ["report"], "priority": 5},
            "inputs": [{"name": "format", "type": "Choice", "options": ["pdf", "html"]}],
        }}));
        world.apply(&json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "desktop"}, "spec": {
            "title": "Desktop", "image": "desktop:1",
        }}));
        world
    }

    fn controller(&self) -> Running {
        let folder = self.folder.path();
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("a log");
        let store = format!("file://{}/store", folder.display());
        let child = Command::new(program("a8s-controller").expect("a program"))
            .args(["--runner-image", "runner:1", "--store-url", &store, "--health-addr", "127.0.0.1:0"])
            .env("KUBECONFIG", self.server.kubeconfig())
            .env("POD_NAME", "a8s-controller-0")
            .env("RUST_LOG", "debug,h2=info,hyper=info,tower=info")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("the controller starts");
        Running::of(child)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn kubectl(&self) -> &Kubectl {
        self.server.kubectl()
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.kubectl().run(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error:#}"))
    }

    fn apply(&self, object: &Value) {
        let name = &object["metadata"]["name"];
        self.kubectl().apply(&object.to_string()).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }

    fn make(&self, kind: &str, name: &str, spec: &Value) {
        let metadata = json!({"name": name, "namespace": TEAM});
        self.apply(
            &json!({"apiVersion": "a8s.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}),
        );
    }

    fn say(&self, session: &str, name: &str, content: &str) {
        self.make("Message", name, &json!({"session": session, "content": content}));
    }

    fn get(&self, kind: &str, name: &str) -> Value {
        let text = self.kubectl().run(&["get", "-n", TEAM, kind, name, "-o", "json"]).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn list(&self, kind: &str, session: &str) -> Vec<Value> {
        let text = self.run(&["get", "-n", TEAM, kind, "-o", "json"]);
        let all: Value = serde_json::from_str(&text).expect("JSON");
        let items = all["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().filter(|item| item["spec"]["session"] == session).collect()
    }

    fn states(&self, session: &str) -> Vec<String> {
        let all = self.list("requests", session);
        let mut states: Vec<String> =
            all.iter().map(|r| r["status"]["state"].as_str().unwrap_or("none").to_owned()).collect();
        states.sort();
        states
    }

    fn open(&self, session: &str, requirement: &str) -> Option<Value> {
        self.list("requests", session)
            .into_iter()
            .find(|r| r["status"]["state"] == "Open" && r["spec"]["handoff"]["requirement"] == requirement)
    }

    fn decide(&self, request: &Value, decision: &Value) {
        let name = request["metadata"]["name"].as_str().expect("a name");
        let patch = json!({"status": {"decision": decision}}).to_string();
        self.run(&[
            "patch",
            "-n",
            TEAM,
            "request",
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ]);
    }

    /// What the chat agent said, in the order of the conversation.
    fn chat(&self, session: &str) -> Vec<String> {
        let mut all: Vec<(i64, String)> = self
            .list("messages", session)
            .iter()
            .filter(|m| m["spec"]["author"]["name"] == "chat")
            .map(|m| {
                let text = m["spec"]["content"].as_str().unwrap_or_default();
                (m["status"]["seq"].as_i64().unwrap_or(-1), text.to_owned())
            })
            .collect();
        all.sort();
        all.into_iter().map(|(_, text)| text).collect()
    }

    /// The places of all Messages, in order.
    fn places(&self, session: &str) -> Vec<i64> {
        let messages = self.list("messages", session);
        let mut places: Vec<i64> = messages.iter().filter_map(|m| m["status"]["seq"].as_i64()).collect();
        places.sort_unstable();
        places
    }

    fn until(&self, what: &str, limit: Duration, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            let log = self.log();
            let end = log.len().saturating_sub(3_000);
            assert!(
                begun.elapsed() < limit,
                "{what} did not come true in {limit:?}\n{}",
                log.get(end..).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A model that does what the last message says.
fn model() -> (Running, String) {
    let mut child = Command::new(program("a8s-model-mock").expect("a program"))
        .args(["--listen", "127.0.0.1:0", "--key", KEY])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the mock starts");
    let mut url = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut url).expect("its address");
    (Running::of(child), url.trim().to_owned())
}

#[test]
fn a_talk_becomes_a_requirement_and_then_a_desktop_and_not_before() {
    let world = World::start();
    let controller = world.controller();
    world.make("Session", "talk", &json!({}));
    world.until("the Session waits for a word", SOON, || {
        world.get("session", "talk")["status"]["state"] == "Chatting"
    });
    world.say("talk", "talk-1", "Sing.");
    world.until("it is asked whether to begin", SOON, || world.open("talk", "Sing.").is_some());
    world.say("talk", "talk-2", "Yes!");
    world.until("a yes is told where it is decided", SOON, || {
        world.chat("talk").len() == 2 && world.chat("talk")[1].contains("kubectl patch request")
    });
    assert_eq!(world.states("talk"), ["Open"]);

    // It dies without a word; people go on meanwhile.
    drop(controller);
    world.say("talk", "talk-3", "No, write a report.");
    let _controller = world.controller();
    let wanted = "Sing.\n\nNo, write a report.";
    world.until("another proposal takes its place", Duration::from_mins(1), || {
        world.open("talk", wanted).is_some() && world.states("talk") == ["Cancelled", "Open"]
    });
    let request = world.open("talk", wanted).expect("it is open");
    assert_eq!(request["spec"]["handoff"]["environment"], "office");
    world.until("what is waited for can be seen", SOON, || {
        world.get("session", "talk")["status"]["waitingFor"] == "1 request"
    });
    assert_eq!(world.get("workspace", "talk"), Value::Null, "nothing is made before it is decided");
    let name = request["metadata"]["name"].as_str().expect("a name").to_owned();
    let bare = r#"{"status":{"decision":{"option":"allow"}}}"#;
    let refused = world.kubectl().run(&[
        "patch",
        "-n",
        TEAM,
        "request",
        &name,
        "--subresource=status",
        "--type=merge",
        "-p",
        bare,
    ]);
    assert!(refused.is_err(), "what has to be filled in has to be filled in");
    world.decide(&request, &json!({"option": "allow", "values": {"format": "pdf"}, "by": "jane"}));
    world.until("the desktop is made", SOON, || {
        world.get("workspace", "talk")["spec"]["environment"] == "office"
    });
    // The requirement comes before the desktop, everything else after it and in any order.
    let requirement = world.get("session", "talk")["status"]["requirement"].clone();
    assert_eq!(requirement["text"], format!("{wanted}\n\nWhat was filled in:\n\n- format: pdf"));
    assert_eq!((&requirement["by"], &requirement["request"]), (&json!("jane"), &json!(name)));
    world.until("it is said why", SOON, || {
        world.get("session", "talk")["status"]["rationale"][0]
            == format!("office: agreed on in Request {name}")
    });
    world.until("the Requests are closed", SOON, || world.states("talk") == ["Cancelled", "Granted"]);
    world.until("the chat agent says so", SOON, || {
        world.chat("talk").last().is_some_and(|text| text.starts_with("Handed over."))
    });
    world.until("each has its own place", SOON, || world.places("talk") == (1..=7).collect::<Vec<_>>());
    let messages = world.list("messages", "talk");
    assert_eq!(messages.len(), 7, "three things were said and answered, and it was handed over");
    let owned = |m: &Value| m["metadata"]["ownerReferences"][0]["name"] == "talk";
    assert!(messages.iter().all(owned), "they go with the Session");
}

#[test]
fn what_nobody_needs_to_decide_begins_by_itself_and_a_rule_grants_what_is_left_to_rules() {
    let world = World::start();
    let _controller = world.controller();
    let mcp = |grant: &str| json!({"grant": grant, "mcp": {"url": "https://mcp.example"}});
    world.make("Connection", "wiki", &mcp("Auto"));
    world.make("Connection", "bank", &mcp("Ask"));
    world.make("Session", "auto", &json!({"policy": {"handoff": "Auto"}, "attachments": [{"name": "wiki", "connection": {"name": "wiki"}}]}));
    world.say("auto", "auto-1", "Sing.");
    world.until("the desktop is made", SOON, || {
        world.get("workspace", "auto")["spec"]["environment"] == "desktop"
    });
    assert_eq!(world.get("session", "auto")["status"]["requirement"]["text"], "Sing.");
    assert_eq!(world.states("auto"), [""; 0]);
    let made = "it is made with what the Session names";
    assert_eq!(world.get("workspace", "auto")["spec"]["grants"], json!(["wiki"]), "{made}");

    let uid = world.get("session", "auto")["metadata"]["uid"].clone();
    let owner = json!([{"apiVersion": "a8s.dev/v1alpha1", "kind": "Session", "name": "auto", "uid": uid, "controller": true}]);
    for (name, subject, policy) in [("auto-0-5", "wiki", "Auto"), ("auto-0-6", "bank", "Ask")] {
        world.apply(&json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Request",
            "metadata": {"name": name, "namespace": TEAM, "ownerReferences": owner},
            "spec": {"session": "auto", "type": "Credential", "title": "Use it?", "subject": subject, "policy": policy, "id": name}}));
    }
    world.until("a rule decides what is left to rules", SOON, || {
        world.get("request", "auto-0-5")["status"]["decision"]["option"] == "allow"
    });
    assert_eq!(world.get("request", "auto-0-6")["status"]["decision"], Value::Null);
    let by = world.get("request", "auto-0-5")["status"]["decision"]["by"].clone();
    assert_eq!(by, "system:serviceaccount:a8s-system:a8s-controller", "written with the decision");
    world.decide(&world.get("request", "auto-0-6"), &json!({"option": "allow", "by": "jane"}));
    world.until("what a person grants is granted", SOON, || {
        world.get("workspace", "auto")["spec"]["grants"] == json!(["bank", "wiki"])
    });
    world.until("and it says why", SOON, || {
        let why = world.get("session", "auto")["status"]["rationale"].to_string();
        why.contains("connection bank: granted by jane in Request auto-0-6")
    });
}

#[test]
fn a_model_asks_and_proposes_and_without_its_key_the_script_goes_on() {
    let world = World::start();
    let _controller = world.controller();
    let (_model, url) = model();
    let secret = |key: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "llm", "namespace": TEAM}, "stringData": {"key": key}});
    world.apply(&secret(KEY));
    world.make(
        "Connection",
        "llm",
        &json!({"model": {"provider": "anthropic", "name": "m", "baseUrl": url, "secretRef": {"name": "llm", "key": "key"}}}),
    );
    world.make("Session", "wise", &json!({"agent": {"model": {"connection": "llm"}}}));
    world.say("wise", "wise-1", "/say Which song?");
    world.until("the model asks", Duration::from_secs(40), || world.chat("wise") == ["Which song?"]);
    assert_eq!(world.states("wise"), [""; 0]);
    let proposal = json!({"requirement": "Sing a song.", "environment": "office"});
    let wrong = json!({"requirement": "Sing a song.", "environment": "moon"});
    let scenario = format!(
        "/tool search_storage {{\"query\": \"songs\"}}\n/tool propose_handoff {wrong}\n/say Like this?\n/tool propose_handoff {proposal}"
    );
    world.say("wise", "wise-2", &scenario);
    world.until("the model proposes", Duration::from_secs(40), || {
        world.open("wise", "Sing a song.").is_some()
    });
    world.until("in its own words", SOON, || {
        world.chat("wise").last().is_some_and(|text| text == "Like this?")
    });
    let request = world.open("wise", "Sing a song.").expect("it is open");
    assert_eq!(request["spec"]["form"][0]["name"], "format", "what is missing is asked for in a form");

    world.apply(&secret("canary-77-wrong"));
    world.say("wise", "wise-3", "Louder.");
    world.until("what is wrong with the key is said", Duration::from_mins(1), || {
        world.chat("wise").last().is_some_and(|text| {
            text.starts_with("The model cannot be asked: the key for the model was refused")
                && text.contains("Louder.")
        })
    });
    world.until("and the script goes on", SOON, || world.states("wise") == ["Cancelled", "Open"]);
    let everything = world.run(&[
        "get",
        "-A",
        "-o",
        "json",
        "sessions,messages,requests,connections,events.events.k8s.io",
    ]);
    for key in [KEY, "canary-77-wrong"] {
        assert!(!everything.contains(key), "a key is in an object");
        assert!(!world.log().contains(key), "a key is in the log");
    }
}

#[test]
fn the_chat_agents_model_hears_of_no_connection_that_the_creator_may_not_see() {
    let world = World::start();
    let _controller = world.controller();
    let (_model, url) = model();
    world.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "llm", "namespace": TEAM}, "stringData": {"key": KEY}}));
    world.make(
        "Connection",
        "llm",
        &json!({"model": {"provider": "anthropic", "name": "m", "baseUrl": url, "secretRef": {"name": "llm", "key": "key"}}}),
    );
    world.make("Connection", "bank", &json!({"mcp": {"url": "https://mcp.example"}}));
    // The webhook stamps this; there is none here.
    let annotations = json!({"a8s.dev/created-by": "jane", "a8s.dev/created-by-groups": "[\"tellers\"]"});
    world.apply(&json!({"apiVersion": "a8s.dev/v1alpha1", "kind": "Session",
        "metadata": {"name": "shy", "namespace": TEAM, "annotations": annotations},
        "spec": {"agent": {"model": {"connection": "llm"}}}}));
    let proposal = |wish: &str| json!({"requirement": wish, "connections": ["bank"]});
    let scenario = |wish: &str| {
        let without = json!({"requirement": format!("{wish} Without.")});
        format!("/tool propose_handoff {}\n/tool propose_handoff {without}", proposal(wish))
    };
    world.say("shy", "shy-1", &scenario("Pay."));
    world.until("what it may not know of is refused", Duration::from_secs(40), || {
        world.open("shy", "Pay. Without.").is_some()
    });

    let rule = json!({"apiGroups": ["a8s.dev"], "resources": ["connections"], "resourceNames": ["bank"], "verbs": ["get"]});
    let named = json!({"name": "tellers", "namespace": TEAM});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tellers"});
    let group = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "tellers"});
    world.apply(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": named, "rules": [rule]}));
    world.apply(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": named, "roleRef": role, "subjects": [group]}));
    world.say("shy", "shy-2", &scenario("Pay now."));
    world.until("with the right of a group it is heard of", Duration::from_secs(40), || {
        world.open("shy", "Pay now.").is_some_and(|r| r["spec"]["handoff"]["connections"] == json!(["bank"]))
    });
}
