//! For people: aligned tables, wrapped to the terminal; one value a line where a table would not fit.

use std::path::Path;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::{count, grouped, harmless, seconds, shown};
use crate::answer::{Answer, Done, Outcome};

/// A column narrower than this wraps its values beyond reading.
const COLUMN_WIDTH_MIN: usize = 12;
const ROWS_MAX: usize = 1_000;

/// A hunt's answers. `width` is the terminal's; none where the reader is no terminal.
#[must_use]
pub fn hunt(done: &Done, width: Option<u16>) -> String {
    let mut out = String::new();
    if let Some(path) = &done.hunt.path {
        out.push_str(&format!("{}\n{}\n", harmless(&done.hunt.name), harmless(&path.display().to_string())));
    }
    let several = done.hunt.queries.len();
    for (index, (query, outcome)) in done.hunt.queries.iter().zip(&done.outcomes).enumerate() {
        if done.hunt.path.is_some() {
            out.push_str(&format!("\nQuery {} of {several} · {}\n", index + 1, query.language));
        }
        out.push_str(&outcome_text(outcome, width));
    }
    out
}

/// A line for each query: where it stands, and what became of it.
#[must_use]
pub fn overview(done: &Done) -> String {
    let stem = done.hunt.path.as_deref().and_then(Path::file_stem);
    let name = stem.map_or_else(|| done.hunt.name.clone(), |stem| stem.to_string_lossy().into_owned());
    let queries = done.hunt.queries.iter().zip(&done.outcomes).enumerate();
    let lines = queries.map(|(index, (query, outcome))| {
        let became = match outcome {
            Ok(answer) => {
                let bound = if answer.incomplete.is_some() { ", not all rows" } else { "" };
                format!("{}{bound}", summary(answer))
            }
            Err(why) => {
                let reason = why.reason().lines().next().unwrap_or_default();
                format!("not run, {}: {}", why.word(), harmless(reason))
            }
        };
        format!("{} {} {}: {became}\n", harmless(&name), index + 1, query.language)
    });
    lines.collect()
}

fn outcome_text(outcome: &Outcome, width: Option<u16>) -> String {
    match outcome {
        Ok(answer) => answer_text(answer, width),
        Err(why) => {
            let label = if why.word() == "invalid" { "not run, invalid as written" } else { "not run" };
            format!("✗ {label}: {}\n", lines_of(why.reason()))
        }
    }
}

/// Findings keep their lines, which point into the query.
fn lines_of(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n  ")
}

fn answer_text(answer: &Answer, width: Option<u16>) -> String {
    let mut out = String::new();
    for note in &answer.notes {
        out.push_str(&format!("! {}\n", harmless(note)));
    }
    for warning in &answer.warnings {
        out.push_str(&format!("! {}\n", harmless(warning)));
    }
    if let Some(incomplete) = &answer.incomplete {
        out.push_str(&format!("! INCOMPLETE: {}\n", harmless(incomplete)));
    }
    if !answer.rows.is_empty() {
        let room = width.map_or(usize::MAX, usize::from);
        if answer.columns.len() > 1 && answer.columns.len().saturating_mul(COLUMN_WIDTH_MIN + 3) > room {
            out.push_str(&records(answer));
        } else {
            out.push_str(&table(answer, width));
            out.push('\n');
        }
        if answer.rows.len() > ROWS_MAX {
            let rest = grouped((answer.rows.len() - ROWS_MAX) as u64);
            out.push_str(&format!(
                "{rest} more rows are not shown; --format json, ndjson and csv have them all\n"
            ));
        }
    }
    out.push_str(&summary(answer));
    out.push('\n');
    out
}

/// `3 rows · 12,345 scanned · 0.42 s`
#[must_use]
pub fn summary(answer: &Answer) -> String {
    let rows = count(answer.rows.len() as u64, "row");
    format!("{rows} · {} scanned · {}", grouped(answer.scanned), seconds(answer.elapsed))
}

fn table(answer: &Answer, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(answer.columns.iter().map(|column| harmless(&column.name)));
    match width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    for row in answer.rows.iter().take(ROWS_MAX) {
        table.add_row(row.iter().map(shown));
    }
    for (index, column) in answer.columns.iter().enumerate() {
        if column.ty.is_number()
            && let Some(column) = table.column_mut(index)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

fn records(answer: &Answer) -> String {
    let names: Vec<String> = answer.columns.iter().map(|column| harmless(&column.name)).collect();
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (index, row) in answer.rows.iter().take(ROWS_MAX).enumerate() {
        out.push_str(&format!("── {} ──\n", index + 1));
        for (name, cell) in names.iter().zip(row) {
            out.push_str(&format!("{name:>widest$}  {}\n", shown(cell)));
        }
    }
    out
}
