//! What X knows and RFB does not: which windows exist, which one is active, whether a window manager runs, and what is in the clipboard.

use std::{
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::{sync::Semaphore, time::timeout};
use x11rb::{
    connection::Connection,
    errors::ReplyError,
    protocol::xproto::{Atom, AtomEnum, ConnectionExt, Window},
    rust_connection::{DefaultStream, RustConnection},
};

use crate::{error::DeskError, fake::Desktop, selection};

/// The X server answers in a millisecond, and whoever offers the clipboard's text within two seconds.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// One window of the desktop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WindowInfo {
    /// X id.
    pub id: u32,
    /// Title.
    pub title: String,
    /// Class of the application, such as `Chromium`.
    pub class: String,
    /// Left edge in pixels.
    pub x: i16,
    /// Top edge in pixels.
    pub y: i16,
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Keys go to this window.
    pub active: bool,
    /// Minimised.
    pub hidden: bool,
}

x11rb::atom_manager! {
    /// Atoms of the window manager's protocol.
    Atoms: AtomsCookie {
        _NET_CLIENT_LIST,
        _NET_ACTIVE_WINDOW,
        _NET_SUPPORTING_WM_CHECK,
        _NET_WM_NAME,
        _NET_WM_STATE,
        _NET_WM_STATE_HIDDEN,
        _NET_WM_WINDOW_TYPE,
        _NET_WM_WINDOW_TYPE_DOCK,
        _NET_WM_WINDOW_TYPE_DESKTOP,
        UTF8_STRING,
    }
}

struct Session {
    connection: RustConnection,
    root: Window,
    atoms: Atoms,
}

#[derive(Clone)]
enum Source {
    X(X),
    Fake(Arc<Desktop>),
}

#[derive(Clone)]
struct X {
    display: u32,
    cookie: [u8; 16],
    session: Arc<Mutex<Option<Session>>>,
    /// One question at a time: a display that hangs holds one thread and not all of them.
    turn: Arc<Semaphore>,
}

/// Asks the X server. A connection is made on first use and again after an error.
#[derive(Clone)]
pub struct Windows(Source);

impl Windows {
    /// For the X display `number`.
    pub fn new(number: u32, cookie: [u8; 16]) -> Self {
        Self(Source::X(X {
            display: number,
            cookie,
            session: Arc::default(),
            turn: Arc::new(Semaphore::new(1)),
        }))
    }

    /// For the fake display, which needs no window manager.
    pub fn fake(desktop: Arc<Desktop>) -> Self {
        Self(Source::Fake(desktop))
    }

    /// Whether the display answers at all.
    pub async fn answers(&self) -> Result<(), DeskError> {
        match &self.0 {
            Source::X(x) => x.ask(|session| session.connection.get_input_focus()?.reply().map(|_| ())).await,
            Source::Fake(_) => Ok(()),
        }
    }

    /// All application windows.
    pub async fn list(&self) -> Result<Vec<WindowInfo>, DeskError> {
        match &self.0 {
            Source::X(x) => x.ask(Session::list).await,
            Source::Fake(desktop) => Ok(desktop.windows()),
        }
    }

    /// Title of the window that gets the keys, if there is one.
    pub async fn active(&self) -> Result<Option<String>, DeskError> {
        match &self.0 {
            Source::X(x) => x.ask(Session::active).await,
            Source::Fake(desktop) => Ok(desktop.windows().pop().map(|window| window.title)),
        }
    }

    /// Whether a window manager has announced itself.
    pub async fn managed(&self) -> Result<bool, DeskError> {
        match &self.0 {
            Source::X(x) => x.ask(Session::managed).await,
            Source::Fake(_) => Ok(true),
        }
    }

    /// Whether a panel is there.
    pub async fn docked(&self) -> Result<bool, DeskError> {
        match &self.0 {
            Source::X(x) => x.ask(Session::docked).await,
            Source::Fake(_) => Ok(true),
        }
    }

    /// Where the pointer is, whoever moved it last.
    pub async fn pointer(&self) -> Result<(u16, u16), DeskError> {
        let x = match &self.0 {
            Source::X(x) => x,
            Source::Fake(desktop) => return Ok(desktop.pointer().0),
        };
        let found = x.ask(|session| session.connection.query_pointer(session.root)?.reply()).await?;
        let positive = |value: i16| u16::try_from(value).unwrap_or_default();
        Ok((positive(found.root_x), positive(found.root_y)))
    }

    /// The text that programs of the desktop offer as the clipboard; `None` if they offer none.
    pub async fn clipboard(&self) -> Result<Option<String>, DeskError> {
        match &self.0 {
            Source::X(x) => x.ask(|session| selection::read(&session.connection, session.root)).await,
            Source::Fake(desktop) => Ok(desktop.clipboard()),
        }
    }
}

