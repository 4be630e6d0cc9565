//! The same questions asked of the same files by other engines: DuckDB and ClickHouse (chdb), where SENSOR_READERS names
//! a Python that has them; `cargo xtask setup --readers` makes one.

use std::fmt::Write as _;
use std::process::Command;

use crate::common::{NOW_MS, sealed};
use sensor_hunt::esql::{Progress, Query, Settings};
use sensor_store::Store;

/// ES|QL, and its plan as SQL over `events`. Both are compared as sorted lines.
const PAIRS: [(&str, &str); 12] = [
    ("stats c = count()", "select count(*) from events"),
    (
        "stats c = count(), a = count_distinct(agent.id) by process.executable",
        r#"select count(*), count(distinct "agent.id"), "process.executable" from events group by 3"#,
    ),
    (
        r#"where file.path like "/etc/*" and not file.name like "*.conf" | stats c = count() by file.name"#,
        r#"select count(*), "file.name" from events where "file.path" like '/etc/%' and not "file.name" like '%.conf' group by 2"#,
    ),
    (
        r#"where not file.extension in ("conf", "sh") | stats c = count()"#,
        r#"select count(*) from events where not "file.extension" in ('conf', 'sh')"#,
    ),
    (
        r#"where file.extension is null or file.size > 500 | stats c = count(), s = sum(file.size)"#,
        r#"select count(*), sum("file.size")::bigint from events where "file.extension" is null or "file.size" > 500"#,
    ),
    (
        "stats mn = min(file.size), mx = max(file.size), v = count(file.size) by agent.id",
        r#"select min("file.size"), max("file.size"), count("file.size"), "agent.id" from events group by 4"#,
    ),
    (
        r#"where @timestamp >= "2026-01-06" and @timestamp < "2026-01-07" | stats c = count() by event.action"#,
        r#"select count(*), "event.action" from events where "@timestamp"::timestamptz >= timestamptz '2026-01-06 00:00:00+00' and "@timestamp"::timestamptz < timestamptz '2026-01-07 00:00:00+00' group by 2"#,
    ),
    (
        r#"where file.path rlike "/(etc|opt)/[a-m].*" | stats c = count()"#,
        r#"select count(*) from events where regexp_full_match("file.path", '/(etc|opt)/[a-m].*')"#,
    ),
    (
        r#"eval k = case(file.size < 100, "small", file.size < 900, "middle", "large") | stats c = count() by k"#,
        r#"select count(*), case when "file.size" < 100 then 'small' when "file.size" < 900 then 'middle' else 'large' end from events group by 2"#,
    ),
    (
        "stats c = count() by event.type",
        r#"select count(*), t from (select coalesce(unnest(case when len("event.type") > 0 then "event.type" else [null] end), 'null') t from events) group by 2"#,
    ),
    (
        "sort file.size desc nulls last, file.path, @timestamp | limit 50 | keep file.size, file.path",
        r#"select "file.size", "file.path" from events order by "file.size" desc nulls last, "file.path", "@timestamp" limit 50"#,
    ),
    (
        "eval d = date_trunc(1 day, @timestamp) | stats c = count(), a = count_distinct(file.path) by d | keep c, a",
        r#"select count(*), count(distinct "file.path") from events group by date_trunc('day', "@timestamp"::timestamptz)"#,
    ),
];

/// The same for ClickHouse.
const PAIRS_CHDB: [(&str, &str); 4] = [
    (
        "stats c = count(), a = count_distinct(agent.id) by process.executable",
        "select count(), uniqExact(`agent.id`), `process.executable` from events group by 3",
    ),
    (
        r#"where file.path like "/etc/*" and not file.name like "*.conf" | stats c = count() by file.name"#,
        "select count(), `file.name` from events where `file.path` like '/etc/%' and not `file.name` like '%.conf' group by 2",
    ),
    (
        r#"where file.extension is null or file.size > 500 | stats c = count(), s = sum(file.size)"#,
        "select count(), sum(`file.size`) from events where `file.extension` is null or `file.size` > 500",
    ),
    (
        r#"where file.path rlike "/(etc|opt)/[a-m].*" | stats c = count() by event.action"#,
        "select count(), `event.action` from events where match(`file.path`, '^/(etc|opt)/[a-m].*$') group by 2",
    ),
];

