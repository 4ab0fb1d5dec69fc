//! T4: the whole way in a real cluster, as the README tells it. Needs root; `make test` runs it.

mod bad_input;
#[path = "../common/mod.rs"]
mod common;
mod leaving;

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use common::{DEMO, Desk, assert_figures, is_true, repo};

const MINUTE: Duration = Duration::from_mins(1);

type Case = (&'static str, fn(&Desk) -> Result<()>);

/// One cluster serves all cases; each is named by what it shows.
#[test]
#[ignore = "T4: needs root and some minutes; run by `make test`"]
fn from_one_manifest_to_a_finished_artifact_and_on() -> Result<()> {
    let desk = Desk::up()?;
    let cases: &[Case] = &[
        ("bad manifests are refused with the path of the field", bad_manifests_are_refused),
        ("a session that names what is missing says so and heals", a_missing_environment_is_named_and_heals),
        ("the sample ends with an artifact whose pdf holds the right figures", the_sample_ends_with_a_report),
        ("a snapshot is ready and knows its place in the conversation", a_snapshot_knows_its_place),
        (
            "an environment whose image cannot be pulled is named and heals",
            bad_input::an_image_that_cannot_be_pulled,
        ),
        ("a full volume is named and heals", bad_input::a_full_volume),
        ("a driver without a snapshot class is named and heals", bad_input::no_snapshot_class),
        ("a session from a missing snapshot says so and heals", bad_input::a_missing_snapshot),
        ("a session with a missing config map says so and heals", bad_input::a_missing_config_map),
        ("a session that is deleted while it starts leaves nothing", leaving::sessions),
        ("a workspace that is deleted while it starts leaves nothing", leaving::workspaces),
        ("a snapshot that is deleted while it is taken leaves nothing", leaving::snapshots),
        ("a message redirects the agent to a second version", a_message_makes_a_second_version),
        ("a fork starts at the snapshot's state", a_fork_starts_at_the_first_version),
        ("another table gives that table's figures", another_table_gives_its_own_figures),
        ("a person watches, takes over, hands back and downloads in a browser", a_person_uses_the_console),
        ("a suspended workspace comes back with its files", suspend_and_resume),
        ("deleting the workspace loses no artifact", deleting_the_workspace_loses_nothing),
        ("deleting everything leaves nothing behind", nothing_is_left),
    ];
    let only = std::env::var("A8S_CASE").unwrap_or_default();
    for (name, case) in cases.iter().filter(|(name, _)| name.contains(&only)) {
        eprintln!("case: {name}");
        case(&desk).with_context(|| format!("case failed: {name}"))?;
    }
    if std::env::var_os("A8S_KEEP_CLUSTER").is_some() {
        return Ok(());
    }
    desk.down_after_a_crash()
}

/// A test of its own, because it needs a cluster whose controller nobody else relies on.
#[test]
#[ignore = "T4: needs root and some minutes; run by `make test-kills`"]
fn killing_the_controller_at_ten_points_changes_nothing_in_the_end() -> Result<()> {
    killed_at_ten_points(&Desk::up()?)
}

fn sample(file: &str) -> Result<String> {
    Ok(std::fs::read_to_string(repo().join("config/samples").join(file))?)
}

fn csv() -> Result<String> {
    Ok(std::fs::read_to_string(repo().join("environments/agent/tests/data/seattle-weather.csv"))?)
}

fn artifact_ready(desk: &Desk, session: &str, version: i64) -> Option<String> {
    desk.list("artifacts").iter().find_map(|a| {
        let hit = a["spec"]["session"] == session && a["spec"]["version"] == version && is_true(a, "Ready");
        hit.then(|| a["metadata"]["name"].as_str().map(str::to_owned)).flatten()
    })
}

fn bad_manifests_are_refused(desk: &Desk) -> Result<()> {
    let head = "apiVersion: a8s.dev/v1alpha1\nkind: ";
    for (text, expected) in [
        ("Session\nmetadata: {name: bad}\nspec: {goal: x, colour: red}\n", "spec.colour"),
        (
            "Workspace\nmetadata: {name: bad}\nspec: {environment: desktop, desktop: {width: 1, height: 800}}\n",
            "spec.desktop.width",
        ),
        (
            "Session\nmetadata: {name: bad}\nspec: {goal: x, attachments: [{name: a.csv}]}\n",
            "spec.attachments[0]",
        ),
    ] {
        let refused =
            desk.apply(&format!("{head}{text}")).err().map(|e| format!("{e:#}")).unwrap_or_default();
        ensure!(refused.contains(expected), "expected a refusal that names {expected}, got: {refused}");
    }
    Ok(())
}

fn a_missing_environment_is_named_and_heals(desk: &Desk) -> Result<()> {
    desk.apply("apiVersion: a8s.dev/v1alpha1\nkind: Session\nmetadata: {name: orphan}\nspec: {goal: /say hello, environment: later}\n")?;
    desk.until("the missing Environment is named", Duration::from_secs(10), |d| {
        let session = d.get("session", "orphan")?;
        let text = session["status"]["conditions"].to_string();
        (text.contains("EnvironmentNotFound") && text.contains("later")).then_some(())
    })?;
    let desktop = desk.cluster().kubectl().run(&["get", "environment", "desktop", "-o", "json"])?;
    let mut later: serde_json::Value = serde_json::from_str(&desktop)?;
    later["metadata"] = serde_json::json!({"name": "later"});
    later.as_object_mut().map(|o| o.remove("status"));
    desk.cluster().kubectl().apply(&later.to_string())?;
    desk.until("the Session heals", MINUTE, |d| d.get("session", "orphan").filter(|s| is_true(s, "Ready")))?;
    desk.until("the agent answers", MINUTE, |d| {
        d.list("messages")
            .iter()
            .any(|m| m["spec"]["session"] == "orphan" && m["spec"]["content"] == "hello")
            .then_some(())
    })?;
    desk.kubectl(&["delete", "session", "orphan", "--timeout=60s"])?;
    desk.cluster().kubectl().run(&["delete", "environment", "later"])?;
    Ok(())
}

fn the_sample_ends_with_a_report(desk: &Desk) -> Result<()> {
    desk.apply(&sample("seattle-report.yaml")?)?;
    let name = desk.until("first version", 5 * MINUTE, |d| artifact_ready(d, "seattle-report", 1))?;
    desk.kubectl(&["wait", "session/seattle-report", "--for=condition=Finished", "--timeout=60s"])?;
    let file = tempfile::Builder::new().suffix(".pdf").tempfile()?;
    desk.download(&name, file.path())?;
    assert_figures(file.path(), &csv()?)
}

fn a_snapshot_knows_its_place(desk: &Desk) -> Result<()> {
    desk.apply("apiVersion: a8s.dev/v1alpha1\nkind: Snapshot\nmetadata: {name: first-version}\nspec: {workspace: seattle-report}\n")?;
    let snapshot = desk.until("Snapshot ready", MINUTE, |d| {
        d.get("snapshot", "first-version").filter(|s| is_true(s, "Ready"))
    })?;
    let status = &snapshot["status"];
    ensure!(
        status["handle"].is_string() && status["driver"].is_string(),
        "handle and driver are recorded: {status}"
    );
    ensure!(status["consistency"] == "Turn" && status["checkpoint"]["turn"] == 1, "{status}");
    Ok(())
}

fn a_message_makes_a_second_version(desk: &Desk) -> Result<()> {
    desk.kubectl(&["create", "-f", &repo().join("config/samples/redirect.yaml").display().to_string()])?;
    let name = desk.until("second version", 5 * MINUTE, |d| artifact_ready(d, "seattle-report", 2))?;
    let file = tempfile::Builder::new().suffix(".pdf").tempfile()?;
    desk.download(&name, file.path())?;
    assert_figures(file.path(), &csv()?)?;
    let author = desk.list("messages").into_iter().find(|m| m["spec"]["author"]["kind"] == "User");
    ensure!(author.is_some(), "the message carries the author that the webhook stamped");
    Ok(())
}

fn a_fork_starts_at_the_first_version(desk: &Desk) -> Result<()> {
    desk.apply("apiVersion: a8s.dev/v1alpha1\nkind: Session\nmetadata: {name: fork}\nspec: {source: {snapshot: first-version}}\n")?;
    desk.until("fork ready", 2 * MINUTE, |d| d.get("session", "fork").filter(|s| is_true(s, "Ready")))?;
    let versions = |session: &str| {
        let shell = "cat /home/agent/Reports/*/state.json";
        desk.kubectl(&["exec", &format!("{session}-desktop"), "-c", "desktop", "--", "sh", "-c", shell])
    };
    let (fork, original) = (versions("fork")?, versions("seattle-report")?);
    ensure!(fork != original, "the fork has the second version's state: {fork}");
    let artifacts = desk.list("artifacts");
    ensure!(
        !artifacts.iter().any(|a| a["spec"]["session"] == "fork"),
        "a fork republishes nothing by itself"
    );
    desk.kubectl(&["delete", "session", "fork", "--timeout=60s"]).map(drop)
}

fn another_table_gives_its_own_figures(desk: &Desk) -> Result<()> {
    let mut table = String::from("date,precipitation,temp_max,temp_min,wind,weather\n");
    for day in 1..=28 {
        writeln!(table, "2019/02/{day:02},{day},10.0,2.0,3.0,rain")?;
        writeln!(table, "2020/02/{day:02},{},12.0,4.0,3.0,rain", 2 * day)?;
    }
    desk.kubectl(&["create", "configmap", "other", &format!("--from-literal=table={table}")])?;
    desk.apply(
        "apiVersion: a8s.dev/v1alpha1\nkind: Session\nmetadata: {name: other}\nspec:\n  goal: Make a one-page PDF report of yearly rain and temperature with a chart.\n  attachments: [{name: other-weather.csv, configMap: {name: other, key: table}}]\n",
    )?;
    let name = desk.until("other report", 5 * MINUTE, |d| artifact_ready(d, "other", 1))?;
    let file = tempfile::Builder::new().suffix(".pdf").tempfile()?;
    desk.download(&name, file.path())?;
    assert_figures(file.path(), &table)?;
    desk.kubectl(&["delete", "session", "other", "--timeout=60s"]).map(drop)
}

fn a_person_uses_the_console(desk: &Desk) -> Result<()> {
    let manifest = sample("seattle-report.yaml")?.replace("name: seattle-report", "name: browser");
    desk.apply(&manifest)?;
    common::browser::spec(desk, "first-light", &[("A8S_SESSION", "browser")])?;
    desk.kubectl(&["delete", "session", "browser", "--timeout=60s"]).map(drop)
}

/// Ends the controller's process of this cluster with SIGKILL; its container is started again by the kubelet.
fn kill_controller(desk: &Desk) -> Result<bool> {
    let of_cluster = format!("/a8s-{}/", desk.cluster().paths.name);
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let folder = entry.path();
        let exe = std::fs::read_link(folder.join("exe")).unwrap_or_default();
        let group = std::fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
        if exe.file_name().is_some_and(|n| n == "a8s-controller") && group.contains(&of_cluster) {
            let pid = entry.file_name().to_string_lossy().into_owned();
            return Ok(std::process::Command::new("kill").args(["-9", &pid]).status()?.success());
        }
    }
    Ok(false)
}

