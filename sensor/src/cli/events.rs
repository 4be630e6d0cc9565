//! Recorded events, line by line: a bad line is reported and counted, and stops nothing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use anyhow::Context as _;
use sensor_ecs::{Document, OpenSchema};

use super::say::note;

/// No event is longer; a line that is will be skipped, so that a file without line ends cannot fill the memory.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How many bad lines are shown; all of them are counted.
const BAD_LINES_SHOWN_MAX: u64 = 20;

/// A stream of recorded events.
pub(super) struct Events<'r> {
    input: Box<dyn BufRead + 'r>,
    name: String,
    line: Vec<u8>,
    number: u64,
    bad_lines: u64,
}

impl<'r> Events<'r> {
    /// Opens a file, or standard input for `-`.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::new(io::stdin().lock(), "standard input".to_owned()));
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("events {name}"))?;
        Ok(Self::new(BufReader::with_capacity(1 << 20, file), name))
    }

    pub(super) fn new(input: impl BufRead + 'r, name: String) -> Self {
        Self { input: Box::new(input), name, line: Vec::new(), number: 0, bad_lines: 0 }
    }

    /// What the events are called in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The event that was read last, as it is written.
    pub(super) fn text(&self) -> &[u8] {
        self.line.trim_ascii()
    }

    /// Lines so far that are no events.
    pub(super) fn bad_lines(&self) -> u64 {
        self.bad_lines
    }

    /// Reads the next event into `document`, and says in which line it was; `None` at the end.
    pub(super) fn next(&mut self, document: &mut Document, schema: &OpenSchema) -> io::Result<Option<u64>> {
        loop {
            self.line.clear();
            let limit = LINE_BYTES_MAX as u64 + 1;
            if (&mut self.input).take(limit).read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            self.number += 1;
            let ended = self.line.pop_if(|last| *last == b'\n').is_some();
            if !ended && self.line.len() > LINE_BYTES_MAX {
                self.bad(1, &format!("longer than {LINE_BYTES_MAX} bytes"));
                self.input.skip_until(b'\n')?;
                continue;
            }
            // Some editors and tools begin a file so.
            if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            let text = self.line.trim_ascii();
            if text.is_empty() {
                continue;
            }
            match document.parse(text, schema) {
                Err(error) => self.bad(error.column(), &error.to_string()),
                Ok(()) => return Ok(Some(self.number)),
            }
        }
    }

    fn bad(&mut self, column: usize, cause: &str) {
        self.bad_lines += 1;
        if self.bad_lines <= BAD_LINES_SHOWN_MAX {
            note(format_args!("{}:{}:{column}: {cause}", self.name, self.number));
        } else if self.bad_lines == BAD_LINES_SHOWN_MAX + 1 {
            note(format_args!("{}: further lines that are no events are only counted", self.name));
        }
    }
}
