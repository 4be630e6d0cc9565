//! The same rows in a SQLite table: a column for each field, an index on the path that the question asks for.

use std::path::Path;
use std::time::Instant;

use rusqlite::types::Value as Cell;
use rusqlite::{Connection, params_from_iter};
use sensor_ecs::Value;

use super::{FIELDS, Failure, GROUP, NOW_MS, Part, Places, Random, cpu, event, peak_mebibytes};

const QUESTION: &str = r#"
select count(*) as cc, count(distinct "agent.id") as agent_count, "file.name", "process.executable" from events
where "@timestamp" > ?1 and "host.os.type" = 'linux' and "event.action" in ('rename', 'creation')
  and (("file.path" >= '/var/lib/dpkg/info/' and "file.path" < '/var/lib/dpkg/info0')
       or ("file.path" >= '/var/lib/rpm/' and "file.path" < '/var/lib/rpm0'))
  and not ("file.name" glob '*-new' or "file.name" glob '__db*.*' or "file.name" glob '*.list'
           or "file.name" glob '*.md5sums*')
group by 3, 4 having agent_count <= 3 order by cc limit 100
"#;

fn cell(part: &Part) -> Cell {
    let scalar = match part {
        Part::Absent => return Cell::Null,
        Part::One(scalar) | Part::List([scalar]) => scalar,
    };
    match scalar.as_value() {
        Value::Long(number) | Value::Date(number) => Cell::Integer(number),
        value => value
            .as_keyword()
            .map_or(Cell::Null, |text| Cell::Text(String::from_utf8_lossy(text).into_owned())),
    }
}

pub(super) fn run(file: &Path, events: u64) -> Result<(), Failure> {
    let mut table = Connection::open(file)?;
    table.execute_batch("pragma journal_mode = wal; pragma synchronous = normal")?;
    let names: Vec<String> = FIELDS.iter().map(|name| format!("\"{name}\"")).collect();
    table.execute_batch(&format!("create table events ({})", names.join(", ")))?;
    let insert = format!("insert into events values ({})", vec!["?"; FIELDS.len()].join(", "));
    let (mut random, places) = (Random(42), Places::new());
    let (mut ingest, mut number) = (std::time::Duration::ZERO, 0);
    while number < events {
        let until = events.min(number + GROUP as u64);
        let made: Vec<Vec<Cell>> = (number..until)
            .map(|n| event(&places, &mut random, n, events).parts.iter().map(cell).collect())
            .collect();
        number = until;
        let before = cpu();
        let transaction = table.transaction()?;
        {
            let mut statement = transaction.prepare(&insert)?;
            for row in &made {
                statement.execute(params_from_iter(row))?;
            }
        }
        transaction.commit()?;
        ingest += cpu().saturating_sub(before);
    }
    // Afterwards, which is the cheaper way.
    let before = cpu();
    table.execute_batch("create index by_path on events (\"file.path\"); pragma wal_checkpoint(truncate)")?;
    ingest += cpu().saturating_sub(before);
    let bytes = std::fs::metadata(file)?.len();
    println!("sqlite     {:.0} events/s of one core", events as f64 / ingest.as_secs_f64());
    println!(
        "sqlite     {:.1} bytes an event, an index on the path among them",
        bytes as f64 / events as f64
    );
    let since = (NOW_MS - 7 * 86_400_000) * 1_000_000;
    for round in ["first", "again"] {
        let (wall, before) = (Instant::now(), cpu());
        let mut statement = table.prepare(QUESTION)?;
        let rows = statement.query_map([since], |_| Ok(()))?.count();
        let cpu = cpu().saturating_sub(before).as_secs_f64();
        println!(
            "sqlite     {round}: {:.3} s wall, {cpu:.3} s CPU, {rows} rows",
            wall.elapsed().as_secs_f64()
        );
    }
    println!("sqlite     {} MiB at most, the made events among them", peak_mebibytes());
    Ok(())
}
