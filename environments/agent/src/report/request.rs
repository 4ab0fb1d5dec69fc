//! Whether a message asks for a report, of what, and in which layout.

use std::path::PathBuf;

use super::state::{Layout, State};
use crate::turn::Turn;

/// A report that was asked for.
#[derive(Debug)]
pub struct Request {
    /// What it is about.
    pub subject: Subject,
    /// The layout, if the message names one.
    pub layout: Option<Layout>,
}

/// What a report is about.
#[derive(Debug)]
pub enum Subject {
    /// A file of data.
    Data(PathBuf),
    /// The report that was made last.
    Latest(State),
    /// There is neither data nor an earlier report.
    Nothing,
}

impl Request {
    /// Reads a message; `None` if it asks for something else.
    pub fn read(turn: &Turn) -> Option<Self> {
        let text = turn.text.to_lowercase();
        let layout = layout(&text);
        if asks_for_report(&text) {
            let attached = turn.attachments.iter().find(|path| is_csv(path)).cloned();
            let subject = attached
                .map(Subject::Data)
                .or_else(|| State::latest(&turn.home).map(Subject::Latest))
                .or_else(|| newest_csv(&turn.home.join("Attachments")).map(Subject::Data))
                .unwrap_or(Subject::Nothing);
            return Some(Self { subject, layout: layout.or(Some(Layout::Overview)) });
        }
        // A message about charts means the report that is there.
        let latest = layout.and_then(|_| State::latest(&turn.home))?;
        Some(Self { subject: Subject::Latest(latest), layout })
    }
}

fn asks_for_report(text: &str) -> bool {
    let topics = ["rain", "precipitation", "temperature", "weather"];
    text.contains("report") && topics.iter().any(|topic| text.contains(topic))
}

fn layout(text: &str) -> Option<Layout> {
    let charts = ["chart", "graph", "plot", "diagram"].iter().any(|word| text.contains(word));
    if !charts {
        return None;
    }
    let per_year = ["per year", "each year", "every year", "by year", "a year", "for all years separately"];
    let one = [
        "one chart",
        "one graph",
        "one plot",
        "separate",
        "charts per",
        "own chart",
        "chart for each",
        "chart per",
    ];
    if per_year.iter().any(|words| text.contains(words)) && one.iter().any(|words| text.contains(words)) {
        return Some(Layout::PerYear);
    }
    let single = ["one chart", "single chart", "a single", "one graph", "one plot"];
    single.iter().any(|words| text.contains(words)).then_some(Layout::Overview)
}

fn is_csv(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

fn newest_csv(folder: &std::path::Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    entries
        .filter(|path| is_csv(path))
        .max_by_key(|path| path.metadata().and_then(|data| data.modified()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_goal_of_the_sample_asks_for_an_overview() {
        let goal =
            "make a one-page pdf report of yearly rain and temperature with a chart, from the attached data.";
        assert!(asks_for_report(goal));
        assert_eq!(layout(goal), None);
    }

    #[test]
    fn a_redirection_names_a_layout() {
        for text in ["use one chart per year", "please draw a chart for each year", "separate charts by year"]
        {
            assert_eq!(layout(text), Some(Layout::PerYear), "{text}");
        }
        assert_eq!(layout("go back to one chart"), Some(Layout::Overview));
        assert_eq!(layout("once per year is enough"), None);
    }
}
