//! Times of `snapshots.schedule`: five fields of cron in UTC. The schema can say how such a text looks but not that every number in it is a
//! minute, an hour or a day; whoever accepts or follows a schedule reads it here.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{Timestamp, Zoned, tz::TimeZone};

/// A schedule that has times.
#[derive(Clone, Debug)]
pub struct Schedule(Cron);

impl Schedule {
    /// Reads five fields or one of the short forms; what is wrong is said for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let short = |text: &str| {
            Some(match text {
                "@hourly" => "0 * * * *",
                "@daily" => "0 0 * * *",
                "@weekly" => "0 0 * * 0",
                "@monthly" => "0 0 1 * *",
                "@yearly" => "0 0 1 1 *",
                _ => return None,
            })
        };
        let refuse = |why: &dyn std::fmt::Display| {
            format!(
                "{text:?} is no schedule ({why}); give minute, hour, day of month, month and day of week, for example \"0 */4 * * *\""
            )
        };
        let cron = parser.parse(short(text).unwrap_or(text)).map_err(|e| refuse(&e))?;
        let schedule = Self(cron);
        // The thirtieth of February is well formed.
        schedule
            .after(Timestamp::UNIX_EPOCH)
            .map(|_| schedule.clone())
            .ok_or_else(|| refuse(&"it never comes"))
    }

    /// The first time after `moment`.
    pub fn after(&self, moment: Timestamp) -> Option<Timestamp> {
        self.0.find_next_occurrence(&utc(moment), false).ok().map(|t| t.timestamp())
    }

    /// The last time up to `moment`.
    pub fn until(&self, moment: Timestamp) -> Option<Timestamp> {
        self.0.find_previous_occurrence(&utc(moment), true).ok().map(|t| t.timestamp())
    }
}

fn utc(moment: Timestamp) -> Zoned {
    moment.to_zoned(TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn times_are_those_of_cron_in_utc() {
        // The schedule, a moment, the last time up to it, the first after it.
        let table = [
            ("0 */4 * * *", "2026-11-22T07:59:59.5Z", "2026-11-22T04:00:00Z", "2026-11-22T08:00:00Z"),
            ("0 */4 * * *", "2026-11-22T08:00:00Z", "2026-11-22T08:00:00Z", "2026-11-22T12:00:00Z"),
            ("@hourly", "2026-11-22T08:30:00Z", "2026-11-22T08:00:00Z", "2026-11-22T09:00:00Z"),
            ("@weekly", "2026-11-24T08:30:00Z", "2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z"),
            ("30 9 * * mon-fri", "2026-11-22T12:00:00Z", "2026-11-20T09:30:00Z", "2026-11-23T09:30:00Z"),
            ("0 0 29 2 *", "2026-11-22T12:00:00Z", "2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z"),
            // Either day counts if both are given.
            ("0 0 1 * 1", "2026-11-22T12:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"),
        ];
        for (text, moment, last, next) in table {
            let schedule = Schedule::parse(text).unwrap();
            assert_eq!(schedule.until(at(moment)), Some(at(last)), "{text}");
            assert_eq!(schedule.after(at(moment)), Some(at(next)), "{text}");
        }
    }

    #[test]
    fn what_no_clock_shows_is_refused_with_an_example() {
        for text in ["61 * * * *", "0 25 * * *", "0 0 30 2 *", "* * * *", "0 0 0 0 * *", "", "@reboot", "x"] {
            let error = Schedule::parse(text).expect_err(text);
            assert!(error.contains("0 */4 * * *"), "{error}");
        }
    }
}
