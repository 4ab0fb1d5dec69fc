//! The steps of the report that people can watch: the desktop's own programs do the work, and every result is checked by the file that
//! it leaves.

use std::{path::Path, time::Duration};

use tokio::time::{Instant, sleep};

use super::{pdf, state::State};
use crate::{
    tools::ToolError,
    turn::{Failure, Turn},
};

/// How long the figures may take.
const COMPUTE: Duration = Duration::from_mins(1);
/// How long the table stays in view before the browser covers it.
const READ: Duration = Duration::from_secs(2);
/// How long a chosen file name may take to become a file.
const SAVE: Duration = Duration::from_secs(3);
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
                turn.settled(0.3).await?;
            }
            Err(ToolError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    };
    turn.step("open the data's folder", open).await
}

/// Types the command that computes the figures into a terminal and waits for its files.
pub async fn run_program(turn: &Turn, state: &State, folder: &Path) -> Result<(), Failure> {
    // The title differs each time: a terminal of last time must not be taken for the new one.
    let title = format!("Weather report {}", state.serial);
    turn.step("open a terminal", open_terminal(turn, &title)).await?;
    let command = format!("python3 ~/Reports/{}/make_report.py", state.slug);
    let run = async {
        turn.focus(&title).await?;
        turn.type_text(&command).await?;
        turn.key("Return").await?;
        let figures = folder.join("figures.json");
        if appears(COMPUTE, || figures.is_file()).await {
            turn.settled(0.3).await?;
            sleep(READ).await;
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
        turn.launch("browser", &["--new-window", &url]).await?;
        turn.window(title, 20).await?;
        turn.settled(0.7).await?;
        Ok(())
    };
    turn.step("open report.html in the browser", open).await
}

/// Prints the page that the browser shows.
pub async fn print(turn: &Turn, title: &str, folder: &Path, target: &Path) -> Result<(), Failure> {
    let by_dialog = async {
        if print_by_dialog(turn, title, target).await? {
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
async fn print_by_dialog(turn: &Turn, title: &str, target: &Path) -> Result<bool, Failure> {
    turn.focus(title).await?;
    turn.key("ctrl+p").await?;
    let mut chooser = false;
    // The first Return comes too early while the preview is still being drawn.
    for _ in 0..3 {
        turn.settled(0.8).await?;
        turn.key("Return").await?;
        chooser = turn.window("Save", 4).await?;
        if chooser {
            break;
        }
    }
    if chooser {
        turn.settled(0.3).await?;
        turn.key("ctrl+a").await?;
        turn.type_text(&target.display().to_string()).await?;
        // The chooser reads the typed folder first, and a Return during that time is lost; its button has a key of its own.
        for keys in ["Return", "alt+s", "Return"] {
            turn.settled(0.4).await?;
            turn.key(keys).await?;
            if appears(SAVE, || pdf::finished(target)).await {
                return Ok(true);
            }
        }
        turn.key("Escape").await?;
    }
    turn.key("Escape").await?;
    Ok(false)
}

async fn print_by_command(turn: &Turn, folder: &Path, target: &Path) -> Result<(), Failure> {
    let title = format!("Print {}", jiff::Timestamp::now().as_millisecond());
    open_terminal(turn, &title).await?;
    turn.focus(&title).await?;
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
    Err(Failure::new(
        "The browser did not print the page: neither its dialog nor its command left a PDF file.",
    ))
}

async fn open_terminal(turn: &Turn, title: &str) -> Result<(), Failure> {
    turn.launch("terminal", &["-T", title]).await?;
    turn.window(title, 15).await?;
    turn.settled(0.3).await?;
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
