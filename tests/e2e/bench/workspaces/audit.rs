//! Reads the API server's audit log: who wrote what, and whether it was for a Session or for the pool that is filled again behind it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

/// The controller's name as a writer.
pub const CONTROLLER: &str = "a8s-controller";
const OURS: &str = "system:serviceaccount:a8s-system:";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    verb: String,
    user: User,
    object_ref: Option<Object>,
    response_status: Option<Answer>,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    name: String,
    subresource: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    code: u16,
}

/// A request that was answered.
pub struct Request {
    /// Who sent it, in words.
    pub writer: String,
    /// Whether it is a process of ours.
    pub ours: bool,
    /// `patch sessions/status`.
    pub what: String,
    /// Name of the object.
    pub name: String,
    /// A list, not a write.
    pub list: bool,
    /// Somebody had written in between.
    pub conflict: bool,
    /// When it was answered.
    pub at: Timestamp,
}

/// All writes and lists between two lengths of the log.
pub fn read(log: &Path, from: u64, to: u64) -> Result<Vec<Request>> {
    let mut file =
        File::open(log).with_context(|| format!("{}: has the cluster an audit log?", log.display()))?;
    file.seek(SeekFrom::Start(from))?;
    let lines = BufReader::new(file.take(to.saturating_sub(from))).lines();
    let parsed = lines.filter_map(|line| match line.map(|text| parse(&text)) {
        // A length is taken while somebody writes: the last line may be a piece.
        Ok(Err(_)) => None,
        Ok(Ok(found)) => found.map(Ok),
        Err(error) => Some(Err(error)),
    });
    Ok(parsed.collect::<Result<_, _>>()?)
}

fn parse(text: &str) -> Result<Option<Request>, serde_json::Error> {
    let line: Line = serde_json::from_str(text)?;
    let Some(object) = line.object_ref else { return Ok(None) };
    let list = line.verb == "list";
    if !list && !matches!(&*line.verb, "create" | "update" | "patch" | "delete" | "deletecollection") {
        return Ok(None);
    }
    let sub = object.subresource.map(|s| format!("/{s}")).unwrap_or_default();
    Ok(Some(Request {
        ours: line.user.username.starts_with(OURS),
        writer: writer(&line.user.username),
        what: format!("{} {}{sub}", line.verb, object.resource),
        name: object.name,
        list,
        conflict: line.response_status.is_some_and(|s| s.code == 409),
        at: line.stage_timestamp,
    }))
}

fn writer(user: &str) -> String {
    match user {
        "a8s-admin" => "client".to_owned(),
        "a8s-storage" => "storage".to_owned(),
        other => other.rsplit(':').next().unwrap_or(other).to_owned(),
    }
}

/// Since when an object is a Session's: Sessions since they were asked for, and their desktops since then too.
#[derive(Default)]
pub struct Lives(HashMap<String, Timestamp>);

impl Lives {
    /// Takes in a Session and its Workspace.
    pub fn add(&mut self, session: &str, workspace: &str, since: Timestamp) {
        self.0.insert(session.to_owned(), since);
        self.0.insert(workspace.to_owned(), since);
    }

    /// The Session or Workspace that the object is named after, if the request came in its time.
    pub fn of(&self, request: &Request) -> Option<&str> {
        // Events are named after their object and a dot, everything else after it and a dash.
        let mut rest = request.name.split('.').next()?;
        loop {
            if let Some((name, since)) = self.0.get_key_value(rest) {
                return (request.at >= *since).then_some(name);
            }
            rest = rest.rsplit_once('-')?.0;
        }
    }
}

/// How often each writer does each thing, for one Session: `a8s-controller: patch sessions/status 1.00`.
pub fn by_writer<'a>(requests: impl Iterator<Item = &'a Request>, sessions: usize) -> String {
    let mut all: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for request in requests {
        *all.entry(&request.writer).or_default().entry(&request.what).or_default() += 1;
    }
    let each = |count: usize| crate::table::per(count, sessions);
    let line = |(writer, whats): (&str, BTreeMap<&str, usize>)| {
        let total = each(whats.values().sum());
        let parts = whats.into_iter().map(|(what, count)| format!("{what} {:.2}", each(count)));
        format!("    {writer} {total:.2}: {}", parts.collect::<Vec<_>>().join(", "))
    };
    all.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(verb: &str, user: &str, resource: &str, name: &str, second: u32) -> String {
        format!(
            r#"{{"kind":"Event","stage":"ResponseComplete","verb":"{verb}","user":{{"username":"{user}"}},"objectRef":{{"resource":"{resource}","name":"{name}","subresource":"status"}},"responseStatus":{{"code":409}},"stageTimestamp":"2026-11-22T08:00:{second:02}.000001Z"}}"#
        )
    }

    #[test]
    fn a_write_is_read_with_its_writer_and_a_half_written_line_is_left_for_the_next() {
        let text = line("patch", "system:serviceaccount:a8s-system:a8s-controller", "sessions", "s1-1", 1);
        let request = parse(&text).unwrap().unwrap();
        assert_eq!((&*request.writer, &*request.what), (CONTROLLER, "patch sessions/status"));
        assert!(request.ours && request.conflict && !request.list);
        assert!(parse(&line("watch", "x", "pods", "", 1)).unwrap().is_none());
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), format!("{text}\n{text}\n{}", &text[..40])).unwrap();
        let length = text.len() as u64 + 1;
        assert_eq!(read(log.path(), 0, length * 2 + 40).unwrap().len(), 2);
        assert_eq!(read(log.path(), length, length * 2).unwrap().len(), 1);
    }

    #[test]
    fn what_was_written_before_a_desktop_was_taken_is_the_pools() {
        let mut lives = Lives::default();
        lives.add("s1-7", "bench-abcdefg", "2026-11-22T08:00:10Z".parse().unwrap());
        let of = |name: &str, second| {
            let request = parse(&line("create", "kwok", "pods", name, second)).unwrap().unwrap();
            lives.of(&request).map(str::to_owned)
        };
        assert_eq!(of("bench-abcdefg-desktop", 9), None);
        assert_eq!(of("bench-abcdefg-desktop-x2x4x", 11).as_deref(), Some("bench-abcdefg"));
        assert_eq!(of("s1-7.18a2b3c4d5", 11).as_deref(), Some("s1-7"));
        assert_eq!(of("bench-zzzzzzz", 11), None);
        assert_eq!(of("s1-8", 11), None);
    }
}
