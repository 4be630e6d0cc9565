//! The fuzzers' targets on their seeds and on what a few thousand small changes make of them.

use std::path::Path;
use std::time::{Duration, Instant};

#[path = "../../../fuzz/targets.rs"]
mod targets;

const CHANGES: usize = 400;
/// So that a slow machine cuts the number of changes rather than patience.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Random enough, and the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit.max(1)
    }
}

fn changed(seed: &[u8], others: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut data = seed.to_vec();
    for _ in 0..1 + numbers.below(4) {
        let (from, to) = (numbers.below(data.len()), numbers.below(data.len()));
        let (from, to) = (from.min(to), from.max(to));
        match numbers.below(5) {
            0 => drop(data.drain(from..to)),
            1 => data.insert(from, u8::try_from(numbers.below(256)).unwrap()),
            2 => data.extend_from_within(from..to),
            3 => data.truncate(to),
            _ => {
                let other = &others[numbers.below(others.len())];
                let piece = &other[numbers.below(other.len())..];
                data.splice(from..to, piece.iter().take(20).copied());
            }
        }
    }
    data
}

fn replay(target: &str, run: impl Fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!seeds.is_empty(), "no seeds in {}", dir.display());
    let mut numbers = Numbers(0x5EED);
    let start = Instant::now();
    seeds.iter().for_each(|seed| run(seed));
    for _ in 0..CHANGES {
        if start.elapsed() > TIME_MAX {
            break;
        }
        seeds.iter().for_each(|seed| run(&changed(seed, &seeds, &mut numbers)));
    }
}

#[test]
fn queries_never_panic() {
    replay("query", targets::query);
}

#[test]
fn kql_never_panics() {
    replay("kql", targets::kql);
}

#[test]
fn rule_files_never_panic() {
    replay("rule", targets::rule);
}

#[test]
fn evaluation_agrees_with_the_reference() {
    replay("evaluate", targets::evaluate);
}
