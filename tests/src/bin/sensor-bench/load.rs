//! What is not about instructions: memory, and whether bursts come through. On two processors.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sensor_common::limits::RING_BYTES_DEFAULT;

use crate::EXCLUDED;
use crate::process::{resident_kib, runtime_ns};
use crate::watch::{Config, Watcher};
use crate::work::WATCHED;

const RENAMES: u64 = 100_000;
/// One burst on each processor.
const WRITERS: u64 = 2;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// An emulated machine on a busy host may not get further.
const EXECS_WITHIN: Duration = Duration::from_secs(480);

/// Ends at once; nothing that runs can be smaller: `exit(0)`, without a library.
const SMALLEST_PROGRAM: [u8; 129] = smallest_program();

/// `EXECS [SENSOR ARGUMENT]...`
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let (execs, extra) = args.split_first().context("loads EXECS")?;
    let execs: u64 = execs.parse().context("EXECS is a number")?;
    let extra: Vec<String> = extra.iter().map(|word| (*word).to_owned()).collect();
    fs::copy(env::current_exe()?, EXCLUDED)?;
    let start = || Config::Sensor.start(&extra)?.context("nothing was started");

    println!("value default_ring_size {}", f64::from(RING_BYTES_DEFAULT) / f64::from(1 << 20));
    let watcher = start()?;
    at_rest(&watcher)?;
    println!("value rss_idle {}", resident_mib(&watcher)?);
    burst_of_renames()?;
    at_rest(&watcher)?;
    let said = watcher.stop()?;
    let delivered = number_after(&said, "rename ").context("no totals")?;
    let lost = number_after(&said, "file_rename ").unwrap_or(0);
    println!("value burst_renames_delivered {delivered}");
    println!("value burst_renames_reported_lost {lost}");
    println!("value burst_of_100000_renames_lost {}", RENAMES.saturating_sub(delivered).max(lost));

    if execs > 0 {
        let watcher = start()?;
        at_rest(&watcher)?;
        let execs = many_execs(execs)?;
        println!("value rss_at_the_end_of_{execs}_execs {}", resident_mib(&watcher)?);
        at_rest(&watcher)?;
        println!("value rss_after_{execs}_execs {}", resident_mib(&watcher)?);
        let said = watcher.stop()?;
        println!("value execs_delivered {}", number_after(&said, "exec ").context("no totals")?);
    }
    Ok(())
}

fn resident_mib(watcher: &Watcher) -> Result<f64> {
    Ok(resident_kib(watcher.pid())? as f64 / 1024.0)
}

/// Waits until the sensor has read what there is: it hardly runs any more.
fn at_rest(watcher: &Watcher) -> Result<()> {
    for _ in 0..240 {
        let before = runtime_ns(watcher.pid())?;
        thread::sleep(BETWEEN_LOOKS);
        if u128::from(runtime_ns(watcher.pid())? - before) < BETWEEN_LOOKS.as_nanos() / 20 {
            return Ok(());
        }
    }
    bail!("the sensor does not come to rest")
}

fn burst_of_renames() -> Result<()> {
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        let dir = format!("{WATCHED}/writer-{number}");
        fs::create_dir_all(&dir)?;
        writers
            .push(Command::new(EXCLUDED).args(["rename", &dir, &(RENAMES / WRITERS).to_string()]).spawn()?);
    }
    for mut writer in writers {
        ensure!(writer.wait()?.success(), "a writer failed");
    }
    Ok(())
}

/// One file, renamed from name to name; each is 100 bytes long.
pub(crate) fn rename_many(dir: &str, count: &str) -> Result<()> {
    env::set_current_dir(dir)?;
    let name = |number: u32| format!("{:x<92}{number:08}", "moving-");
    let count: u32 = count.parse().context("COUNT is a number")?;
    fs::write(name(0), "")?;
    for number in 0..count {
        rustix::fs::rename(name(number), name(number + 1))?;
    }
    Ok(())
}

/// As many as there is time for; says how many.
fn many_execs(count: u64) -> Result<u64> {
    let start = Instant::now();
    let path = Path::new("/srv/smallest");
    fs::write(path, SMALLEST_PROGRAM)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    for number in 0..count {
        if number % 10_000 == 0 && start.elapsed() > EXECS_WITHIN {
            return Ok(number);
        }
        // Each with an argument of its own, as programs have.
        let mut command = Command::new(path);
        let status = command.arg(number.to_string()).env_clear().stdin(Stdio::null()).status()?;
        ensure!(status.success(), "{status}");
    }
    Ok(count)
}

/// The first number after `word` in the totals at the end.
fn number_after(said: &str, word: &str) -> Option<u64> {
    let (_, totals) = said.split_once("sensor: stopped")?;
    let (_, rest) = totals.split_once(word)?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[expect(clippy::indexing_slicing, reason = "a constant: checked when it is built")]
const fn smallest_program() -> [u8; 129] {
    const HEADERS: usize = 64 + 56;
    const ADDRESS: u32 = 0x40_0000;
    // mov eax, 60; xor edi, edi; syscall
    const CODE: [u8; 9] = [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
    let entry = (ADDRESS + HEADERS as u32).to_le_bytes();
    let address = ADDRESS.to_le_bytes();
    let mut image = [0; HEADERS + CODE.len()];
    let fields: [(usize, &[u8]); 16] = [
        (0, &[0x7f, b'E', b'L', b'F', 2, 1, 1]),
        // An executable for x86-64.
        (16, &[2]),
        (18, &[62]),
        (20, &[1]),
        (24, &entry),
        // One program header, right behind this one.
        (32, &[64]),
        (52, &[64]),
        (54, &[56]),
        (56, &[1]),
        // To be loaded whole, readable and executable.
        (64, &[1]),
        (68, &[5]),
        (80, &address),
        (88, &address),
        (96, &[image.len() as u8]),
        (104, &[image.len() as u8]),
        (HEADERS, &CODE),
    ];
    let mut field = 0;
    while field < fields.len() {
        let (at, bytes) = fields[field];
        let mut byte = 0;
        while byte < bytes.len() {
            image[at + byte] = bytes[byte];
            byte += 1;
        }
        field += 1;
    }
    image
}
