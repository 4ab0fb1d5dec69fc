//! The clipboard as X programs offer it. Asking in X's own way works whoever the owner is, also when it is Xvnc for one of its clients;
//! RFB would tell deskd of programs' texts only.

use std::time::{Duration, Instant};

use x11rb::{
    connection::Connection,
    errors::ReplyError,
    protocol::{
        Event,
        xproto::{
            AtomEnum, ConnectionExt, CreateWindowAux, EventMask, GetPropertyReply, Property, Window,
            WindowClass,
        },
    },
    rust_connection::RustConnection,
};

/// How long the owner has to answer.
const LIMIT: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Longer texts are cut.
pub const MAX: usize = 256 * 1024;

x11rb::atom_manager! {
    /// Atoms of the selection protocol.
    Atoms: AtomsCookie {
        CLIPBOARD,
        UTF8_STRING,
        INCR,
        A8S_CLIPBOARD,
    }
}

/// The text, at most [`MAX`] bytes of it; `None` if nobody offers text, or the owner does not answer.
pub fn read(x: &RustConnection, root: Window) -> Result<Option<String>, ReplyError> {
    let atoms = Atoms::new(x)?.reply()?;
    let window = x
        .generate_id()
        .map_err(|_| ReplyError::ConnectionError(x11rb::errors::ConnectionError::UnknownError))?;
    let events = CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE);
    x.create_window(0, window, root, 0, 0, 1, 1, 0, WindowClass::INPUT_ONLY, 0, &events)?.check()?;
    let text = convert(x, window, &atoms);
    x.destroy_window(window)?.check()?;
    Ok(text?.map(|mut bytes| {
        bytes.truncate(MAX);
        String::from_utf8_lossy(&bytes).into_owned()
    }))
}

fn convert(x: &RustConnection, window: Window, atoms: &Atoms) -> Result<Option<Vec<u8>>, ReplyError> {
    let until = Instant::now() + LIMIT;
    x.convert_selection(
        window,
        atoms.CLIPBOARD,
        atoms.UTF8_STRING,
        atoms.A8S_CLIPBOARD,
        x11rb::CURRENT_TIME,
    )?;
    x.flush()?;
    let answered = wait(x, until, |event| match event {
        Event::SelectionNotify(notify) if notify.requestor == window => Some(notify.property != 0),
        _ => None,
    })?;
    if answered != Some(true) {
        return Ok(None);
    }
    let first = take(x, window, atoms)?;
    if first.type_ != atoms.INCR {
        return Ok(Some(first.value));
    }
    // A long text comes in pieces, each as soon as the one before it was deleted; an empty one is the end.
    let mut text = Vec::new();
    while text.len() < MAX {
        let more = wait(x, until, |event| match event {
            Event::PropertyNotify(notify)
                if notify.atom == atoms.A8S_CLIPBOARD && notify.state == Property::NEW_VALUE =>
            {
                Some(true)
            }
            _ => None,
        })?;
        let piece = if more.is_some() { take(x, window, atoms)?.value } else { return Ok(None) };
        if piece.is_empty() {
            break;
        }
        text.extend(piece);
    }
    Ok(Some(text))
}

fn take(x: &RustConnection, window: Window, atoms: &Atoms) -> Result<GetPropertyReply, ReplyError> {
    let most = u32::try_from(MAX / 4).unwrap_or(u32::MAX);
    // What is longer than that stays, and is never asked for.
    x.get_property(true, window, atoms.A8S_CLIPBOARD, AtomEnum::ANY, 0, most)?.reply()
}

fn wait(
    x: &RustConnection,
    until: Instant,
    found: impl Fn(&Event) -> Option<bool>,
) -> Result<Option<bool>, ReplyError> {
    loop {
        while let Some(event) = x.poll_for_event()? {
            if let Some(answer) = found(&event) {
                return Ok(Some(answer));
            }
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        // This connection has no way to wait for an event with a limit.
        std::thread::sleep(LOOK_AGAIN);
    }
}
