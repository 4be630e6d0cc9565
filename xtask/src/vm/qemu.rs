//! Boots the machine and carries its output: kernel console, command output and control are separate channels.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Spec, image, prepare};
use crate::{cmd, paths};

const POLL: Duration = Duration::from_millis(20);
/// Between the command's end and the machine's: writing what is collected, and powering off.
const GRACE: Duration = Duration::from_secs(30);
const CONSOLE_TAIL_LINES: usize = 40;

/// Takes the output of a guest's command.
pub(crate) struct Streams {
    pub(crate) stdout: Box<dyn Write + Send>,
    pub(crate) stderr: Box<dyn Write + Send>,
}

/// How a run ended.
pub(crate) enum Outcome {
    /// The command ran to its end with this status.
    Exited(u8),
    /// The machine did not get that far: time-out, panic, or no boot. The text holds the console's tail.
    Failed(String),
}

/// Runs the command in a fresh machine.
pub(crate) fn boot(spec: &Spec, streams: Streams) -> Result<Outcome> {
    let kernel = prepare(spec.kernel)?;
    let work = work_folder()?;
    let initrd = work.path().join("initrd");
    let root = if spec.disk.is_some() { image::Root::Disk } else { image::Root::Archive };
    let archive = image::build(&kernel, &spec.command, &spec.extras, spec.collect.is_some(), root)?;
    let mut file = io::BufWriter::new(fs::File::create(&initrd)?);
    archive.write(&mut file).and_then(|()| file.flush()).context("cannot write the initramfs")?;

    let ports = Ports::listen(work.path())?;
    let console = work.path().join("console");
    let mut machine = Machine::start(spec, &kernel.image(), &initrd, &console, work.path())?;
    let outcome = follow(spec, streams, &ports, &mut machine);
    drop(machine);
    let kept = keep_console(spec, &console);
    match outcome? {
        End::Status(code) => Ok(Outcome::Exited(code)),
        End::Failure(why) => {
            let log = String::from_utf8_lossy(&fs::read(&kept).unwrap_or_default()).into_owned();
            Ok(Outcome::Failed(explain(spec, &why, &log, &kept)))
        }
    }
}

/// In the system's folder for temporary files, since the names of sockets must be short. A run that was killed could
/// not remove its own, so the next one does.
fn work_folder() -> Result<tempfile::TempDir> {
    const PREFIX: &str = "sensor-vm-";
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).map(|(pid, _)| pid);
        if pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir().context("cannot make a work folder")
}

enum End {
    Status(u8),
    Failure(String),
}

fn follow(spec: &Spec, streams: Streams, ports: &Ports, machine: &mut Machine) -> Result<End> {
    let deadline = Instant::now() + spec.timeout;
    let connect = |listener: &UnixListener, machine: &mut Machine| accept(listener, machine);
    let stdout = relay(connect(&ports.stdout, machine)?, streams.stdout);
    let stderr = relay(connect(&ports.stderr, machine)?, streams.stderr);
    let control = connect(&ports.control, machine)?;
    let collect = spec.collect.clone();
    let control = thread::spawn(move || read_control(control, collect.as_deref()));
    let timed_out = loop {
        if machine.ended()? {
            break false;
        }
        // A machine that has said everything may hang while powering off: that is no failure.
        if control.is_finished() && machine.ended_within(GRACE)? {
            break false;
        }
        if Instant::now() > deadline {
            break true;
        }
        thread::sleep(POLL);
    };
    machine.kill();
    join(stdout, "standard output")?;
    join(stderr, "standard error")?;
    let report = join(control, "control channel")?;
    Ok(match (report.status, timed_out) {
        (Some(_), true) | (None, true) => {
            End::Failure(format!("the machine was stopped after {} s", spec.timeout.as_secs()))
        }
        (Some(code), false) => {
            if let Some(why) = report.trouble {
                bail!("cannot collect the guest's files: {why}");
            }
            End::Status(code)
        }
        (None, false) if report.ready => End::Failure("the machine ended while the command ran".to_owned()),
        (None, false) => End::Failure("the machine did not get as far as the command".to_owned()),
    })
}

/// What came through the control channel.
#[derive(Default)]
struct Report {
    ready: bool,
    status: Option<u8>,
    trouble: Option<String>,
}

fn read_control(stream: UnixStream, collect: Option<&Path>) -> Result<Report> {
    let mut report = Report::default();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap_or(0) > 0 {
        match line.trim().split_once(' ') {
            Some(("status", code)) => {
                report.status = Some(code.parse().with_context(|| format!("status {code:?}"))?);
                break;
            }
            _ => report.ready |= line.trim() == "ready",
        }
        line.clear();
    }
    if let (Some(dir), Some(_)) = (collect, report.status) {
        report.trouble = unpack(&mut reader, dir).err().map(|error| format!("{error:#}"));
    }
    Ok(report)
}

fn unpack(reader: &mut impl Read, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut tar = Command::new("tar");
    tar.args(["-xf", "-", "--no-same-owner", "-C"]).arg(dir).stdin(Stdio::piped());
    let mut child = tar.spawn().context("cannot run tar")?;
    if let Some(mut input) = child.stdin.take() {
        match io::copy(reader, &mut input) {
            // It may end at the archive's end mark, before the padding behind it; its status tells whether it was
            // content.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            copied => drop(copied?),
        }
    }
    io::copy(reader, &mut io::sink())?;
    let status = child.wait()?;
    if !status.success() {
        bail!("`{}` failed: {status}", cmd::line(&tar));
    }
    Ok(())
}

