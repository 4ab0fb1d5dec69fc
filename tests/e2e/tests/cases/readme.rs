//! The README's walk-through, command by command as it is printed there: without a key, with a model and its key, and with a server of one's
//! own. What only a person can do is done for them: waiting where the README watches, choosing the name where it says `<name>`, and the
//! address of a model that is on this machine.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    Case, MINUTE,
    asks::Model,
    common::{Desk, is_true, repo},
};

const KEY: &str = "key-of-the-walk-through";

pub const CASES: &[Case] = &[
    ("the readme works with kubectl and no key", without_a_key),
    ("the readme works with a model and its key", with_a_model),
    ("the readme works with a model server of ones own", with_a_server_of_ones_own),
    ("the readme works for a talk before the work", talk),
];

/// The commands below a heading, each with everything that belongs to it.
fn commands(heading: &str) -> Result<Vec<String>> {
    let page = std::fs::read_to_string(repo().join("README.md"))?;
    let section =
        page.split("\n## ").find(|s| s.starts_with(heading)).context("the README has the section")?;
    let mut all = Vec::new();
    for block in section.split("```sh\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        let (mut command, mut until) = (String::new(), None::<String>);
        for line in block.lines().filter(|line| !line.trim().is_empty()) {
            command.push_str(line);
            command.push('\n');
            if until.is_none() && line.contains("<<EOF") {
                until = Some("EOF".to_owned());
            }
            let open = until.as_deref().is_some_and(|end| end != line.trim()) || line.ends_with('\\');
            if !open {
                all.push(std::mem::take(&mut command));
                until = None;
            }
        }
        ensure!(command.is_empty(), "a command that does not end: {command}");
    }
    ensure!(!all.is_empty(), "no commands below {heading}");
    Ok(all)
}

/// A shell as a person has it, in a copy of the repository's manifests that can be changed.
struct Person<'a> {
    desk: &'a Desk,
    folder: tempfile::TempDir,
}

