//! The connection to deskd: TLS to the Workspace's pod, where only the pod with that Workspace's UID has the right certificate, and
//! an upgrade with a token that says for whom.

use std::{path::Path, sync::Arc};

use a8s_wire::{Claims, paths::server_name, token};
use anyhow::Context;
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    access::{Mode, Person, Target},
    close::Close,
};

const TOKEN_SECONDS: i64 = 60;

/// A stream on which deskd expects the RFB client to begin.
#[derive(Debug)]
pub struct Desktop {
    /// The connection.
    pub stream: TlsStream<TcpStream>,
    /// What deskd said together with its answer.
    pub already: Bytes,
}

/// Opens RFB streams to desktops.
#[derive(Clone)]
pub struct Upstream {
    tls: TlsConnector,
    key: SigningKey,
    port: u16,
}

impl Upstream {
    /// With the install's CA and signing key.
    pub fn load(ca: &Path, key: &Path, port: u16) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        let read = || format!("cannot read the CA certificate {}", ca.display());
        for certificate in CertificateDer::pem_file_iter(ca).with_context(read)? {
            roots.add(certificate.with_context(read)?).with_context(read)?;
        }
        anyhow::ensure!(!roots.is_empty(), "{} holds no certificate", ca.display());
        let mut tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        // HTTP/2 has no Upgrade.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let pem = std::fs::read_to_string(key)
            .with_context(|| format!("cannot read the signing key {}", key.display()))?;
        let key = token::signing_key(&pem).with_context(|| format!("cannot use {}", key.display()))?;
        Ok(Self { tls: TlsConnector::from(Arc::new(tls)), key, port })
    }

    /// A stream to the desktop. The close code says what the person is told otherwise.
    pub async fn open(&self, person: &Person, target: &Target, mode: Mode) -> Result<Desktop, Close> {
        let opened = self.try_open(person, target, mode).await;
        let (status, upgraded) = opened.map_err(|error| {
            tracing::warn!(workspace = target.uid, error = format!("{error:#}"), "cannot reach the desktop");
            Close::Upstream
        })?;
        match (status, upgraded) {
            (_, Some(stream)) => Ok(stream),
            (StatusCode::LOCKED, None) => Err(Close::Private),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => {
                tracing::error!(workspace = target.uid, %status, "deskd refuses our token; is the signing key current?");
                Err(Close::Upstream)
            }
            (status, None) => {
                tracing::warn!(workspace = target.uid, %status, "deskd refuses the stream");
                Err(Close::Upstream)
            }
        }
    }

    async fn try_open(
        &self,
        person: &Person,
        target: &Target,
        mode: Mode,
    ) -> anyhow::Result<(StatusCode, Option<Desktop>)> {
        let address = (target.host.as_str(), self.port);
        let tcp = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {}", target.host))?;
        // Input is small packets that must not wait for more.
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(server_name(&target.uid)).context("the UID makes no DNS name")?;
        let tls =
            self.tls.connect(name, tcp).await.context("the desktop has no certificate for this Workspace")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection.with_upgrades());
        let request = Request::get("/v1/rfb")
            .header(header::HOST, server_name(&target.uid))
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "rfb")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token(person, target, mode)))
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok((status, None));
        }
        let upgraded = hyper::upgrade::on(response).await?;
        // Without what HTTP needed around it: a stream lives for hours and is idle for most of them.
        let parts = upgraded
            .downcast::<TokioIo<TlsStream<TcpStream>>>()
            .map_err(|_| anyhow::anyhow!("the connection is not the one that was opened"))?;
        Ok((status, Some(Desktop { stream: parts.io.into_inner(), already: parts.read_buf })))
    }

    fn token(&self, person: &Person, target: &Target, mode: Mode) -> String {
        let claims = Claims {
            iss: "vnc-proxy".into(),
            sub: person.name.clone(),
            wsu: target.uid.clone(),
            scp: mode.scopes(),
            exp: jiff::Timestamp::now().as_second() + TOKEN_SECONDS,
            jti: uuid::Uuid::new_v4().to_string(),
        };
        token::sign(&self.key, &claims)
    }
}