fn events() -> String {
    let mut out = String::new();
    let mut state = 42_u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for number in 0..20_000 {
        let folder = ["/etc", "/opt", "/var/lib", "/tmp"][next(4) as usize];
        let stem = ["alpha", "mike", "zulu", "cron"][next(4) as usize];
        let (ext, dotted) = [("conf", ".conf"), ("sh", ".sh"), ("", "")][next(3) as usize];
        let name = format!("{stem}{}{dotted}", next(30));
        let ext = if ext.is_empty() { String::new() } else { format!(r#","extension":"{ext}""#) };
        let size = if next(10) == 0 { String::new() } else { format!(r#","size":{}"#, next(1_000)) };
        let kind = [r#"["creation"]"#, r#"["change"]"#, r#"["change","deletion"]"#, "[]"][next(4) as usize];
        let time = NOW_MS - 7 * 86_400_000 + number * 30_000;
        writeln!(
            out,
            r#"{{"@timestamp":{time},"agent":{{"id":"a{}"}},"data_stream":{{"dataset":"endpoint.events.file"}},"event":{{"action":"{}","type":{kind}}},"file":{{"path":"{folder}/{name}","name":"{name}"{ext}{size}}},"process":{{"executable":"/usr/bin/p{}"}}}}"#,
            next(8),
            ["creation", "rename"][next(2) as usize],
            next(12)
        )
        .unwrap();
    }
    out
}

fn ours(store: &Store, query: &str) -> Vec<String> {
    let query = Query::parse(&format!("from logs-endpoint.events.file-* | {query} | limit 10000")).unwrap();
    let outcome =
        query.run(std::slice::from_ref(store), &Settings::at(NOW_MS), &Progress::default()).unwrap();
    let line = |row: &Vec<_>| row.iter().map(ToString::to_string).collect::<Vec<_>>().join("|");
    let mut lines: Vec<String> = outcome.rows.iter().map(line).collect();
    lines.sort();
    lines
}

/// Runs a script of which each question's answer is lines between lines `#`.
fn asked(script: &str) -> Option<Vec<Vec<String>>> {
    let Some(python) = std::env::var_os("SENSOR_READERS") else {
        println!("skipped: SENSOR_READERS does not name a Python with duckdb and chdb");
        return None;
    };
    let output = Command::new(&python).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let answers = text.split("#\n").skip(1).map(|answer| {
        let mut lines: Vec<String> = answer.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    });
    Some(answers.collect())
}

fn agree(store: &Store, pairs: &[(&str, &str)], theirs: &[Vec<String>]) {
    assert_eq!(pairs.len(), theirs.len());
    for ((query, sql), theirs) in pairs.iter().zip(theirs) {
        assert!(!theirs.is_empty(), "{sql}");
        assert_eq!(&ours(store, query), theirs, "{query}\n{sql}");
    }
    println!("{} questions, each answered alike", pairs.len());
}

#[test]
fn duckdb_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let store = sealed(&root, &events());
    let mut script = format!(
        "import duckdb\nc = duckdb.connect()\nc.execute(\"set timezone='UTC'\")\n\
         c.execute(\"create view events as select * from read_parquet('{}')\")\n",
        root.join("dataset=endpoint.events.file/*/*.parquet").display()
    );
    for (_, sql) in PAIRS {
        writeln!(
            script,
            "print('#')\nfor row in c.execute({sql:?}).fetchall():\n    \
             print('|'.join('null' if v is None else str(v) for v in row))"
        )
        .unwrap();
    }
    if let Some(theirs) = asked(&script) {
        agree(&store, &PAIRS, &theirs);
    }
}

#[test]
fn clickhouse_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let store = sealed(&root, &events());
    let mut script = format!(
        "import chdb\nevents = \"file('{}', Parquet)\"\n",
        root.join("dataset=endpoint.events.file/*/*.parquet").display()
    );
    for (_, sql) in PAIRS_CHDB {
        writeln!(
            script,
            "print('#')\nprint(str(chdb.query({sql:?}.replace('from events', 'from ' + events), 'TSV'))\
             .replace('\\t', '|').replace('\\\\N', 'null'), end='')"
        )
        .unwrap();
    }
    if let Some(theirs) = asked(&script) {
        agree(&store, &PAIRS_CHDB, &theirs);
    }
}