impl<'a> Person<'a> {
    fn new(desk: &'a Desk) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let copied =
            Command::new("cp").args(["-r", "config"]).arg(folder.path()).current_dir(repo()).status()?;
        ensure!(copied.success(), "the samples can be copied");
        let person = Self { desk, folder };
        // Whoever is there before may have another namespace.
        let mine = person.path("kubeconfig");
        std::fs::copy(desk.cluster().paths.kubeconfig(), mine)?;
        person.types("kubectl config set-context --current --namespace=demo")?;
        Ok(person)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Types a command; what it printed.
    fn types(&self, command: &str) -> Result<String> {
        eprintln!("  $ {}", command.trim_end());
        let program = self.desk.cluster().kubectl().command();
        let folder = Path::new(program.get_program()).parent().context("kubectl is in a folder")?;
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", command])
            .env("PATH", format!("{}:{path}", folder.display()))
            .env("KUBECONFIG", self.path("kubeconfig"))
            .env("ANTHROPIC_API_KEY", KEY)
            .current_dir(self.folder.path())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("{command}: {said}{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(said)
    }

    /// Changes a text in a manifest.
    fn edits(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let text = std::fs::read_to_string(self.path(file))?;
        ensure!(text.contains(from), "{file} has {from}");
        Ok(std::fs::write(self.path(file), text.replace(from, to))?)
    }

    fn forgets(&self, objects: &[&str]) -> Result<()> {
        let mut all = vec!["delete", "--ignore-not-found", "--timeout=90s"];
        all.extend_from_slice(objects);
        self.desk.kubectl(&all).map(drop)
    }
}

fn is_watch(command: &str) -> bool {
    command.split_whitespace().any(|word| word == "-w")
}

/// Name of a Request that waits, of this type.
fn open_request(desk: &Desk, session: &str, kind: &str) -> Result<String> {
    desk.until(&format!("{session} asks: {kind}"), 2 * MINUTE, |d| {
        let all = d.list("requests");
        let ours = all.iter().filter(|r| r["spec"]["session"] == session && r["spec"]["type"] == kind);
        let open =
            ours.filter(|r| r["status"]["state"] == "Open").find_map(|r| r["metadata"]["name"].as_str());
        open.map(str::to_owned)
    })
}

fn finished(desk: &Desk, session: &str) -> Result<()> {
    desk.until(&format!("{session} is finished"), 3 * MINUTE, |d| {
        d.get("session", session).filter(|s| is_true(s, "Finished")).map(drop)
    })
}

fn reports(desk: &Desk, session: &str) -> usize {
    desk.list("artifacts").iter().filter(|a| a["spec"]["session"] == session && is_true(a, "Ready")).count()
}

fn without_a_key(desk: &Desk) -> Result<()> {
    let person = Person::new(desk)?;
    for command in commands("With kubectl")? {
        if command.starts_with("export KUBECONFIG=") {
            continue;
        }
        if is_watch(&command) {
            // The first is watched until somebody waits for the end, the second until there is another version.
            if command.contains("artifacts") {
                desk.until("there is a second version", 2 * MINUTE, |d| {
                    (reports(d, "seattle-report") >= 2).then_some(())
                })?;
            }
            continue;
        }
        let said = person.types(&command)?;
        if command.contains("get artifacts") {
            ensure!(said.contains("seattle-report"), "{said}");
        }
        if command.contains("snapshot.yaml") {
            desk.until("the point to return to is there", MINUTE, |d| {
                d.get("snapshot", "first-version").filter(|s| is_true(s, "Ready")).map(drop)
            })?;
        }
        if command.contains("\"holder\":\"User\"") {
            holder(desk, "User")?;
        }
        if command.contains("\"holder\":\"Agent\"") {
            holder(desk, "Agent")?;
        }
        if command.contains("\"Suspended\"") {
            state(desk, "Suspended")?;
        }
        if command.contains("\"Active\"") {
            state(desk, "Running")?;
        }
    }
    finished(desk, "seattle-fork")?;
    person.forgets(&["session/seattle-fork"])?;
    for command in commands("What becomes of a desktop")? {
        let said = person.types(&command)?;
        if command.contains("long-lived.yaml") {
            desk.until("the Session for weeks has a desktop", 2 * MINUTE, |d| {
                d.get("workspace", "field-notes").filter(|w| is_true(w, "Ready")).map(drop)
            })?;
        }
        if command.contains("get snapshots") {
            ensure!(said.contains("first-version"), "{said}");
        }
        if command.contains("restore") {
            desk.until("it was put back", 2 * MINUTE, |d| {
                let found = d.get("workspace", "seattle-report").filter(|w| is_true(w, "Ready"))?;
                (found["status"]["storage"]["restoredFrom"] == "first-version").then_some(())
            })?;
        }
        if command.contains("clone.yaml") {
            desk.until("the copy runs", 2 * MINUTE, |d| {
                d.get("workspace", "seattle-clone").filter(|w| is_true(w, "Ready")).map(drop)
            })?;
        }
        if command.contains("delete session seattle-report") {
            ensure!(reports(desk, "seattle-report") >= 2, "the Artifacts stay");
        }
    }
    person.forgets(&["warmpool/desktops", "workspace/seattle-clone", "session/field-notes"])?;
    person.forgets(&["artifacts", "--all"])?;
    person.forgets(&["snapshots", "--all"])?;
    person.forgets(&["configmap/seattle-weather"])
}

fn holder(desk: &Desk, who: &str) -> Result<()> {
    desk.until(&format!("control is with {who}"), MINUTE, |d| {
        d.get("workspace", "seattle-report").filter(|w| w["status"]["control"]["holder"] == who).map(drop)
    })
}

fn state(desk: &Desk, state: &str) -> Result<()> {
    desk.until(&format!("the desktop is {state}"), 2 * MINUTE, |d| {
        d.get("workspace", "seattle-report").filter(|w| w["status"]["state"] == state).map(drop)
    })
}

fn with_a_model(desk: &Desk) -> Result<()> {
    let model = Model::start(desk, KEY)?;
    let person = Person::new(desk)?;
    for command in commands("With a model")? {
        // The person who reads has Anthropic's server; this machine does not.
        let there = format!("provider: anthropic, baseUrl: \"{}\",", model.url);
        let command = command.replace("provider: anthropic,", &there);
        if command.contains("<name>") {
            continue;
        }
        if command.contains("get connections") {
            ready(desk, "our-llm")?;
        }
        if command.contains("status.usage") {
            finished_turn(desk, "first-thoughts")?;
            let said = person.types(&command)?;
            ensure!(said.contains("outputTokens") || said.contains("output"), "what was used: {said}");
            continue;
        }
        person.types(&command)?;
    }
    person.forgets(&["session/first-thoughts", "connection/our-llm", "secret/llm"])
}

fn ready(desk: &Desk, connection: &str) -> Result<()> {
    desk.until(&format!("{connection} is ready"), MINUTE, |d| {
        d.get("connection", connection).filter(|c| is_true(c, "Ready")).map(drop)
    })
}

/// The agent has answered, by its model: the one that stands for it repeats what it heard.
fn finished_turn(desk: &Desk, session: &str) -> Result<()> {
    desk.until(&format!("the agent of {session} has answered"), 3 * MINUTE, |d| {
        let all = d.list("messages");
        let said = all.iter().any(|m| {
            m["spec"]["session"] == session
                && m["spec"]["author"]["kind"] == "Agent"
                && m["spec"]["content"].as_str().is_some_and(|text| text.contains("Open the file manager"))
        });
        said.then_some(())
    })
}

fn with_a_server_of_ones_own(desk: &Desk) -> Result<()> {
    let page = std::fs::read_to_string(repo().join("README.md"))?;
    let model =
        page.split("`model: {provider: openai-compatible").nth(1).and_then(|rest| rest.split('`').next());
    let printed =
        format!("{{provider: openai-compatible{}", model.context("the README names such a server")?);
    let server = Model::without_a_key(desk)?;
    let ours = printed.replace("http://llm.example:8000", &server.url);
    ensure!(ours != printed, "{printed}");
    desk.apply(&format!(
        "apiVersion: a8s.dev/v1alpha1\nkind: Connection\nmetadata: {{name: own}}\nspec: {{model: {ours}}}\n---\napiVersion: a8s.dev/v1alpha1\nkind: Session\nmetadata: {{name: own}}\nspec: {{goal: Open the file manager., environment: desktop, agent: {{model: {{connection: own}}}}}}\n"
    ))?;
    ready(desk, "own")?;
    finished_turn(desk, "own")?;
    Person::new(desk)?.forgets(&["session/own", "connection/own"])
}

fn talk(desk: &Desk) -> Result<()> {
    let model = Model::start(desk, KEY)?;
    let person = Person::new(desk)?;
    let there = format!("provider: anthropic\n    baseUrl: \"{}\"", model.url);
    person.edits("config/samples/connection-model.yaml", "provider: anthropic", &there)?;
    for command in commands("Talk first")? {
        let mut command = command;
        if command.contains("<name>") {
            command = command.replace("<name>", &open_request(desk, "chat-first", "Handoff")?);
        }
        if command.contains("status.requirement") {
            finished(desk, "chat-first")?;
            let said = person.types(&command)?;
            ensure!(said.contains("PDF") && said.contains("desktop"), "what was agreed on, and why: {said}");
            continue;
        }
        person.types(&command)?;
    }
    // The sample's own head says how the key is given.
    person.types("kubectl create secret generic our-llm --from-literal=api-key=\"$ANTHROPIC_API_KEY\"")?;
    ready(desk, "our-llm")?;
    desk.until("the talk goes on", MINUTE, |d| {
        let all = d.list("messages");
        let theirs = all.iter().filter(|m| m["spec"]["session"] == "talk-with-a-model");
        theirs.clone().any(|m| m["spec"]["author"]["kind"] == "Agent").then_some(())
    })?;
    person.forgets(&[
        "session/chat-first",
        "session/talk-with-a-model",
        "connection/our-llm",
        "secret/our-llm",
    ])?;
    person.forgets(&["artifacts", "--all"])?;
    ensure!(model.url.starts_with("http"), "it was there to the end");
    Ok(())
}
