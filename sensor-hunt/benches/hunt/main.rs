//! Stored file events in numbers: `hunt make DIR EVENTS` ingests, `hunt ask DIR` asks the question of the dpkg and rpm
//! hunt, `hunt sqlite FILE EVENTS` does both with a SQLite table of the same rows. Each prints its own figures, lines
//! `value NAME NUMBER` for `cargo xtask bench hunt`; they are processes of their own so that the memory of one is not
//! counted for the other.

mod sqlite;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use sensor_ecs::{Ecs, FieldId, Record, Scalar, Schema as _, Value};
use sensor_hunt::esql::{Progress, Query, Settings};
use sensor_store::{Encoder, Options, Store, Writer};

/// 2026-01-10T00:00:00Z
const NOW_MS: i64 = 1_768_003_200_000;
const DAY_NS: i64 = 86_400_000_000_000;
const GROUP: usize = 131_072;

const QUESTION: &str = r#"
from logs-endpoint.events.file-*
| keep @timestamp, host.os.type, event.action, file.path, file.name, agent.id, process.executable
| where @timestamp > now() - 7 days
| where host.os.type == "linux" and event.action in ("rename", "creation") and (
  file.path like "/var/lib/dpkg/info/*" or file.path like "/var/lib/rpm/*"
) and not (
  file.name like "*-new" or file.name like "__db*.*" or file.name like "*.list" or file.name like "*.md5sums*"
)
| stats cc = count(), agent_count = count_distinct(agent.id) by file.name, process.executable
| where agent_count <= 3
| sort cc asc
| limit 100
"#;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["make", folder, events] => make(Path::new(folder), events.parse()?),
        ["ask", folder] => ask(Path::new(folder)),
        ["sqlite", file, events] => sqlite::run(Path::new(file), events.parse()?),
        _ => {
            println!("skipped: hunt make DIR EVENTS, hunt ask DIR, hunt sqlite FILE EVENTS");
            Ok(())
        }
    }
}

/// User and system time of this process so far.
fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = after.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn peak_mebibytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Which field is where in a made event: one table for all of them, as an event of the sensor answers by its field.
struct Places(Vec<u8>);

const NOWHERE: u8 = u8::MAX;
const FIELDS: [&str; 30] = [
    "@timestamp",
    "event.created",
    "event.sequence",
    "process.pid",
    "file.extension",
    "event.id",
    "file.path",
    "file.name",
    "agent.id",
    "host.id",
    "host.name",
    "process.name",
    "process.entity_id",
    "process.executable",
    "event.action",
    "event.type",
    "event.category",
    "agent.type",
    "agent.version",
    "data_stream.dataset",
    "data_stream.namespace",
    "data_stream.type",
    "ecs.version",
    "event.kind",
    "event.module",
    "host.os.type",
    "user.id",
    "user.name",
    "event.outcome",
    "message",
];

impl Places {
    fn new() -> Self {
        let mut places = vec![NOWHERE; sensor_ecs::fields::TABLE.len()];
        for (at, name) in (0_u8..).zip(FIELDS) {
            if let Some(place) = Ecs.lookup(name).and_then(|field| places.get_mut(usize::from(field.id.0))) {
                *place = at;
            }
        }
        Self(places)
    }
}

enum Part {
    Absent,
    One(Scalar),
    List([Scalar; 1]),
}

struct Made<'p> {
    places: &'p Places,
    parts: Vec<Part>,
}

impl Record for Made<'_> {
    fn value(&self, field: FieldId) -> Value<'_> {
        let at = self.places.0.get(usize::from(field.0)).copied().unwrap_or(NOWHERE);
        match self.parts.get(usize::from(at)) {
            Some(Part::One(value)) => value.as_value(),
            Some(Part::List(values)) => Value::List(values),
            Some(Part::Absent) | None => Value::Absent,
        }
    }
}

impl Made<'_> {
    fn set(&mut self, name: &str, part: Part) {
        if let Some(place) = FIELDS.iter().position(|of| *of == name).and_then(|at| self.parts.get_mut(at)) {
            *place = part;
        }
    }

    fn text(&mut self, name: &str, text: String) {
        self.set(name, Part::One(Scalar::Keyword(text.into_bytes().into())));
    }

    fn list(&mut self, name: &str, text: &'static str) {
        self.set(name, Part::List([Scalar::keyword(text)]));
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        let at = self.below(all.len() as u64) as usize;
        all.get(at).copied().unwrap_or_default()
    }
}

