//! Recordings of the desktop: what deskd sends to the runner while it records, and what the finished recording looks like.
//!
//! deskd holds the display and has no disk, the runner has the volume and no display. The runner connects to [`paths::recorder`], says
//! what it wants as one line of JSON ([`Order`]) and gets [`Frame`]s until it closes its sending side; then deskd ends the segment and
//! closes. Whoever goes away first, what was sent is whole.
//!
//! The finished recording is an uncompressed tar: `index.json` ([`Index`]) first, then the segments `000.fbs`, `001.fbs`, …. Each is a
//! stream in the format FBS 001.000 of `rfbproxy`, begins with an RFB 3.8 handshake and a whole picture, and plays alone.
//!
//! [`paths::recorder`]: crate::paths::recorder

use serde::{Deserialize, Serialize};

/// Media type of a finished recording.
pub const MEDIA_TYPE: &str = "application/vnd.a8s.recording+tar";
/// What a segment begins with.
pub const FBS_MAGIC: &[u8; 12] = b"FBS 001.000\n";
/// Most bytes of one frame.
pub const MAX_FRAME: usize = 64 << 20;

/// What the runner wants of deskd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Most pictures a second while something changes, 1 to 15.
    pub rate: u32,
    /// Most bytes of this recording. With half of them used fewer pictures are taken; with all of them none is any more.
    pub max_bytes: u64,
    /// Seconds after which the next change begins a new segment, 1 to 600. Each begins with a whole picture, so that a player can go there
    /// at once.
    pub segment_seconds: u32,
}

/// The first file of a finished recording.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// 1.
    pub version: u32,
    /// Width in pixels at the beginning.
    pub width: u16,
    /// Height in pixels at the beginning.
    pub height: u16,
    /// The turn of the conversation.
    pub turn: i64,
    /// In the order of time.
    pub segments: Vec<Segment>,
    /// What was done on the desktop, in the order of time.
    pub actions: Vec<Action>,
    /// Times of which there is no picture.
    pub gaps: Vec<Gap>,
}

/// One segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Name in the archive.
    pub file: String,
    /// RFC 3339 time of its first byte.
    pub start: String,
    /// How long it lasts.
    pub millis: u64,
    /// Its length.
    pub bytes: u64,
}

/// Something that was done on the desktop. Kinds and places only: what was typed or copied may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// RFC 3339 time.
    pub at: String,
    /// Who did it.
    pub who: Actor,
    /// `click 10,20`, `type (12 characters)`, `took control`.
    pub what: String,
}

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Actor {
    /// The agent, through deskd's tools.
    Agent,
    /// A person.
    Person,
}

/// A time of which there is no picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// RFC 3339 time.
    pub from: String,
    /// RFC 3339 time.
    pub to: String,
    /// Why.
    pub why: GapReason,
}

/// Why there is no picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GapReason {
    /// A person held the desktop in private.
    Private,
    /// The recording had become as large as it may be.
    Limit,
    /// The display, or deskd, did not answer.
    Display,
    /// The runner's volume had no room.
    Disk,
}

/// Something about a recording, as deskd sends it and as the runner keeps it until the recording is finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "camelCase")]
pub enum Note {
    /// A segment begins.
    Begin {
        /// RFC 3339 time.
        start: String,
        /// Width in pixels.
        width: u16,
        /// Height in pixels.
        height: u16,
    },
    /// The segment is over.
    End {
        /// How long it lasts.
        millis: u64,
        /// Pictures after the first one.
        changes: u64,
    },
    /// Something was done.
    Action(Action),
    /// A time without pictures is over.
    Gap(Gap),
}

/// One frame of what deskd sends: its kind, the length of its content as 32 bits in network order, its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A note, as JSON.
    Note(Note),
    /// More bytes of the segment, whole records of FBS.
    Data(Vec<u8>),
}

/// What was sent is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no frame of a recording")]
pub struct FrameError;

impl Frame {
    /// Bytes before the content.
    pub const HEAD: usize = 5;

