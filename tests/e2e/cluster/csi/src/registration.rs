//! Tells the kubelet that this driver is here.
//!
//! The kubelet watches a folder for sockets and calls `Registration/GetInfo` and `NotifyRegistrationStatus` on each. Its
//! gRPC client sends the escaped socket path as `:authority`, which the h2 and http crates refuse as malformed; so these
//! two calls, and nothing else, are answered by a minimal HTTP/2 server of our own. It never decodes headers: a request
//! without content is `GetInfo`, one with content is a status.

use std::{collections::HashMap, io};

use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use crate::pluginregistration::{PluginInfo, RegistrationStatus};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest frame a peer may send unless we allow more, which we do not.
const MAX_FRAME: usize = 16_384;
/// A gRPC message starts with one byte (compressed or not) and four bytes of length.
const MESSAGE_HEAD: usize = 5;

mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
}

mod flag {
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    pub const PADDED: u8 = 8;
}

/// What the kubelet is told about the driver that serves `endpoint`.
pub fn info(name: &str, endpoint: &str) -> PluginInfo {
    PluginInfo {
        r#type: "CSIPlugin".to_owned(),
        name: name.to_owned(),
        endpoint: endpoint.to_owned(),
        supported_versions: vec!["1.0.0".to_owned()],
    }
}

/// Answers the kubelet until the task is dropped.
pub async fn serve(listener: UnixListener, info: PluginInfo) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let info = info.clone();
        tokio::spawn(async move {
            match connection(stream, &info).await {
                Err(error) if !hung_up(&error) => tracing::warn!(%error, "a registration connection ended"),
                _ => {}
            }
        });
    }
}

/// The kubelet closes its connection as soon as it knows enough.
fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

async fn read(stream: &mut UnixStream) -> io::Result<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
    let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is larger than allowed"));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok(Frame { kind, flags, stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]), payload })
}

/// Payloads of ours are at most a few hundred bytes.
fn push(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend([length[1], length[2], length[3], kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

async fn connection(mut stream: UnixStream, info: &PluginInfo) -> io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    if &preface != PREFACE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not HTTP/2"));
    }
    let mut out = Vec::new();
    push(&mut out, kind::SETTINGS, 0, 0, &[]);
    let mut requests: HashMap<u32, Vec<u8>> = HashMap::new();
    loop {
        stream.write_all(&out).await?;
        out.clear();
        let frame = read(&mut stream).await?;
        match frame.kind {
            kind::SETTINGS if frame.flags & flag::ACK == 0 => {
                push(&mut out, kind::SETTINGS, flag::ACK, 0, &[]);
            }
            kind::PING if frame.flags & flag::ACK == 0 => {
                push(&mut out, kind::PING, flag::ACK, 0, &frame.payload);
            }
            kind::GOAWAY => return Ok(()),
            kind::RST_STREAM => drop(requests.remove(&frame.stream)),
            kind::DATA | kind::HEADERS => {
                let request = requests.entry(frame.stream).or_default();
                if frame.kind == kind::DATA {
                    request.extend(unpadded(&frame));
                }
                if request.len() > MAX_FRAME {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a request is larger than allowed",
                    ));
                }
                if frame.flags & flag::END_STREAM != 0 {
                    let request = requests.remove(&frame.stream).unwrap_or_default();
                    respond(&mut out, frame.stream, &answer(&request, info)?);
                }
            }
            _ => {}
        }
    }
}

fn unpadded(frame: &Frame) -> &[u8] {
    if frame.flags & flag::PADDED == 0 {
        return &frame.payload;
    }
    let Some((&padding, rest)) = frame.payload.split_first() else { return &[] };
    rest.get(..rest.len().saturating_sub(padding.into())).unwrap_or_default()
}

/// The answer to a request message: the driver's description, or nothing for a status.
fn answer(request: &[u8], info: &PluginInfo) -> io::Result<Vec<u8>> {
    let message = request.get(MESSAGE_HEAD..).unwrap_or_default();
    if message.is_empty() {
        return Ok(info.encode_to_vec());
    }
    let status = RegistrationStatus::decode(message)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if status.plugin_registered {
        tracing::info!("the kubelet registered the driver");
    } else {
        tracing::error!(error = status.error, "the kubelet refused the driver");
    }
    Ok(Vec::new())
}

fn respond(out: &mut Vec<u8>, stream: u32, message: &[u8]) {
    // 0x88 is `:status: 200` in HTTP/2's static table; the others are literals that enter no table.
    let mut headers = vec![0x88];
    literal(&mut headers, "content-type", "application/grpc");
    push(out, kind::HEADERS, flag::END_HEADERS, stream, &headers);
    let mut data = vec![0];
    data.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    data.extend(message);
    push(out, kind::DATA, 0, stream, &data);
    let mut trailers = Vec::new();
    literal(&mut trailers, "grpc-status", "0");
    push(out, kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, &trailers);
}

/// Names and values of ours are shorter than 127 bytes, where a length is one byte.
fn literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        block.push(u8::try_from(text.len()).unwrap_or(0x7e));
        block.extend(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut data = vec![0];
        data.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        data.extend(message);
        data
    }

    async fn call(stream: &mut UnixStream, id: u32, request: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        // Header content does not matter, not even an `:authority` that no parser would take.
        push(&mut out, kind::HEADERS, flag::END_HEADERS, id, b"%2Fanything");
        push(&mut out, kind::DATA, flag::END_STREAM, id, &framed(request));
        stream.write_all(&out).await.unwrap();
        let mut answer = Vec::new();
        loop {
            let frame = read(stream).await.unwrap();
            match (frame.kind, frame.stream) {
                (kind::DATA, stream) if stream == id => answer = frame.payload[MESSAGE_HEAD..].to_vec(),
                (kind::HEADERS, stream) if stream == id && frame.flags & flag::END_STREAM != 0 => {
                    return answer;
                }
                _ => {}
            }
        }
    }

    #[tokio::test]
    async fn the_kubelet_learns_where_the_driver_is_and_may_report_success() {
        let (mut kubelet, driver) = UnixStream::pair().unwrap();
        let told = info("driver.example", "/csi.sock");
        let expected = told.clone();
        let server = tokio::spawn(async move { connection(driver, &told).await });
        kubelet.write_all(PREFACE).await.unwrap();
        let mut settings = Vec::new();
        push(&mut settings, kind::SETTINGS, 0, 0, &[]);
        kubelet.write_all(&settings).await.unwrap();
        let answer = call(&mut kubelet, 1, &[]).await;
        assert_eq!(PluginInfo::decode(answer.as_slice()).unwrap(), expected);
        let status = RegistrationStatus { plugin_registered: true, error: String::new() };
        assert_eq!(call(&mut kubelet, 3, &status.encode_to_vec()).await, Vec::<u8>::new());
        drop(kubelet);
        assert_eq!(server.await.unwrap().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_speak_http2_is_dropped() {
        let (mut peer, driver) = UnixStream::pair().unwrap();
        peer.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let error = connection(driver, &info("d", "/s")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
