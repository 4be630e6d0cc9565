//! Time per event of whole rule sets on pre-decoded events, and how it grows with the number of rules.
//!
//! `cargo bench -p sensor-eql`; rules and events are the sample data, see `SENSOR_TEST_DATA`.

fn main() {
    #[cfg(test)]
    bench::run();
}

#[cfg(test)]
#[path = "../tests/it/support.rs"]
#[expect(dead_code, reason = "shared with the tests, which use all of it")]
mod support;

#[cfg(test)]
mod bench {
    use std::hint::black_box;
    use std::time::Instant;

    use sensor_eql::{Correlator, Kind, Limits, Origin, RuleSet, RuleSource, Selection};

    use crate::support::{JsonRecord, JsonSchema, sample_data};

    const SHIPPED: &str =
        include_str!("../../rules/linux/persistence_apt_package_manager_file_creation.toml");

    fn sources() -> Vec<RuleSource> {
        let Some(dir) = sample_data("corpus/rules") else { return Vec::new() };
        let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        paths
            .into_iter()
            .map(|path| RuleSource {
                origin: Origin::User,
                path: path.to_string_lossy().into_owned(),
                text: std::fs::read_to_string(&path).unwrap(),
            })
            .collect()
    }

    fn events(schema: &JsonSchema, category: &str) -> Vec<JsonRecord> {
        let Some(dir) = sample_data("eql-generated") else { return Vec::new() };
        let text = std::fs::read_to_string(dir.join("events.ndjson")).unwrap();
        let documents = text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        let wanted = documents.filter(|d| d["event"]["category"].to_string().contains(category));
        // Few enough to stay in the cache, where a live event is when it has just been decoded.
        let all: Vec<JsonRecord> = wanted.map(|d| schema.document(&d)).collect();
        all.iter().step_by(all.len().div_ceil(100).max(1)).cloned().collect()
    }

    /// The best of many short rounds, in nanoseconds per event: what the code costs when nothing else runs.
    fn time(set: &RuleSet, records: &[JsonRecord]) -> f64 {
        let all: Selection = set.select(|rule| rule.compiled.kind() == Kind::Event);
        let mut best = f64::MAX;
        for _ in 0..200 {
            let start = Instant::now();
            let mut hits = 0_u64;
            for record in records {
                set.matches_selected(black_box(record), &all, &mut |_| hits += 1);
            }
            black_box(hits);
            best = best.min(start.elapsed().as_nanos() as f64 / records.len() as f64);
        }
        best
    }

    /// The same with sequences, samples and rules that remember.
    fn time_all(set: &RuleSet, records: &[JsonRecord]) -> f64 {
        let mut best = f64::MAX;
        for _ in 0..50 {
            let mut all = Correlator::new(set, Limits::default());
            let start = Instant::now();
            let mut hits = 0_u64;
            for record in records {
                all.push(set, black_box(record), &(), 100, &mut |_| hits += 1);
            }
            black_box(hits);
            best = best.min(start.elapsed().as_nanos() as f64 / records.len() as f64);
        }
        best
    }

    pub(crate) fn run() {
        let schema = JsonSchema::ecs();
        let (files, processes) = (events(&schema, "file"), events(&schema, "process"));
        let shipped =
            RuleSource { origin: Origin::Shipped, path: "apt".to_owned(), text: SHIPPED.to_owned() };
        let apt = RuleSet::load([shipped], &schema);
        println!("shipped rule, file event: {:.0} ns", time(&apt, &files));
        let sources = sources();
        for count in [10, 30, 60, 120, 250, sources.len()] {
            let set = RuleSet::load(sources.iter().take(count).cloned(), &schema);
            let rules = set.rules().iter().filter(|r| r.compiled.kind() == Kind::Event).count();
            let all = set.rules().len();
            println!(
                "{all:>4} rules with state: {:.0} ns per file event, {:.0} ns per process event",
                time_all(&set, &files),
                time_all(&set, &processes)
            );
            println!(
                "{rules:>4} rules: {:.0} ns per file event, {:.0} ns per process event",
                time(&set, &files),
                time(&set, &processes)
            );
        }
    }
}
