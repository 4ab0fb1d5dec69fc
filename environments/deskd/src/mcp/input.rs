//! Arguments of the tools, as a model writes them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};

/// Arguments that may be wrong: a tool that says what is wrong helps a model, where a protocol error ends its turn.
#[derive(Clone, Debug)]
pub struct Given<T>(pub Result<T, String>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(from)?;
        Ok(Self(serde_json::from_value(value).map_err(|error| error.to_string())))
    }
}

impl<T: JsonSchema> JsonSchema for Given<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// What to do with mouse, keyboard and screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Action {
    Screenshot,
    Zoom,
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

impl Action {
    /// Whether it only looks.
    pub fn looks(self) -> bool {
        matches!(self, Self::Screenshot | Self::Zoom | Self::Wait | Self::CursorPosition)
    }
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
    #[serde(default, deserialize_with = "pixels")]
    pub coordinate: Option<[i32; 2]>,
    /// Where `left_click_drag` begins; without it, where the pointer is.
    #[serde(default, deserialize_with = "pixels")]
    pub start_coordinate: Option<[i32; 2]>,
    /// Text for `type`; keys such as `ctrl+s` or `Return` for `key` and `hold_key`; keys held during a click, drag or scroll.
    #[serde(default)]
    pub text: Option<String>,
    /// The same as `text` where keys are meant.
    #[serde(default)]
    pub key: Option<String>,
    /// Direction of `scroll`.
    #[serde(default)]
    pub scroll_direction: Option<Direction>,
    /// Wheel clicks of `scroll`, 1 to 50.
    #[serde(default)]
    pub scroll_amount: Option<u32>,
    /// Seconds of `wait` and `hold_key`, at most 100.
    #[serde(default)]
    pub duration: Option<f64>,
    /// Corners [x0, y0, x1, y1] of what `zoom` shows enlarged.
    #[serde(default, deserialize_with = "pixels")]
    pub region: Option<[i32; 4]>,
    /// Whether the answer includes a picture of the screen after the action; true unless said otherwise.
    #[serde(default)]
    pub screenshot_after: Option<bool>,
}

impl ComputerInput {
    /// The keys that are meant, wherever they are written.
    pub fn keys(&self) -> Option<&str> {
        self.key.as_deref().or(self.text.as_deref()).filter(|keys| !keys.is_empty())
    }
}

/// Whole pixels; models also write 640.0.
fn pixels<'de, D: Deserializer<'de>, const N: usize>(from: D) -> Result<Option<[i32; N]>, D::Error> {
    let Some(given) = Option::<Vec<f64>>::deserialize(from)? else { return Ok(None) };
    let whole = |value: &f64| {
        let value = value.round();
        // No screen is that large; the cast cannot cut anything off.
        #[allow(clippy::cast_possible_truncation)]
        (value.abs() <= 100_000.0).then_some(value as i32)
    };
    let values: Option<Vec<i32>> = given.iter().map(whole).collect();
    let values = values.and_then(|values| <[i32; N]>::try_from(values).ok());
    values.map(Some).ok_or_else(|| D::Error::custom(format!("{given:?} is no list of {N} pixel numbers")))
}

/// Arguments of `computer_batch`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct BatchInput {
    /// What to do, in order, at most 10; each as for `computer`.
    #[schemars(length(min = 1, max = 10))]
    pub actions: Vec<ComputerInput>,
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

/// What to do with the clipboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ClipboardAction {
    Get,
    Set,
}

/// Arguments of `clipboard`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct ClipboardInput {
    /// `get` answers with the text that was copied last, `set` replaces it.
    pub action: ClipboardAction,
    /// The text for `set`.
    #[serde(default)]
    pub text: Option<String>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_writes_is_read_and_what_is_wrong_is_explained() {
        let read = |json: &str| serde_json::from_str::<Given<ComputerInput>>(json).unwrap().0;
        let click = read(r#"{"action":"left_click","coordinate":[640.4,12],"key":"shift"}"#).unwrap();
        assert_eq!((click.coordinate, click.keys()), (Some([640, 12]), Some("shift")));
        assert_eq!(read(r#"{"action":"type","text":"a","coordinate":null}"#).unwrap().coordinate, None);
        for (json, why) in [
            (r#"{"action":"left_click","coordinate":[1,2,3]}"#, "2 pixel numbers"),
            (r#"{"action":"left_click","coordinate":"[1,2]"}"#, "invalid type"),
            (r#"{"action":"zoom","region":[1,2,1e12,3]}"#, "4 pixel numbers"),
            (r#"{"action":"jump"}"#, "unknown variant `jump`"),
            ("{}", "missing field `action`"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(why), "{json}: {error}");
        }
    }
}