/// A twentieth and more pass the filter, nearly all of them common to every host; a few are rare.
fn event<'p>(places: &'p Places, random: &mut Random, number: u64, events: u64) -> Made<'p> {
    let mut made = Made { places, parts: (0..FIELDS.len()).map(|_| Part::Absent).collect() };
    let agent = random.below(40);
    let packages =
        ["libc6", "bash", "openssl", "systemd", "curl", "nginx", "python3.11", "perl-base", "vim", "git"];
    let (path, executable) = match random.below(100) {
        0..7 => {
            let end = random.of(&["postinst", "prerm", "triggers", "shlibs", "conffiles", "preinst"]);
            let path = format!("/var/lib/dpkg/info/{}-{}.{end}", random.of(&packages), random.below(200));
            (path, "/usr/bin/dpkg".to_owned())
        }
        7..10 => {
            let path = format!("/var/lib/dpkg/info/{}-{}.list", random.of(&packages), random.below(200));
            (path, "/usr/bin/dpkg".to_owned())
        }
        10..40 => (
            format!("/tmp/{}-{:08x}", random.of(&["tmp", "pip", "go-build"]), random.below(1 << 32)),
            format!("/usr/bin/{}", random.of(&["python3.11", "go", "gcc"])),
        ),
        40..70 => (
            format!(
                "/var/log/{}/{}.log.{}",
                random.of(&packages),
                random.of(&["access", "error", "audit"]),
                random.below(100)
            ),
            "/usr/sbin/logrotate".to_owned(),
        ),
        _ => (
            format!(
                "/home/user{}/{}/{}.{}",
                random.below(30),
                random.of(&["src", "doc", ".cache"]),
                random.below(20_000),
                random.of(&["rs", "o", "txt", "json"])
            ),
            format!("/usr/bin/{}", random.of(&["cargo", "vim", "firefox"])),
        ),
    };
    let rare = number % 100_003 == 7;
    let path = if rare { format!("/var/lib/dpkg/info/evil{number}.postinst") } else { path };
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    let time = NOW_MS * 1_000_000 - 6 * DAY_NS + (6 * DAY_NS / events as i64) * number as i64;
    let creation = random.below(3) > 0;
    let pid = 300 + random.below(30_000);
    made.set("@timestamp", Part::One(Scalar::Date(time)));
    made.set("event.created", Part::One(Scalar::Date(time)));
    made.set("event.sequence", Part::One(Scalar::Long((number / 40) as i64)));
    made.set("process.pid", Part::One(Scalar::Long(pid as i64)));
    if let Some((_, extension)) = name.rsplit_once('.') {
        made.text("file.extension", extension.to_owned());
    }
    made.text("event.id", format!("{:016x}{:08x}", agent.wrapping_mul(0x9e37_79b9_7f4a_7c15), number));
    made.text("file.path", path);
    made.text("file.name", name);
    made.text("agent.id", format!("7829f26d-c2d1-4eaf-a1ac-cd9cb9e1{agent:04x}"));
    made.text("host.id", format!("48c1b3f1ac5da4e0057fc9f60f4d{agent:04x}"));
    made.text("host.name", format!("web{agent:02}"));
    made.text("process.name", executable.rsplit('/').next().unwrap_or_default().to_owned());
    made.text("process.entity_id", format!("entity-{agent}-{pid}"));
    made.text("process.executable", executable);
    made.text("event.action", if creation { "creation" } else { "rename" }.to_owned());
    made.list("event.type", if creation { "creation" } else { "change" });
    made.list("event.category", "file");
    let constants = [
        ("agent.type", "endpoint"),
        ("agent.version", "0.1.0"),
        ("data_stream.dataset", "endpoint.events.file"),
        ("data_stream.namespace", "default"),
        ("data_stream.type", "logs"),
        ("ecs.version", "8.16.0"),
        ("event.kind", "event"),
        ("event.module", "endpoint"),
        ("host.os.type", "linux"),
        ("user.id", "0"),
        ("user.name", "root"),
        ("event.outcome", "success"),
        ("message", "Endpoint file event"),
    ];
    for (name, value) in constants {
        made.set(name, Part::One(Scalar::keyword(value)));
    }
    made
}

fn make(folder: &Path, events: u64) -> Result<(), Failure> {
    let (mut writer, _) =
        Writer::open(folder, Options { age_max: None, bytes_max: None, ..Options::default() })?;
    let encoder = Encoder::new(&Ecs);
    let mut random = Random(42);
    let places = Places::new();
    let (mut ingest, mut raw) = (Duration::ZERO, 0);
    let mut number = 0;
    while number < events {
        let until = events.min(number + GROUP as u64);
        let made: Vec<Made<'_>> = (number..until).map(|n| event(&places, &mut random, n, events)).collect();
        number = until;
        let before = cpu();
        let mut rows = Vec::new();
        for one in &made {
            encoder.append(one, &mut rows).map_err(|refused| format!("{refused:?}"))?;
        }
        raw += rows.len();
        writer.import_rows(rows)?;
        ingest += cpu().saturating_sub(before);
    }
    let before = cpu();
    writer.compact(0)?;
    let compact = cpu().saturating_sub(before);
    drop(writer);
    let stat = Store::open(folder)?.stat()?;
    let bytes: u64 = stat.datasets.iter().map(|of| of.bytes).sum();
    let rate = events as f64 / ingest.as_secs_f64();
    println!(
        "ingest     {rate:.0} events/s of one core ({ingest:?} for {events}, {} bytes each in the log)",
        raw as u64 / events
    );
    println!("compaction {compact:?} more");
    println!(
        "on disk    {:.1} bytes an event, {} files",
        bytes as f64 / events as f64,
        stat.datasets.iter().map(|of| of.files).sum::<u64>()
    );
    println!("memory     {} MiB at most, the made events among them", peak_mebibytes());
    println!("value ingest {rate}\nvalue disk {}", bytes as f64 / events as f64);
    Ok(())
}

fn ask(folder: &Path) -> Result<(), Failure> {
    let query = Query::parse(QUESTION)?;
    let stores = [Store::open(folder)?];
    let mut best = Duration::MAX;
    for round in ["first", "again", "again"] {
        let (wall, before) = (Instant::now(), cpu());
        let outcome = query.run(&stores, &Settings::at(NOW_MS), &Progress::default())?;
        let took = wall.elapsed();
        let cpu = cpu().saturating_sub(before);
        best = best.min(took);
        println!(
            "sensor     {round}: {:.3} s wall, {:.3} s CPU, {} rows of {}",
            took.as_secs_f64(),
            cpu.as_secs_f64(),
            outcome.rows.len(),
            outcome.scanned.rows
        );
    }
    println!("sensor     {} MiB at most", peak_mebibytes());
    println!("value wall {}\nvalue memory {}", best.as_secs_f64(), peak_mebibytes());
    Ok(())
}
