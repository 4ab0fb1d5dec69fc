//! What a turn costs: requests that change something, from the API server's audit log, and bytes of etcd's log.

use std::time::{Duration, Instant};

use a8s_cluster::Cluster;
use anyhow::{Context, Result};
use serde_json::json;

use super::talk::Talk;
use crate::{
    table::{Report, Row, per},
    workspaces::audit,
};

/// Facts reach the status within ten seconds; after this time nothing more comes of a turn.
const QUIET: Duration = Duration::from_secs(13);

pub async fn measure(cluster: &Cluster, talk: &Talk, report: &mut Report) -> Result<()> {
    let steps = |count: usize, pause: u64| {
        let one = format!("/write note x\n/sleep {pause}");
        format!("{}\n/say done", vec![one; count].join("\n"))
    };
    for (what, content, target) in [
        ("a turn of one step", steps(1, 0), None),
        ("a turn of 100 steps", steps(100, 0), Some(12.0)),
        ("a turn of 100 steps in a minute", steps(100, 600), None),
    ] {
        talk.idle().await?;
        tokio::time::sleep(QUIET).await;
        let log = cluster.paths.audit_log();
        let length = || std::fs::metadata(&log).map(|m| m.len()).unwrap_or_default();
        let (from, bytes, begun) = (length(), written().await?, Instant::now());
        let mut events = talk.events().await?;
        talk.say(json!({"content": content})).await?;
        // A minute is longer than any event is waited for.
        for _ in 0..=100 {
            let next =
                events.until("the turn goes on", |e| e["type"] == "step" || e["type"] == "turnEnded").await?;
            if next.event["type"] == "turnEnded" {
                break;
            }
        }
        talk.idle().await?;
        tokio::time::sleep(QUIET).await;
        let (took, bytes) = (begun.elapsed(), written().await? - bytes);
        let all = audit::read(&log, from, length())?;
        let own = |r: &&audit::Request| !r.list && r.writer != "client" && is_of(&r.name, &talk.name);
        let writes: Vec<_> = all.iter().filter(own).collect();
        let row = Row::new(format!("API writes of {what}"), per(writes.len(), 1), "");
        report.row(match target {
            Some(most) => row.target(most),
            None => row,
        });
        // What goes on without a turn, such as leases, is in the same log.
        let before = written().await?;
        tokio::time::sleep(took.min(QUIET)).await;
        let idle = (written().await? - before) * took.as_secs_f64() / took.min(QUIET).as_secs_f64();
        report.row(Row::new(format!("etcd's log, {what}"), (bytes - idle) / 1024.0, "KiB"));
        report.note(format!("{what}:\n\n{}", audit::by_writer(writes.into_iter(), 1)));
    }
    Ok(())
}

fn is_of(name: &str, session: &str) -> bool {
    name.strip_prefix(session).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
}

/// Bytes that etcd has written to its log so far.
async fn written() -> Result<f64> {
    const NAME: &str = "etcd_disk_wal_write_bytes_total ";
    let http = reqwest::Client::builder().no_proxy().build()?;
    let text = http.get("http://127.0.0.1:2379/metrics").send().await?.error_for_status()?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix(NAME)).context("etcd counts its log")?;
    Ok(line.trim().parse()?)
}
