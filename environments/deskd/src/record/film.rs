//! The camera: takes one segment after the other from the display and hands them on, at the pace that the display, the taker and the size
//! of the recording allow.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use a8s_wire::recording::{Action, FBS_MAGIC, Frame, Gap, GapReason, Note, Order, fbs_record};
use jiff::Timestamp;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep, sleep_until},
};

use super::tap::Tap;

/// Longest segment that anybody may order, in seconds.
const MAX_SEGMENT: u32 = 600;
/// Most pictures a second that anybody may order.
const MAX_RATE: u32 = 15;
/// Most bytes that anybody may order.
const MAX_BYTES: u64 = 512 << 20;
/// Updates that wait for the taker. While so many do, the display is not asked for more.
const WAITING: usize = 2;
/// Most actions of a recording.
const MOST_ACTIONS: u32 = 5_000;
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What is on its way to the taker.
#[derive(Debug)]
pub struct Sent {
    /// As it is sent.
    pub bytes: Vec<u8>,
    /// Gives its place back when it has been sent.
    _place: Option<OwnedSemaphorePermit>,
}

/// The way to the taker. It never waits but in [`Outbox::data`].
#[derive(Clone, Debug)]
pub struct Outbox {
    out: mpsc::UnboundedSender<Sent>,
    places: Arc<Semaphore>,
    actions: Arc<AtomicU32>,
}

impl Outbox {
    /// A way, and its end.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Sent>) {
        let (out, sent) = mpsc::unbounded_channel();
        (Self { out, places: Arc::new(Semaphore::new(WAITING)), actions: Arc::default() }, sent)
    }

    fn note(&self, note: Note) {
        // A taker who is gone is noticed where its connection is read.
        let _ = self.out.send(Sent { bytes: Frame::Note(note).encode(), _place: None });
    }

    /// Something was done.
    pub fn action(&self, action: Action) {
        if self.actions.fetch_add(1, Ordering::Relaxed) < MOST_ACTIONS {
            self.note(Note::Action(action));
        }
    }

    /// There was no picture from then until now.
    pub fn gap(&self, from: Timestamp, why: GapReason) {
        let (from, to) = (from.to_string(), Timestamp::now().to_string());
        self.note(Note::Gap(Gap { from, to, why }));
    }

    /// Waits until one more update may be on its way.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        self.places.clone().acquire_owned().await.ok()
    }

    fn data(&self, bytes: Vec<u8>, place: Option<OwnedSemaphorePermit>) {
        let _ = self.out.send(Sent { bytes: Frame::Data(bytes).encode(), _place: place });
    }
}

#[derive(Debug)]
struct Segment {
    began: Instant,
    changes: u64,
}

/// A recording as far as it has come. It is put aside while the desktop is private and taken up again.
#[derive(Debug)]
pub struct Film {
    display: PathBuf,
    out: Outbox,
    order: Order,
    used: u64,
    segment: Option<Segment>,
    /// Since when there is no picture, and why.
    dark: Option<(Timestamp, GapReason)>,
}

/// Why a segment is over.
enum Over {
    /// It is long enough.
    Long,
    /// The recording is as large as it may be.
    Full,
}

impl Film {
    /// Nothing is recorded yet.
    pub fn new(display: &Path, out: Outbox, order: Order) -> Self {
        let order = Order {
            rate: order.rate.clamp(1, MAX_RATE),
            max_bytes: order.max_bytes.min(MAX_BYTES),
            segment_seconds: order.segment_seconds.clamp(1, MAX_SEGMENT),
        };
        Self { display: display.to_owned(), out, order, used: 0, segment: None, dark: None }
    }

    /// There is no picture from now on.
    pub fn darken(&mut self, why: GapReason) {
        self.end();
        // What made it dark first stays the reason, except that privacy is always told.
        match self.dark {
            Some((from, before)) if why == GapReason::Private && before != why => {
                self.out.gap(from, before);
                self.dark = Some((Timestamp::now(), why));
            }
            Some(_) => {}
            None => self.dark = Some((Timestamp::now(), why)),
        }
    }

    /// There may be pictures again.
    pub fn lighten(&mut self) {
        if let Some((from, why)) = self.dark.take() {
            self.out.gap(from, why);
        }
        if self.full() {
            self.darken(GapReason::Limit);
        }
    }

    /// The recording is over.
    pub fn finish(mut self) {
        self.end();
        if let Some((from, why)) = self.dark {
            self.out.gap(from, why);
        }
    }

    fn full(&self) -> bool {
        self.used >= self.order.max_bytes
    }

    /// Time between two pictures: the more of the order is used up, the longer.
    fn pause(&self) -> Duration {
        let between = Duration::from_secs(1) / self.order.rate;
        match self.used * 4 / self.order.max_bytes.max(1) {
            0 | 1 => between,
            2 => between * 5,
            _ => between * 20,
        }
    }

