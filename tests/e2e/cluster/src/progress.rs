//! Prints what the tool is doing, one line for each step with the time it took. It never decides anything.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Printer of numbered steps: `step 3/9 images ... 12.3s`. Clones share the same counter.
#[derive(Clone)]
pub struct Progress {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    total: usize,
    done: usize,
    started: Instant,
    quiet: bool,
    terminal: bool,
    /// The step that runs, and when it began.
    current: Option<(String, Instant)>,
    /// What it is doing, as far as it says.
    detail: String,
    /// The current line is not ended.
    open_line: bool,
}

/// Time between two signs of life of a long step where nobody can be shown a running clock.
const SIGN_OF_LIFE: Duration = Duration::from_mins(1);

impl Progress {
    /// A printer for `total` steps on standard error.
    pub fn new(total: usize) -> Self {
        Self::with(total, false)
    }

    /// A printer that prints nothing, for tests.
    pub fn silent() -> Self {
        Self::with(0, true)
    }

    fn with(total: usize, quiet: bool) -> Self {
        let inner = Inner {
            total,
            done: 0,
            started: Instant::now(),
            quiet,
            terminal: io::stderr().is_terminal(),
            current: None,
            detail: String::new(),
            open_line: false,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one step and prints its number, name and duration, or that it failed.
    pub fn step<T, E>(&self, name: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let _clock = self.begin(name);
        let result = work();
        self.end(result.is_ok());
        result
    }

    /// The asynchronous form of [`Progress::step`].
    pub async fn step_async<T, E>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let _clock = self.begin(name);
        let result = work.await;
        self.end(result.is_ok());
        result
    }

    /// A detail inside the current step, on a line of its own.
    pub fn note(&self, text: &str) {
        let mut inner = self.lock();
        if !inner.quiet {
            inner.close_line();
            eprintln!("    {text}");
        }
    }

    /// What the current step is doing now; shown with its clock and forgotten.
    pub fn doing(&self, text: &str) {
        text.clone_into(&mut self.lock().detail);
    }

    /// Time since the printer was made.
    pub fn elapsed(&self) -> Duration {
        self.lock().started.elapsed()
    }

    /// Prints the head of a step. The clock runs until the returned sender is dropped.
    fn begin(&self, name: &str) -> Option<mpsc::Sender<()>> {
        let mut inner = self.lock();
        inner.done += 1;
        inner.detail.clear();
        let head = head(inner.done, inner.total, name);
        if inner.quiet {
            return None;
        }
        inner.close_line();
        eprint!("{head}");
        inner.open_line = true;
        inner.current = Some((head, Instant::now()));
        // A failed flush of a progress line is no reason to stop the work.
        let _ = io::stderr().flush();
        let (stop, stopped) = mpsc::channel();
        let (this, pause) =
            (self.clone(), if inner.terminal { Duration::from_secs(1) } else { SIGN_OF_LIFE });
        std::thread::spawn(move || {
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                this.lock().tick();
            }
        });
        Some(stop)
    }

    fn end(&self, ok: bool) {
        let mut inner = self.lock();
        let Some((head, began)) = inner.current.take() else { return };
        if inner.terminal {
            eprint!("\r\x1b[K{head}");
        } else if !inner.open_line {
            eprint!("{head}");
        }
        inner.open_line = false;
        eprintln!(" {}{}", seconds(began.elapsed()), if ok { "" } else { " FAILED" });
    }
}

impl Inner {
    fn close_line(&mut self) {
        if self.open_line {
            eprintln!();
            self.open_line = false;
        }
    }

    /// A sign of life: on a terminal the step's line is written anew, elsewhere a line is added.
    fn tick(&mut self) {
        let Some((head, began)) = self.current.clone() else { return };
        let (time, detail) = (seconds(began.elapsed()), self.detail.clone());
        if self.terminal {
            let line: String = format!("{head} {time} {detail}").chars().take(100).collect();
            eprint!("\r\x1b[K{line}");
            self.open_line = true;
            let _ = io::stderr().flush();
        } else {
            self.close_line();
            eprintln!("    {time} {detail}");
        }
    }
}

fn head(number: usize, total: usize, name: &str) -> String {
    format!("step {number}/{} {name} ...", total.max(number))
}

/// A duration as people read it: `0.4s`, `12.3s`, `2m05s`.
pub fn seconds(d: Duration) -> String {
    let s = d.as_secs_f64();
    if s < 100.0 { format!("{s:.1}s") } else { format!("{}m{:02}s", d.as_secs() / 60, d.as_secs() % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_seconds_and_then_minutes() {
        assert_eq!(seconds(Duration::from_millis(440)), "0.4s");
        assert_eq!(seconds(Duration::from_secs(125)), "2m05s");
    }

    #[test]
    fn a_failed_step_hands_its_error_on() {
        let result: Result<(), &str> = Progress::silent().step("x", || Err("broken"));
        assert_eq!(result, Err("broken"));
    }

    #[test]
    fn more_steps_than_announced_never_print_a_total_below_the_number() {
        assert_eq!(head(4, 3, "x"), "step 4/4 x ...");
    }
}
