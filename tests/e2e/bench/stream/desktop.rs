//! Synthetic desktops. Each connection does RFB's handshake, answers every pointer event with six bytes, and draws as its client asks it
//! to: in a request for an update, which every proxy passes on.

use std::{path::Path, sync::Arc, time::Duration};

use a8s_rfb::{SECURITY_NONE, VERSION};
use a8s_wire::paths::server_name;
use anyhow::Result;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tokio_rustls::TlsAcceptor;

/// What a client sends of the handshake, all at once.
pub fn hello() -> Vec<u8> {
    [VERSION.as_slice(), &[SECURITY_NONE, 1]].concat()
}

/// What the desktop sends of it.
pub fn greeting() -> Vec<u8> {
    [VERSION.as_slice(), &[1, SECURITY_NONE, 0, 0, 0, 0]].concat()
}

/// What a desktop draws. On the wire it is the rectangle of a request for an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// Nothing more.
    Nothing,
    /// Pictures of so many times 100 bytes, so many times a second.
    Paced {
        /// Size in 100 bytes.
        hundreds: u16,
        /// How many a second.
        rate: u16,
    },
    /// So many MiB, as fast as they are taken.
    Flood {
        /// How many MiB.
        mib: u16,
    },
}

impl Draw {
    /// The request.
    pub fn request(self) -> [u8; 10] {
        let (what, a, b): (u16, u16, u16) = match self {
            Self::Nothing => (0, 0, 0),
            Self::Paced { hundreds, rate } => (1, hundreds, rate),
            Self::Flood { mib } => (2, mib, 0),
        };
        let [w, a, b] = [what, a, b].map(u16::to_be_bytes);
        [3, 1, w[0], w[1], a[0], a[1], b[0], b[1], 0, 0]
    }

    fn parse(message: &[u8]) -> Option<Self> {
        let at = |index: usize| Some(u16::from_be_bytes([*message.get(index)?, *message.get(index + 1)?]));
        match at(2)? {
            1 => Some(Self::Paced { hundreds: at(4)?, rate: at(6)? }),
            2 => Some(Self::Flood { mib: at(4)? }),
            _ => Some(Self::Nothing),
        }
    }
}

/// Ports of the same desktops.
pub struct Desktops {
    /// As deskd offers them: TLS, and an HTTP upgrade.
    pub deskd: u16,
    /// TLS alone.
    pub tls: u16,
    /// Nothing around it.
    pub plain: u16,
}

/// Starts them. `ca.crt` is written into the directory; it is good for the Workspaces with these UIDs.
pub async fn start(dir: &Path, uids: &[String]) -> Result<Desktops> {
    let pair = rcgen::KeyPair::generate()?;
    let names: Vec<String> = uids.iter().map(|uid| server_name(uid)).collect();
    let certificate = rcgen::CertificateParams::new(names)?.self_signed(&pair)?;
    std::fs::write(dir.join("ca.crt"), certificate.pem())?;
    let key = PrivateKeyDer::from_pem_slice(pair.serialize_pem().as_bytes())?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    let tls = TlsAcceptor::from(Arc::new(config));
    Ok(Desktops {
        deskd: listen(Some(tls.clone()), true).await?,
        tls: listen(Some(tls), false).await?,
        plain: listen(None, false).await?,
    })
}

async fn listen(tls: Option<TlsAcceptor>, http: bool) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let tls = tls.clone();
            // A client that leaves is how every connection ends.
            tokio::spawn(async move { serve(tcp, tls, http).await });
        }
    });
    Ok(port)
}

async fn serve(tcp: TcpStream, tls: Option<TlsAcceptor>, http: bool) -> Result<()> {
    tcp.set_nodelay(true)?;
    let Some(tls) = tls else { return desktop(tcp).await };
    let mut stream = tls.accept(tcp).await?;
    if http {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: rfb\r\n\r\n";
        stream.write_all(answer).await?;
    }
    desktop(stream).await
}

async fn desktop(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
    stream.write_all(&greeting()).await?;
    stream.flush().await?;
    let mut expected = vec![0; hello().len()];
    stream.read_exact(&mut expected).await?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (mut input, mut draw) = (Vec::new(), Draw::Nothing);
    let picture = vec![0x5a; 64 * 1024];
    let mut clock = clock(1);
    loop {
        let mut chunk = [0; 4096];
        tokio::select! {
            read = reader.read(&mut chunk) => {
                let length = read?;
                anyhow::ensure!(length > 0, "the client left");
                input.extend_from_slice(&chunk[..length]);
                while let Some(message) = message(&mut input)? {
                    match (message.first(), Draw::parse(&message)) {
                        (Some(3), Some(wanted)) => draw = wanted,
                        _ => writer.write_all(&message).await?,
                    }
                    if let Draw::Paced { rate, .. } = draw {
                        clock = self::clock(rate);
                    }
                    if let Draw::Flood { mib } = draw {
                        for _ in 0..u32::from(mib) * 16 {
                            writer.write_all(&picture).await?;
                        }
                        draw = Draw::Nothing;
                    }
                }
                writer.flush().await?;
            }
            _ = clock.tick(), if matches!(draw, Draw::Paced { .. }) => {
                if let Draw::Paced { hundreds, .. } = draw {
                    let length = (usize::from(hundreds) * 100).min(picture.len());
                    writer.write_all(&picture[..length]).await?;
                    writer.flush().await?;
                }
            }
        }
    }
}

/// Desktops do not draw in step.
fn clock(rate: u16) -> Interval {
    let every = Duration::from_secs(1) / u32::from(rate.max(1));
    let mut clock = interval_at(Instant::now() + every.mul_f64(rand::random()), every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock
}

/// The next whole message: a pointer event or a request for an update.
fn message(input: &mut Vec<u8>) -> Result<Option<Vec<u8>>> {
    let length = match input.first() {
        None => return Ok(None),
        Some(3) => 10,
        Some(5) => 6,
        Some(other) => anyhow::bail!("a client of the bench sends no message of type {other}"),
    };
    Ok((input.len() >= length).then(|| input.drain(..length).collect()))
}
