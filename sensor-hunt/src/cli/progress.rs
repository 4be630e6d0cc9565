//! A line on a terminal that says how far a long scan is; nothing anywhere else.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::esql::Progress;
use crate::show::grouped;

const TICK: Duration = Duration::from_millis(100);
/// What is done before is not worth a line.
const TICKS_BEFORE: u32 = 7;
const BAR: usize = 30;

/// Shows a scan's progress until it is dropped.
pub(super) struct Shown {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Shown {
    pub(super) fn start(progress: &Arc<Progress>) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let thread = io::stderr().is_terminal().then(|| {
            let (done, progress) = (Arc::clone(&done), Arc::clone(progress));
            std::thread::spawn(move || draw(&done, &progress))
        });
        Self { done, thread }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn draw(done: &AtomicBool, progress: &Progress) {
    let mut drawn = false;
    let mut ticks = 0;
    while !done.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        ticks += 1;
        let total = progress.rows_total.load(Ordering::Relaxed);
        if ticks < TICKS_BEFORE || total == 0 {
            continue;
        }
        let _ = write!(
            io::stderr().lock(),
            "\r\x1b[2K{}",
            line(progress.rows_done.load(Ordering::Relaxed), total)
        );
        drawn = true;
    }
    if drawn {
        let _ = write!(io::stderr().lock(), "\r\x1b[2K");
    }
}

fn line(seen: u64, total: u64) -> String {
    let seen = seen.min(total);
    let percent = seen.saturating_mul(100).checked_div(total).unwrap_or(100);
    let full = usize::try_from(percent).unwrap_or(100) * BAR / 100;
    format!("[{}{}] {percent:>3} % of {} events", "█".repeat(full), "·".repeat(BAR - full), grouped(total))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_bar_is_full_at_the_end() {
        assert!(line(0, 10).contains("  0 % of 10 events") && line(0, 10).starts_with("[·"));
        assert!(line(20, 10).starts_with(&format!("[{}]", "█".repeat(30))));
    }
}
