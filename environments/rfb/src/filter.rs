//! The client-to-server filter: bytes in, whole allowed messages out. It fails closed: what it does not know ends the connection.
//!
//! The handshake belongs to it: version 3.8, security None, and always a shared session, since a client that asks for an exclusive one
//! would disconnect everybody else.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use crate::{
    SECURITY_NONE, VERSION, encodings,
    message::{Extent, Kind, Violation, measure},
    pressed::Pressed,
};

/// What a client may do at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// See.
    Viewer,
    /// See and send input.
    Controller,
}

/// What a controller may do beyond keys and pointer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Put text into the desktop's clipboard.
    pub clipboard: bool,
    /// Change the size of the desktop.
    pub resize: bool,
}

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
            let Some(extent) = measure(&self.buffer)? else { return Ok(None) };
            if extent.oversize {
                self.dropped += 1;
                let here = extent.len.min(self.buffer.len());
                self.buffer.advance(here);
                self.skip = extent.len - here;
                continue;
            }
            if self.buffer.len() < extent.len {
                return Ok(None);
            }
            let message = self.buffer.split_to(extent.len);
            match self.judge(extent, message, role, now) {
                Some(allowed) => return Ok(Some(allowed)),
                None => self.dropped += 1,
            }
        }
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

    fn judge(&mut self, extent: Extent, mut message: BytesMut, role: Role, now: Instant) -> Option<Bytes> {
        let controls = role == Role::Controller;
        let allowed = match extent.kind {
            Kind::SetPixelFormat | Kind::ContinuousUpdates | Kind::Fence => true,
            Kind::SetEncodings => {
                return Some(encodings::rewrite(&message, self.policy.clipboard));
            }
            Kind::UpdateRequest => {
                // A full update is expensive, but a client that gets no answer would wait for ever: make it an incremental one.
                if message[1] == 0 && !self.full_update(now) {
                    message[1] = 1;
                }
                true
            }
            Kind::Key | Kind::Pointer | Kind::QemuKey => {
                controls && self.pressed.observe(extent.kind, &message)
            }
            Kind::CutText => controls && self.policy.clipboard,
            Kind::SetDesktopSize => controls && self.policy.resize,
            Kind::Xvp | Kind::QemuAudio => false,
        };
        allowed.then(|| message.freeze())
    }

    fn full_update(&mut self, now: Instant) -> bool {
        let since = *self.refilled.get_or_insert(now);
        let earned = now.saturating_duration_since(since).as_millis() / FULL_UPDATE_EVERY.as_millis();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            self.full_updates = self.full_updates.saturating_add(earned).min(FULL_UPDATE_BURST);
            self.refilled = Some(now);
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

    /// Whether the handshake is over.
    pub fn established(&self) -> bool {
        self.phase == Phase::Messages
    }
}
