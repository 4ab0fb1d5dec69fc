//! A longer way: a relay that hands on what it gets after a while, in both directions, and holds nothing else back.

use std::time::Duration;

use anyhow::Result;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// Listens, and leads to `to`; each byte takes `way` longer, so that a round trip takes twice that. Says on which port.
pub async fn start(to: u16, way: Duration) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            // Either side hanging up is how every connection ends.
            tokio::spawn(async move { relay(near, to, way).await });
        }
    });
    Ok(port)
}

async fn relay(near: TcpStream, to: u16, way: Duration) -> Result<()> {
    near.set_nodelay(true)?;
    let far = TcpStream::connect(("127.0.0.1", to)).await?;
    far.set_nodelay(true)?;
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::try_join!(later(near_in, far_out, way), later(far_in, near_out, way))?;
    Ok(())
}

async fn later(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    way: Duration,
) -> Result<()> {
    let (sender, mut receiver) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let take = async move {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let length = from.read(&mut chunk).await?;
            // The other half hangs up once it has handed on what is under way.
            if length == 0 || sender.send((Instant::now() + way, chunk[..length].to_vec())).is_err() {
                return anyhow::Ok(());
            }
        }
    };
    let give = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            sleep_until(due).await;
            to.write_all(&bytes).await?;
        }
        anyhow::Ok(to.shutdown().await?)
    };
    tokio::try_join!(take, give)?;
    Ok(())
}
