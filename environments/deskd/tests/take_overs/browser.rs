//! A viewer as noVNC is one: WebSocket, fences answered at once, updates asked for again and again or sent continuously.

use std::time::{Duration, Instant};

use a8s_rfb::{Decoder, Framebuffer, SECURITY_NONE, ServerEvent, ServerInit, VERSION, encode, encodings};
use bytes::BytesMut;
use futures::{SinkExt, StreamExt};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

use crate::witness::BEACON;

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// No viewer of a desktop that answers waits so long.
pub const LIMIT: Duration = Duration::from_secs(5);
const KNOWN: [i32; 7] = [
    encodings::COPY_RECT,
    encodings::RAW,
    encodings::DESKTOP_SIZE,
    encodings::EXTENDED_DESKTOP_SIZE,
    encodings::LAST_RECT,
    encodings::FENCE,
    encodings::CONTINUOUS_UPDATES,
];

enum Order {
    Send(Vec<u8>),
    Fence(oneshot::Sender<()>),
    Nap(Duration),
    /// Ends it with a goodbye.
    Leave,
    /// Ends it without one.
    Vanish,
}

/// What the viewer sees.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Colour at [`BEACON`].
    pub beacon: u32,
    /// The stream is over, with this close code; 0 if there was none.
    pub closed: Option<u16>,
}

/// A viewer that lives in a task of its own.
pub struct Browser {
    orders: mpsc::UnboundedSender<Order>,
    seen: watch::Receiver<Seen>,
    /// It does not read before.
    pub asleep: Option<Instant>,
}

impl Browser {
    /// Begins to look; `continuous` says how updates come.
    pub fn look(socket: Socket, continuous: bool) -> Self {
        let (orders, heard) = mpsc::unbounded_channel();
        let (show, seen) = watch::channel(Seen::default());
        let viewer = Viewer {
            socket,
            show,
            inbox: BytesMut::new(),
            decoder: Decoder::default(),
            picture: Framebuffer::default(),
            continuous,
            fences: Vec::new(),
        };
        tokio::spawn(viewer.live(heard));
        Self { orders, seen, asleep: None }
    }

    /// Sends RFB messages.
    pub fn send(&self, bytes: impl Into<Vec<u8>>) {
        let _ = self.orders.send(Order::Send(bytes.into()));
    }

    /// Returns once the display has processed what was sent before; false if the stream ended.
    pub async fn barrier(&self) -> bool {
        let (sender, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Fence(sender));
        tokio::time::timeout(LIMIT, answered).await.expect("a viewer's fence is not answered").is_ok()
    }

    /// Does not read for some time.
    pub fn nap(&mut self, time: Duration) {
        self.asleep = Some(Instant::now() + time);
        let _ = self.orders.send(Order::Nap(time));
    }

    /// Whether it reads.
    pub fn awake(&self) -> bool {
        self.asleep.is_none_or(|until| until < Instant::now())
    }

    pub fn leave(self) {
        let _ = self.orders.send(Order::Leave);
    }

    pub fn vanish(self) {
        let _ = self.orders.send(Order::Vanish);
    }

    /// Waits until it sees this colour.
    pub async fn sees(&mut self, colour: u32) -> Result<(), String> {
        let fresh = self.seen.wait_for(|seen| seen.beacon == colour || seen.closed.is_some());
        let fresh = tokio::time::timeout(LIMIT, fresh).await.is_ok();
        let seen = self.seen.borrow();
        match seen.closed {
            Some(code) => Err(format!("its stream ended with {code}")),
            None if fresh => Ok(()),
            None => Err(format!("it is frozen at {:06x}", seen.beacon)),
        }
    }

    /// Waits for the end of the stream; its close code.
    pub async fn closed(&mut self) -> u16 {
        let over = self.seen.wait_for(|seen| seen.closed.is_some());
        let over = tokio::time::timeout(LIMIT, over).await.expect("a stream is still open").unwrap();
        over.closed.unwrap_or_default()
    }
}

struct Viewer {
    socket: Socket,
    show: watch::Sender<Seen>,
    inbox: BytesMut,
    decoder: Decoder,
    picture: Framebuffer,
    continuous: bool,
    fences: Vec<oneshot::Sender<()>>,
}

impl Viewer {
    async fn live(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let code = match self.work(&mut orders).await {
            Ok(code) | Err(code) => code,
        };
        self.show.send_modify(|seen| seen.closed = Some(code));
    }

