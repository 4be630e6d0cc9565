//! Instructions, counted by valgrind: they repeat, times do not.

use std::process::Command;

use crate::Subject;
use crate::workload::Case;

/// The argument with which this program runs itself to be counted.
pub const MODE: &str = "--count";

/// One round that counts, after one that does not.
pub fn counted(subject: &mut Subject, cases: &mut [Case<'_>]) {
    subject.prepare(cases);
    subject.round(cases);
    subject.prepare(cases);
    count_this(subject, cases);
}

#[inline(never)]
fn count_this(subject: &mut Subject, cases: &[Case<'_>]) {
    std::hint::black_box(subject.round(cases));
}

/// Instructions per event; `None`, with the reason said, if they cannot be counted.
pub fn instructions(figure: &str, events: usize) -> Option<f64> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*count_this*"])
        .arg(program)
        .args([MODE, figure])
        .output();
    let said = match output {
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => {
            println!("instructions: not counted, valgrind does not run: {error}");
            return None;
        }
    };
    let count: f64 = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())?;
    (count > 0.0).then(|| count / events as f64)
}
