//! The transcript: an append-only file of JSON lines, and the live feed of what was appended.
//!
//! A line is streamed only after it is written, so nobody ever sees an event that a restart would take back. When the volume is full,
//! lines wait in memory and in order until there is room again. Both take only what passed the redaction.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use a8s_wire::Event;
use tokio::sync::broadcast;

use crate::{record::Record, redact::Clean};

/// What readers of the stream hold on to.
#[derive(Clone)]
pub struct Feed {
    recorded: Arc<RwLock<Vec<Arc<Event>>>>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Feed {
    fn new() -> Self {
        Self { recorded: Arc::default(), live: broadcast::channel(1024).0 }
    }

    /// Everything recorded after `id`, oldest first.
    pub fn after(&self, id: a8s_wire::EventId) -> Vec<Arc<Event>> {
        let recorded = self.recorded.read().unwrap_or_else(PoisonError::into_inner);
        let from = recorded.partition_point(|event| event.id <= id);
        recorded[from..].to_vec()
    }

    /// What comes from now on, recorded or not.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.live.subscribe()
    }

    /// Streams an event that is not recorded.
    pub fn send_live(&self, event: Clean<Event>) {
        let _ = self.live.send(Arc::new(event.into_inner()));
    }

    fn publish(&self, event: Event) {
        let event = Arc::new(event);
        self.recorded.write().unwrap_or_else(PoisonError::into_inner).push(event.clone());
        let _ = self.live.send(event);
    }
}

/// The file.
pub struct Log {
    file: File,
    length: u64,
    unsynced: bool,
    waiting: VecDeque<(Record, bool)>,
    feed: Feed,
}

impl Log {
    /// Opens or creates the transcript and returns what it holds. A torn last line, the trace of a crash, is cut off.
    pub fn open(path: &Path) -> io::Result<(Self, Vec<Record>)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < content.len() {
            tracing::warn!(bytes = content.len() - whole, "cut a torn last line off the transcript");
            file.set_len(whole as u64)?;
        }
        let feed = Feed::new();
        let mut records = Vec::new();
        for (number, line) in content[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            match serde_json::from_slice::<Record>(line) {
                Ok(record) => {
                    if let Record::Event(event) = &record {
                        feed.publish(event.clone());
                    }
                    records.push(record);
                }
                // Written by a newer runner, or damaged: one unreadable line must not cost the whole conversation.
                Err(error) => {
                    tracing::warn!(line = number + 1, %error, "skipped an unreadable line of the transcript");
                }
            }
        }
        file.seek(SeekFrom::End(0))?;
        let log = Self { file, length: whole as u64, unsynced: false, waiting: VecDeque::new(), feed };
        Ok((log, records))
    }

    /// The live feed.
    pub fn feed(&self) -> Feed {
        self.feed.clone()
    }

    /// Appends a record that must not be lost: if it cannot be written now, it is written as soon as possible. `durable` waits for the disk.
    pub fn append(&mut self, record: Clean<Record>, durable: bool) -> io::Result<()> {
        self.waiting.push_back((record.into_inner(), durable));
        self.flush()
    }

    /// Appends a record now and durably, or not at all.
    pub fn append_or_refuse(&mut self, record: &Clean<Record>) -> io::Result<()> {
        self.flush()?;
        self.write(record.get(), true)
    }

    /// Writes what is waiting.
    pub fn flush(&mut self) -> io::Result<()> {
        while let Some((record, durable)) = self.waiting.front().cloned() {
            self.write(&record, durable)?;
            self.waiting.pop_front();
            if let Record::Event(event) = record {
                self.feed.publish(event);
            }
        }
        Ok(())
    }

    /// Brings everything written to the disk.
    pub fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync_data()?;
        self.unsynced = false;
        Ok(())
    }

    fn write(&mut self, record: &Record, durable: bool) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let written =
            self.file.write_all(&line).and_then(|()| if durable { self.file.sync_data() } else { Ok(()) });
        match written {
            Ok(()) => {
                self.length += line.len() as u64;
                self.unsynced = !durable;
                Ok(())
            }
            Err(error) => {
                // Half a line would swallow the next one.
                let _ = self.file.set_len(self.length);
                Err(error)
            }
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.unsynced {
            let _ = self.file.sync_data();
        }
    }
}

#[cfg(test)]
mod tests {
    use a8s_wire::{EventBody, EventId};

    use super::*;

    fn clean(record: Record) -> Clean<Record> {
        crate::redact::Redactor::default().record(record)
    }

    fn note(seq: i64) -> Record {
        let body = EventBody::Notice { text: format!("note {seq}") };
        Record::Event(Event { id: EventId { epoch: 0, seq }, ts: "t".into(), turn: 0, body })
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_rest_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("transcript.jsonl");
        let (mut log, _) = Log::open(&path).unwrap();
        log.append(clean(note(1)), true).unwrap();
        drop(log);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"epoch\":0,\"se").unwrap();
        let (mut log, records) = Log::open(&path).unwrap();
        assert_eq!(records, [note(1)]);
        log.append(clean(note(2)), true).unwrap();
        drop(log);
        assert_eq!(Log::open(&path).unwrap().1, [note(1), note(2)]);
    }

    /// A line of each kind that is acknowledged to somebody.
    fn acknowledged() -> Vec<Record> {
        let accepted = a8s_wire::Prompt {
            message_id: "m".into(),
            content: "two\nlines, \"quoted\" and ü".into(),
            author: "jane".into(),
            attachments: vec!["a.csv".into()],
        };
        let bound = a8s_wire::SessionIdentity { session: "talk".into(), uid: Some("u".into()) };
        vec![
            Record::Accepted { accepted, turn: 1, epoch: 0 },
            Record::Bound { bound, workspace: "w".into() },
            note(1),
        ]
    }

    #[test]
    fn a_crash_at_any_byte_of_a_write_loses_nothing_that_was_acknowledged_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("transcript.jsonl");
        for last in acknowledged() {
            let (mut log, _) = Log::open(&path).unwrap();
            for record in acknowledged() {
                log.append_or_refuse(&clean(record)).unwrap();
            }
            drop(log);
            let before = std::fs::metadata(&path).unwrap().len();
            Log::open(&path).unwrap().0.append_or_refuse(&clean(last.clone())).unwrap();
            let whole = std::fs::read(&path).unwrap();
            for cut in usize::try_from(before).unwrap()..whole.len() {
                // Some file systems bring the new length to the disk before the content.
                for tail in [0, whole.len() - cut] {
                    let mut torn = whole[..cut].to_vec();
                    torn.resize(cut + tail, 0);
                    std::fs::write(&path, torn).unwrap();
                    let (mut log, records) = Log::open(&path).unwrap();
                    assert_eq!(records, acknowledged(), "cut at {cut} of {}", whole.len());
                    log.append_or_refuse(&clean(note(2))).unwrap();
                    drop(log);
                    let records = Log::open(&path).unwrap().1;
                    assert_eq!(records[..3], acknowledged());
                    assert_eq!(records[3..], [note(2)]);
                }
            }
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn readers_get_exactly_what_was_recorded_after_an_id() {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(&folder.path().join("transcript.jsonl")).unwrap();
        for seq in 1..=3 {
            log.append(clean(note(seq)), false).unwrap();
        }
        let ids: Vec<i64> =
            log.feed().after(EventId { epoch: 0, seq: 1 }).iter().map(|event| event.id.seq).collect();
        assert_eq!(ids, [2, 3]);
    }
}
