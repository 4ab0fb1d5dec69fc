//! Checks the data before any work begins, so that a person learns which row and column to mend.

use std::collections::HashSet;

/// Columns that must be there.
const REQUIRED: [&str; 4] = ["date", "precipitation", "temp_max", "temp_min"];
/// A larger file is no daily weather.
const MAX_BYTES: usize = 32 << 20;

/// What is wrong with the data, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not text.
    #[error("it is not a text file in UTF-8.")]
    NotText,
    /// Too large.
    #[error("it is larger than 32 MiB.")]
    TooLarge,
    /// Nothing in it.
    #[error("it is empty; it needs a header and one row a day.")]
    Empty,
    /// Columns are missing.
    #[error("the header has no column {missing}; it has {found}.")]
    Columns {
        /// The missing ones.
        missing: String,
        /// What is there.
        found: String,
    },
    /// Only a header.
    #[error("there are no rows below the header.")]
    NoRows,
    /// A cell is wrong.
    #[error("row {row}, column `{column}`: {what}.")]
    Cell {
        /// Line of the file; the header is 1.
        row: usize,
        /// Name of the column.
        column: String,
        /// What is wrong.
        what: String,
    },
    /// A row is too short.
    #[error("row {row} has {found} columns, the header has {expected}.")]
    Short {
        /// Line of the file.
        row: usize,
        /// Cells in the row.
        found: usize,
        /// Cells in the header.
        expected: usize,
    },
}

/// Checks the whole file; returns the number of days.
pub fn check(content: &[u8]) -> Result<usize, Problem> {
    if content.len() > MAX_BYTES {
        return Err(Problem::TooLarge);
    }
    let text = std::str::from_utf8(content).map_err(|_| Problem::NotText)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, header) = lines.next().ok_or(Problem::Empty)?;
    let header: Vec<String> = cells(header).iter().map(|cell| cell.to_lowercase()).collect();
    let missing: Vec<String> = REQUIRED
        .iter()
        .filter(|name| !header.iter().any(|cell| cell == *name))
        .map(|name| format!("`{name}`"))
        .collect();
    if !missing.is_empty() {
        let found = header.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(Problem::Columns { missing: missing.join(", "), found });
    }
    let mut dates = HashSet::new();
    for (number, line) in lines {
        let row = number + 1;
        let cells = cells(line);
        if cells.len() != header.len() {
            return Err(Problem::Short { row, found: cells.len(), expected: header.len() });
        }
        for (name, cell) in header.iter().zip(&cells) {
            check_cell(name, cell, &mut dates).map_err(|what| Problem::Cell {
                row,
                column: name.clone(),
                what,
            })?;
        }
    }
    if dates.is_empty() { Err(Problem::NoRows) } else { Ok(dates.len()) }
}

fn check_cell(name: &str, cell: &str, dates: &mut HashSet<jiff::civil::Date>) -> Result<(), String> {
    match name {
        "date" => {
            let date = cell.replace('/', "-").parse::<jiff::civil::Date>();
            let date = date.map_err(|_| format!("{cell:?} is no date such as 2012/01/31 or 2012-01-31"))?;
            if dates.insert(date) { Ok(()) } else { Err(format!("the day {cell} is there twice")) }
        }
        "precipitation" | "temp_max" | "temp_min" => {
            let number = cell.parse::<f64>().ok().filter(|number| number.is_finite());
            let number = number.ok_or_else(|| format!("{cell:?} is not a number"))?;
            if name == "precipitation" && number < 0.0 {
                return Err(format!("{cell} is less than no rain"));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Cells of a line; quotes may enclose commas.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = line.trim_end_matches('\r').chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                cell.push('"');
                letters.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(std::mem::take(&mut cell).trim().to_owned()),
            other => cell.push(other),
        }
    }
    cells.push(cell.trim().to_owned());
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        check(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn the_sample_is_accepted_with_all_its_days() {
        let sample = include_bytes!("../../tests/data/seattle-weather.csv");
        assert_eq!(check(sample), Ok(1461));
    }

    #[test]
    fn a_problem_names_the_row_and_the_column() {
        let head = "date,precipitation,temp_max,temp_min\n";
        assert_eq!(problem(""), "it is empty; it needs a header and one row a day.");
        assert_eq!(problem(head), "there are no rows below the header.");
        assert_eq!(
            problem("date,temp_max,wind\n2012/01/01,1,2\n"),
            "the header has no column `precipitation`, `temp_min`; it has `date`, `temp_max`, `wind`."
        );
        assert_eq!(
            problem(&format!("{head}2012/01/01,0,1,2\n2012/01/02,much,1,2\n")),
            "row 3, column `precipitation`: \"much\" is not a number."
        );
        assert_eq!(
            problem(&format!("{head}2012/13/01,0,1,2\n")),
            "row 2, column `date`: \"2012/13/01\" is no date such as 2012/01/31 or 2012-01-31."
        );
        assert_eq!(problem(&format!("{head}2012/01/01,0,1\n")), "row 2 has 3 columns, the header has 4.");
        assert_eq!(
            problem(&format!("{head}2012/01/01,0,NaN,1\n")),
            "row 2, column `temp_max`: \"NaN\" is not a number."
        );
        assert_eq!(
            problem("\u{feff}date,precipitation,temp_max,temp_min\r\n2012-01-01,0,1,\r\n"),
            "row 2, column `temp_min`: \"\" is not a number."
        );
        assert_eq!(check(&[0xff, 0xfe, 0x00]), Err(Problem::NotText));
    }
}
