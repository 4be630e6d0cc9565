//! `cargo xtask vm`: a command in a throw-away virtual machine without network.

mod cpio;
mod image;
mod qemu;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

pub(crate) use image::Extra;
pub(crate) use qemu::{Outcome, Streams, boot};

use crate::setup::kernels::KernelId;
use crate::{ebpf, paths, setup};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernel to boot: 6.1, 6.12, or with a flavour, such as 6.12-rt
    #[arg(long, default_value_t = KernelId::newest())]
    kernel: KernelId,
    /// Memory in MiB
    #[arg(long, value_name = "MB", default_value_t = 768)]
    mem: u32,
    /// Virtual processors
    #[arg(long, value_name = "N", default_value_t = 2)]
    smp: u32,
    /// Seconds until the machine is stopped
    #[arg(long, value_name = "S", default_value_t = 600)]
    timeout: u64,
    /// More words for the kernel's command line
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    append: Option<String>,
    /// Let the guest's clock count instructions: slow, on one processor, repeatable
    #[arg(long)]
    icount: bool,
    /// Copy the guest's /out here when the command has ended
    #[arg(long, value_name = "DIR")]
    collect: Option<PathBuf>,
    /// Put one more host file or folder into the guest
    #[arg(long = "file", value_name = "HOST:GUEST")]
    files: Vec<String>,
    /// Take the binaries as they are, without building them
    #[arg(long)]
    no_build: bool,
    /// The command, as it stands in the guest
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Everything about one run.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) kernel: KernelId,
    /// Names its console's log.
    pub(crate) label: String,
    pub(crate) mem_mib: u32,
    pub(crate) smp: u32,
    pub(crate) timeout: Duration,
    pub(crate) append: String,
    pub(crate) icount: bool,
    pub(crate) collect: Option<PathBuf>,
    pub(crate) extras: Vec<Extra>,
    /// An ext4 file system with a system of its own; what the machine writes to it is forgotten.
    pub(crate) disk: Option<PathBuf>,
    pub(crate) command: Vec<OsString>,
}

impl Spec {
    /// The usual machine.
    pub(crate) fn new(kernel: KernelId, extras: Vec<Extra>, command: Vec<OsString>) -> Self {
        Self {
            kernel,
            label: kernel.to_string(),
            mem_mib: 1_536,
            smp: 2,
            timeout: Duration::from_secs(600),
            append: String::new(),
            icount: false,
            collect: None,
            extras,
            disk: None,
            command,
        }
    }
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let mut extras = guest_files(!args.no_build)?;
    for file in &args.files {
        let Some((host, guest)) = file.rsplit_once(':') else {
            anyhow::bail!("--file wants HOST:GUEST, not {file}")
        };
        extras.push(Extra { guest: guest.to_owned(), host: PathBuf::from(host) });
    }
    let spec = Spec {
        mem_mib: args.mem,
        smp: args.smp,
        timeout: Duration::from_secs(args.timeout),
        append: args.append.unwrap_or_default(),
        icount: args.icount,
        collect: args.collect,
        ..Spec::new(args.kernel, extras, args.command)
    };
    let streams = Streams { stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()) };
    match boot(&spec, streams)? {
        Outcome::Exited(code) => Ok(ExitCode::from(code)),
        Outcome::Failed(why) => {
            eprintln!("error: {why}");
            // As timeout(1) does: told apart from what a command returns.
            Ok(ExitCode::from(124))
        }
    }
}

/// Our binaries and rules, at the places where a package would put them.
pub(crate) fn guest_files(build: bool) -> Result<Vec<Extra>> {
    let (sensor, livetest) = if build {
        (ebpf::build_sensor(true)?, ebpf::build_livetest(true)?)
    } else {
        (ebpf::binary("sensor", true)?, ebpf::binary("sensor-livetest", true)?)
    };
    let root = paths::root()?;
    let (rules, hunts) = (root.join("rules"), root.join("hunts"));
    let wanted = [
        ("/usr/bin/sensor", sensor),
        ("/usr/bin/sensor-livetest", livetest),
        ("/usr/share/sensor/rules", rules),
        ("/usr/share/sensor/hunts", hunts),
    ];
    // With `--no-build`, what was never built is left out.
    let present = wanted.into_iter().filter(|(_, host)| build || host.exists());
    Ok(present.map(|(guest, host)| Extra { guest: guest.to_owned(), host }).collect())
}

/// Where a package would put the program that hunts.
pub(crate) const HUNT: &str = "/usr/libexec/sensor/sensor-hunt";

/// Fetches what the machine itself is made of.
pub(crate) fn prepare(kernel: KernelId) -> Result<setup::kernels::Kernel> {
    setup::ensure_vm()?;
    setup::ensure_kernel(kernel)
}
