//! A real desktop without a cluster: deskd as it is shipped, with Xvnc, a window manager, and the program that answers keys with colours.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use a8s_wire::{Claims, Holder, Scope, SetControl, paths::server_name, token};
use anyhow::{Context, Result, ensure};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePrivateKey, EncodePublicKey, spki::der::pem::LineEnding},
};
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::super::{api, programs};

/// UID of its Workspace.
pub const UID: &str = "11111111-2222-3333-4444-555555555555";
/// Who holds mouse and keyboard: whom the bench's API server knows.
const PERSON: &str = "bench";
const LIMIT: Duration = Duration::from_secs(30);

/// One that runs. Dropping it ends it.
pub struct Desk {
    /// Keys, certificate, kubeconfig, and what deskd writes.
    pub dir: tempfile::TempDir,
    /// deskd's port.
    pub port: u16,
    certificate: CertificateDer<'static>,
    key: SigningKey,
    child: Child,
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        // It ends Xvnc and its programs itself.
        let _ = self.child.wait();
    }
}

impl Desk {
    /// Starts it, waits until it is ready and gives the bench's person control.
    pub async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let key = SigningKey::from_bytes(&rand::random());
        let certificate = prepare(dir.path(), &key)?;
        let api = api::start(vec![UID.to_owned()]).await?;
        programs::kubeconfig(dir.path(), api)?;
        let port = programs::free_port()?;
        let child = deskd(dir.path(), port)?;
        let desk = Self { dir, port, certificate, key, child };
        let until = Instant::now() + LIMIT;
        while !desk.healthy().await {
            let log = || std::fs::read_to_string(desk.dir.path().join("log")).unwrap_or_default();
            ensure!(Instant::now() < until, "the desktop is not ready: {}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let wish =
            SetControl { holder: Holder::User, user: Some(PERSON.to_owned()), private: false, epoch: 1 };
        let (status, _) =
            desk.call("POST", "/v1/control", Scope::Admin, "", &serde_json::to_string(&wish)?).await?;
        ensure!(status == 200, "control was not given: {status}");
        Ok(desk)
    }

    /// Xvnc's own socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("run/a8s/rfb.sock")
    }

    /// A stream of the person who holds control, as the proxy opens it.
    pub async fn stream(&self) -> Result<TlsStream<TcpStream>> {
        let upgrade = "connection: upgrade\r\nupgrade: rfb\r\n";
        let (status, stream) = self.call("GET", "/v1/rfb", Scope::Control, upgrade, "").await?;
        ensure!(status == 101, "no stream was opened: {status}");
        Ok(stream)
    }

    async fn healthy(&self) -> bool {
        self.call("GET", "/healthz", Scope::View, "", "").await.is_ok_and(|(status, _)| status == 200)
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        scope: Scope,
        headers: &str,
        body: &str,
    ) -> Result<(u16, TlsStream<TcpStream>)> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await?;
        tcp.set_nodelay(true)?;
        let mut tls = TlsConnector::from(Arc::new(config)).connect(server_name(UID).try_into()?, tcp).await?;
        let claims = Claims {
            iss: "bench".into(),
            sub: PERSON.into(),
            wsu: UID.into(),
            scp: vec![scope],
            exp: jiff::Timestamp::now().as_second() + 60,
            jti: "1".into(),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: desk\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            token::sign(&self.key, &claims),
            body.len()
        );
        tls.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(tls.read_u8().await?);
        }
        let text = String::from_utf8_lossy(&answer);
        let status = text.split(' ').nth(1).context("an answer has a status")?.parse()?;
        Ok((status, tls))
    }
}

fn prepare(dir: &Path, key: &SigningKey) -> Result<CertificateDer<'static>> {
    for name in ["tls", "home", "run", "skel"] {
        std::fs::create_dir(dir.join(name))?;
    }
    let pair = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec![server_name(UID)])?.self_signed(&pair)?;
    let flip = std::env::current_exe()?;
    let config = json!({"services": [
        {"name": "openbox", "command": ["openbox"], "restart": true, "after": "display"},
        {"name": "flip", "command": [flip, "stream", "--flip"], "after": "wm"},
    ]});
    for (file, text) in [
        ("tls/tls.crt", certificate.pem()),
        ("ca.crt", certificate.pem()),
        ("tls/tls.key", pair.serialize_pem()),
        ("tls/tokens.pub", key.verifying_key().to_public_key_pem(LineEnding::LF)?),
        ("signing.key", key.to_pkcs8_pem(LineEnding::LF)?.to_string()),
        ("desktop.json", config.to_string()),
    ] {
        std::fs::write(dir.join(file), text).with_context(|| format!("writing {file}"))?;
    }
    Ok(certificate.der().clone())
}

fn deskd(dir: &Path, port: u16) -> Result<Child> {
    let mut command = Command::new(programs::beside("a8s-deskd")?);
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--geometry", "1280x800"]);
    command.args(["--workspace-uid", UID, "--display", &free_display()]);
    for (flag, name) in [
        ("--tls", "tls"),
        ("--socket", "deskd.sock"),
        ("--home", "home"),
        ("--skel", "skel"),
        ("--run-dir", "run"),
        ("--machine-id", "machine-id"),
        ("--config", "desktop.json"),
    ] {
        command.arg(flag).arg(dir.join(name));
    }
    let log = std::fs::File::create(dir.join("log"))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().context("starting deskd")
}

/// A number that no X server on this machine has.
fn free_display() -> String {
    // Libraries add 6000 to it, for a TCP port.
    let from = 40_000 + std::process::id() % 10_000;
    let free = |number: &u32| !Path::new(&format!("/tmp/.X11-unix/X{number}")).exists();
    format!(":{}", (from..from + 100).find(free).unwrap_or(from))
}
