//! What a person's side does: HTTPS calls with a token, and RFB through the upgrade.

use std::sync::Arc;

use a8s_rfb::{Decoder, Framebuffer, SECURITY_NONE, ServerEvent, ServerInit, VERSION, encode};
use a8s_wire::{Scope, SetControl};
use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http1::SendRequest, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::host::{Host, UID};

impl Host {
    async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = a8s_wire::paths::server_name(UID).try_into().unwrap();
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        sender
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.connect().await.send_request(request).await.unwrap()
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> (u16, Bytes) {
        let response = self.send(request).await;
        let status = response.status().as_u16();
        (status, response.into_body().collect().await.unwrap().to_bytes())
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> (u16, Bytes) {
        let mut request = Request::get(path).header("host", "desk");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.answer(request.body(Full::default()).unwrap()).await
    }

    pub async fn post(&self, path: &str, token: &str, body: &impl serde::Serialize) -> (u16, Value) {
        let body = serde_json::to_vec(body).unwrap();
        let request =
            Request::post(path).header("host", "desk").header("authorization", format!("Bearer {token}"));
        let (status, body) = self.answer(request.body(Full::from(body)).unwrap()).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    pub async fn set_control(&self, control: &SetControl) -> (u16, Value) {
        self.post("/v1/control", &self.token("system", &[Scope::Admin]), control).await
    }

    /// The answer to an RFB upgrade.
    pub async fn upgrade(&self, token: &str) -> Response<Incoming> {
        let request = Request::get("/v1/rfb")
            .header("host", "desk")
            .header("connection", "upgrade")
            .header("upgrade", "rfb")
            .header("authorization", format!("Bearer {token}"));
        self.send(request.body(Full::default()).unwrap()).await
    }

    pub async fn viewer(&self, user: &str, scopes: &[Scope]) -> Viewer {
        let response = self.upgrade(&self.token(user, scopes)).await;
        assert_eq!(response.status(), 101);
        Viewer::handshake(TokioIo::new(hyper::upgrade::on(response).await.unwrap())).await
    }
}

pub struct Viewer {
    stream: TokioIo<Upgraded>,
    decoder: Decoder,
    pub picture: Framebuffer,
    /// Everything that came since the handshake.
    pub heard: Vec<u8>,
}

impl Viewer {
    async fn handshake(mut stream: TokioIo<Upgraded>) -> Self {
        let mut version = [0; 12];
        stream.read_exact(&mut version).await.unwrap();
        assert_eq!(&version, VERSION);
        stream.write_all(VERSION).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 1);
        assert_eq!(stream.read_u8().await.unwrap(), SECURITY_NONE);
        stream.write_u8(SECURITY_NONE).await.unwrap();
        assert_eq!(stream.read_u32().await.unwrap(), 0);
        // An exclusive session would throw out everybody else; deskd never lets one begin.
        stream.write_u8(0).await.unwrap();
        let mut head = [0; ServerInit::LENGTH];
        stream.read_exact(&mut head).await.unwrap();
        let init = ServerInit::parse(&head).unwrap();
        let mut name = vec![0; init.name_length];
        stream.read_exact(&mut name).await.unwrap();
        let picture = Framebuffer::new(init.width, init.height);
        let mut viewer = Self { stream, decoder: Decoder::default(), picture, heard: Vec::new() };
        viewer.send(&encode::set_pixel_format()).await;
        viewer.send(&encode::set_encodings(&[1, 0, -223, -224])).await;
        viewer
    }

    pub async fn send(&mut self, message: &[u8]) {
        self.stream.write_all(message).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Returns once the server has answered a request for a full update: everything sent before has been processed.
    pub async fn barrier(&mut self) {
        let (width, height) = (self.picture.width, self.picture.height);
        self.send(&encode::update_request(false, width, height)).await;
        let whole = u64::from(width) * u64::from(height);
        let mut drawn = 0;
        while drawn < whole {
            match self.decoder.next(&mut self.picture).unwrap() {
                // To whom sizes are told they are told each time; that uses up the request, and the picture waits for the next.
                Some(ServerEvent::Updated { pixels: 0 }) => {
                    self.send(&encode::update_request(true, width, height)).await;
                }
                Some(ServerEvent::Updated { pixels }) => drawn += pixels,
                Some(_) => {}
                None => assert!(self.receive().await > 0, "deskd closed the connection"),
            }
        }
    }

    /// Looks until the desktop has this width.
    pub async fn until_wide(&mut self, width: u16) {
        let (old, height) = (self.picture.width, self.picture.height);
        self.send(&encode::update_request(true, old, height)).await;
        while self.picture.width != width {
            let event = self.decoder.next(&mut self.picture).unwrap();
            match event {
                Some(ServerEvent::Updated { .. }) => {
                    let (w, h) = (self.picture.width, self.picture.height);
                    self.send(&encode::update_request(true, w, h)).await;
                }
                Some(_) => {}
                None => assert!(self.receive().await > 0, "deskd closed the connection"),
            }
        }
    }

    async fn receive(&mut self) -> usize {
        let mut chunk = vec![0; 65_536];
        // A connection that was cut counts as closed.
        let length = self.stream.read(&mut chunk).await.unwrap_or(0);
        self.decoder.push(&chunk[..length]);
        self.heard.extend(&chunk[..length]);
        length
    }

    /// Reads until so many bytes that were not decoded are there.
    pub async fn raw(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// Reads until deskd closes.
    pub async fn closed(&mut self) {
        while self.receive().await > 0 {}
    }
}
