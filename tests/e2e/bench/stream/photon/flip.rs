//! What a key press shows: an X client that fills its window with another colour each time.

use anyhow::{Context, Result, ensure};
use x11rb::{
    CURRENT_TIME,
    connection::Connection,
    protocol::{
        Event,
        xproto::{
            ChangeWindowAttributesAux, ConnectionExt, CreateWindowAux, EventMask, GrabMode, GrabStatus,
            WindowClass,
        },
    },
};

/// Width and height of the window, whose corner is the screen's.
pub const SIZE: (u16, u16) = (640, 480);
/// Told apart by their red.
const COLOURS: [u32; 2] = [0x00_20_40_a0, 0x00_e0_40_a0];

/// Runs until the display goes.
pub fn run() -> Result<()> {
    let (x, screen) = x11rb::connect(None).context("connecting to the display")?;
    let window = x.generate_id()?;
    let root = &x.setup().roots[screen];
    let look = CreateWindowAux::new()
        .background_pixel(COLOURS[0])
        .event_mask(EventMask::KEY_PRESS)
        // The window manager neither moves it nor gives its keys to another.
        .override_redirect(1);
    let class = WindowClass::INPUT_OUTPUT;
    x.create_window(root.root_depth, window, root.root, 0, 0, SIZE.0, SIZE.1, 0, class, 0, &look)?;
    x.map_window(window)?;
    let (now, mode) = (CURRENT_TIME, GrabMode::ASYNC);
    let grabbed = x.grab_keyboard(false, window, now, mode, mode)?.reply()?;
    ensure!(grabbed.status == GrabStatus::SUCCESS, "the keyboard is another's");
    let mut colours = COLOURS.into_iter().cycle().skip(1);
    loop {
        if matches!(x.wait_for_event()?, Event::KeyPress(_)) {
            let next = ChangeWindowAttributesAux::new().background_pixel(colours.next());
            x.change_window_attributes(window, &next)?;
            x.clear_area(false, window, 0, 0, 0, 0)?;
            x.flush()?;
        }
    }
}
