//! A desktop that records what it receives, and floods when it is told to.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use a8s_rfb::{SECURITY_NONE, VERSION};
use a8s_wire::{Claims, Scope, paths::server_name, token::TokenVerifier};
use ed25519_dalek::{
    SigningKey,
    pkcs8::{EncodePublicKey, spki::der::pem::LineEnding},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::fake::UID;

/// What one connection is about.
pub struct Desktop {
    pub claims: Arc<Mutex<Vec<Claims>>>,
    /// Of all connections together.
    pub received: watch::Receiver<Vec<u8>>,
    /// Answers 423 instead of a stream.
    pub private: Arc<AtomicBool>,
    /// Sends without end to whoever has said hello.
    pub flood: Arc<AtomicBool>,
    /// Bytes of the flood, by connection.
    pub sent: Arc<Mutex<Vec<Arc<AtomicUsize>>>>,
    pub closed: watch::Receiver<bool>,
}

/// What deskd sends first.
pub fn greeting() -> Vec<u8> {
    let mut bytes = VERSION.to_vec();
    bytes.extend([1, SECURITY_NONE, 0, 0, 0, 0]);
    bytes
}

struct Fake {
    claims: Arc<Mutex<Vec<Claims>>>,
    received: watch::Sender<Vec<u8>>,
    private: Arc<AtomicBool>,
    flood: Arc<AtomicBool>,
    sent: Arc<Mutex<Vec<Arc<AtomicUsize>>>>,
    closed: watch::Sender<bool>,
    verifier: TokenVerifier,
}

/// Starts one; its port.
pub async fn desktop(dir: &tempfile::TempDir, key: &SigningKey) -> (Desktop, u16) {
    let acceptor = acceptor(dir);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pem = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    let verifier = TokenVerifier::from_pem(&pem, UID).unwrap();
    let (received_sender, received) = watch::channel(Vec::new());
    let (closed_sender, closed) = watch::channel(false);
    let fake = Arc::new(Fake {
        claims: Arc::default(),
        received: received_sender,
        private: Arc::default(),
        flood: Arc::default(),
        sent: Arc::default(),
        closed: closed_sender,
        verifier,
    });
    let desktop = Desktop {
        claims: fake.claims.clone(),
        received,
        private: fake.private.clone(),
        flood: fake.flood.clone(),
        sent: fake.sent.clone(),
        closed,
    };
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(tls) = acceptor.accept(tcp).await else { continue };
            tokio::spawn(serve(fake.clone(), tls));
        }
    });
    (desktop, port)
}

fn acceptor(dir: &tempfile::TempDir) -> TlsAcceptor {
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec![server_name(UID)]).unwrap().self_signed(&pair).unwrap();
    std::fs::write(dir.path().join("ca.crt"), certificate.pem()).unwrap();
    let private_key = PrivateKeyDer::from_pem_slice(pair.serialize_pem().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private_key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(fake: Arc<Fake>, mut tls: TlsStream<TcpStream>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tls.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("GET /v1/rfb HTTP/1.1\r\n"), "{head}");
    let token = head.split("Bearer ").nth(1).unwrap().lines().next().unwrap();
    let now = jiff::Timestamp::now().as_second();
    fake.claims.lock().unwrap().push(fake.verifier.verify(token, now, &[Scope::View]).unwrap());
    if fake.private.load(Ordering::SeqCst) {
        tls.write_all(b"HTTP/1.1 423 Locked\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        return;
    }
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: rfb\r\n\r\n";
    tls.write_all(answer).await.unwrap();
    tls.write_all(&greeting()).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(tls);
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = reader.read(&mut chunk).await {
        fake.received.send_modify(|bytes| bytes.extend_from_slice(&chunk[..length]));
        if fake.flood.load(Ordering::SeqCst) {
            break;
        }
    }
    if fake.flood.load(Ordering::SeqCst) {
        let sent = Arc::new(AtomicUsize::new(0));
        fake.sent.lock().unwrap().push(sent.clone());
        let picture = vec![0x5a; 32 * 1024];
        while writer.write_all(&picture).await.is_ok() {
            sent.fetch_add(picture.len(), Ordering::SeqCst);
        }
    }
    fake.closed.send_replace(true);
}
