//! Sessions that take desktops out of a pool: one by one, 20 and 300 at once, and 20 and 45 a second whether or not the last ones are
//! ready yet. Of each round: how long it took to Ready, who wrote what, and what CPU it cost.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    Settings,
    audit::{self, CONTROLLER, Lives, Request},
    fleet::Fleet,
    peer::{self, PEER},
    processes::Mark,
    sessions::Taken,
};
use crate::table::{Figures, Report, Row, per};

/// Longest that the pool may take to be full again.
const REFILL: Duration = Duration::from_mins(5);
/// How long a Session is used.
const DWELL: Duration = Duration::from_secs(5);
const PROGRAMS: [&str; 6] =
    [CONTROLLER, "kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler", "kwok"];

/// Makes the desktops that wait, and takes some of them, so that connections, caches and the first of everything are not measured.
pub async fn fill(fleet: &Fleet<'_>, settings: &Settings, report: &mut Report) -> Result<()> {
    let begun = Instant::now();
    fleet.stock(settings.pool + 50).await?;
    fleet.scale(settings.pool).await?;
    fleet.settled(REFILL).await?;
    let filled = begun.elapsed().as_secs_f64();
    report.note(format!("The pool of {} was full and everything quiet after {filled:.0} s.", settings.pool));
    closed(fleet, "warm-up", 20, 40).await.map(drop)
}

/// Each Session is asked for when an earlier one is ready.
pub async fn closed_loops(fleet: &Fleet<'_>, settings: &Settings, report: &mut Report) -> Result<()> {
    for (name, at_once, many) in [("one by one", 1, 50), ("20 at once", 20, 100), ("300 at once", 300, 300)] {
        let round = closed(fleet, &name.replace(' ', "-"), at_once, many.min(settings.pool)).await?;
        tell_closed(name, at_once, &round, report);
    }
    Ok(())
}

/// Each Session is asked for by the clock.
pub async fn open_loops(fleet: &Fleet<'_>, settings: &Settings, report: &mut Report) -> Result<()> {
    for rate in &settings.rates {
        let round = open(fleet, *rate, settings.seconds).await?;
        tell_open(*rate, &round, report);
    }
    Ok(())
}

/// What was seen in a round.
struct Round {
    taken: Vec<Taken>,
    /// Why others did not become Ready.
    failed: Vec<String>,
    /// Requests until all was settled with the Sessions there.
    starting: Vec<Request>,
    /// Requests after that until they were gone and all was settled; in a round with a rate, nothing.
    ending: Vec<Request>,
    before: Mark,
    after: Mark,
}

/// So many at once, the next when one is Ready; when all are there they are deleted.
async fn closed(fleet: &Fleet<'_>, name: &str, at_once: usize, many: usize) -> Result<Round> {
    fleet.stock(many + 50).await?;
    fleet.settled(REFILL).await?;
    let before = fleet.meter.mark();
    let called = |number: usize| format!("s-{name}-{number}");
    let one = |number: usize| fleet.sessions.start(called(number), Instant::now());
    // Each future is made when its turn comes, so that is when its time begins.
    let all: Vec<_> = stream::iter(0..many).map(one).buffer_unordered(at_once).collect().await;
    let (taken, failed) = sort(all);
    fleet.settled(REFILL).await?;
    let between = fleet.meter.mark();
    // Also those that never became Ready must not be in the way of the next round.
    let delete = |number: usize| fleet.sessions.delete(called(number));
    for deleted in stream::iter(0..many).map(delete).buffer_unordered(at_once).collect::<Vec<_>>().await {
        deleted?;
    }
    fleet.sessions.gone().await?;
    fleet.settled(REFILL).await?;
    let after = fleet.meter.mark();
    let log = &fleet.meter.audit;
    let starting = audit::read(log, before.audit, between.audit)?;
    let ending = audit::read(log, between.audit, after.audit)?;
    Ok(Round { taken, failed, starting, ending, before, after })
}

