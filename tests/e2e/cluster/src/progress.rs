//! Prints what the tool is doing, one line for each step with the time it took. It never decides anything.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
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
    open_line: bool,
    quiet: bool,
}

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
        let inner = Inner { total, done: 0, started: Instant::now(), open_line: false, quiet };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Runs one step and prints its number, name and duration, or that it failed.
    pub fn step<T, E>(&self, name: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let began = self.begin(name);
        let result = work();
        self.end(name, began, result.is_ok());
        result
    }

    /// The asynchronous form of [`Progress::step`].
    pub async fn step_async<T, E>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let began = self.begin(name);
        let result = work.await;
        self.end(name, began, result.is_ok());
        result
    }

    /// A detail inside the current step, on a line of its own.
    pub fn note(&self, text: &str) {
        let mut inner = self.lock();
        if !inner.quiet {
            close_line(&mut inner);
            eprintln!("    {text}");
        }
    }

    /// Time since the printer was made.
    pub fn elapsed(&self) -> Duration {
        self.lock().started.elapsed()
    }

    fn begin(&self, name: &str) -> Instant {
        let mut inner = self.lock();
        inner.done += 1;
        if !inner.quiet {
            close_line(&mut inner);
            eprint!("{}", head(inner.done, inner.total, name));
            inner.open_line = true;
            // A failed flush of a progress line is no reason to stop the work.
            let _ = io::stderr().flush();
        }
        Instant::now()
    }

    fn end(&self, name: &str, began: Instant, ok: bool) {
        let mut inner = self.lock();
        if inner.quiet {
            return;
        }
        if !inner.open_line {
            eprint!("{}", head(inner.done, inner.total, name));
        }
        inner.open_line = false;
        eprintln!(" {}{}", seconds(began.elapsed()), if ok { "" } else { " FAILED" });
    }
}

fn close_line(inner: &mut Inner) {
    if inner.open_line {
        eprintln!();
        inner.open_line = false;
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
