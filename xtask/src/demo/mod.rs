//! `cargo xtask demo`: the sensor's main job on real input, checked.

mod report;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::setup::kernels::KernelId;
use crate::vm::{self, Extra, Outcome, Spec, Streams};
use crate::{cmd, paths};

const APT_DIR: &str = "/etc/apt/apt.conf.d";

/// Executables that the rule excludes; on the host the first that is not there is lent to the actor.
const EXCLUDED: [&str; 3] = ["/usr/local/bin/apt-get", "/usr/bin/chef-client", "/usr/bin/autossl_check"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where events.ndjson and alerts.ndjson are left (default: demo in cargo's target folder)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Run in the virtual machine even if this host would do
    #[arg(long)]
    vm: bool,
    /// Kernel of the virtual machine
    #[arg(long, default_value_t = KernelId::newest())]
    kernel: KernelId,
}

impl Default for Args {
    fn default() -> Self {
        Self { out: None, vm: false, kernel: KernelId::newest() }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let files = vm::guest_files(true)?;
    let out = match &args.out {
        Some(dir) => paths::absolute(dir)?,
        None => paths::target()?.join("demo"),
    };
    prepare(&out)?;
    let start = Instant::now();
    let place = if args.vm {
        Place::Vm("asked for by --vm".to_owned())
    } else {
        choose(&host_path(&files, "sensor")?)?
    };
    match &place {
        Place::Host => println!("\nRunning on this host: its kernel accepts every hook."),
        Place::Vm(why) => {
            println!(
                "\nRunning in a virtual machine without network (kernel {}), since here: {why}",
                args.kernel
            );
        }
    }
    match place {
        Place::Host => on_host(&files, &out)?,
        Place::Vm(_) => in_vm(args.kernel, files, &out)?,
    }
    let ok = report::print(&out)?;
    println!("\nEvents and alerts are in {} ({:.1} s)", out.display(), start.elapsed().as_secs_f32());
    for name in ["events.ndjson", "alerts.ndjson", "sensor.log"] {
        println!("  {}", out.join(name).display());
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

enum Place {
    Host,
    /// And why not on the host.
    Vm(String),
}

/// Asks the sensor itself whether it can work on this host.
fn choose(sensor: &Path) -> Result<Place> {
    if !Path::new(APT_DIR).is_dir() {
        return Ok(Place::Vm(format!("{APT_DIR} does not exist")));
    }
    let mut doctor = Command::new(sensor);
    let output = doctor.arg("doctor").stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run `{}`", cmd::line(&doctor)))?;
    if output.status.success() {
        return Ok(Place::Host);
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let unseen = said.lines().find(|line| line.contains("NOT SEEN"));
    let verdict = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("`sensor doctor` failed");
    let first = unseen.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    Ok(Place::Vm(match first {
        Some(first) => format!("{verdict} For one: {first}"),
        None => verdict.to_owned(),
    }))
}

/// An empty folder: an earlier run's files must not be taken for this one's.
fn prepare(out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    for name in ["events.ndjson", "alerts.ndjson", "sensor.log", "sensor.out"] {
        match fs::remove_file(out.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", out.join(name).display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn on_host(files: &[Extra], out: &Path) -> Result<()> {
    let Some(excluded) = EXCLUDED.into_iter().find(|path| !Path::new(path).exists()) else {
        bail!("all of {} exist here: use --vm", EXCLUDED.join(", "));
    };
    let script = paths::root()?.join("xtask/src/demo/demo.sh");
    let mut command = Command::new("sh");
    command
        .arg(script)
        .env("SENSOR", host_path(files, "sensor")?)
        .env("ACTOR", host_path(files, "sensor-livetest")?)
        .env("RULES", host_path(files, "rules")?)
        .env("OUT", out)
        .env("EXCLUDED", excluded)
        .env("APT_DIR", APT_DIR)
        .stdin(Stdio::null());
    cmd::run(&mut command)
}

fn in_vm(kernel: KernelId, mut files: Vec<Extra>, out: &Path) -> Result<()> {
    files.push(Extra {
        guest: "/usr/share/sensor/demo.sh".to_owned(),
        host: paths::root()?.join("xtask/src/demo/demo.sh"),
    });
    let words = [
        "/usr/bin/env",
        "SENSOR=/usr/bin/sensor",
        "ACTOR=/usr/bin/sensor-livetest",
        "RULES=/usr/share/sensor/rules",
        "OUT=/out",
        "EXCLUDED=/usr/bin/dpkg",
        "APT_DIR=/etc/apt/apt.conf.d",
        "/usr/bin/sh",
        "/usr/share/sensor/demo.sh",
    ];
    let spec = Spec {
        timeout: Duration::from_secs(120),
        collect: Some(out.to_path_buf()),
        ..Spec::new(kernel, files, words.map(OsString::from).to_vec())
    };
    let streams = Streams { stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()) };
    match vm::boot(&spec, streams)? {
        Outcome::Exited(0) => Ok(()),
        Outcome::Exited(code) => bail!("the demo ended with status {code} in the virtual machine"),
        Outcome::Failed(why) => bail!(why),
    }
}

fn host_path(files: &[Extra], name: &str) -> Result<PathBuf> {
    let found = files.iter().find(|extra| extra.host.file_name().is_some_and(|file| file == name));
    found.map(|extra| extra.host.clone()).with_context(|| format!("{name} was not built"))
}
