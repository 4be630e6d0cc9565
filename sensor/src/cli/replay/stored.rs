//! The events of a store, from the program that reads stores.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};

use crate::cli::args::ReplayArgs;
use crate::cli::hunting;

/// An export that runs.
pub(super) struct Stored {
    child: Child,
    events: BufReader<ChildStdout>,
}

impl Stored {
    pub(super) fn open(args: &ReplayArgs) -> anyhow::Result<Self> {
        let program = hunting::find()?;
        let mut command = Command::new(&program);
        command.args(["store", "export"]);
        for (option, time) in [("--since", &args.since), ("--until", &args.until)] {
            command.args(time.iter().flat_map(|time| [option, time.as_str()]));
        }
        command.arg("--").args(&args.store).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child =
            command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let stdout = child.stdout.take().context("it has no standard output")?;
        Ok(Self { child, events: BufReader::with_capacity(1 << 20, stdout) })
    }

    /// After the last event: whether it was the last, or the export broke off, as it has said itself.
    pub(super) fn close(mut self) -> anyhow::Result<ExitCode> {
        let status = self.child.wait().context("the export of the store")?;
        if !status.success() {
            bail!("not all stored events were replayed: the export of the store ended with {status}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.events.read(buffer)
    }
}

impl BufRead for Stored {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.events.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.events.consume(count);
    }
}
