//! Stop, and taking over, to the last thing that the agent does. The agent types without end into a terminal whose program writes down what
//! it gets: the time of that file is the time of the last input that had an effect, X server and terminal included.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::json;

use super::{
    rows,
    sse::Stream,
    talk::{Talk, between},
};
use crate::table::Report;

/// The first of each kind are not counted.
const WARM_UP: usize = 2;
/// Nothing is typed for so long: nothing will be.
const STILL: Duration = Duration::from_millis(150);
const LIMIT: Duration = Duration::from_secs(30);

pub async fn measure(talk: &Talk, samples: usize, report: &mut Report) -> Result<()> {
    let typed = Typed::begin(talk).await?;
    let mut events = talk.events().await?;
    let mut stops = [Vec::new(), Vec::new()];
    for round in 0..samples + WARM_UP {
        for straight in [false, true] {
            let turn = typed.begins(talk, &mut events).await?;
            let at = Timestamp::now();
            if straight {
                talk.runner("/v1/interrupt", &json!({"turn": turn})).await?;
            } else {
                talk.say(json!({"delivery": "Interrupt"})).await?;
            }
            events.until("the end of the turn", |e| e["type"] == "turnEnded").await?;
            let last = typed.ends().await?;
            if round >= WARM_UP {
                stops[usize::from(straight)].push(between(at, last).max(0.0));
            }
        }
    }
    let straight = ("interrupt straight to the runner", &stops[1][..]);
    rows("Stop to the agent's last input", &stops[0], straight, [None, Some(250.0)], report);

    let (mut refused, mut takes) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for straight in [false, true] {
        for round in 0..samples + WARM_UP {
            let turn = typed.begins(talk, &mut events).await?;
            let at = Timestamp::now();
            take(talk, straight, true).await?;
            let taken = Timestamp::now();
            let last = typed.ends().await?;
            talk.runner("/v1/interrupt", &json!({"turn": turn})).await?;
            events.until("the end of the turn", |e| e["type"] == "turnEnded").await?;
            take(talk, straight, false).await?;
            if round >= WARM_UP {
                refused[usize::from(straight)].push(between(at, taken));
                takes[usize::from(straight)].push(between(at, last).max(0.0));
            }
        }
    }
    let name = "lease straight to deskd";
    rows(
        "taking over until the agent is refused",
        &refused[0],
        (name, &refused[1]),
        [None, Some(100.0)],
        report,
    );
    // What the agent typed ahead of the terminal before it was refused is drawn meanwhile.
    rows("taking over to the agent's last input", &takes[0], (name, &takes[1]), [None, None], report);
    Ok(())
}

/// Takes the desktop or gives it back, and waits until deskd says so.
async fn take(talk: &Talk, straight: bool, person: bool) -> Result<()> {
    let holder = if person { "User" } else { "Agent" };
    if straight {
        let held = talk.desk_state().await?["control"].clone();
        let epoch = held["epoch"].as_i64().unwrap_or_default() + 1;
        let mut lease = json!({"holder": holder, "private": false, "epoch": epoch});
        if person {
            lease["user"] = "bench".into();
        }
        talk.deskd("/v1/control", &lease).await?;
    } else {
        talk.control(holder).await?;
    }
    let begun = Instant::now();
    loop {
        let held = talk.desk_state().await?["control"].clone();
        if held["holder"] == holder {
            return Ok(());
        }
        ensure!(begun.elapsed() < LIMIT, "deskd does not say that {holder} has control: {held}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What the terminal got.
struct Typed(PathBuf);

impl Typed {
    async fn begin(talk: &Talk) -> Result<Self> {
        let mut events = talk.events().await?;
        let script = "/launch terminal\n/wait-window Terminal\n/sleep 2000\n/type stty raw -echo; exec cat > /home/agent/typed\n/key Return\n/sleep 500\n/type begun";
        talk.say(json!({"content": script})).await?;
        let end = events.until("the terminal", |e| e["type"] == "turnEnded").await?;
        ensure!(end.event["data"]["stopReason"] == "end_turn", "the terminal: {}", end.event);
        let uid = format!("A8S_WORKSPACE_UID={}", talk.uid);
        let process = fs::read_dir("/proc")?.flatten().map(|entry| entry.path()).find(|folder| {
            let name =
                fs::read_link(folder.join("exe")).ok().and_then(|exe| exe.file_name().map(|n| n == "deskd"));
            let environment = fs::read(folder.join("environ")).unwrap_or_default();
            name == Some(true) && environment.split(|b| *b == 0).any(|entry| entry == uid.as_bytes())
        });
        let typed = Self(process.context("deskd runs")?.join("root/home/agent/typed"));
        ensure!(typed.state()?.0 > 0, "what is typed arrives");
        Ok(typed)
    }

    fn state(&self) -> Result<(u64, SystemTime)> {
        let found = fs::metadata(&self.0).with_context(|| format!("{}", self.0.display()))?;
        Ok((found.len(), found.modified()?))
    }

    /// Has the agent type, and waits until it does; its turn.
    async fn begins(&self, talk: &Talk, events: &mut Stream) -> Result<i64> {
        talk.idle().await?;
        let (before, _) = self.state()?;
        let line = format!("/type {}", "all work and no play ".repeat(150));
        let content = vec![line; 8].join("\n");
        let body =
            json!({"messageId": talk.fresh("p"), "content": content, "author": "bench", "attachments": []});
        talk.runner("/v1/prompt", &body).await?;
        let turn = events.until("the turn", |e| e["type"] == "turnStarted").await?.event["turn"].as_i64();
        let begun = Instant::now();
        while self.state()?.0 < before + 100 {
            ensure!(begun.elapsed() < LIMIT, "nothing is typed");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        turn.context("a turn has a number")
    }

    /// When the last of it came.
    async fn ends(&self) -> Result<Timestamp> {
        let (begun, mut last, mut since) = (Instant::now(), self.state()?, Instant::now());
        while since.elapsed() < STILL {
            ensure!(begun.elapsed() < LIMIT, "it is typed on");
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = self.state()?;
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(Timestamp::try_from(last.1)?)
    }
}