fn killed_at_ten_points(desk: &Desk) -> Result<()> {
    desk.apply(&sample("seattle-report.yaml")?.replace("name: seattle-report", "name: killed"))?;
    let redirect = "apiVersion: a8s.dev/v1alpha1\nkind: Message\nmetadata: {name: killed-redirect}\nspec: {session: killed, content: Use one chart per year.}\n";
    desk.apply(redirect)?;
    // Each change of what can be seen is a point of the run; where nothing changes for long, time makes the next one.
    let (mut seen, mut kills, mut last) = (String::new(), 0, Instant::now());
    desk.until("ten kills and a finished run", 8 * MINUTE, |d| {
        let session = d.get("session", "killed")?;
        let of_session =
            |kind: &str| d.list(kind).iter().filter(|o| o["spec"]["session"] == "killed").count();
        let status = &session["status"];
        let counts = (of_session("messages"), of_session("artifacts"));
        let point = format!("{} {} {counts:?}", status["state"], status["doing"]);
        let due = point != seen || last.elapsed() > Duration::from_secs(3);
        if due && kills < 10 && kill_controller(d).ok()? {
            (seen, last) = (point, Instant::now());
            kills += 1;
        }
        let done = is_true(&session, "Finished") && artifact_ready(d, "killed", 2).is_some();
        (kills >= 10 && done).then_some(())
    })?;
    let of_killed = |kind: &str| -> Vec<serde_json::Value> {
        desk.list(kind).into_iter().filter(|o| o["spec"]["session"] == "killed").collect()
    };
    let artifacts = of_killed("artifacts");
    ensure!(artifacts.len() == 2, "two Artifacts, not {}", artifacts.len());
    let workspaces = desk.list("workspaces");
    let named =
        workspaces.iter().filter(|w| w["metadata"]["name"].as_str().is_some_and(|n| n.starts_with("killed")));
    ensure!(named.count() == 1, "one Workspace");
    let mut said: Vec<_> = of_killed("messages").iter().map(|m| m["spec"]["content"].to_string()).collect();
    let all = said.len();
    said.sort();
    said.dedup();
    ensure!(all == said.len() && all >= 5, "each Message is there once: {said:?}");
    desk.kubectl(&["delete", "session", "killed", "--timeout=60s"]).map(drop)
}