    /// As it is sent.
    pub fn encode(&self) -> Vec<u8> {
        let json;
        let (kind, content) = match self {
            Self::Note(note) => {
                json = serde_json::to_vec(note).unwrap_or_default();
                (b'n', json.as_slice())
            }
            Self::Data(bytes) => (b'd', bytes.as_slice()),
        };
        let mut out = Vec::with_capacity(Self::HEAD + content.len());
        out.push(kind);
        out.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(content);
        out
    }

    /// The length of the content after this head.
    pub fn content(head: [u8; Self::HEAD]) -> Result<usize, FrameError> {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        (length <= MAX_FRAME).then_some(length).ok_or(FrameError)
    }

    /// Reads a frame.
    pub fn decode(head: [u8; Self::HEAD], content: Vec<u8>) -> Result<Self, FrameError> {
        match head[0] {
            b'n' => serde_json::from_slice(&content).map(Self::Note).map_err(|_| FrameError),
            b'd' => Ok(Self::Data(content)),
            _ => Err(FrameError),
        }
    }
}

/// One record of an FBS stream: length, data, padding to four bytes, milliseconds since the beginning of the segment.
pub fn fbs_record(data: &[u8], millis: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 11);
    out.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(u32::try_from(millis).unwrap_or(u32::MAX).to_be_bytes());
    out
}

/// Reads the record that begins at `at`: its data, its milliseconds and where the next one begins. `None` if it is not whole.
pub fn fbs_read(segment: &[u8], at: usize) -> Option<(&[u8], u32, usize)> {
    let number =
        |at: usize| segment.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let length = number(at)? as usize;
    let data = segment.get(at + 4..(at + 4).checked_add(length)?)?;
    let time = at + 4 + length.next_multiple_of(4);
    Some((data, number(time)?, time + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_padded_to_four_bytes_and_reads_back() {
        let record = fbs_record(b"abcde", 1_234);
        assert_eq!(record, b"\0\0\0\x05abcde\0\0\0\0\0\x04\xd2");
        let two = [record.clone(), fbs_record(b"", 5)].concat();
        assert_eq!(fbs_read(&two, 0), Some((&b"abcde"[..], 1_234, 16)));
        assert_eq!(fbs_read(&two, 16), Some((&b""[..], 5, 24)));
        for cut in 0..record.len() {
            assert_eq!(fbs_read(&record[..cut], 0), None, "cut after {cut} bytes");
        }
    }

    #[test]
    fn a_frame_reads_back_and_a_foreign_one_is_refused() {
        let gap = Gap { from: "a".into(), to: "b".into(), why: GapReason::Private };
        for frame in [Frame::Data(vec![1, 2, 3]), Frame::Note(Note::Gap(gap))] {
            let bytes = frame.encode();
            let head: [u8; Frame::HEAD] = bytes[..Frame::HEAD].try_into().unwrap();
            assert_eq!(Frame::content(head), Ok(bytes.len() - Frame::HEAD));
            assert_eq!(Frame::decode(head, bytes[Frame::HEAD..].to_vec()), Ok(frame));
        }
        assert_eq!(Frame::content([b'd', 0xff, 0, 0, 0]), Err(FrameError));
        assert_eq!(Frame::decode([b'x', 0, 0, 0, 0], Vec::new()), Err(FrameError));
    }

    #[test]
    fn the_index_reads_as_players_expect_it() {
        let index = Index {
            version: 1,
            width: 1280,
            height: 800,
            turn: 2,
            segments: vec![Segment { file: "000.fbs".into(), start: "s".into(), millis: 9, bytes: 8 }],
            actions: vec![Action { at: "t".into(), who: Actor::Agent, what: "click 10,20".into() }],
            gaps: vec![Gap { from: "f".into(), to: "t".into(), why: GapReason::Private }],
        };
        let expected = serde_json::json!({
            "version": 1, "width": 1280, "height": 800, "turn": 2,
            "segments": [{"file": "000.fbs", "start": "s", "millis": 9, "bytes": 8}],
            "actions": [{"at": "t", "who": "agent", "what": "click 10,20"}],
            "gaps": [{"from": "f", "to": "t", "why": "private"}]
        });
        assert_eq!(serde_json::to_value(index).unwrap(), expected);
    }
}