    async fn work(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> Result<u16, u16> {
        self.greet().await?;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Send(bytes)) => self.send(&bytes).await?,
                    Some(Order::Fence(waiting)) => {
                        self.fences.push(waiting);
                        let flags = encode::FENCE_REQUEST | encode::FENCE_BLOCK_BEFORE;
                        self.send(&encode::fence(flags, b"barrier")).await?;
                    }
                    Some(Order::Nap(time)) => tokio::time::sleep(time).await,
                    Some(Order::Leave) => {
                        let _ = self.socket.close(None).await;
                        return Ok(0);
                    }
                    Some(Order::Vanish) | None => {
                        if let MaybeTlsStream::Plain(tcp) = self.socket.get_ref() {
                            // The other side gets a reset in the middle of whatever it does.
                            tcp.set_zero_linger().unwrap();
                        }
                        return Ok(0);
                    }
                },
                bytes = receive(&mut self.socket) => {
                    self.decoder.push(&bytes?);
                    self.draw().await?;
                }
            }
        }
    }

    async fn greet(&mut self) -> Result<(), u16> {
        assert_eq!(self.take(VERSION.len()).await?[..], VERSION[..]);
        self.send(VERSION).await?;
        assert_eq!(self.take(2).await?[..], [1, SECURITY_NONE]);
        self.send(&[SECURITY_NONE, 0]).await?;
        assert_eq!(self.take(4).await?[..], [0; 4]);
        let head = self.take(ServerInit::LENGTH).await?;
        let init = ServerInit::parse(head[..].try_into().unwrap()).unwrap();
        self.take(init.name_length).await?;
        self.picture = Framebuffer::new(init.width, init.height);
        self.send(&encode::set_pixel_format()).await?;
        self.send(&encode::set_encodings(&KNOWN)).await?;
        self.send(&encode::update_request(false, init.width, init.height)).await?;
        self.decoder.push(&self.inbox.split());
        self.draw().await
    }

    async fn take(&mut self, many: usize) -> Result<BytesMut, u16> {
        while self.inbox.len() < many {
            let bytes = receive(&mut self.socket).await?;
            self.inbox.extend_from_slice(&bytes);
        }
        Ok(self.inbox.split_to(many))
    }

    async fn draw(&mut self) -> Result<(), u16> {
        while let Some(event) = self.decoder.next(&mut self.picture).expect("a stream is garbled") {
            match event {
                ServerEvent::Updated { .. } => {
                    let beacon = colour(&self.picture);
                    self.show.send_if_modified(|seen| std::mem::replace(&mut seen.beacon, beacon) != beacon);
                    let (width, height) = (self.picture.width, self.picture.height);
                    if std::mem::take(&mut self.continuous) {
                        self.send(&encode::continuous_updates(true, width, height)).await?;
                    }
                    self.send(&encode::update_request(true, width, height)).await?;
                }
                ServerEvent::Fence { flags, payload } if flags & encode::FENCE_REQUEST != 0 => {
                    self.send(&encode::fence(flags & !encode::FENCE_REQUEST, &payload)).await?;
                }
                ServerEvent::Fence { .. } => {
                    let waiting = self.fences.remove(0);
                    let _ = waiting.send(());
                }
                ServerEvent::Clipboard(_) | ServerEvent::Other => {}
            }
        }
        Ok(())
    }

    /// RFB messages do not end where WebSocket's do.
    async fn send(&mut self, bytes: &[u8]) -> Result<(), u16> {
        let cut = rand::random_range(0..=bytes.len());
        for piece in [&bytes[..cut], &bytes[cut..]] {
            if !piece.is_empty() {
                self.socket.send(Message::Binary(piece.to_vec().into())).await.map_err(|_| 0_u16)?;
            }
        }
        Ok(())
    }
}

async fn receive(socket: &mut Socket) -> Result<bytes::Bytes, u16> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
            Some(Ok(Message::Close(frame))) => return Err(frame.map_or(0, |frame| frame.code.into())),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(0),
        }
    }
}

fn colour(picture: &Framebuffer) -> u32 {
    let at = (usize::from(BEACON.1) * usize::from(picture.width) + usize::from(BEACON.0)) * 4;
    let [blue, green, red] =
        [0, 1, 2].map(|part| u32::from(picture.pixels.get(at + part).copied().unwrap_or(0)));
    red << 16 | green << 8 | blue
}
