//! The start-up self-test: what this process does itself must come back through the ring as it was done.
//!
//! A file is created and renamed in a private directory, and a program is run; each record must say what `/proc`
//! and the calls say. Only what the attached hooks can see is tried. The canaries' records end here; those of others
//! are handed on.

mod act;
mod expect;

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sensor_common::wire::{FileOp, RecordHeader};
use thiserror::Error;

use crate::decode::{Wire, decode};
use crate::kernel::{Capabilities, Kernel};

use act::Acts;
pub(crate) use act::is_canary;
use expect::{Mismatch, Process};

/// How long the records may take. They are there when the calls return, unless another CPU's is in front.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(1);
/// Bytes of others' records that are kept meanwhile.
const HELD_BYTES_MAX: usize = 64 << 20;

/// Something that the self-test does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Canary {
    Create,
    Rename,
    Exec,
}

impl Canary {
    const ALL: [Self; 3] = [Self::Create, Self::Rename, Self::Exec];

    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Rename => "rename",
            Self::Exec => "exec",
        }
    }

    fn can_be_seen(self, capabilities: &Capabilities) -> bool {
        let operation = match self {
            Self::Create => "open(O_CREAT)",
            Self::Rename => "rename",
            Self::Exec => "exec",
        };
        capabilities.available.iter().any(|available| available.name == operation)
    }
}

/// Why the sensor does not trust its own records.
#[derive(Debug, Error)]
pub(crate) enum SelfTestError {
    /// The test could not be made.
    #[error("the self-test cannot be made: {what}: {cause}; `--no-self-test` starts without it")]
    Impossible {
        /// What failed.
        what: &'static str,
        /// Why.
        cause: std::io::Error,
    },
    /// It was, and failed.
    #[error(
        "the self-test failed, so records of this kernel cannot be trusted: {0}; `--no-self-test` starts all the same"
    )]
    Failed(Findings),
}

/// What was wrong.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    missing: Vec<Canary>,
    wrong: Vec<(Canary, Mismatch)>,
    lost: u64,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for canary in &self.missing {
            write!(f, "{separator}no record of our own {} came back", canary.name())?;
            separator = "; ";
        }
        for (canary, wrong) in &self.wrong {
            write!(
                f,
                "{separator}{}: {} is {}, should be {}",
                canary.name(),
                wrong.field,
                wrong.seen,
                wrong.expected
            )?;
            separator = "; ";
        }
        if self.lost > 0 {
            write!(f, " ({} records were lost meanwhile)", self.lost)?;
        }
        Ok(())
    }
}

/// What came through the ring during the test.
#[derive(Debug, Default)]
pub(crate) struct Meanwhile {
    /// What others did.
    pub(crate) others: Vec<Bytes>,
    /// Of the test's own records no more is wanted.
    pub(crate) own: Vec<RecordHeader>,
}

/// Makes the test.
///
/// # Errors
///
/// When a record is missing or wrong.
pub(crate) fn run(kernel: &mut Kernel) -> Result<Meanwhile, SelfTestError> {
    let wanted: Vec<Canary> =
        Canary::ALL.into_iter().filter(|canary| canary.can_be_seen(kernel.capabilities())).collect();
    if wanted.is_empty() {
        return Ok(Meanwhile::default());
    }
    let lost_before = lost(kernel);
    let own = Process::of_this_thread().map_err(impossible("reading /proc/self"))?;
    let acts = act::perform(wanted.contains(&Canary::Exec))?;
    let mut check = Check { own, acts, results: Vec::new(), child: None };
    let mut records: Vec<Bytes> = Vec::new();
    let mut held_bytes = 0;
    let deadline = Instant::now() + PATIENCE;
    while check.results.len() < wanted.len() && Instant::now() < deadline && held_bytes < HELD_BYTES_MAX {
        let mut take = |bytes: &[u8]| {
            check.look_at(bytes);
            held_bytes += bytes.len();
            records.push(Bytes::copy_from_slice(bytes));
        };
        if !kernel.next_record(&mut take) {
            thread::sleep(PAUSE);
        }
    }
    // What the canaries did last.
    while held_bytes < HELD_BYTES_MAX
        && kernel.next_record(&mut |bytes| {
            held_bytes += bytes.len();
            records.push(Bytes::copy_from_slice(bytes));
        })
    {}
    let findings = check.findings(&wanted, lost(kernel).saturating_sub(lost_before));
    if !findings.missing.is_empty() || !findings.wrong.is_empty() {
        return Err(SelfTestError::Failed(findings));
    }
    let mut meanwhile = Meanwhile::default();
    for bytes in records {
        match decode(&bytes).ok().filter(|wire| check.is_ours(wire)) {
            Some(wire) => meanwhile.own.push(*wire.header()),
            None => meanwhile.others.push(bytes),
        }
    }
    Ok(meanwhile)
}

fn impossible(what: &'static str) -> impl FnOnce(std::io::Error) -> SelfTestError {
    move |cause| SelfTestError::Impossible { what, cause }
}

fn lost(kernel: &mut Kernel) -> u64 {
    kernel.counted().map_or(0, |counted| counted.lost.iter().map(|lost| lost.total()).sum())
}

/// What was done, and what has come back of it.
struct Check {
    own: Process,
    acts: Acts,
    results: Vec<(Canary, Vec<Mismatch>)>,
    /// The program that was run, as its record calls it.
    child: Option<u32>,
}

