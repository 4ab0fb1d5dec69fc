//! The client-to-server filter: bytes in, whole allowed messages out. It fails closed: what it does not know ends the connection.
//!
//! The handshake belongs to it (RFC 6143, 7.1 to 7.3): version 3.8, security None, and always a shared session, since a client that asks for
//! an exclusive one would disconnect everybody else.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    SECURITY_NONE, VERSION, clipboard,
    counts::Counts,
    encodings::{self, Announced},
    message::{Kind, Violation, measure},
    pressed::Pressed,
    rules::{self, Policy, Reason, Role},
    size,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Version,
    Security,
    Init,
    Messages,
}

const FULL_UPDATE_BURST: u32 = 5;
const FULL_UPDATE_EVERY: Duration = Duration::from_millis(500);

/// One client's stream. Feed it with [`Filter::push`], then take messages with [`Filter::next`] until there are none.
#[derive(Debug)]
pub struct Filter {
    policy: Policy,
    phase: Phase,
    buffer: BytesMut,
    skip: usize,
    pressed: Pressed,
    full_updates: u32,
    refilled: Option<Instant>,
    announced: Announced,
    counts: Counts,
    dropped: u64,
}

impl Filter {
    /// A filter for a connection whose first byte is the client's protocol version.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            phase: Phase::Version,
            buffer: BytesMut::new(),
            skip: 0,
            pressed: Pressed::default(),
            full_updates: FULL_UPDATE_BURST,
            refilled: None,
            announced: Announced::default(),
            counts: Counts::default(),
            dropped: 0,
        }
    }

    /// Adds bytes from the client.
    pub fn push(&mut self, mut input: &[u8]) {
        let skipped = self.skip.min(input.len());
        self.skip -= skipped;
        input.advance(skipped);
        self.buffer.extend_from_slice(input);
    }

    /// The next thing to send to the server, if a whole one is there. `role` is asked for each message, so that it may change between two.
    pub fn next(&mut self, role: Role, now: Instant) -> Result<Option<Bytes>, Violation> {
        loop {
            if self.phase != Phase::Messages {
                return self.handshake();
            }
            let Some(extent) = measure(&self.buffer)? else { return Ok(self.wait()) };
            if extent.oversize {
                self.drop(extent.kind, Reason::Size);
                let here = extent.len.min(self.buffer.len());
                self.buffer.advance(here);
                self.skip = extent.len - here;
                continue;
            }
            if self.buffer.len() < extent.len {
                return Ok(None);
            }
            let message = self.buffer.split_to(extent.len);
            match self.judge(extent.kind, message, role, now) {
                Ok(allowed) => {
                    self.counts.pass(extent.kind);
                    return Ok(Some(allowed));
                }
                Err(reason) => self.drop(extent.kind, reason),
            }
        }
    }

    fn drop(&mut self, kind: Kind, reason: Reason) {
        self.dropped += 1;
        self.counts.drop(kind, reason);
    }

    /// Nothing more for now. What a long message needed is given back: most clients never send another.
    fn wait(&mut self) -> Option<Bytes> {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        None
    }

    fn handshake(&mut self) -> Result<Option<Bytes>, Violation> {
        match self.phase {
            Phase::Version => {
                let known = self.buffer.len().min(VERSION.len());
                if self.buffer[..known] != VERSION[..known] {
                    return Err(Violation::Version);
                }
                if known < VERSION.len() {
                    return Ok(None);
                }
                self.phase = Phase::Security;
                Ok(Some(self.buffer.split_to(VERSION.len()).freeze()))
            }
            Phase::Security => match self.buffer.first() {
                None => Ok(None),
                Some(&SECURITY_NONE) => {
                    self.phase = Phase::Init;
                    Ok(Some(self.buffer.split_to(1).freeze()))
                }
                Some(_) => Err(Violation::Security),
            },
            Phase::Init | Phase::Messages => {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                self.buffer.advance(1);
                self.phase = Phase::Messages;
                Ok(Some(Bytes::from_static(&[1])))
            }
        }
    }

    fn judge(
        &mut self,
        kind: Kind,
        mut message: BytesMut,
        role: Role,
        now: Instant,
    ) -> Result<Bytes, Reason> {
        rules::judge(kind, role, self.policy, self.announced)?;
        match kind {
            Kind::SetEncodings => {
                let (rewritten, announced) = encodings::rewrite(&message, self.policy);
                self.announced = announced;
                return Ok(rewritten);
            }
            // A full update is expensive, but a client that gets no answer would wait for ever: make it an incremental one.
            Kind::UpdateRequest if message[1] == 0 && !self.full_update(now) => message[1] = 1,
            // The answer to the server's own is always welcome.
            Kind::Fence if message[4] & 0x80 != 0 && !self.announced.continuous => {
                return Err(Reason::Unannounced);
            }
            Kind::CutText if !clipboard::may_pass(&message, self.policy) => return Err(Reason::Policy),
            Kind::SetDesktopSize => size::clamp(&mut message)?,
            Kind::Key | Kind::Pointer | Kind::QemuKey if !self.pressed.observe(kind, &mut message) => {
                return Err(Reason::Excess);
            }
            _ => {}
        }
        Ok(message.freeze())
    }

    fn full_update(&mut self, now: Instant) -> bool {
        let since = *self.refilled.get_or_insert(now);
        let earned = now.saturating_duration_since(since).as_millis() / FULL_UPDATE_EVERY.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            self.full_updates = self.full_updates.saturating_add(earned).min(FULL_UPDATE_BURST);
            // What is left of an interval counts towards the next.
            self.refilled = since.checked_add(FULL_UPDATE_EVERY.saturating_mul(earned));
        }
        let granted = self.full_updates > 0;
        self.full_updates -= u32::from(granted);
        granted
    }

    /// Whether the client holds a key or a button down.
    pub fn holds_input(&self) -> bool {
        self.pressed.any()
    }

    /// Messages that let go of everything this client holds down. Send them when it leaves or loses control.
    pub fn release(&mut self) -> Bytes {
        self.pressed.release()
    }

    /// Messages that were not passed on so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What was passed on and what was not, by type, since this was last asked.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Bytes that wait for the rest of their message. At most a clipboard of [`crate::message::MAX_CUT_TEXT`] and its header, and what was
    /// pushed last.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Whether the handshake is over.
    pub fn established(&self) -> bool {
        self.phase == Phase::Messages
    }
}
