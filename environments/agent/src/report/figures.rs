//! The figures that the program computed, and the answer made of them.

use std::{fmt::Write, path::Path};

use serde::Deserialize;

use super::state::Layout;
use crate::turn::Failure;

/// Content of `figures.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Figures {
    /// Title of the report.
    pub title: String,
    /// Title of the page, which the browser shows in its window's title.
    pub page_title: String,
    /// Years in order.
    pub years: Vec<Year>,
}

/// One year.
#[derive(Clone, Debug, Deserialize)]
pub struct Year {
    /// Which.
    #[serde(rename = "year")]
    pub number: i32,
    /// Days with data.
    pub days: u32,
    /// Sum in millimetres.
    pub precipitation_mm: f64,
    /// Days with more than 0 mm.
    pub rainy_days: u32,
    /// Mean of the daily highs in °C.
    pub mean_temp_max: f64,
    /// Mean of the daily lows in °C.
    pub mean_temp_min: f64,
}

impl Figures {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let content = std::fs::read(path)?;
        serde_json::from_slice(&content).map_err(|error| {
            Failure::new(format!("The figures in `{}` cannot be read: {error}.", path.display()))
        })
    }

    /// The chat's answer: the figures as a table.
    pub fn answer(&self, version: i64, layout: Layout) -> String {
        let mut text = match layout {
            Layout::Overview => format!("The report is ready: **{}** (version {version}).\n\n", self.title),
            Layout::PerYear => {
                format!("The report now has one chart per year: **{}** (version {version}).\n\n", self.title)
            }
        };
        text.push_str(
            "| Year | Rain (mm) | Rainy days | Mean high (°C) | Mean low (°C) |\n|---|---:|---:|---:|---:|\n",
        );
        for year in &self.years {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| {} | {:.1} | {} | {:.1} | {:.1} |",
                year.number, year.precipitation_mm, year.rainy_days, year.mean_temp_max, year.mean_temp_min
            );
        }
        text.push_str("\nA rainy day is one with more than 0 mm.");
        let partial: Vec<String> = self
            .years
            .iter()
            .filter(|year| year.days < 365)
            .map(|year| format!("{} ({} days)", year.number, year.days))
            .collect();
        if !partial.is_empty() {
            let _ = write!(text, " Incomplete years: {}.", partial.join(", "));
        }
        text
    }
}
