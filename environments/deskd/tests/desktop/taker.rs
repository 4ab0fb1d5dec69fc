//! Who takes a recording, and a player of what it got.

use a8s_rfb::{Decoder, Framebuffer, SECURITY_NONE, ServerEvent, ServerInit, VERSION};
use a8s_wire::recording::{FBS_MAGIC, Frame, Gap, Note, Order, fbs_read};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::host::Host;

pub const ORDER: Order = Order { rate: 15, max_bytes: 256 << 20, segment_seconds: 60 };

/// One connection to the recorder.
pub struct Taker {
    stream: UnixStream,
    taken: Recording,
    /// A segment was announced, and nothing of it has come.
    begun: bool,
}

/// What was taken.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    pub segments: Vec<Vec<u8>>,
    pub notes: Vec<Note>,
}

impl Host {
    /// Begins a recording.
    pub async fn record(&self, order: Order) -> Taker {
        let mut stream = UnixStream::connect(self.path("recorder.sock")).await.unwrap();
        let line = format!("{}\n", serde_json::to_string(&order).unwrap());
        stream.write_all(line.as_bytes()).await.unwrap();
        Taker { stream, taken: Recording::default(), begun: false }
    }
}

impl Taker {
    async fn next(&mut self) -> bool {
        let mut head = [0; Frame::HEAD];
        if self.stream.read_exact(&mut head).await.is_err() {
            return false;
        }
        let mut content = vec![0; Frame::content(head).unwrap()];
        self.stream.read_exact(&mut content).await.unwrap();
        match Frame::decode(head, content).unwrap() {
            Frame::Data(bytes) if std::mem::take(&mut self.begun) => self.taken.segments.push(bytes),
            Frame::Data(bytes) => self.taken.segments.last_mut().unwrap().extend(bytes),
            Frame::Note(note) => {
                self.begun |= matches!(note, Note::Begin { .. });
                self.taken.notes.push(note);
            }
        }
        true
    }

    /// Takes until this is so.
    pub async fn until(&mut self, what: &str, condition: impl Fn(&Recording) -> bool) {
        let taking = async {
            while !condition(&self.taken) {
                assert!(self.next().await, "the recorder left before: {what}");
            }
        };
        tokio::time::timeout(std::time::Duration::from_mins(1), taking).await.expect(what);
    }

    /// Says that it is enough, and takes the rest.
    pub async fn end(mut self) -> Recording {
        self.stream.shutdown().await.unwrap();
        self.rest().await
    }

    /// Takes what comes until the recorder leaves.
    pub async fn rest(mut self) -> Recording {
        while self.next().await {}
        self.taken
    }
}

impl Recording {
    pub fn actions(&self) -> Vec<String> {
        let told = self.notes.iter().filter_map(|note| match note {
            Note::Action(action) => Some(format!("{:?}: {}", action.who, action.what)),
            _ => None,
        });
        told.collect()
    }

    pub fn gaps(&self) -> Vec<Gap> {
        let gaps = self.notes.iter().filter_map(|note| match note {
            Note::Gap(gap) => Some(gap.clone()),
            _ => None,
        });
        gaps.collect()
    }

    pub fn bytes(&self) -> usize {
        self.segments.iter().map(Vec::len).sum()
    }
}

/// The server's messages in a segment, after its handshake; the size of the desktop comes with them.
pub fn messages(segment: &[u8]) -> ((u16, u16), Vec<Vec<u8>>) {
    assert_eq!(segment[..12], FBS_MAGIC[..]);
    let mut at = 12;
    let mut records = Vec::new();
    let mut before = 0;
    while let Some((data, millis, next)) = fbs_read(segment, at) {
        assert!(millis >= before, "time goes back");
        before = millis;
        records.push(data.to_vec());
        at = next;
    }
    assert_eq!(at, segment.len(), "the last record is torn");
    let greeting = records.remove(0);
    assert_eq!(greeting[..12], VERSION[..]);
    assert_eq!(greeting[12..18], [1, SECURITY_NONE, 0, 0, 0, 0]);
    let init = ServerInit::parse(greeting[18..18 + ServerInit::LENGTH].try_into().unwrap()).unwrap();
    assert_eq!(greeting.len(), 18 + ServerInit::LENGTH + init.name_length);
    ((init.width, init.height), records)
}

/// Plays a segment of plain rectangles and shows each picture.
pub fn play(segment: &[u8], mut show: impl FnMut(&Framebuffer)) {
    let ((width, height), records) = messages(segment);
    let mut picture = Framebuffer::new(width, height);
    let mut decoder = Decoder::default();
    for (number, record) in records.iter().enumerate() {
        decoder.push(record);
        while let Some(event) = decoder.next(&mut picture).unwrap() {
            let ServerEvent::Updated { pixels } = event else { panic!("{event:?} is no picture") };
            if number == 0 {
                assert_eq!(pixels, u64::from(width) * u64::from(height), "the first picture is not whole");
            }
            let mut shown = picture.clone();
            // A recording has red first.
            shown.pixels.chunks_exact_mut(4).for_each(|pixel| pixel.swap(0, 2));
            show(&shown);
        }
    }
}
