//! Commands that end by themselves, with a limit in time.

use std::ffi::{OsStr, OsString};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a sensor command that must end by itself.
pub fn run_to_end<S: AsRef<OsStr>>(program: &str, args: &[S]) -> Result<Ended> {
    let mut command = Command::new(program);
    command.args(args);
    end(&mut command)
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs the command, with a limit in time.
pub fn end(command: &mut Command) -> Result<Ended> {
    let words: Vec<OsString> = command.get_args().map(OsStr::to_owned).collect();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdout = read_all(child.stdout.take().context("no pipe")?);
    let stderr = read_all(child.stderr.take().context("no pipe")?);
    let status = match wait(&mut child, LIMIT) {
        Ok(status) => status,
        Err(error) => {
            drop(child.kill());
            drop(child.wait());
            return Err(error.context(format!("{words:?}")));
        }
    };
    let collect = |handle: JoinHandle<String>| handle.join().unwrap_or_default();
    Ok(Ended { status, stdout: collect(stdout), stderr: collect(stderr) })
}

fn read_all(mut from: impl std::io::Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(from.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for a child, but not for ever.
pub fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("did not end within {} s", limit.as_secs())
}
