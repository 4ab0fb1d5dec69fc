//! The report, from the attached data to the published PDF, with the figures computed a second time here.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use a8s_wire::EventBody;
use common::Pod;

const GOAL: &str =
    "Make a one-page PDF report of yearly rain and temperature with a chart, from the attached data.";
const DATA: &str = include_str!("../../agent/tests/data/seattle-weather.csv");

/// Rain, rainy days, mean high, mean low by year, as the answer's table shows them.
fn recompute(data: &str) -> Vec<String> {
    let mut years: BTreeMap<&str, (f64, u32, f64, f64, f64)> = BTreeMap::new();
    for line in data.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |at: usize| cells[at].parse::<f64>().unwrap();
        let year = years.entry(&cells[0][..4]).or_default();
        year.0 += number(1);
        year.1 += u32::from(number(1) > 0.0);
        year.2 += number(2);
        year.3 += number(3);
        year.4 += 1.0;
    }
    let row = |(year, (rain, wet, high, low, days)): (&&str, &(f64, u32, f64, f64, f64))| {
        format!("| {year} | {rain:.1} | {wet} | {:.1} | {:.1} |", high / days, low / days)
    };
    years.iter().map(row).collect()
}

fn rows(answer: &str) -> Vec<String> {
    answer.lines().filter(|line| line.starts_with("| 2")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_is_made_redirected_and_remembered_over_a_restart() {
    let mut pod = Pod::start();
    assert!(pod.attach("seattle-weather.csv", DATA).await.status().is_success());
    pod.prompt("m1", GOAL, &["seattle-weather.csv"]).await;
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "end_turn");
    let answer = events.messages().pop().unwrap();
    assert_eq!(rows(&answer), recompute(DATA), "{answer}");
    assert_eq!(recompute(DATA).len(), 4);
    assert!(events.seen.iter().any(|event| matches!(event.body, EventBody::Finished { .. })));

    pod.kill_runner();
    pod.start_runner();
    pod.prompt("m2", "use one chart per year", &[]).await;
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m2").await, "end_turn");
    assert_eq!(rows(&events.messages().pop().unwrap()), recompute(DATA));

    let state = pod.state().await;
    let versions: Vec<(&str, i64)> =
        state.artifacts.iter().map(|info| (info.name.as_str(), info.version)).collect();
    assert_eq!(versions, [("report", 1), ("report", 2)]);
    assert_eq!(state.artifacts[0].title, "Seattle weather 2012–2015: yearly rain and temperature");
    assert_eq!(state.artifacts[0].media_type, "application/pdf");
    assert!(state.plan.iter().all(|entry| entry.status == "completed"));
    // The fake browser puts the page into its PDF: one drawing with legend marks before, four after.
    for (info, charts) in state.artifacts.iter().zip([1, 4]) {
        let pdf = pod.get(&format!("/v1/blobs/{}", info.sha256)).await.text().await.unwrap();
        assert_eq!(pdf.matches("<figure>").count(), charts);
    }
    let calls = pod.desk().calls();
    for what in [
        "\"files\"",
        "\"terminal\"",
        "python3 ~/Reports/seattle-weather/make_report.py",
        "\"browser\"",
        "ctrl+p",
    ] {
        assert!(calls.iter().any(|call| call.contains(what)), "{what} is not in {calls:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_working_print_dialog_the_page_is_printed_by_command() {
    let pod = Pod::start();
    pod.desk().break_dialog();
    pod.attach("seattle-weather.csv", DATA).await;
    pod.prompt("m1", GOAL, &["seattle-weather.csv"]).await;
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "end_turn");
    assert_eq!(pod.state().await.artifacts.len(), 1, "{:?}", events.messages());
    assert!(pod.desk().calls().iter().any(|call| call.contains("--print-to-pdf=")));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_person_holds_the_desktop_the_agent_waits_and_says_so_once() {
    let pod = Pod::start();
    pod.desk().hold(true);
    pod.attach(
        "other-town.csv",
        "date,precipitation,temp_max,temp_min\n2020-02-01,1.5,10,0\n2021-02-01,0,20,5\n",
    )
    .await;
    pod.prompt("m1", GOAL, &["other-town.csv"]).await;
    pod.desk().refused(2).await;
    pod.desk().hold(false);
    let mut events = pod.events("").await;
    assert_eq!(events.turn_end("m1").await, "end_turn");
    let said = events.messages();
    assert_eq!(said.iter().filter(|text| text.contains("hand it back")).count(), 1);
    let answer = said.last().unwrap();
    assert_eq!(rows(answer), ["| 2020 | 1.5 | 1 | 10.0 | 0.0 |", "| 2021 | 0.0 | 0 | 20.0 | 5.0 |"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_the_desktop_can_be_cancelled() {
    let pod = Pod::start();
    pod.desk().hold(true);
    pod.attach("seattle-weather.csv", DATA).await;
    let accepted = pod.prompt("m1", GOAL, &["seattle-weather.csv"]).await;
    pod.desk().refused(1).await;
    assert!(pod.interrupt(accepted.turn).await);
    assert_eq!(pod.events("").await.turn_end("m1").await, "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_data_is_explained_and_nothing_is_published() {
    let pod = Pod::start();
    let cases = [
        ("a.csv", "date,rain\n2020-01-01,1\n", "no column `precipitation`, `temp_max`, `temp_min`"),
        (
            "b.csv",
            "date,precipitation,temp_max,temp_min\n2020-01-01,1,warm,2\n",
            "row 2, column `temp_max`: \"warm\"",
        ),
        ("c.csv", "", "it is empty"),
    ];
    let mut events = pod.events("").await;
    for (name, content, expected) in cases {
        pod.attach(name, content).await;
        pod.prompt(name, GOAL, &[name]).await;
        assert_eq!(events.turn_end(name).await, "end_turn");
        let answer = events.messages().pop().unwrap();
        assert!(answer.contains(expected), "{answer}");
    }
    pod.prompt("m1", "Make a weather report", &["missing.csv"]).await;
    events.turn_end("m1").await;
    assert!(events.messages().pop().unwrap().contains("cannot read"), "{:?}", events.messages());
    assert!(pod.state().await.artifacts.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Xvnc, openbox, xterm and Chromium; run it with --ignored"]
async fn a_real_browser_prints_the_report_to_one_page() {
    let pod = Pod::with_real_desktop();
    pod.attach("seattle-weather.csv", DATA).await;
    let mut events = pod.events("").await;
    for (message, text) in [("m1", GOAL), ("m2", "use one chart per year")] {
        pod.prompt(message, text, &["seattle-weather.csv"][..usize::from(message == "m1")]).await;
        let failed_step = events
            .until("the printed page", |event| {
                matches!(&event.body, EventBody::Step { title, status, .. } if title.starts_with("print") && status != "in_progress")
            })
            .await;
        let EventBody::Step { title, status, .. } = failed_step.body else { unreachable!() };
        assert_eq!((title.as_str(), status.as_str()), ("print to report.pdf", "completed"));
        assert_eq!(events.turn_end(message).await, "end_turn");
        assert_eq!(rows(&events.messages().pop().unwrap()), recompute(DATA));
    }
    let artifacts = pod.state().await.artifacts;
    assert_eq!(artifacts.len(), 2);
    for info in artifacts {
        let pdf = pod.get(&format!("/v1/blobs/{}", info.sha256)).await.bytes().await.unwrap();
        let text = String::from_utf8_lossy(&pdf).into_owned();
        assert!(text.starts_with("%PDF") && text.contains("/Count 1"), "{} bytes", pdf.len());
    }
}
