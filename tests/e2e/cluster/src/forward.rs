//! Carries connections from a port of this machine to the console inside the cluster. Its own small process, because
//! `up` ends while the cluster goes on.

use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::Paths;
use crate::identity::Identity;
use crate::network::Network;

fn pid_file(paths: &Paths) -> PathBuf {
    paths.state.join("forward.json")
}

/// Serves until it is killed.
pub async fn serve(listen: SocketAddr, to: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
    loop {
        let Ok((mut from, _)) = listener.accept().await else {
            // Out of descriptors for a moment: the connections that use them will end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(async move {
            let connect = tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(to)).await;
            if let Ok(Ok(mut target)) = connect {
                let _ = from.set_nodelay(true);
                let _ = target.set_nodelay(true);
                // Either side may close at any time; that ends the connection and is no error.
                let _ = copy_bidirectional(&mut from, &mut target).await;
            }
        });
    }
}

/// Starts the forwarder unless it runs.
pub fn ensure(paths: &Paths, network: &Network, tool: &Path) -> Result<()> {
    if Identity::living(&pid_file(paths)).is_some() {
        return Ok(());
    }
    let listen = format!("127.0.0.1:{}", network.console_port);
    let log = OpenOptions::new().create(true).append(true).open(paths.logs().join("forward.log"))?;
    let child = Command::new("setsid")
        .arg(tool)
        .args(["forward", "--listen", &listen, "--to", &network.console_target()])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("starting the console's forwarder")?;
    let identity =
        Identity::of(i32::try_from(child.id())?).context("the console's forwarder ended at once")?;
    identity.save(&pid_file(paths))?;
    let until = Instant::now() + Duration::from_secs(5);
    let address: SocketAddr = listen.parse()?;
    while StdStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
        if !identity.is_alive() || Instant::now() > until {
            bail!(
                "the console's forwarder cannot listen on {listen}: see {}/forward.log",
                paths.logs().display()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Ends the forwarder if it runs.
pub fn stop(paths: &Paths) {
    if let Some(identity) = Identity::living(&pid_file(paths)) {
        identity.end(Duration::from_secs(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn bytes_go_both_ways_and_the_end_is_passed_on() {
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = target.local_addr().unwrap();
        let probe = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = probe.local_addr().unwrap();
        drop(probe);
        let server = tokio::spawn(serve(listen, to));
        let client = tokio::spawn(async move {
            let mut stream = loop {
                if let Ok(stream) = TcpStream::connect(listen).await {
                    break stream;
                }
                tokio::task::yield_now().await;
            };
            stream.write_all(b"ping").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        });
        let (mut inner, _) = target.accept().await.unwrap();
        let mut asked = String::new();
        inner.read_to_string(&mut asked).await.unwrap();
        inner.write_all(b"pong").await.unwrap();
        drop(inner);
        assert_eq!((asked.as_str(), client.await.unwrap().as_str()), ("ping", "pong"));
        server.abort();
    }
}
