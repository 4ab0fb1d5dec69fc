//! Arguments of the tools, as a model writes them.

use schemars::JsonSchema;
use serde::Deserialize;

/// What to do with mouse, keyboard and screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Action {
    Screenshot,
    LeftClick,
    RightClick,
    MiddleClick,
    DoubleClick,
    TripleClick,
    MouseMove,
    LeftClickDrag,
    LeftMouseDown,
    LeftMouseUp,
    Scroll,
    Type,
    Key,
    HoldKey,
    Wait,
    CursorPosition,
}

/// A scroll direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Direction {
    Up,
    Down,
    Left,
    Right,
}

/// Arguments of `computer`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct ComputerInput {
    /// What to do.
    pub action: Action,
    /// Pixel [x, y] from the top left; without it, clicks and scrolls happen where the pointer is.
    #[serde(default)]
    pub coordinate: Option<[i32; 2]>,
    /// Where `left_click_drag` begins; without it, where the pointer is.
    #[serde(default)]
    pub start_coordinate: Option<[i32; 2]>,
    /// Text for `type`; keys such as `ctrl+s` or `Return` for `key` and `hold_key`; keys held during a click or scroll.
    #[serde(default)]
    pub text: Option<String>,
    /// Direction of `scroll`.
    #[serde(default)]
    pub scroll_direction: Option<Direction>,
    /// Wheel clicks of `scroll`, 1 to 50.
    #[serde(default)]
    pub scroll_amount: Option<u32>,
    /// Seconds of `wait` and `hold_key`, at most 60.
    #[serde(default)]
    pub duration: Option<f64>,
    /// Whether the answer includes a picture of the screen after the action; true unless said otherwise.
    #[serde(default)]
    pub screenshot_after: Option<bool>,
}

/// Arguments of `launch`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct LaunchInput {
    /// Short name of an application (see `desktop_info`), a program on PATH, or an absolute path.
    pub program: String,
    /// Arguments.
    #[serde(default)]
    pub args: Vec<String>,
}

/// Arguments of `wait_for_window`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct WaitForWindowInput {
    /// Part of the window's title, upper and lower case alike.
    pub title_contains: String,
    /// Seconds to wait, 10 unless said otherwise, at most 120.
    #[serde(default)]
    pub timeout_seconds: Option<f64>,
}

/// Arguments of `wait_settled`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct WaitSettledInput {
    /// How long nothing may change, 0.4 seconds unless said otherwise.
    #[serde(default)]
    pub quiet_seconds: Option<f64>,
    /// Seconds to wait, 10 unless said otherwise, at most 120.
    #[serde(default)]
    pub timeout_seconds: Option<f64>,
}
