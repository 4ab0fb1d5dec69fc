//! The weather report: from a CSV of daily weather to a one-page PDF, made on the desktop with the desktop's programs.
//!
//! The figures are computed by a small Python program that the agent writes, so that a person can read and change it. What must be
//! remembered between messages is in the report's folder, so it survives restarts and is part of every snapshot.

mod csv;
mod desktop;
mod figures;
mod pdf;
mod request;
mod state;

use std::path::Path;

use serde_json::json;

pub use request::Request;

use self::{
    figures::Figures,
    request::Subject,
    state::{Layout, State},
};
use crate::{
    files,
    turn::{Failure, Turn},
};

/// The program that computes the figures and draws the page.
const PROGRAM: &str = include_str!("../../templates/make_report.py");

const PLAN: [&str; 5] = [
    "Look at the data",
    "Compute the figures and draw the page",
    "Look at the page in the browser",
    "Print it to PDF",
    "Publish the report",
];

/// Makes the report that was asked for and answers with its figures.
pub async fn run(turn: &Turn, request: Request) -> Result<(), Failure> {
    let mut state = match request.subject {
        Subject::Data(path) => begin(turn, &path)?,
        Subject::Latest(state) => state,
        Subject::Nothing => {
            return Err(Failure::new(
                "I need the data for that: attach a CSV file with the columns `date`, `precipitation`, `temp_max` and `temp_min`, one row a day.",
            ));
        }
    };
    if let Some(layout) = request.layout {
        state.layout = layout;
    }
    let folder = state.folder(&turn.home);
    turn.plan(&PLAN, 0);
    turn.say(match state.layout {
        Layout::Overview => {
            format!("I make the report from `{}`. You can watch me on the desktop.", state.source)
        }
        Layout::PerYear => format!("I draw the report on `{}` again, with one chart per year.", state.source),
    });
    prepare(&state, &folder)?;
    desktop::look_at_data(turn, &folder).await?;

    turn.plan(&PLAN, 1);
    desktop::run_program(turn, &state, &folder).await?;
    let figures = Figures::read(&folder.join("figures.json"))?;

    turn.plan(&PLAN, 2);
    desktop::show_page(turn, &folder.join("report.html"), &figures.page_title).await?;

    turn.plan(&PLAN, 3);
    let target = folder.join("report.pdf");
    desktop::print(turn, &figures.page_title, &folder, &target).await?;
    match pdf::check(&target)? {
        Some(pages) if pages != 1 => turn.say(format!("The report has {pages} pages instead of one.")),
        _ => {}
    }

    turn.plan(&PLAN, 4);
    files::share(&target)?;
    let arguments = json!({"path": target, "title": figures.title, "name": "report", "kind": "PDF"});
    let publish = async { Ok(turn.tool("publish_artifact", arguments).await?) };
    let (_, published) = turn.step("publish report.pdf", publish).await?;
    state.version = published.get("version").and_then(serde_json::Value::as_i64).unwrap_or(state.version + 1);
    state.write(&folder)?;

    turn.plan(&PLAN, PLAN.len());
    turn.say(figures.answer(state.version, state.layout));
    let summary = format!("published report.pdf, version {}: {}", state.version, figures.title);
    turn.tool("finish", json!({"summary": summary})).await?;
    Ok(())
}

/// Checks the data and makes the folder of a new report, or takes up the one that is there.
fn begin(turn: &Turn, path: &Path) -> Result<State, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let content = std::fs::read(path)
        .map_err(|error| Failure::new(format!("I cannot read the attached `{name}`: {error}.")))?;
    csv::check(&content).map_err(|problem| {
        Failure::new(format!("I cannot make a report of `{name}`: {problem} I published nothing."))
    })?;
    let state = State::of_source(&turn.home, &name);
    files::write(&state.folder(&turn.home).join("data.csv"), content)?;
    Ok(state)
}

/// Writes the program and what it is to draw, and takes away the results of the last time, so that old ones are never taken for new.
fn prepare(state: &State, folder: &Path) -> Result<(), Failure> {
    files::write(&folder.join("make_report.py"), PROGRAM)?;
    state.write(folder)?;
    for old in ["figures.json", "report.html", "report.pdf"] {
        match std::fs::remove_file(folder.join(old)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
