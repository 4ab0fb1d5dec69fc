//! Browser to desktop: whole messages that the role may send.

use std::time::{Duration, Instant};

use a8s_rfb::{Filter, Policy, Role};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncWriteExt, WriteHalf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::pulse::Pulse;
use crate::{
    access::Mode,
    close::Close,
    metrics::Direction,
    server::Proxy,
    socket::{Event, Reader},
};

const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// The way to the desktop.
pub struct Up {
    desktop: WriteHalf<TlsStream<TcpStream>>,
    filter: Filter,
    role: Role,
    /// Allowed and not yet written. It outlives a dropped future: half a message must not be followed by another.
    out: BytesMut,
}

impl Up {
    /// At the beginning of RFB's handshake.
    pub fn new(proxy: &Proxy, desktop: WriteHalf<TlsStream<TcpStream>>, mode: Mode) -> Self {
        let role = match mode {
            Mode::View => Role::Viewer,
            // Whether this person holds the lease now is deskd's knowledge; here it matters that they may.
            Mode::Control => Role::Controller,
        };
        let quality = if mode == Mode::View { proxy.view_quality } else { None };
        // Which way the clipboard may go is deskd's knowledge, too.
        let policy = Policy { paste: true, copy: true, resize: true, quality };
        Self { desktop, filter: Filter::new(policy), role, out: BytesMut::new() }
    }

    /// Passes on until the browser leaves (`None`) or must be cut.
    pub async fn run(
        &mut self,
        proxy: &Proxy,
        browser: &mut Reader,
        pulse: &Pulse,
        began: Instant,
    ) -> Option<Close> {
        let greeting = self.greeted(proxy, browser, pulse);
        match tokio::time::timeout(proxy.timing.handshake, greeting).await {
            Err(_) => return Some(Close::Silent),
            Ok(Err(end)) => return end,
            Ok(Ok(())) => proxy.metrics.handshake.observe(began.elapsed().as_secs_f64()),
        }
        loop {
            if let Err(end) = self.step(proxy, browser, pulse).await {
                return end;
            }
        }
    }

    async fn greeted(
        &mut self,
        proxy: &Proxy,
        browser: &mut Reader,
        pulse: &Pulse,
    ) -> Result<(), Option<Close>> {
        while !self.filter.established() {
            self.step(proxy, browser, pulse).await?;
        }
        Ok(())
    }

    async fn step(
        &mut self,
        proxy: &Proxy,
        browser: &mut Reader,
        pulse: &Pulse,
    ) -> Result<(), Option<Close>> {
        match browser.next().await.map_err(Some)? {
            Some(Event::Data(bytes)) => return self.input(proxy, &bytes).await.map_err(Some),
            Some(Event::Ping(payload)) => pulse.question(payload),
            Some(Event::Pong(payload)) => {
                if let Some(trip) = pulse.pong(&payload, tokio::time::Instant::now()) {
                    proxy.metrics.round_trip.observe(trip.as_secs_f64());
                }
            }
            Some(Event::Close) | None => return Err(None),
        }
        Ok(())
    }

    async fn input(&mut self, proxy: &Proxy, bytes: &Bytes) -> Result<(), Close> {
        self.filter.push(bytes);
        let violation = loop {
            match self.filter.next(self.role, Instant::now()) {
                Ok(Some(message)) => self.out.extend_from_slice(&message),
                Ok(None) => break None,
                // What came before it was allowed, and passes as it would have, had it come by itself.
                Err(violation) => break Some(violation),
            }
        };
        proxy.metrics.count(&self.filter.take_counts());
        let direction = Direction { direction: "to_desktop" };
        proxy.metrics.bytes.get_or_create(&direction).inc_by(self.out.len() as u64);
        let written = tokio::time::timeout(proxy.timing.stall, self.flush()).await;
        written.map_err(|_| Close::Upstream)?.map_err(|_| Close::Upstream)?;
        match violation {
            None => Ok(()),
            Some(violation) => {
                tracing::warn!(%violation, "closing a stream");
                proxy.metrics.violation(violation);
                Err(Close::Violation)
            }
        }
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        while !self.out.is_empty() {
            self.desktop.write_buf(&mut self.out).await?;
        }
        self.out = BytesMut::new();
        self.desktop.flush().await
    }

    /// Sends what was allowed, and says goodbye. What the browser held down is let go by deskd, and by nobody else: only deskd knows what
    /// of it ever reached the display, and a button that "is let go" where this person pointed long ago would move the pointer there.
    pub async fn finish(&mut self) {
        let goodbye = async {
            self.flush().await?;
            self.desktop.shutdown().await
        };
        // The desktop may be gone, which is one reason to be here.
        let _ = tokio::time::timeout(GOODBYE_LIMIT, goodbye).await;
    }
}
