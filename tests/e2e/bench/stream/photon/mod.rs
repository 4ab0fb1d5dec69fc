//! From a key to the pixel that it changes, on a real desktop: in a browser, through a8s and through websockify, over ways of different
//! lengths; and within the pod.

mod browser;
mod delay;
mod desk;
pub mod flip;
mod within;

use std::{path::Path, time::Duration};

use anyhow::Result;
use tokio::net::UnixStream;

use super::programs::{Program, free_port, proxy, ticket, websockify};
use crate::table::{Figures, Report, Row, short};
use browser::Browser;
use desk::Desk;
use within::Within;

/// Round trips that are added, in milliseconds: one machine, one country, two continents.
const ADDED: [u64; 3] = [0, 20, 80];
/// In turn, so that both meet the same machine.
const ROUNDS: usize = 3;

/// All of it; `presses` of each kind.
pub async fn measure(repo: &Path, cache: &Path, presses: usize, report: &mut Report) -> Result<()> {
    let desk = Desk::start().await?;
    pod(&desk, presses, report).await?;
    let mut browser = Browser::start(repo).await?;
    let (ours, theirs) = (free_port()?, free_port()?);
    let dir = desk.dir.path();
    let command = proxy(dir, ours, desk.port, &browser.origin)?;
    let _proxy = Program::start("proxy", dir, ours, command).await?;
    let command = websockify(cache, theirs, &format!("--unix-target={}", desk.socket().display()))?;
    let _bridge = Program::start("websockify", dir, theirs, command).await?;
    let http = reqwest::Client::new();
    for added in ADDED {
        let way = Duration::from_millis(added) / 2;
        let (near, far) = if added == 0 {
            (ours, theirs)
        } else {
            (delay::start(ours, way).await?, delay::start(theirs, way).await?)
        };
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let ticket = ticket(&http, ours, "d0", &browser.origin).await?;
            let protocols = ["binary".to_owned(), format!("a8s.ticket.{ticket}")];
            let url = format!("ws://127.0.0.1:{near}/vnc/stream");
            times[0].extend(browser.press(&url, &protocols, presses / ROUNDS).await?);
            let url = format!("ws://127.0.0.1:{far}/websockify");
            times[1].extend(browser.press(&url, &["binary".to_owned()], presses / ROUNDS).await?);
        }
        let what = format!("key to pixel in the browser, {added} ms away");
        both(&what, "websockify", &times.map(Figures::from), None, report);
    }
    Ok(())
}

/// Key to update, through deskd and at Xvnc itself.
async fn pod(desk: &Desk, presses: usize, report: &mut Report) -> Result<()> {
    let mut through = Within::open(desk.stream().await?).await?;
    let mut bare = Within::open(UnixStream::connect(desk.socket()).await?).await?;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..presses {
        times[0].push(through.press().await?.as_secs_f64() * 1e3);
        times[1].push(bare.press().await?.as_secs_f64() * 1e3);
    }
    both("key to update within the pod", "Xvnc itself", &times.map(Figures::from), Some(10.0), report);
    Ok(())
}

/// Rows of median and 99th percentile; the median has the target.
fn both(what: &str, other: &'static str, times: &[Figures; 2], target: Option<f64>, report: &mut Report) {
    let [ours, theirs] = times;
    for percentile in [50, 99] {
        let row = Row::new(format!("{what}, p{percentile}"), ours.percentile(percentile), "ms")
            .beside(other, theirs.percentile(percentile));
        report.row(match target {
            Some(most) if percentile == 50 => row.target(most),
            _ => row,
        });
    }
    let range = |figures: &Figures| {
        let (least, most) = figures.range();
        format!("{}–{}", short(least), short(most))
    };
    report.note(format!("{what}, range in ms: a8s {}, {other} {}", range(ours), range(theirs)));
}
