//! Figures and how they are told: one table with what was measured, what it is compared with, their ratio and the target; below it what
//! it was made from.

use std::fmt::Write;

/// A list of measurements.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<f64>);

impl From<Vec<f64>> for Figures {
    fn from(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        Self(all)
    }
}

impl Figures {
    /// The smallest that so many of a hundred do not exceed.
    pub fn percentile(&self, of_hundred: usize) -> f64 {
        let rank = (self.0.len() * of_hundred).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    /// The median.
    pub fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// Least and most.
    pub fn range(&self) -> (f64, f64) {
        (self.0.first().copied().unwrap_or(f64::NAN), self.0.last().copied().unwrap_or(f64::NAN))
    }
}

/// A line of the table.
pub struct Row {
    what: String,
    ours: f64,
    unit: &'static str,
    spread: Option<(f64, f64)>,
    other: Option<(&'static str, f64)>,
    target: Option<f64>,
}

impl Row {
    /// A figure.
    pub fn new(what: impl Into<String>, ours: f64, unit: &'static str) -> Self {
        Self { what: what.into(), ours, unit, spread: None, other: None, target: None }
    }

    /// The median of several, with the least and the most.
    pub fn median(what: impl Into<String>, all: &Figures, unit: &'static str) -> Self {
        Self { spread: Some(all.range()), ..Self::new(what, all.median(), unit) }
    }

    /// What it is compared with.
    pub fn beside(mut self, name: &'static str, figure: f64) -> Self {
        self.other = Some((name, figure));
        self
    }

    /// What it is to stay within.
    pub fn target(mut self, most: f64) -> Self {
        self.target = Some(most);
        self
    }

    fn line(&self) -> String {
        let mut ours = format!("{} {}", short(self.ours), self.unit);
        if let Some((least, most)) = self.spread {
            let _ = write!(ours, " ({}–{})", short(least), short(most));
        }
        let (other, ratio) = self.other.map_or_else(Default::default, |(name, figure)| {
            (format!("{} {} {name}", short(figure), self.unit), format!("{:.2}", self.ours / figure))
        });
        let (target, met) = self.target.map_or_else(Default::default, |target| {
            let met = if self.ours <= target { "met" } else { "**missed**" };
            (format!("≤ {} {}", short(target), self.unit), met)
        });
        format!("| {} | {ours} | {other} | {ratio} | {target} | {met} |", self.what)
    }
}

/// Rows and notes, printed as they come and once more together at the end.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    /// Takes a line.
    pub fn row(&mut self, row: Row) {
        eprintln!("{}", row.line());
        self.rows.push(row);
    }

    /// Takes raw figures: shown below the table.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        eprintln!("{note}");
        self.notes.push(note);
    }

    /// Prints all of it.
    pub fn print(&self) {
        println!("\n| measure | a8s | beside it | ratio | target | |\n|---|--:|--:|--:|--:|---|");
        for row in &self.rows {
            println!("{}", row.line());
        }
        println!();
        for note in &self.notes {
            println!("{note}\n");
        }
    }
}

/// Three digits that count; of a whole number all.
pub fn short(figure: f64) -> String {
    let digits = match figure.abs() {
        f if f >= 100.0 || f.fract() == 0.0 => 0,
        f if f >= 10.0 => 1,
        _ => 2,
    };
    format!("{figure:.digits$}")
}

/// So many for each.
#[allow(clippy::cast_precision_loss, reason = "counts of a bench are far below 2^52")]
pub fn per(count: usize, each: usize) -> f64 {
    count as f64 / each as f64
}

/// A raw list as measured, in its order.
pub fn raw(all: &[f64]) -> String {
    all.iter().map(|f| format!("{f:.0}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "figures are handed through, not calculated")]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_figure_that_was_measured() {
        let all = Figures::from((1..=50).rev().map(f64::from).collect::<Vec<_>>());
        assert_eq!([1, 50, 95, 99, 100].map(|p| all.percentile(p)), [1.0, 25.0, 48.0, 50.0, 50.0]);
        assert_eq!(Figures::from(vec![7.0]).percentile(99), 7.0);
        assert!(Figures::default().median().is_nan());
    }

    #[test]
    fn a_line_says_whether_the_target_is_met_and_nothing_measured_meets_none() {
        let line = |ours: f64| Row::new("x", ours, "ms").beside("bare", 100.0).target(300.0).line();
        assert_eq!(line(150.0), "| x | 150 ms | 100 ms bare | 1.50 | ≤ 300 ms | met |");
        assert!(line(301.0).contains("missed"));
        assert!(line(f64::NAN).contains("missed"));
    }
}