/// An open loop: Sessions are asked for by the clock, with the gaps of a Poisson process, used for a while, and deleted.
async fn open(fleet: &Fleet<'_>, rate: u32, seconds: u64) -> Result<Round> {
    let moments = moments(f64::from(rate), Duration::from_secs(seconds));
    fleet.stock(moments.len() + 50).await?;
    fleet.settled(REFILL).await?;
    let before = fleet.meter.mark();
    let begun = Instant::now() + Duration::from_millis(100);
    let lives: Vec<_> = moments
        .into_iter()
        .enumerate()
        .map(|(number, moment)| {
            let (sessions, meant) = (fleet.sessions.clone(), begun + moment);
            tokio::spawn(async move {
                tokio::time::sleep_until(meant.into()).await;
                let name = format!("s-rate-{rate}-{number}");
                let taken = sessions.start(name.clone(), meant).await;
                tokio::time::sleep(DWELL).await;
                let deleted = sessions.delete(name).await;
                taken.and_then(|taken| deleted.map(|()| taken))
            })
        })
        .collect();
    let mut all = Vec::new();
    for life in lives {
        all.push(life.await?);
    }
    let (taken, failed) = sort(all);
    fleet.sessions.gone().await?;
    fleet.settled(REFILL).await?;
    let after = fleet.meter.mark();
    let starting = audit::read(&fleet.meter.audit, before.audit, after.audit)?;
    Ok(Round { taken, failed, starting, ending: Vec::new(), before, after })
}

/// The same for every run.
fn moments(rate: f64, length: Duration) -> Vec<Duration> {
    let mut random = StdRng::seed_from_u64(1);
    let mut at = 0.0;
    let gaps = std::iter::from_fn(|| {
        // Never the logarithm of nothing.
        at -= (1.0 - random.random::<f64>()).ln() / rate;
        Some(Duration::from_secs_f64(at))
    });
    gaps.take_while(|at| *at < length).collect()
}

