//! `sensor support`: one archive with what helps to find out what is wrong, and without what is secret.

use std::fs::OpenOptions;
use std::io::{Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::SupportArgs;
use super::ask;
use super::say::note;
use crate::config;
use crate::health;

/// What one command may print, and for how long.
const OUTPUT_BYTES_MAX: u64 = 8 << 20;
const COMMAND_TIME_MAX: Duration = Duration::from_secs(60);

type Archive<W> = tar::Builder<GzEncoder<W>>;

/// Makes the archive.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn support(args: &SupportArgs) -> anyhow::Result<ExitCode> {
    let name = args.file.display();
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&args.file)
        .with_context(|| format!("{name}"))?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for (name, content) in contents(args) {
        add(&mut archive, name, &content).with_context(|| args.file.display().to_string())?;
    }
    let mut file = archive.into_inner()?.finish()?;
    file.flush()?;
    note(format_args!(
        "{name}: state, log, configuration, findings of doctor, versions; no alerts, no events, no secrets"
    ));
    Ok(ExitCode::SUCCESS)
}

/// What goes in. What cannot be had says why.
fn contents(args: &SupportArgs) -> Vec<(&'static str, Vec<u8>)> {
    let or_why = |found: anyhow::Result<Vec<u8>>| {
        found.unwrap_or_else(|error| format!("not to be had: {error:#}\n").into())
    };
    let asked = |path: &str| ask::socket(&args.ask).and_then(|socket| health::ask(&socket, path));
    let own = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let rules: Vec<std::ffi::OsString> = match &args.ask.config.config {
        Some(path) => vec!["rules".into(), "list".into(), "--config".into(), path.into()],
        None => vec!["rules".into(), "list".into()],
    };
    vec![
        ("sensor/status.json", or_why(asked("/status"))),
        ("sensor/metrics.txt", or_why(asked("/metrics"))),
        ("sensor/configuration.toml", or_why(configuration(args))),
        ("sensor/doctor.txt", or_why(output(Command::new(&own).arg("doctor")))),
        ("sensor/rules.txt", or_why(output(Command::new(&own).args(rules)))),
        (
            "sensor/log.txt",
            or_why(output(Command::new("journalctl").args(["-u", "sensor", "-n", "5000", "--no-pager"]))),
        ),
        ("sensor/versions.txt", versions()),
        ("sensor/mounts.txt", or_why(read("/proc/self/mountinfo"))),
        ("sensor/kernel-config.txt", or_why(kernel_config())),
    ]
}

fn add<W: Write>(archive: &mut Archive<W>, name: &str, content: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o600);
    header.set_mtime(u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default());
    archive.append_data(&mut header, name, content)
}

fn read(path: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .with_context(|| path.to_owned())?
        .take(OUTPUT_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The configuration in force: of addresses, the path and the query are left out, since those of webhooks are secrets.
/// It holds no other: those are in files and variables, of which it only has the names.
fn configuration(args: &SupportArgs) -> anyhow::Result<Vec<u8>> {
    let mut config = config::load(args.ask.config.config.as_deref())?.config;
    let outputs = &mut config.outputs;
    for url in [&mut outputs.elasticsearch.url, &mut outputs.webhook.url] {
        *url = redacted(url);
    }
    Ok(toml::to_string(&toml::Table::try_from(config)?)?.into_bytes())
}

fn redacted(url: &str) -> String {
    match url.split_once("://").map(|(scheme, rest)| (scheme, rest.split(['/', '?', '#']).next())) {
        Some((scheme, Some(host))) => format!("{scheme}://{host}/..."),
        _ => String::new(),
    }
}

/// What the kernel was built with, of what matters here.
fn kernel_config() -> anyhow::Result<Vec<u8>> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let text = read(&format!("/boot/config-{}", release.trim()))?;
    let wanted = ["BPF", "BTF", "KPROBE", "FTRACE", "LSM", "SECURITY", "LOCKDOWN"];
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let matters = |line: &&[u8]| {
        let line = String::from_utf8_lossy(line);
        wanted.iter().any(|word| line.contains(word))
    };
    Ok(lines.filter(matters).collect::<Vec<_>>().concat())
}

fn versions() -> Vec<u8> {
    let mut text = format!("sensor {}\n", env!("CARGO_PKG_VERSION"));
    for path in [
        "/proc/version",
        "/proc/cmdline",
        "/etc/os-release",
        "/sys/kernel/security/lsm",
        "/proc/meminfo",
        "/proc/loadavg",
    ] {
        let said = std::fs::read_to_string(Path::new(path)).unwrap_or_else(|error| format!("{error}\n"));
        text.push_str(&format!("\n{path}\n{said}"));
    }
    text.into_bytes()
}

/// What a command says, on either of its outputs; it is ended when it takes too long.
fn output(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let said = nameless_file()?;
    let (out, err) = (said.try_clone()?, said.try_clone()?);
    let mut child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()?;
    let deadline = Instant::now() + COMMAND_TIME_MAX;
    let ended = loop {
        if let Some(status) = child.try_wait()? {
            break format!("{status}");
        }
        if Instant::now() >= deadline {
            drop(child.kill());
            drop(child.wait());
            break format!("ended after {} s", COMMAND_TIME_MAX.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut bytes = Vec::new();
    let mut reader = said;
    std::io::Seek::rewind(&mut reader)?;
    reader.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes)?;
    bytes.extend_from_slice(format!("\n({ended})\n").as_bytes());
    Ok(bytes)
}

/// A file without a name.
fn nameless_file() -> anyhow::Result<std::fs::File> {
    let fd = rustix::fs::memfd_create("sensor-support", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(fd.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_addresses_are_left_out() {
        assert_eq!(redacted("https://hooks.example:8443/T0/B0/secret?x=1"), "https://hooks.example:8443/...");
        assert_eq!(redacted(""), "");
    }

    #[test]
    fn what_a_command_says_is_kept_with_how_it_ended() {
        let said = output(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap();
        let said = String::from_utf8(said).unwrap();
        assert!(
            said.contains("out\n") && said.contains("err\n") && said.contains("exit status: 3"),
            "{said}"
        );
        assert!(output(&mut Command::new("/nowhere/at/all")).is_err());
    }
}