    /// Records until it is dropped or the recording is full.
    pub async fn run(&mut self) {
        while !self.full() {
            match self.take().await {
                Ok(Over::Long) => {}
                Ok(Over::Full) => {
                    tracing::info!(bytes = self.used, "the recording is as large as it may be");
                    self.used = self.order.max_bytes;
                    self.darken(GapReason::Limit);
                }
                Err(error) => {
                    // The desktop goes on without being recorded.
                    tracing::warn!(error = format!("{error:#}"), "the desktop cannot be recorded");
                    self.darken(GapReason::Display);
                    sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    /// Records one segment. Nothing of it is half done wherever this is dropped.
    async fn take(&mut self) -> anyhow::Result<Over> {
        let mut tap = Tap::connect(&self.display).await?;
        let mut asked = Instant::now();
        let length = Duration::from_secs(self.order.segment_seconds.into());
        let greeting = tap.greeting();
        let whole = tap.whole().await?;
        let place = self.out.place().await;
        let mut head = FBS_MAGIC.to_vec();
        head.extend(fbs_record(&greeting, 0));
        head.extend(fbs_record(&whole, 0));
        if !self.spend(head.len()) {
            return Ok(Over::Full);
        }
        self.begin(tap.size());
        self.out.data(head, place);
        loop {
            let place = self.out.place().await;
            sleep_until(asked + self.pause()).await;
            asked = Instant::now();
            let change = tap.change().await?;
            let Some(segment) = &mut self.segment else { return Ok(Over::Long) };
            let age = segment.began.elapsed();
            segment.changes += 1;
            let record = fbs_record(&change, u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
            if !self.spend(record.len()) {
                return Ok(Over::Full);
            }
            self.out.data(record, place);
            if age >= length {
                self.end();
                return Ok(Over::Long);
            }
        }
    }

    /// Whether so many bytes may be added.
    fn spend(&mut self, bytes: usize) -> bool {
        self.used += bytes as u64;
        self.used <= self.order.max_bytes
    }

    fn begin(&mut self, (width, height): (u16, u16)) {
        if let Some((from, why)) = self.dark.take() {
            self.out.gap(from, why);
        }
        self.end();
        self.segment = Some(Segment { began: Instant::now(), changes: 0 });
        self.out.note(Note::Begin { start: Timestamp::now().to_string(), width, height });
    }

    fn end(&mut self) {
        if let Some(segment) = self.segment.take() {
            let millis = u64::try_from(segment.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.out.note(Note::End { millis, changes: segment.changes });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(mut sent: mpsc::UnboundedReceiver<Sent>) -> Vec<Note> {
        let mut found = Vec::new();
        while let Ok(sent) = sent.try_recv() {
            let (head, content) = sent.bytes.split_at(Frame::HEAD);
            if let Ok(Frame::Note(note)) = Frame::decode(head.try_into().unwrap(), content.to_vec()) {
                found.push(note);
            }
        }
        found
    }

    fn film(max_bytes: u64) -> (Film, mpsc::UnboundedReceiver<Sent>) {
        let (out, sent) = Outbox::new();
        (Film::new(Path::new("/nowhere"), out, Order { rate: 5, max_bytes, segment_seconds: 60 }), sent)
    }

    #[test]
    fn the_larger_a_recording_is_the_fewer_pictures_are_taken() {
        let (mut film, _sent) = film(1_000);
        let mut millis = Vec::new();
        for used in [0, 499, 500, 749, 750, 999] {
            film.used = used;
            millis.push(film.pause().as_millis());
        }
        assert_eq!(millis, [200, 200, 1_000, 1_000, 4_000, 4_000]);
        assert!(film.spend(1) && film.full());
        assert!(!film.spend(1));
    }

    #[test]
    fn nobody_can_order_more_than_the_display_can_bear() {
        let (out, _sent) = Outbox::new();
        let film = Film::new(Path::new("/"), out, Order { rate: 0, max_bytes: u64::MAX, segment_seconds: 0 });
        assert_eq!(film.order, Order { rate: 1, max_bytes: MAX_BYTES, segment_seconds: 1 });
    }

    #[test]
    fn a_private_time_is_a_gap_of_its_own_even_if_it_was_dark_before() {
        let (mut film, sent) = film(1_000);
        film.begin((10, 10));
        film.darken(GapReason::Limit);
        film.darken(GapReason::Display);
        film.darken(GapReason::Private);
        film.finish();
        let reasons: Vec<_> = notes(sent)
            .into_iter()
            .filter_map(|note| match note {
                Note::Gap(gap) => Some(gap.why),
                _ => None,
            })
            .collect();
        assert_eq!(reasons, [GapReason::Limit, GapReason::Private]);
    }

    #[test]
    fn a_recording_that_ends_in_the_light_ends_with_its_segment() {
        let (mut film, sent) = film(1_000);
        film.begin((10, 10));
        film.finish();
        let notes = notes(sent);
        assert!(
            matches!(notes[..], [Note::Begin { width: 10, .. }, Note::End { changes: 0, .. }]),
            "{notes:?}"
        );
    }

    #[test]
    fn actions_have_a_bound() {
        let (film, sent) = film(1_000);
        for _ in 0..=MOST_ACTIONS {
            film.out.action(Action {
                at: String::new(),
                who: a8s_wire::recording::Actor::Agent,
                what: "x".into(),
            });
        }
        assert_eq!(notes(sent).len(), MOST_ACTIONS as usize);
    }
}