fn sort(all: Vec<Result<Taken>>) -> (Vec<Taken>, Vec<String>) {
    let (mut taken, mut failed) = (Vec::new(), Vec::new());
    for one in all {
        match one {
            Ok(one) => taken.push(one),
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    (taken, failed)
}

impl Round {
    fn sessions(&self) -> usize {
        self.taken.len() + self.failed.len()
    }

    fn latency(&self) -> Figures {
        self.taken.iter().map(|t| t.latency).collect::<Vec<_>>().into()
    }

    /// CPU seconds for a hundred Sessions.
    fn cpu(&self, program: &str) -> f64 {
        self.after.cpu(&self.before, program) * 100.0 * per(1, self.sessions())
    }

    fn lives(&self) -> Lives {
        let mut lives = Lives::default();
        for taken in &self.taken {
            lives.add(&taken.name, &taken.workspace, taken.asked);
        }
        lives
    }

    /// What went wrong: Sessions that did not become Ready, that found no desktop waiting, or that share one.
    fn faults(&self) -> (usize, usize, usize) {
        let cold = self.taken.iter().filter(|t| t.cold()).count();
        let different: HashSet<_> = self.taken.iter().map(|t| &t.workspace).collect();
        (self.failed.len(), cold, self.taken.len() - different.len())
    }

    fn tell(&self, name: &str, report: &mut Report) {
        let (figures, (failed, cold, shared)) = (self.latency(), self.faults());
        let [p50, p90, p95, p99] = [50, 90, 95, 99].map(|p| figures.percentile(p));
        let (least, most) = figures.range();
        report.note(format!(
            "Sessions {name}: {} of {}, {cold} cold, {shared} sharing a desktop. Create to Ready, ms: p50 {p50:.0}, p90 {p90:.0}, \
             p95 {p95:.0}, p99 {p99:.0}, from {least:.0} to {most:.0}.",
            self.taken.len(),
            self.sessions(),
        ));
        if let Some(first) = self.failed.first() {
            report.note(format!("{failed} were not Ready; the first: {first}"));
        }
        let cpu = PROGRAMS.map(|program| format!("{program} {:.2}", self.cpu(program)));
        report.note(format!("CPU seconds for 100 Sessions {name}, whole lives: {}.", cpu.join(", ")));
        report.row(
            Row::new(format!("Sessions {name} that share a desktop with another"), per(shared, 1), "")
                .target(0.0),
        );
    }
}

fn tell_closed(name: &str, at_once: usize, round: &Round, report: &mut Report) {
    let (peer, targets) = match at_once {
        1 => (peer::SERIAL, Some((15.0, 40.0))),
        20 => (peer::PARALLEL, Some((100.0, 300.0))),
        _ => (peer::BURST, None),
    };
    let figures = round.latency();
    for (what, figure, peer, target) in [
        ("p50", figures.percentile(50), peer.p50, targets.map(|t| t.0)),
        ("p99", figures.percentile(99), peer.p99, targets.map(|t| t.1)),
    ] {
        let what = format!("warm Session, {name} ({}), to Ready, {what}", round.sessions());
        let row = Row::new(what, figure, "ms").beside(PEER, peer);
        report.row(match target {
            Some(most) => row.target(most),
            None => row,
        });
    }
    round.tell(name, report);
    writes(name, at_once, round, report);
    let cpu =
        Row::new(format!("controller CPU for 100 Sessions {name}"), round.cpu(CONTROLLER), "s").target(0.5);
    report.row(match at_once {
        1 => cpu.beside(PEER, peer::CPU[0]),
        300 => cpu.beside(PEER, peer::CPU[1]),
        _ => cpu,
    });
}

fn tell_open(rate: u32, round: &Round, report: &mut Report) {
    let peer = peer::at_rate(rate);
    let (figures, (failed, cold, _)) = (round.latency(), round.faults());
    let name = format!("{rate}/s");
    let what = |p: &str| format!("warm Session, {name} ({}), to Ready, {p}", round.sessions());
    let beside = |row: Row, figure: fn(&peer::Latency) -> f64| match &peer {
        Some(peer) => row.beside(PEER, figure(peer)),
        None => row,
    };
    report.row(beside(Row::new(what("p50"), figures.percentile(50), "ms"), |peer| peer.p50));
    report.row(beside(Row::new(what("p99"), figures.percentile(99), "ms").target(300.0), |peer| peer.p99));
    let without = per(cold + failed, 1);
    report
        .row(Row::new(format!("Sessions at {name} that found no desktop waiting"), without, "").target(0.0));
    round.tell(&format!("at {name}"), report);
    let all = per(round.starting.iter().filter(|r| !r.list).count(), round.sessions());
    report.row(Row::new(format!("writes for a Session at {name}, whole life and refill"), all, ""));
    let cpu = Row::new(format!("controller CPU for 100 Sessions at {name}"), round.cpu(CONTROLLER), "s");
    report.row(cpu.beside(PEER, peer::CPU[2]).target(0.5));
}

/// Who wrote what for a Session.
fn writes(name: &str, at_once: usize, round: &Round, report: &mut Report) {
    let (lives, sessions) = (round.lives(), round.sessions());
    let starting = || round.starting.iter().filter(|r| !r.list);
    let ending = || round.ending.iter().filter(|r| !r.list);
    let own = || starting().filter(|r| lives.of(r).is_some());
    let refill = || starting().filter(|r| lives.of(r).is_none());
    let each = |count: usize| per(count, sessions);
    let what = |part: &str| format!("writes for a Session {name}, {part}");
    report.row(Row::new(what("its own until settled"), each(own().count()), "").target(9.0));
    let settled = Row::new(what("with refill"), each(starting().count()), "");
    let life = Row::new(what("with refill and deletion"), each(starting().count() + ending().count()), "");
    if at_once == 1 {
        report.row(settled.beside(PEER, peer::WRITES));
        report.row(life.beside(PEER, peer::WRITES_OF_A_LIFE));
        report.row(
            Row::new(what("one after another before Ready, most"), serial(round, &lives), "").target(2.0),
        );
    } else {
        report.row(settled);
        report.row(life);
    }
    let conflicts = each(starting().chain(ending()).filter(|r| r.conflict).count());
    report.note(format!(
        "Writes for each Session {name}, {conflicts:.2} conflicts among them.\n\nIts own:\n\n{}\n\nRefill:\n\n{}\n\nDeletion:\n\n{}",
        audit::by_writer(own(), sessions),
        audit::by_writer(refill(), sessions),
        audit::by_writer(ending(), sessions),
    ));
}

/// The most writes that the controller made for one Session between the client's request and its seeing it Ready.
fn serial(round: &Round, lives: &Lives) -> f64 {
    let between = |taken: &Taken, from: Timestamp, to: Timestamp| {
        let mine = |r: &&Request| {
            let of = lives.of(r);
            r.writer == CONTROLLER && !r.list && (of == Some(&*taken.name) || of == Some(&*taken.workspace))
        };
        round.starting.iter().filter(mine).filter(|r| r.at >= from && r.at <= to).count()
    };
    let most = round.taken.iter().map(|t| between(t, t.asked, t.ready)).max();
    per(most.unwrap_or_default(), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_over_a_minute_and_its_gaps_are_not_even() {
        let all = moments(20.0, Duration::from_mins(1));
        assert!((1080..1320).contains(&all.len()), "{}", all.len());
        assert!(all.windows(2).all(|pair| pair[0] <= pair[1]));
        let gaps: Vec<_> = all.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
        assert!(
            gaps.iter().any(|g| *g < Duration::from_millis(5))
                && gaps.iter().any(|g| *g > Duration::from_millis(150))
        );
        assert_eq!(all, moments(20.0, Duration::from_mins(1)));
    }
}
