//! How long things stay as they are: durations, lifecycles, schedules and what is kept of Snapshots.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A length of time for people: `90s`, `20m`, `1h30m`, `3d`. A day has 24 hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Duration(
    #[schemars(
        length(min = 2, max = 32),
        regex(pattern = r"^([0-9]{1,6}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,9}s)?$")
    )]
    pub String,
);

impl Duration {
    /// Its length in seconds; `None` for what the schema would have refused.
    pub fn seconds(&self) -> Option<i64> {
        let (mut total, mut number) = (0i64, None::<i64>);
        for c in self.0.chars() {
            if let Some(digit) = c.to_digit(10) {
                number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(i64::from(digit))?);
                continue;
            }
            let unit = match c {
                'd' => 86_400,
                'h' => 3_600,
                'm' => 60,
                's' => 1,
                _ => return None,
            };
            total = total.checked_add(number.take()?.checked_mul(unit)?)?;
        }
        (number.is_none() && !self.0.is_empty()).then_some(total)
    }
}

/// What becomes of a Workspace that nobody uses. Used means: the agent works on a turn, a person watches, or a person sent input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// After so long without use the pod goes and the volume stays. A message, opening the desktop or the annotation `a8s.dev/wake` wakes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_suspend_after: Option<Duration>,
    /// After so long suspended a Snapshot takes the volume's place. Waking makes a new volume from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive_after: Option<Duration>,
    /// After so long suspended or archived the Workspace (of a Session: the Session too) is deleted. Snapshots and Artifacts stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_after: Option<Duration>,
}

/// When Snapshots are taken by themselves, and which of those are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotPolicy {
    /// After each turn of the agent.
    #[serde(default)]
    pub each_turn: bool,
    /// Before the pod goes, by the user or for idleness.
    #[serde(default)]
    pub before_suspend: bool,
    /// When the agent asks for permission, before anybody can have answered.
    #[serde(default)]
    pub before_requests: bool,
    /// At these times: five fields of cron (minute, hour, day of month, month, day of week) in UTC, for example `0 */4 * * *`, or `@hourly`, `@daily`, `@weekly`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(r"self.matches('^@(hourly|daily|weekly|monthly|yearly)$') || self.matches('^[0-9*/,-]+( +[0-9A-Za-z*/,-]+){4}$')").message("must have five fields as in cron, or be @hourly, @daily, @weekly, @monthly or @yearly"))]
    pub schedule: Option<String>,
    /// Which of the automatic Snapshots are kept; those with `hold` and those made by people always are. Default: the last ten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
}

/// A Snapshot that any of these keeps is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Keep {
    /// The newest so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub last: Option<i32>,
    /// The newest of each of so many days (UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub daily: Option<i32>,
    /// The newest of each of so many weeks (ISO 8601, UTC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub weekly: Option<i32>,
    /// All that are younger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_the_sum_of_its_parts() {
        let seconds = |text: &str| Duration(text.into()).seconds();
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("1d2h3m4s"), Some(93_784));
        for wrong in ["", "5", "m", "3x", "1h5", "99999999999999999999d"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
