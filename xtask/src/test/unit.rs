//! `cargo test` of the workspace, with its output read: results are counted, skips are told with their reasons.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::Totals;
use crate::{cmd, ebpf, paths, setup};

/// Names the folder with sample data that is not part of the repository.
const DATA_VARIABLE: &str = "SENSOR_TEST_DATA";
/// Names the folder with the BTF of kernels, each in a file named after its release.
const BTF_VARIABLE: &str = "SENSOR_TEST_BTF";
/// Names a Python with other engines that read the event store's files.
const READERS_VARIABLE: &str = "SENSOR_READERS";

/// Names the executable of a server that answers as OpenSearch does.
const OSMEM_VARIABLE: &str = "SENSOR_OSMEM_SERVER";

/// With the eBPF programs inside the sensor if there is an `object`, and with the kernels' BTF if there is any.
pub(super) fn run(object: Option<&Path>, filters: &[String], totals: &mut Totals) -> Result<()> {
    let root = paths::root()?;
    let mut cargo = cmd::cargo();
    cargo
        .args(["test", "--workspace", "--no-fail-fast", "--", "--show-output"])
        .args(filters)
        .current_dir(&root);
    if let Some(object) = object {
        ebpf::embed(&mut cargo, object);
    }
    let btf = setup::btf::folder()?;
    if env::var_os(BTF_VARIABLE).is_none() && btf.is_dir() {
        cargo.env(BTF_VARIABLE, btf);
    }
    if env::var_os(OSMEM_VARIABLE).is_none() {
        match setup::ensure_osmem() {
            Ok(program) => {
                cargo.env(OSMEM_VARIABLE, program);
            }
            // The test says that it is skipped, and is counted so.
            Err(cause) => println!("there is no osmem-server: {cause:#}"),
        }
    }
    let data = root.join("../shared/data");
    if env::var_os(DATA_VARIABLE).is_none() && data.is_dir() {
        cargo.env(DATA_VARIABLE, data.canonicalize().context("cannot resolve the data folder")?);
    }
    if let (None, Some(python)) = (env::var_os(READERS_VARIABLE), setup::readers::there()?) {
        cargo.env(READERS_VARIABLE, python);
    }
    let mut child =
        cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run cargo test")?;
    let mut reader = Reader::default();
    for line in BufReader::new(child.stdout.take().context("no pipe")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if reader.feed(&line) {
            println!("{line}");
        }
    }
    let status = child.wait()?;
    let failures = reader.failed.len();
    reader.finish(totals);
    // Without a failed test, something else went wrong: it did not compile, or a process died.
    if !status.success() && failures == 0 {
        bail!("`{}` failed: {status}", cmd::line(&cargo));
    }
    Ok(())
}

/// Where in the harness's output a line stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// One line for each test.
    #[default]
    Verdicts,
    /// What tests that passed had printed.
    Successes,
    /// What tests that failed had printed.
    Failures,
}

/// Follows the output of the standard test harness.
#[derive(Debug, Default)]
struct Reader {
    part: Part,
    current: String,
    passed: u64,
    failed: Vec<String>,
    /// By name of the test: it passed, as far as the harness knows.
    skipped: BTreeMap<String, String>,
    ignored: Vec<String>,
}

impl Reader {
    /// Takes one line; tells whether a person wants to see it.
    fn feed(&mut self, line: &str) -> bool {
        if let Some(rest) = line.strip_prefix("test result: ") {
            self.part = Part::Verdicts;
            self.passed += number_before(rest, " passed");
            return true;
        }
        let verdict = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... "));
        if let (Part::Verdicts, Some((name, verdict))) = (self.part, verdict) {
            return match verdict.split_once([',', ' ']).map_or(verdict, |(word, _)| word) {
                "ok" => false,
                "ignored" => {
                    let reason = verdict.strip_prefix("ignored, ").unwrap_or("ignored, without a reason");
                    self.ignored.push(format!("{name}: {reason}"));
                    true
                }
                "FAILED" => {
                    self.failed.push(name.to_owned());
                    true
                }
                _ => true,
            };
        }
        match line.trim() {
            "successes:" => self.part = Part::Successes,
            "failures:" => self.part = Part::Failures,
            _ => {}
        }
        if self.part != Part::Successes {
            return !line.trim().is_empty();
        }
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.split(' ').next()) {
            name.clone_into(&mut self.current);
        } else if let Some(reason) = skip_reason(line) {
            self.skipped.insert(self.current.clone(), reason.to_owned());
        }
        false
    }

    fn finish(self, totals: &mut Totals) {
        let skipped = self.skipped.len() as u64;
        totals.passed += self.passed.saturating_sub(skipped);
        totals.failed.extend(self.failed);
        totals.skipped.extend(self.skipped.into_iter().map(|(name, reason)| format!("{name}: {reason}")));
        totals.skipped.extend(self.ignored);
    }
}

/// A test that cannot run says so in a line of its own and returns.
fn skip_reason(line: &str) -> Option<&str> {
    let line = line.trim();
    let word = line.get(.."skip".len())?;
    if !word.eq_ignore_ascii_case("skip") {
        return None;
    }
    line.split_once(':').map(|(_, reason)| reason.trim())
}

fn number_before(text: &str, word: &str) -> u64 {
    let Some((before, _)) = text.split_once(word) else { return 0 };
    before.rsplit(' ').next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "running 4 tests
test a::one ... ok
test a::two ... ok
test b::three ... ignored, needs a kernel
test b::four ... FAILED

successes:

---- a::two stdout ----
skipped: no sample data
test c::quoted ... FAILED in captured text

successes:
    a::one
    a::two

failures:

---- b::four stdout ----
boom

failures:
    b::four

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn results_and_skips_are_counted() {
        let mut reader = Reader::default();
        let shown: Vec<&str> = OUTPUT.lines().filter(|line| reader.feed(line)).collect();
        let mut totals = Totals::default();
        reader.finish(&mut totals);
        assert_eq!(totals.passed, 1);
        assert_eq!(totals.failed, ["b::four"]);
        assert_eq!(totals.skipped, ["a::two: no sample data", "b::three: needs a kernel"]);
        assert!(shown.contains(&"boom") && !shown.contains(&"test a::one ... ok"));
    }
}
