//! What stands above a table: where the stored events do not cover the question, and what could not be evaluated.

use std::collections::BTreeSet;

use sensor_ecs::{Ecs, Schema as _};
use sensor_store::{Part, Store, schema};

use super::bound::{Slot, Source};
use super::eval::Warnings;
use super::exec::Bounds;
use super::index;
use super::outcome::{RunError, Settings, date_text};

/// Warnings that are told.
const WARNINGS_MAX: usize = 20;
/// Of a condition that is quoted.
const PART_CHARS_MAX: usize = 60;
/// A pause shorter than this is not told: a restart, a minute between two signs of life.
const PAUSE_MS: i64 = 120_000;

/// Elasticsearch's words, with where and how often.
pub(super) fn warnings(warnings: &Warnings, text: &str) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for ((start, end, cause), count) in &warnings.failed {
        if told.len() == WARNINGS_MAX {
            told.push(format!("and {} more kinds of warnings", warnings.failed.len() - WARNINGS_MAX));
            break;
        }
        let (line, column, part) = place(text, *start, *end);
        let times = if *count == 1 { String::new() } else { format!(" ({count} times)") };
        told.push(format!(
            "Line {line}:{column}: evaluation of [{part}] failed, treating result as null: {cause}{times}"
        ));
    }
    told
}

/// Line and column of a part of the query, and the part on one line.
fn place(text: &str, start: u32, end: u32) -> (usize, usize, String) {
    let before = text.get(..start as usize).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let part: Vec<&str> =
        text.get(start as usize..end as usize).unwrap_or_default().split_whitespace().collect();
    (line, column, part.join(" "))
}

/// Which events a negation left out because they lack a field: it is then neither true nor false.
pub(super) fn undecided(warnings: &Warnings, text: &str, sources: &[(Slot, Source)]) -> Vec<String> {
    let column = |slot: &Slot| {
        let source = sources.iter().find_map(|(of, source)| (of == slot).then_some(*source));
        let Some(Source::Column(index)) = source else { return None };
        schema::columns().get(index).map(|column| column.name)
    };
    let named = warnings.undecided.iter().filter_map(|((start, end, slot), count)| {
        let (field, (line, at, part)) = (column(slot)?, place(text, *start, *end));
        let short: String = part.chars().take(PART_CHARS_MAX).collect();
        let part = if short.len() < part.len() { format!("{short}...") } else { part };
        let events = if *count == 1 { "1 event".to_owned() } else { format!("{count} events") };
        Some(format!(
            "{events} without {field} left out by [{part}] (line {line}:{at}), which is null for them"
        ))
    });
    named.take(WARNINGS_MAX).collect()
}

fn span_text(ms: i64) -> String {
    let minutes = ms / 60_000;
    let (days, hours, minutes) = (minutes / 1_440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        (_, 0) => format!("{days} d"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Where the answer rests on less than was asked for.
pub(super) fn coverage(
    stores: &[Store],
    fields: &[&'static str],
    wanted: &[&str],
    parts: &[Part],
    bounds: &Bounds,
    settings: &Settings,
) -> Result<Vec<String>, RunError> {
    let mut notes = Vec::new();
    let recorded: Vec<&str> = index::RECORDED
        .into_iter()
        .filter(|dataset| wanted.iter().any(|pattern| index::matches(pattern, dataset)))
        .collect();
    if parts.is_empty() {
        notes.push(format!("no stored events belong to {}", wanted.join(", ")));
    }
    if recorded.is_empty() {
        notes.push("the sensor records file and process events only; others must be imported".to_owned());
        return Ok(notes);
    }
    let unfilled: BTreeSet<&str> = fields
        .iter()
        .filter(|name| sensor_ecs::fields::find(name).is_some_and(|field| !Ecs.fills(field.id)))
        .copied()
        .collect();
    if !unfilled.is_empty() {
        let names: Vec<&str> = unfilled.into_iter().collect();
        notes.push(format!("the sensor never fills {}", names.join(", ")));
    }
    let from = bounds.first_ms;
    let to = bounds.last_ms.unwrap_or(settings.now_ms).min(settings.now_ms);
    let mut by_note: Vec<(String, Vec<String>)> = Vec::new();
    for store in stores {
        let name = store.root().display().to_string();
        for note in of_store(&store.coverage()?, &recorded, from, to) {
            match by_note.iter_mut().find(|(known, _)| *known == note) {
                Some((_, names)) => names.push(name.clone()),
                None => by_note.push((note, vec![name.clone()])),
            }
        }
    }
    notes.extend(by_note.into_iter().map(|(note, names)| match names.as_slice() {
        _ if stores.len() == 1 => note,
        [first, second, third, _, ..] => {
            format!("{first}, {second}, {third} and {} more: {note}", names.len() - 3)
        }
        _ => format!("{}: {note}", names.join(", ")),
    }));
    Ok(notes)
}

fn of_store(
    coverage: &sensor_store::coverage::Coverage,
    recorded: &[&str],
    from: Option<i64>,
    to: i64,
) -> Vec<String> {
    let ms = |ns: i64| ns.div_euclid(1_000_000);
    let mut notes = Vec::new();
    let mut missing: BTreeSet<&str> = BTreeSet::new();
    let mut left_out: BTreeSet<&str> = BTreeSet::new();
    let (mut covered, mut reached) = (0, from.unwrap_or(i64::MIN));
    let mut pauses = Vec::new();
    for session in &coverage.sessions {
        let (first, last) = (ms(session.first_ns).max(reached), ms(session.last_ns).min(to));
        if last < first {
            continue;
        }
        missing.extend(recorded.iter().filter(|name| !session.scope.datasets.iter().any(|of| of == *name)));
        left_out.extend(session.scope.left_out.iter().map(String::as_str));
        if reached != i64::MIN && first - reached > PAUSE_MS {
            pauses.push((reached, first));
        }
        covered += last - first;
        reached = last;
    }
    if coverage.sessions.is_empty() {
        notes
            .push("whether all of the period is covered is not known: no sensor wrote this store".to_owned());
    }
    if !coverage.sessions.is_empty() && reached != i64::MIN && to - reached > PAUSE_MS {
        pauses.push((reached, to));
    }
    if !pauses.is_empty() {
        let asked = from.map_or_else(|| span_text(covered), |from| span_text(to - from));
        let first = pauses.first().map_or(String::new(), |(start, end)| {
            format!("; the first time without it: {} to {}", date_text(*start), date_text(*end))
        });
        notes.push(format!(
            "period not fully covered: the sensor was watching {} of {asked}{first}",
            span_text(covered)
        ));
    }
    if !missing.is_empty() {
        let names: Vec<&str> = missing.into_iter().collect();
        notes.push(format!("the scope did not always include {}", names.join(", ")));
    }
    notes.extend(left_out.into_iter().map(|what| format!("the scope left out {what}")));
    let within = |time: i64| from.is_none_or(|from| time >= from) && time <= to;
    let gaps = coverage.gaps.iter().filter(|gap| within(ms(gap.time_ns)));
    let lost: u64 = gaps.map(|gap| gap.events).sum();
    if lost > 0 {
        notes.push(format!("{lost} events of the period were lost before they could be stored"));
    }
    notes
}
