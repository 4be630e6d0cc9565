//! `cargo xtask test`: every check and every test, and one closing line that sums them up.

mod live;
mod unit;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Result;

use crate::setup::kernels::KernelId;
use crate::{cmd, ebpf, paths, setup, tidy};
use live::Machine;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the live tests in virtual machines
    #[arg(long, conflicts_with = "no_live")]
    live_only: bool,
    /// Everything but the live tests
    #[arg(long)]
    no_live: bool,
    /// Only tests whose name contains this text
    #[arg(long = "filter", value_name = "TEXT")]
    filters: Vec<String>,
    /// Kernels for the live tests (default: all that are required)
    #[arg(long = "kernel", value_name = "SERIES[-FLAVOUR]")]
    kernels: Vec<KernelId>,
    /// Ways to attach for the live tests (default: fentry and kprobe; on 6.12-rt fentry)
    #[arg(long = "attach", value_name = "MODE")]
    attach: Vec<String>,
}

impl Args {
    /// The required kernels in every way. The one where everything can be preempted is tried when it is asked for.
    fn machines(&self) -> Vec<Machine> {
        let required = KernelId::required().into_iter();
        let kernels: Vec<KernelId> =
            if self.kernels.is_empty() { required.collect() } else { self.kernels.clone() };
        let modes = |kernel: KernelId| {
            if !self.attach.is_empty() {
                return self.attach.clone();
            }
            let usual = if kernel == KernelId::rt() { &["fentry"][..] } else { &["fentry", "kprobe"] };
            usual.iter().map(|&mode| mode.to_owned()).collect()
        };
        let each = |kernel: KernelId| modes(kernel).into_iter().map(move |attach| Machine { kernel, attach });
        kernels.into_iter().flat_map(each).collect()
    }
}

/// What came of it all.
#[derive(Debug, Default)]
struct Totals {
    passed: u64,
    /// Each with the place where it was seen.
    failed: Vec<String>,
    /// Each with its reason.
    skipped: Vec<String>,
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut totals = Totals::default();
    let machines = args.machines();
    if !args.no_live {
        // First, so that a machine that cannot be set up is known at once.
        check(&mut totals, "set-up", || set_up(&machines));
    }
    if !args.live_only {
        check(&mut totals, "format", format);
        check(&mut totals, "clippy", clippy);
        check(&mut totals, "clippy of the eBPF programs", clippy_ebpf);
        check(&mut totals, "tidy", || {
            let code = tidy::run()?;
            anyhow::ensure!(code == ExitCode::SUCCESS, "there are findings");
            Ok(())
        });
        section(&mut totals, "unit tests", |totals| {
            let object = if args.no_live { None } else { Some(ebpf::build_object()?) };
            unit::run(object.as_deref(), &args.filters, totals)
        });
    }
    if !args.no_live {
        section(&mut totals, "live tests", |totals| live::run(&machines, &args.filters, totals));
    }
    Ok(summary(&totals))
}

/// A step that is no test: it counts only when it fails.
fn check(totals: &mut Totals, name: &str, work: impl FnOnce() -> Result<()>) {
    section(totals, name, |_| work());
}

fn section(totals: &mut Totals, name: &str, work: impl FnOnce(&mut Totals) -> Result<()>) {
    println!("\n==> {name}");
    let start = Instant::now();
    let verdict = match work(totals) {
        Ok(()) => "done",
        Err(error) => {
            println!("error: {error:#}");
            totals.failed.push(format!("{name}: {error:#}"));
            "FAILED"
        }
    };
    println!("<== {name}: {verdict} in {:.1} s", start.elapsed().as_secs_f32());
}

fn summary(totals: &Totals) -> ExitCode {
    println!();
    for skip in &totals.skipped {
        println!("skipped: {skip}");
    }
    for failure in &totals.failed {
        println!("failed: {}", failure.lines().next().unwrap_or_default());
    }
    println!("{} passed, {} failed, {} skipped", totals.passed, totals.failed.len(), totals.skipped.len());
    if totals.failed.is_empty() && totals.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn set_up(machines: &[Machine]) -> Result<()> {
    let (compiler, linker) = setup::ensure_ebpf()?;
    println!("BPF compiler: {}\nBPF linker: {}", compiler.describe(), linker.display());
    let kernels: BTreeSet<KernelId> = machines.iter().map(|machine| machine.kernel).collect();
    for kernel in kernels {
        println!("kernel {kernel}: {}", crate::vm::prepare(kernel)?.release);
    }
    for kernel in KernelId::described() {
        println!("BTF of kernel {kernel}: {}", setup::ensure_btf(kernel)?.display());
    }
    Ok(())
}

fn format() -> Result<()> {
    let root = paths::root()?;
    // Names the files that differ; `cargo fmt` shows how.
    cmd::run(cmd::cargo().args(["fmt", "--all", "--", "--check", "-l"]).current_dir(&root))?;
    with_ebpf(&root, |dir| cmd::run(cmd::cargo().args(["fmt", "--", "--check", "-l"]).current_dir(dir)))
}

fn clippy() -> Result<()> {
    let mut cargo = cmd::cargo();
    cargo.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    cmd::run(cargo.current_dir(paths::root()?))
}

/// For the host's target: clippy needs a compiler of its own version, which has no core for the eBPF target.
fn clippy_ebpf() -> Result<()> {
    let output = paths::target()?.join("ebpf-clippy");
    with_ebpf(&paths::root()?, |dir| {
        let mut cargo = cmd::cargo();
        cargo
            .args(["clippy", "--", "-D", "warnings"])
            .env("CARGO_TARGET_DIR", &output)
            .env("RUSTC_BOOTSTRAP", "1");
        cmd::run(cargo.current_dir(dir))
    })
}

fn with_ebpf(root: &Path, work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let dir = root.join("sensor-ebpf");
    if dir.join("Cargo.toml").is_file() { work(&dir) } else { Ok(()) }
}

/// Our binaries, built and ready for the machine.
fn build_guest() -> Result<Vec<crate::vm::Extra>> {
    crate::vm::guest_files(true)
}

/// The command that asks the sensor on this host.
fn host_sensor() -> Result<Command> {
    Ok(Command::new(ebpf::binary("sensor", true)?))
}