impl Check {
    fn look_at(&mut self, bytes: &[u8]) {
        let Ok(wire) = decode(bytes) else { return };
        let (own, acts) = (&self.own, &self.acts);
        let result = match &wire {
            Wire::File(file) => {
                let header = &file.record.header;
                let mut path = Vec::new();
                file.path.write_task_view(&mut path);
                // By who or by what: either may be what is wrong.
                if header.task.tgid != own.tgid && !acts.is_below(&path) {
                    return;
                }
                let mut wrong = own.compare(&header.task);
                expect::moment(header.boot_ns, &acts.moments, &mut wrong);
                match file.op {
                    FileOp::Open => {
                        expect::file(file, &path, &acts.created, acts, &mut wrong);
                        (Canary::Create, wrong)
                    }
                    FileOp::Rename => {
                        expect::file(file, &path, &acts.renamed, acts, &mut wrong);
                        let mut old = Vec::new();
                        file.old_path.iter().for_each(|path| path.write_task_view(&mut old));
                        expect::bytes("old path", &old, &acts.created, &mut wrong);
                        (Canary::Rename, wrong)
                    }
                    _ => return,
                }
            }
            Wire::Exec(exec) => {
                let header = &exec.record.header;
                let is_child = acts.child == Some(exec.record.pid_in_ns);
                if !is_child && !acts.is_token_in(exec.argv) {
                    return;
                }
                self.child = Some(header.task.tgid);
                let mut wrong = own.as_child(acts.child).compare(&header.task);
                expect::moment(header.boot_ns, &acts.moments, &mut wrong);
                expect::exec(exec, acts, &mut wrong);
                (Canary::Exec, wrong)
            }
            Wire::Script(_) | Wire::Fork(_) | Wire::Exit(_) | Wire::Credentials(_) | Wire::Session(_) => {
                return;
            }
        };
        if self.results.iter().all(|(known, _)| *known != result.0) {
            self.results.push(result);
        }
    }

    fn findings(&mut self, wanted: &[Canary], lost: u64) -> Findings {
        let is_missing = |canary: &Canary| self.results.iter().all(|(found, _)| found != canary);
        Findings {
            missing: wanted.iter().copied().filter(is_missing).collect(),
            wrong: self
                .results
                .drain(..)
                .flat_map(|(canary, wrong)| wrong.into_iter().map(move |wrong| (canary, wrong)))
                .collect(),
            lost,
        }
    }

    fn is_ours(&self, wire: &Wire<'_>) -> bool {
        let tgid = wire.header().task.tgid;
        match wire {
            Wire::File(_) => tgid == self.own.tgid || Some(tgid) == self.child,
            Wire::Exec(_) | Wire::Script(_) | Wire::Exit(_) | Wire::Credentials(_) | Wire::Session(_) => {
                Some(tgid) == self.child
            }
            Wire::Fork(fork) => Some(fork.child.tgid) == self.child,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::synth::{self, ExecSpec};

    /// Looks at the records of a test that created `/tmp/x/created` and ran a program; what is wrong, in words.
    fn findings(wanted: &[Canary], records: &[Vec<u8>]) -> String {
        let acts = Acts {
            dir: b"/tmp/x".to_vec(),
            created: b"/tmp/x/created".to_vec(),
            renamed: b"/tmp/x/renamed".to_vec(),
            child: Some(12),
            executable: Some(b"/usr/bin/sensor".to_vec()),
            argv: b"sensor\0/tmp/x\0".to_vec(),
            cwd: Some(b"/".to_vec()),
            moments: (50, 60),
            file: None,
        };
        let own = expect::tests::pair().0;
        let mut check = Check { own, acts, results: Vec::new(), child: None };
        records.iter().for_each(|bytes| check.look_at(bytes));
        check.findings(wanted, 0).to_string()
    }

    #[test]
    fn right_records_are_accepted_among_those_of_others() {
        let (_, task) = expect::tests::pair();
        let child = sensor_common::wire::TaskFacts { tgid: 12, tid: 12, ppid: 10, ..task };
        let spec =
            ExecSpec { exe: "/usr/bin/sensor", argv: &["sensor", "/tmp/x"], cwd: "/", ..ExecSpec::default() };
        let others = synth::create(&synth::task(77, 1), 55, "/etc/passwd", "/");
        let records = [
            others,
            synth::create(&task, 55, "/tmp/x/created", "/"),
            synth::rename(&task, 56, "/tmp/x/created", "/tmp/x/renamed"),
            synth::exec(&child, 57, &spec),
        ];
        assert_eq!(findings(&Canary::ALL, &records), "");
    }

    #[test]
    fn a_wrong_path_a_wrong_time_and_a_missing_record_are_named() {
        let (_, task) = expect::tests::pair();
        let wrong = synth::create(&task, 55, "/x/created", "/");
        assert_eq!(
            findings(&[Canary::Create], &[wrong]),
            "create: path is \"/x/created\", should be \"/tmp/x/created\""
        );
        let late = synth::create(&task, 61, "/tmp/x/created", "/");
        assert_eq!(findings(&[Canary::Create], &[late]), "create: boot time is 61, should be 50 to 60");
        assert_eq!(findings(&[Canary::Rename], &[]), "no record of our own rename came back");
    }

    #[test]
    fn a_record_that_names_another_process_is_found_by_its_path() {
        let (_, task) = expect::tests::pair();
        let wrong = sensor_common::wire::TaskFacts { tgid: 0, ..task };
        let said = findings(&[Canary::Create], &[synth::create(&wrong, 55, "/tmp/x/created", "/")]);
        assert_eq!(said, "create: tgid is 0, should be 10");
    }
}
