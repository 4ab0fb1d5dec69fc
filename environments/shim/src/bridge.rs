//! Standard input and output ⇄ a unix socket, byte by byte.

use std::{io, path::Path};

use tokio::{
    io::{AsyncWriteExt, copy, stdin, stdout},
    net::UnixStream,
};

/// Carries bytes until the socket's end is closed. The end of standard input closes our half of the socket only, so that answers that are
/// still on their way arrive.
pub async fn bridge(socket: &Path) -> io::Result<()> {
    let stream = UnixStream::connect(socket).await.map_err(|error| {
        let text = format!("cannot connect to {}: {error}; is the runner running?", socket.display());
        io::Error::new(error.kind(), text)
    })?;
    let (mut from_socket, mut to_socket) = stream.into_split();
    let upward = async {
        copy(&mut stdin(), &mut to_socket).await?;
        to_socket.shutdown().await
    };
    let downward = async {
        let mut out = stdout();
        copy(&mut from_socket, &mut out).await?;
        out.flush().await
    };
    tokio::pin!(upward, downward);
    tokio::select! {
        done = &mut downward => done,
        sent = &mut upward => match sent {
            Ok(()) => downward.await,
            Err(error) => Err(error),
        },
    }
}
