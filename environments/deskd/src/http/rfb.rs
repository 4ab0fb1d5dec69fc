//! One person's RFB stream: an own connection to the X server, so that a slow viewer never slows another, and the filter between.

use std::{io, sync::Arc};

use a8s_rfb::{Filter, Policy};
use a8s_wire::Scope;
use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{UnixStream, unix::OwnedReadHalf},
};

use crate::{
    desk::Desk,
    http::auth::{self, Refused},
    seat::{Seat, SeatError},
};

const CHUNK: usize = 64 * 1024;

/// `GET /v1/rfb`.
pub async fn upgrade(State(desk): State<Arc<Desk>>, mut request: Request) -> Result<Response, Refused> {
    let claims = auth::check(&desk, request.headers(), &[Scope::View, Scope::Control])?;
    let wanted = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    if !wanted.is_some_and(|value| value.eq_ignore_ascii_case("rfb")) {
        return Err(Refused::new(StatusCode::UPGRADE_REQUIRED, "this is RFB: send Upgrade: rfb"));
    }
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Err(Refused::new(
            StatusCode::UPGRADE_REQUIRED,
            "this connection cannot be upgraded; use HTTP/1.1",
        ));
    };
    let display = UnixStream::connect(&desk.rfb).await.map_err(|error| {
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, format!("the display does not answer: {error}"))
    })?;
    let (from_display, to_display) = display.into_split();
    let control = claims.allows(Scope::Control);
    let clipboard = desk.options.clipboard;
    // Of whoever controls. While the agent does, nobody resizes: its coordinates are those of the last picture.
    let policy =
        Policy { paste: clipboard.goes_in(), copy: clipboard.comes_out(), resize: true, quality: None };
    let seat = Arc::new(Seat::person(claims.sub.clone(), control, Filter::new(policy), to_display));
    let seated = desk.lease.seat(seat.clone());
    // Asked after the seat is known to the lease: a change in between would otherwise miss this connection.
    auth::may_see(&desk, &claims)?;
    tokio::spawn(async move {
        let _seated = seated;
        let why = match upgrade.await {
            Ok(stream) => relay(&desk, &seat, TokioIo::new(stream), from_display).await,
            Err(error) => Err(io::Error::other(error).into()),
        };
        // The client may be gone with a button pressed; the X server would keep it down.
        if let Err(error) = seat.release().await {
            tracing::warn!(%error, "cannot release a viewer's input");
        }
        let outcome = why.err().map_or_else(|| "closed".into(), |error| error.to_string());
        tracing::info!(user = claims.sub, control, outcome, "viewer left");
    });
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "rfb")];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

async fn relay<S>(desk: &Desk, seat: &Seat, client: S, mut display: OwnedReadHalf) -> Result<(), SeatError>
where
    S: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let input = async {
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = from_client.read(&mut chunk).await?;
            if length == 0 {
                return Ok(());
            }
            if seat.from_client(&chunk[..length], || desk.lease.role(&seat.who)).await? {
                desk.evidence.input();
            }
        }
    };
    let output = async {
        // One chunk at a time and never read ahead: a slow client pushes back into Xvnc, which then skips frames for it.
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = display.read(&mut chunk).await?;
            if length == 0 {
                return Ok(());
            }
            to_client.write_all(&chunk[..length]).await?;
            to_client.flush().await?;
        }
    };
    tokio::select! {
        done = input => done,
        done = output => done,
        () = seat.closed.cancelled() => Ok(()),
    }
}
