//! The steps of the report that people can watch: the desktop's own programs do the work, and every result is checked by the file that
//! it leaves.

use std::{path::Path, time::Duration};

use tokio::time::{Instant, sleep};

use super::pdf;
use crate::{
    tools::ToolError,
    turn::{Failure, Turn},
};

/// Title of the terminal in which the program runs.
const TERMINAL: &str = "Weather report";
/// Title of the terminal that is used when the print dialog does not work.
const FALLBACK_TERMINAL: &str = "Print the report";
/// How long the figures may take.
const COMPUTE: Duration = Duration::from_mins(1);
/// How long a chosen file name may take to become a file.
const SAVE: Duration = Duration::from_secs(8);
/// How long the browser may take to print without its dialog.
const HEADLESS: Duration = Duration::from_mins(1);

/// Opens the folder of the report. Nothing depends on it, so a desktop without a file manager is fine.
pub async fn look_at_data(turn: &Turn, folder: &Path) -> Result<(), Failure> {
    let shown = folder.display().to_string();
    let open = async {
        match turn.launch("files", &[&shown]).await {
            Ok(()) => {
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                turn.window(&name, 5).await?;
                turn.settled(300).await?;
            }
            Err(ToolError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    };
    turn.step("open the data's folder", open).await
}

/// Types the command that computes the figures into a terminal and waits for its files.
pub async fn run_program(turn: &Turn, slug: &str, folder: &Path) -> Result<(), Failure> {
    turn.step("open a terminal", open_terminal(turn, TERMINAL)).await?;
    let command = format!("python3 ~/Reports/{slug}/make_report.py");
    let run = async {
        turn.type_text(&command).await?;
        turn.key("Return").await?;
        let figures = folder.join("figures.json");
        if appears(COMPUTE, || figures.is_file()).await {
            turn.settled(300).await?;
            return Ok(());
        }
        Err(Failure::new(format!(
            "The program `{command}` left no figures within a minute. Its output is in the terminal on the desktop."
        )))
    };
    turn.step(format!("run {command}"), run).await
}

/// Shows the page in the browser.
pub async fn show_page(turn: &Turn, page: &Path, title: &str) -> Result<(), Failure> {
    let url = format!("file://{}", page.display());
    let open = async {
        turn.launch("browser", &[&url]).await?;
        turn.window(title, 20).await?;
        turn.settled(700).await?;
        Ok(())
    };
    turn.step("open report.html in the browser", open).await
}

/// Prints the page that the browser shows.
pub async fn print(turn: &Turn, folder: &Path, target: &Path) -> Result<(), Failure> {
    let by_dialog = async {
        if print_by_dialog(turn, target).await? {
            return Ok(());
        }
        Err(Failure::new("the dialog left no file"))
    };
    match turn.step("print to report.pdf", by_dialog).await {
        Ok(()) => Ok(()),
        Err(failure) => {
            tracing::warn!(%failure, "the print dialog did not work");
            let print = print_by_command(turn, folder, target);
            turn.step("print to report.pdf from the terminal", print).await
        }
    }
}

/// ctrl+p, "Save as PDF", the file chooser. Returns whether the file is there.
async fn print_by_dialog(turn: &Turn, target: &Path) -> Result<bool, Failure> {
    turn.key("ctrl+p").await?;
    let mut chooser = false;
    // The first Return comes too early while the preview is still being drawn.
    for _ in 0..3 {
        turn.settled(800).await?;
        turn.key("Return").await?;
        chooser = turn.window("Save", 4).await?;
        if chooser {
            break;
        }
    }
    if chooser {
        turn.settled(300).await?;
        turn.key("ctrl+a").await?;
        turn.type_text(&target.display().to_string()).await?;
        turn.key("Return").await?;
        if appears(SAVE, || pdf::finished(target)).await {
            return Ok(true);
        }
        turn.key("Escape").await?;
    }
    turn.key("Escape").await?;
    Ok(false)
}

async fn print_by_command(turn: &Turn, folder: &Path, target: &Path) -> Result<(), Failure> {
    open_terminal(turn, FALLBACK_TERMINAL).await?;
    // A profile of its own: with the shared one the running browser would take the command and print nothing.
    let command = format!(
        "chromium --headless=new --user-data-dir=$(mktemp -d) --no-pdf-header-footer --print-to-pdf={} file://{}",
        target.display(),
        folder.join("report.html").display()
    );
    turn.type_text(&command).await?;
    turn.key("Return").await?;
    if appears(HEADLESS, || pdf::finished(target)).await {
        return Ok(());
    }
    Err(Failure::new("The browser did not print the page: neither its dialog nor its command left a PDF file."))
}

async fn open_terminal(turn: &Turn, title: &str) -> Result<(), Failure> {
    turn.launch("terminal", &["-T", title]).await?;
    turn.window(title, 15).await?;
    turn.settled(300).await?;
    Ok(())
}

async fn appears(patience: Duration, there: impl Fn() -> bool) -> bool {
    let give_up = Instant::now() + patience;
    loop {
        if there() {
            return true;
        }
        if Instant::now() >= give_up {
            return false;
        }
        sleep(Duration::from_millis(150)).await;
    }
}
