//! `cargo xtask test`: every check and every test, and one closing line that sums them up.

mod live;
mod packages;
mod system;
mod unit;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Result;

use crate::setup::kernels::KernelId;
use crate::{cmd, deny, ebpf, paths, setup, tidy};
use live::Machine;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the live tests in virtual machines
    #[arg(long, conflicts_with = "no_live")]
    live_only: bool,
    /// Everything but the live tests
    #[arg(long)]
    no_live: bool,
    /// Only the tests of the package: installed and used on Debian with systemd; `--filter` takes a part of them
    #[arg(long, conflicts_with_all = ["live_only", "no_live"])]
    system: bool,
    /// Take the binaries for the packages as they are, without building them
    #[arg(long, requires = "system")]
    no_build: bool,
    /// Only tests whose name contains this text
    #[arg(long = "filter", value_name = "TEXT")]
    filters: Vec<String>,
    /// Kernels for the live tests (default: all that are required)
    #[arg(long = "kernel", value_name = "SERIES[-FLAVOUR]")]
    kernels: Vec<KernelId>,
    /// Ways to attach for the live tests: fentry, kprobe (default: each once, on one of the kernels)
    #[arg(long = "attach", value_name = "MODE")]
    attach: Vec<String>,
    /// Every live test on every kernel, 6.12-rt too, in every way to attach
    #[arg(long, conflicts_with_all = ["no_live", "kernels", "attach"])]
    every_kernel: bool,
}

const MODES: [&str; 2] = ["fentry", "kprobe"];
/// What is tried where not all is: every program is loaded and attached, and each kind of event comes back right.
const SOME: &[&str] = &[
    "doctor_finds_every_hook_usable",
    "every_operation_on_tmpfs",
    "every_operation_in_a_mount_namespace",
    "exec_gives_arguments_user_and_parent",
    "setuid_and_setgid_give_one_event_each",
    "shell_writing_a_hook_alerts_once",
];

/// What is tried where kernels or ways to attach are chosen, and not in the usual run: loads that take long and tell the
/// more the longer they do.
const LOADS: &[&str] = &[
    "programs_that_were_interrupted_by_themselves_are_told",
    "stress_ends_with_no_wrong_path_and_no_wrong_process",
];
/// Left out of the usual run in all machines but one: loads, and what takes long and depends on no kernel.
const LOADS_AND_ONCE: &[&str] = &[
    "programs_that_were_interrupted_by_themselves_are_told",
    "stress_ends_with_no_wrong_path_and_no_wrong_process",
    "shipped_hunt_finds_what_packages_brought",
];

impl Args {
    fn machines(&self) -> Vec<Machine> {
        let is_chosen = self.every_kernel || !self.kernels.is_empty() || !self.attach.is_empty();
        let mut kernels =
            if self.kernels.is_empty() { KernelId::required().to_vec() } else { self.kernels.clone() };
        kernels.extend(self.every_kernel.then(KernelId::rt));
        let usual = || MODES.map(str::to_owned).to_vec();
        let modes = if self.attach.is_empty() { usual() } else { self.attach.clone() };
        // Every test once in either way and once on either kernel takes half of the time.
        let only = |kernel: KernelId, attach: &str| {
            if is_chosen || (kernel == KernelId::newest()) == (attach == "fentry") { &[] } else { SOME }
        };
        let left_out = |kernel: KernelId| match (is_chosen, kernel == KernelId::newest()) {
            (true, _) => &[],
            (false, true) => LOADS,
            (false, false) => LOADS_AND_ONCE,
        };
        let each = |kernel: KernelId| {
            let machine = move |attach: String| Machine {
                kernel,
                only: only(kernel, &attach),
                left_out: left_out(kernel),
                attach,
            };
            modes.clone().into_iter().map(machine)
        };
        let mut all: Vec<Machine> = kernels.into_iter().flat_map(each).collect();
        // Those that take long come first.
        all.sort_by_key(|machine| !machine.only.is_empty());
        all
    }
}

/// How much of a failure is said again in the end.
const FAILURE_LINES: usize = 20;

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
    if args.system {
        let with_binaries = !args.no_build;
        let test = |totals: &mut Totals| system::run(&args.kernels, &args.filters, with_binaries, totals);
        section(&mut totals, "system test", test);
        return Ok(summary(&totals));
    }
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
        check(&mut totals, "dependencies", || deny::run().map(drop));
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
        // The whole of it stands where it happened.
        let mut lines = failure.lines();
        println!("failed: {}", lines.next().unwrap_or_default());
        lines.take(FAILURE_LINES).for_each(|line| println!("{line}"));
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
    let mut files = crate::vm::guest_files(true)?;
    files.push(crate::vm::Extra { guest: crate::vm::HUNT.to_owned(), host: ebpf::build_hunt_for_tests()? });
    Ok(files)
}

/// The command that asks the sensor on this host.
fn host_sensor() -> Result<Command> {
    Ok(Command::new(ebpf::binary("sensor", true)?))
}