fn suspend_and_resume(desk: &Desk) -> Result<()> {
    let patch = |state: &str| {
        desk.kubectl(&[
            "patch",
            "session",
            "seattle-report",
            "--type=merge",
            "-p",
            &format!("{{\"spec\":{{\"state\":\"{state}\"}}}}"),
        ])
    };
    patch("Suspended")?;
    desk.until("suspended, pod gone", MINUTE, |d| {
        let gone = d.get("pod", "seattle-report-desktop").is_none();
        let session = d.get("session", "seattle-report")?;
        (gone && session["status"]["state"] == "Suspended").then_some(())
    })?;
    ensure!(desk.get("pvc", "seattle-report-home").is_some(), "the volume stays");
    patch("Active")?;
    desk.until("resumed", MINUTE, |d| d.get("workspace", "seattle-report").filter(|w| is_true(w, "Ready")))?;
    desk.kubectl(&[
        "exec",
        "seattle-report-desktop",
        "-c",
        "desktop",
        "--",
        "sh",
        "-c",
        "ls /home/agent/Reports/*/report.html",
    ])
    .map(drop)
}

fn deleting_the_workspace_loses_nothing(desk: &Desk) -> Result<()> {
    let names: Vec<_> =
        [1, 2].into_iter().filter_map(|v| artifact_ready(desk, "seattle-report", v)).collect();
    ensure!(names.len() == 2, "both versions are there");
    desk.kubectl(&["delete", "workspace", "seattle-report", "--timeout=90s"])?;
    for name in names {
        let file = tempfile::Builder::new().suffix(".pdf").tempfile()?;
        desk.download(&name, file.path())?;
        assert_figures(file.path(), &csv()?)?;
    }
    Ok(())
}

fn nothing_is_left(desk: &Desk) -> Result<()> {
    desk.kubectl(&["delete", "sessions,workspaces,snapshots,artifacts,messages", "--all", "--timeout=90s"])?;
    desk.until("nothing left", MINUTE, |d| {
        let left = ["pods", "pvc", "secrets", "networkpolicies", "volumesnapshots"]
            .iter()
            .map(|kind| d.list(kind).len())
            .sum::<usize>();
        (left == 0).then_some(())
    })?;
    let cluster = desk.cluster().kubectl();
    desk.until("no volume, no backend snapshot", MINUTE, |_| {
        let contents = cluster.run(&["get", "volumesnapshotcontents", "-o", "name"]).ok()?;
        let volumes =
            cluster.run(&["get", "pv", "-o", "jsonpath={.items[*].spec.claimRef.namespace}"]).ok()?;
        (contents.trim().is_empty() && !volumes.contains(DEMO)).then_some(())
    })?;
    Ok(())
}