impl X {
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Session) -> Result<T, ReplyError> + Send + 'static,
    ) -> Result<T, DeskError> {
        let answer = timeout(PATIENCE, self.put(question)).await;
        answer.unwrap_or_else(|_| Err(DeskError::Display("it did not answer in time".into())))
    }

    async fn put<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Session) -> Result<T, ReplyError> + Send + 'static,
    ) -> Result<T, DeskError> {
        // It is never closed.
        let turn = self.turn.clone().acquire_owned().await.ok();
        let this = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            // Given back when the question is answered, whoever still waits for that.
            let _turn = turn;
            let mut session = this.session.lock().unwrap_or_else(PoisonError::into_inner);
            let connected = match session.take() {
                Some(connected) => connected,
                None => Session::connect(this.display, &this.cookie)
                    .map_err(|e| DeskError::Display(e.to_string()))?,
            };
            let answer = question(&connected).map_err(|error| DeskError::Display(error.to_string()))?;
            *session = Some(connected);
            Ok(answer)
        });
        asked.await.unwrap_or_else(|error| Err(DeskError::Display(error.to_string())))
    }
}

impl Session {
    fn connect(display: u32, cookie: &[u8; 16]) -> Result<Self, Box<dyn std::error::Error>> {
        let stream = UnixStream::connect(format!("/tmp/.X11-unix/X{display}"))?;
        let (stream, _) = DefaultStream::from_unix_stream(stream)?;
        let name = b"MIT-MAGIC-COOKIE-1".to_vec();
        let connection = RustConnection::connect_to_stream_with_auth_info(stream, 0, name, cookie.to_vec())?;
        let root = connection.setup().roots.first().ok_or("the display has no screen")?.root;
        let atoms = Atoms::new(&connection)?.reply()?;
        Ok(Self { connection, root, atoms })
    }

    fn values(&self, window: Window, property: Atom) -> Result<Vec<u32>, ReplyError> {
        let reply = self.connection.get_property(false, window, property, AtomEnum::ANY, 0, 4096)?.reply()?;
        Ok(reply.value32().into_iter().flatten().collect())
    }

    fn text(&self, window: Window, property: Atom) -> Result<String, ReplyError> {
        let reply = self.connection.get_property(false, window, property, AtomEnum::ANY, 0, 1024)?.reply()?;
        Ok(String::from_utf8_lossy(&reply.value).into_owned())
    }

    fn managed(&self) -> Result<bool, ReplyError> {
        let Some(check) = self.values(self.root, self.atoms._NET_SUPPORTING_WM_CHECK)?.first().copied()
        else {
            return Ok(false);
        };
        // A window manager that died leaves the property behind, but not the window that it names.
        match self.values(check, self.atoms._NET_SUPPORTING_WM_CHECK) {
            Ok(own) => Ok(own.first() == Some(&check)),
            Err(ReplyError::X11Error(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn docked(&self) -> Result<bool, ReplyError> {
        for id in self.values(self.root, self.atoms._NET_CLIENT_LIST)? {
            match self.values(id, self.atoms._NET_WM_WINDOW_TYPE) {
                Ok(kinds) if kinds.contains(&self.atoms._NET_WM_WINDOW_TYPE_DOCK) => return Ok(true),
                Ok(_) | Err(ReplyError::X11Error(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn list(&self) -> Result<Vec<WindowInfo>, ReplyError> {
        let active = self.values(self.root, self.atoms._NET_ACTIVE_WINDOW)?.first().copied();
        let mut windows = Vec::new();
        for id in self.values(self.root, self.atoms._NET_CLIENT_LIST)? {
            match self.describe(id, active) {
                Ok(window) => windows.extend(window),
                // It was closed after the list was read.
                Err(ReplyError::X11Error(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(windows)
    }

    fn active(&self) -> Result<Option<String>, ReplyError> {
        let active = self.values(self.root, self.atoms._NET_ACTIVE_WINDOW)?.first().copied();
        let Some(window) = active.filter(|window| *window != 0) else { return Ok(None) };
        match self.title(window) {
            Ok(title) => Ok(Some(title)),
            // It was closed meanwhile.
            Err(ReplyError::X11Error(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn title(&self, id: Window) -> Result<String, ReplyError> {
        let title = self.text(id, self.atoms._NET_WM_NAME)?;
        if title.is_empty() { self.text(id, AtomEnum::WM_NAME.into()) } else { Ok(title) }
    }

    fn describe(&self, id: Window, active: Option<Window>) -> Result<Option<WindowInfo>, ReplyError> {
        let kinds = self.values(id, self.atoms._NET_WM_WINDOW_TYPE)?;
        if kinds.contains(&self.atoms._NET_WM_WINDOW_TYPE_DOCK)
            || kinds.contains(&self.atoms._NET_WM_WINDOW_TYPE_DESKTOP)
        {
            return Ok(None);
        }
        let title = self.title(id)?;
        let class = self.text(id, AtomEnum::WM_CLASS.into())?;
        let class = class.trim_end_matches('\0').rsplit('\0').next().unwrap_or_default().to_owned();
        let size = self.connection.get_geometry(id)?.reply()?;
        let place = self.connection.translate_coordinates(id, self.root, 0, 0)?.reply()?;
        let hidden = self.values(id, self.atoms._NET_WM_STATE)?.contains(&self.atoms._NET_WM_STATE_HIDDEN);
        Ok(Some(WindowInfo {
            id,
            title,
            class,
            x: place.dst_x,
            y: place.dst_y,
            width: size.width,
            height: size.height,
            active: active == Some(id),
            hidden,
        }))
    }
}
