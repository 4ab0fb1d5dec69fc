//! What a report remembers: one small file in its folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files;

/// How the page shows the years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// One chart of all years.
    #[default]
    Overview,
    /// One chart of months for each year.
    PerYear,
}

/// A report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Name of its folder.
    pub slug: String,
    /// File name of the data.
    pub source: String,
    /// What the data is about, the first words of the title.
    pub subject: String,
    /// How the page shows the years.
    pub layout: Layout,
    /// The version published last; 0 before the first.
    pub version: i64,
    /// Grows with every change, across all reports.
    pub serial: i64,
}

impl State {
    /// The report on a file of this name: the one that is there, or a new one.
    pub fn of_source(home: &Path, source: &str) -> Self {
        let stem = source.rsplit_once('.').map_or(source, |(stem, _)| stem);
        let slug = slug(stem);
        let fresh = Self {
            subject: subject(stem),
            source: source.to_owned(),
            layout: Layout::default(),
            version: 0,
            serial: 0,
            slug,
        };
        let known = Self::read(&fresh.folder(home));
        Self { version: known.map_or(0, |known| known.version), serial: next_serial(home), ..fresh }
    }

    /// The report that was worked on last.
    pub fn latest(home: &Path) -> Option<Self> {
        let mut latest = all(home).into_iter().max_by_key(|state| state.serial)?;
        latest.serial += 1;
        Some(latest)
    }

    /// Its folder.
    pub fn folder(&self, home: &Path) -> PathBuf {
        home.join("Reports").join(&self.slug)
    }

    /// Writes it to its folder.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        files::write(&folder.join("state.json"), serde_json::to_vec_pretty(self)?)
    }

    fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join("state.json")).ok()?).ok()
    }
}

fn all(home: &Path) -> Vec<State> {
    let Ok(entries) = std::fs::read_dir(home.join("Reports")) else { return Vec::new() };
    entries.filter_map(Result::ok).filter_map(|entry| State::read(&entry.path())).collect()
}

fn next_serial(home: &Path) -> i64 {
    all(home).iter().map(|state| state.serial).max().unwrap_or(0) + 1
}

/// A folder name that needs no quoting in a shell.
fn slug(stem: &str) -> String {
    let mut slug = String::new();
    for c in stem.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug: String = slug.chars().take(60).collect();
    let slug = slug.trim_matches('-');
    if slug.is_empty() { "report".to_owned() } else { slug.to_owned() }
}

/// `seattle-weather` → `Seattle weather`.
fn subject(stem: &str) -> String {
    let words = stem.replace(['-', '_', '.'], " ");
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut letters = words.chars();
    let first = letters.next().map(|c| c.to_uppercase().collect::<String>()).unwrap_or_default();
    let subject = first + letters.as_str();
    if subject.is_empty() { "Weather".to_owned() } else { subject }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_found_again_after_a_restart() {
        let home = tempfile::tempdir().unwrap();
        let mut state = State::of_source(home.path(), "seattle-weather.csv");
        assert_eq!((state.slug.as_str(), state.subject.as_str()), ("seattle-weather", "Seattle weather"));
        state.version = 2;
        state.write(&state.folder(home.path())).unwrap();
        let other = State::of_source(home.path(), "other.csv");
        other.write(&other.folder(home.path())).unwrap();
        assert_eq!(State::latest(home.path()).unwrap().slug, "other");
        assert_eq!(State::of_source(home.path(), "seattle-weather.csv").version, 2);
    }

    #[test]
    fn a_hostile_file_name_becomes_a_harmless_folder() {
        assert_eq!(slug("../$(reboot); x"), "reboot-x");
        assert_eq!(slug("…"), "report");
    }
}
