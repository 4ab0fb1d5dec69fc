//! What Sessions cost the API server while their agents work: every write that is about a Session, or about something named after it, as the
//! server's audit log has it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::world::World;

/// Most that a Session may write in a second, everything included.
pub const MOST: f64 = 0.2;
/// An object that is larger is of no use to those who watch it.
const LARGEST: usize = 64 * 1024;
/// The agent says something as often as that.
const SAYS: Duration = Duration::from_secs(30);

/// Writes by Session, and what they were.
#[derive(Debug, Default)]
pub struct Writes(BTreeMap<String, BTreeMap<String, usize>>);

impl Writes {
    /// Reads what was noted since the log had this length.
    pub fn since(log: &Path, length: u64, sessions: &[String]) -> Result<Self> {
        let mut file = File::open(log).with_context(|| format!("opening {}", log.display()))?;
        file.seek(SeekFrom::Start(length))?;
        let mut all = Self(sessions.iter().map(|name| (name.clone(), BTreeMap::new())).collect());
        for line in BufReader::new(file).lines() {
            // The last line may be half written.
            let Ok(line) = serde_json::from_str::<Value>(&line?) else { continue };
            all.take(&line);
        }
        Ok(all)
    }

    fn take(&mut self, line: &Value) {
        let verb = line["verb"].as_str().unwrap_or_default();
        if !matches!(verb, "create" | "update" | "patch" | "delete") {
            return;
        }
        let object = &line["objectRef"];
        let name = object["name"].as_str().unwrap_or_default();
        let Some(session) = self.0.keys().find(|session| is_of(name, session)).cloned() else { return };
        let sub = object["subresource"].as_str().map(|s| format!("/{s}")).unwrap_or_default();
        let what = format!("{verb} {}{sub}", object["resource"].as_str().unwrap_or_default());
        *self.0.entry(session).or_default().entry(what).or_default() += 1;
    }

    /// The Session with the most, and how many those are.
    pub fn most(&self) -> (String, usize) {
        let totals = self.0.iter().map(|(name, whats)| (name.clone(), whats.values().sum()));
        totals.max_by_key(|(_, total)| *total).unwrap_or_default()
    }

    /// All of them.
    pub fn total(&self) -> usize {
        self.0.values().flat_map(BTreeMap::values).sum()
    }

    /// How often each thing was done.
    pub fn by_kind(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for (what, count) in self.0.values().flatten() {
            *all.entry(what.clone()).or_default() += count;
        }
        all
    }
}

/// Whether an object of this name is the Session's. Names of Sessions that are measured do not begin with one another.
fn is_of(name: &str, session: &str) -> bool {
    name.strip_prefix(session).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
}

/// What an agent does for so long: a step a second, a plan that goes on, a word every half minute.
pub fn work(name: &str, time: Duration) -> String {
    let mut script = vec!["/plan look|think|write".to_owned()];
    for second in 0..time.as_secs() {
        if second % SAYS.as_secs() == 0 {
            script.push(format!("/say {name} has worked for {second} s"));
        }
        // Which step differs each time, so that there is something to tell.
        script.push(format!("/write step-{} {second}", second % 7));
        script.push("/sleep 950".to_owned());
    }
    script.join("\n")
}

/// So many Sessions work for so long; what each of them wrote in that time.
pub async fn measure(world: &World, sessions: usize, time: Duration) -> Result<Writes> {
    let names: Vec<String> = (0..sessions).map(|n| format!("steady{n:03}")).collect();
    // They are at work before, and still after, the time that counts; the start of each is its own.
    let margin = Duration::from_mins(5);
    for name in &names {
        let goal = work(name, time + margin);
        world.make("Session", name, &json!({"goal": goal, "environment": "desktop"})).await?;
    }
    world
        .until("all agents work", margin, async || {
            let all = world.all("Session").await?;
            Ok(all.iter().filter(|s| s["status"]["state"] == "Working" && s["status"]["turn"] == 1).count()
                == sessions)
        })
        .await?;
    let log = world.server.audit_log();
    let (length, begun) = (std::fs::metadata(&log)?.len(), Instant::now());
    tokio::time::sleep(time).await;
    let seconds = begun.elapsed().as_secs_f64();
    let writes = Writes::since(&log, length, &names)?;
    for session in world.all("Session").await? {
        let size = session.to_string().len();
        let name = session["metadata"]["name"].as_str().unwrap_or_default();
        ensure!(size < LARGEST, "Session {name} has {size} bytes");
        ensure!(
            session["status"]["state"] == "Working",
            "Session {name} stopped: {}",
            session["status"]["doing"]
        );
    }
    eprintln!("{sessions} Sessions in {seconds:.0} s: {:?}", writes.by_kind());
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_counts_for_the_session_that_the_object_is_named_after() {
        let mut all = Writes(["steady001", "steady002"].map(|n| (n.to_owned(), BTreeMap::new())).into());
        let line = |verb: &str, name: &str| json!({"verb": verb, "objectRef": {"resource": "messages", "subresource": "status", "name": name}});
        for (verb, name) in [
            ("patch", "steady001"),
            ("create", "steady001-0-7"),
            ("create", "steady001.18a2"),
            ("list", "steady001"),
            ("patch", "steady0011"),
            ("patch", "other"),
        ] {
            all.take(&line(verb, name));
        }
        assert_eq!((all.most(), all.total()), (("steady001".to_owned(), 3), 3));
        assert_eq!(all.by_kind()["create messages/status"], 2);
    }

    #[test]
    fn an_agents_work_fits_into_a_goal() {
        assert!(work("steady000", Duration::from_mins(15)).len() < 32_768);
    }
}
