//! The tables against the system's own truth: what `stat`, `getent`, `find` and `/proc` say.

mod columns;
mod corpus;
mod docker;
mod file;
mod live;
mod refused;
mod tables;

use std::path::Path;

use super::{Answer, Cell, Error, Options, run};

/// Runs on the machine itself.
fn live(sql: &str) -> Result<Answer, Error> {
    run(sql, &Options::default())
}

/// Runs below a directory.
fn below(root: &Path, sql: &str) -> Answer {
    run(sql, &Options { root: Some(root.to_owned()), ..Options::default() }).unwrap()
}

fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Null => "null".into(),
        Cell::Int(number) => number.to_string(),
        Cell::Real(number) => format!("{number:?}"),
        Cell::Text(bytes) => bytes.escape_ascii().to_string(),
    }
}

/// The rows as text, values joined by `|`.
fn rows(answer: &Answer) -> Vec<String> {
    answer.rows.iter().map(|row| row.iter().map(shown).collect::<Vec<_>>().join("|")).collect()
}

fn sorted(answer: &Answer) -> Vec<String> {
    let mut rows = rows(answer);
    rows.sort();
    rows
}

/// A tree of files, each with its contents.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, contents) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }
    root
}

/// The output of a program that is the truth here; `None`, with a word, if this machine has none of that name.
fn truth(program: &str, arguments: &[&str]) -> Option<String> {
    match std::process::Command::new(program).args(arguments).output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(cause) => {
            eprintln!("skipped: {program}: {cause}");
            None
        }
    }
}