/// Copies until the machine closes the port; the caller's stream breaking does not stop the guest.
fn relay(mut from: UnixStream, mut to: Box<dyn Write + Send>) -> JoinHandle<Result<()>> {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A killed machine resets the connection.
                Err(_) => return Ok(()),
            };
            let part = buffer.get(..count).unwrap_or_default();
            to.write_all(part).and_then(|()| to.flush()).context("cannot pass the guest's output on")?;
        }
    })
}

fn join<T>(handle: JoinHandle<Result<T>>, what: &str) -> Result<T> {
    match handle.join() {
        Ok(result) => result,
        Err(_) => bail!("the reader of the guest's {what} panicked"),
    }
}

/// The listening ends of the machine's ports.
struct Ports {
    stdout: UnixListener,
    stderr: UnixListener,
    control: UnixListener,
}

impl Ports {
    const NAMES: [&str; 3] = ["stdout", "stderr", "control"];

    fn listen(dir: &Path) -> Result<Self> {
        let bind = |name: &str| -> Result<UnixListener> {
            let path = dir.join(name);
            let listener =
                UnixListener::bind(&path).with_context(|| format!("cannot bind {}", path.display()))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        Ok(Self { stdout: bind("stdout")?, stderr: bind("stderr")?, control: bind("control")? })
    }
}

fn accept(listener: &UnixListener, machine: &mut Machine) -> Result<UnixStream> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if machine.ended()? {
                    bail!("qemu did not start: {}", machine.complaint());
                }
                thread::sleep(POLL);
            }
            Err(error) => return Err(error).context("cannot accept qemu's connection"),
        }
    }
}

/// A running qemu; it never outlives this value, nor this process.
struct Machine {
    child: Child,
    log: PathBuf,
}

impl Machine {
    fn start(spec: &Spec, kernel: &Path, initrd: &Path, console: &Path, work: &Path) -> Result<Self> {
        let log = work.join("qemu.log");
        // setpriv: the kernel kills qemu when we die, however that happens.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
        accelerate(&mut command, spec);
        command.args(["-m", &spec.mem_mib.to_string()]);
        command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd).args(["-append", &kernel_words(spec)]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"]);
        command.arg("-serial").arg(format!("file:{}", console.display()));
        command.args(["-device", "virtio-serial-pci,max_ports=4"]);
        for (number, name) in (1..).zip(Ports::NAMES) {
            command.arg("-chardev").arg(format!("socket,id={name},path={}", work.join(name).display()));
            command
                .arg("-device")
                .arg(format!("virtserialport,chardev={name},name=sensor.{name},nr={number}"));
        }
        if let Some(disk) = &spec.disk {
            let drive = format!("file={},format=raw,if=virtio,snapshot=on", disk.display());
            command.args(["-drive", &drive]);
        }
        let complaints = fs::File::create(&log)?;
        command.stdin(Stdio::null()).stdout(complaints.try_clone()?).stderr(complaints);
        let child = command.spawn().with_context(|| format!("cannot run `{}`", cmd::line(&command)))?;
        Ok(Self { child, log })
    }

    fn ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("cannot wait for qemu")?.is_some())
    }

    fn ended_within(&mut self, limit: Duration) -> Result<bool> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if self.ended()? {
                return Ok(true);
            }
            thread::sleep(POLL);
        }
        // The caller kills it: everything was said.
        Ok(true)
    }

    fn complaint(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        if text.trim().is_empty() { "it said nothing".to_owned() } else { text.trim().to_owned() }
    }

    fn kill(&mut self) {
        // Both fail only when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

fn accelerate(command: &mut Command, spec: &Spec) {
    if spec.icount {
        command.args(["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-smp", "1"]);
        command.args(["-cpu", "max,-erms,-fsrm"]);
    } else if env::var_os("SENSOR_VM_ACCEL").is_some_and(|accel| accel == "kvm") {
        command.args(["-accel", "kvm", "-cpu", "host", "-smp", &spec.smp.to_string()]);
    } else {
        // With a thread for each CPU, the kernel's patching of its own code on one can reach another half-translated:
        // a panic in one boot of some dozens. One thread for all is not slower on a small host.
        command.args(["-accel", "tcg,thread=single", "-cpu", "max", "-smp", &spec.smp.to_string()]);
    }
}

fn kernel_words(spec: &Spec) -> String {
    let mut words = String::from(
        // On a busy host the timer may stand still for longer than the kernel's check of it.
        "console=ttyS0 quiet panic=-1 oops=panic random.trust_cpu=on no_timer_check \
         lsm=landlock,lockdown,yama,integrity,apparmor,bpf",
    );
    if spec.icount {
        words.push_str(" tsc=reliable clocksource=tsc nokaslr");
    }
    if !spec.append.is_empty() {
        words.push(' ');
        words.push_str(&spec.append);
    }
    words
}

/// The console log of the latest run under each label stays for a look.
fn keep_console(spec: &Spec, console: &Path) -> PathBuf {
    let keep = || -> Result<PathBuf> {
        let dir = paths::target()?.join("vm");
        fs::create_dir_all(&dir)?;
        let kept = dir.join(format!("console-{}.log", spec.label));
        fs::copy(console, &kept)?;
        Ok(kept)
    };
    keep().unwrap_or_else(|_| console.to_path_buf())
}

fn explain(spec: &Spec, why: &str, log: &str, kept: &Path) -> String {
    let panic = log.lines().find(|line| line.contains("Kernel panic"));
    let mut text = format!("virtual machine ({}): {why}", spec.label);
    if let Some(line) = panic {
        text = format!("{text}: {}", line.trim());
    }
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(CONSOLE_TAIL_LINES)..).unwrap_or_default();
    format!("{text}\nthe end of its console ({}):\n{}", kept.display(), tail.join("\n"))
}
