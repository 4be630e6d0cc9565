//! `cargo xtask bench`: figures beside their goals; what was not measured is not met.

mod goals;
mod hunt;
mod kernel;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::{cmd, demo, paths};
use goals::{Bench, Builtin, Figure};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The bench; `list` shows all of them with their goals
    name: String,
    /// Write the figures as a JSON list
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Less of it, while working on something (kernel, hunt)
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    kernel: kernel::Options,
}

/// One line of the result.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    name: String,
    value: Option<f64>,
    unit: String,
    goal: f64,
    met: bool,
    /// Where the bench counted them: they repeat, times do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<f64>,
}

/// The best value of a figure over all runs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Measured {
    value: f64,
    instructions: Option<f64>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let benches = goals::load()?;
    if args.name == "list" {
        for (name, bench) in &benches {
            println!("{name}");
            bench.figures.iter().for_each(|figure| println!("  {}", goal_text(figure)));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let Some(bench) = benches.get(&args.name) else {
        let names: Vec<&str> = benches.keys().map(String::as_str).collect();
        bail!("no bench {:?}; there are {}", args.name, names.join(", "));
    };
    let (measured, trouble) = match measure(bench, args) {
        Ok(measured) => (measured, None),
        // The figures are still told: unmeasured, hence unmet.
        Err(error) => (BTreeMap::new(), Some(error)),
    };
    let rows = rows(bench, &measured);
    print(&args.name, bench, &rows);
    if let Some(path) = &args.json {
        write_json(path, &rows)?;
    }
    if let Some(error) = trouble {
        return Err(error.context(format!("bench {} did not run to its end", args.name)));
    }
    Ok(if rows.iter().all(|row| row.met) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(bench: &Bench, args: &Args) -> Result<BTreeMap<String, Measured>> {
    let mut best = BTreeMap::new();
    for number in 1..=bench.runs {
        let values = match (&bench.builtin, bench.command.as_slice()) {
            (Some(Builtin::Demo), _) => demo_time()?,
            (Some(Builtin::Kernel), _) => parse(&kernel::run(&args.kernel, args.quick)?)?,
            (Some(Builtin::Hunt), _) => parse(&hunt::run(args.quick)?)?,
            (None, [program, args @ ..]) => {
                println!("run {number} of {}", bench.runs);
                let mut command = Command::new(program);
                command.args(args).current_dir(paths::root()?).env("SENSOR_DEV_CACHE", paths::cache()?);
                let output = cmd::stdout(&mut command)?;
                // What it has to say beside the figures is said once.
                let is_told = |line: &&str| number == 1 && !line.starts_with("figure ");
                output.lines().filter(is_told).for_each(|line| println!("{line}"));
                parse(&output)?
            }
            (None, []) => {
                println!("not implemented yet: nothing was measured");
                return Ok(best);
            }
        };
        for (name, value) in values {
            let Some(figure) = bench.figures.iter().find(|figure| figure.name == name) else {
                bail!("{name} was measured, but has no goal in {}", goals::FILE);
            };
            best.entry(name)
                .and_modify(|known: &mut Measured| {
                    if figure.is.better(value.value, known.value) {
                        *known = value;
                    }
                })
                .or_insert(value);
        }
    }
    Ok(best)
}

/// Lines `figure NAME VALUE [INSTRUCTIONS]` among whatever else a bench prints.
fn parse(output: &str) -> Result<BTreeMap<String, Measured>> {
    let mut found = BTreeMap::new();
    for line in output.lines() {
        let Some(rest) = line.strip_prefix("figure ") else { continue };
        let words: Vec<&str> = rest.split_whitespace().collect();
        let number = |word: &str| word.parse::<f64>().with_context(|| format!("not a number in {line:?}"));
        let (name, measured) = match words.as_slice() {
            [name, value] => (*name, Measured { value: number(value)?, instructions: None }),
            [name, value, count] => {
                (*name, Measured { value: number(value)?, instructions: Some(number(count)?) })
            }
            _ => bail!("a figure has a name, a value and perhaps instructions: {line:?}"),
        };
        found.insert(name.to_owned(), measured);
    }
    Ok(found)
}

/// The first demo builds; the second is what someone waits for who has done so.
fn demo_time() -> Result<BTreeMap<String, Measured>> {
    demo::run(&demo::Args::default())?;
    let start = Instant::now();
    if demo::run(&demo::Args::default())? != ExitCode::SUCCESS {
        bail!("the demo failed");
    }
    let value = start.elapsed().as_secs_f64();
    Ok(BTreeMap::from([("demo_time_once_set_up".to_owned(), Measured { value, instructions: None })]))
}

fn rows(bench: &Bench, measured: &BTreeMap<String, Measured>) -> Vec<Row> {
    let row = |figure: &Figure| {
        let found = measured.get(&figure.name);
        Row {
            name: figure.name.clone(),
            value: found.map(|measured| measured.value),
            unit: figure.unit.clone(),
            goal: figure.goal,
            met: found.is_some_and(|measured| figure.is.met(measured.value, figure.goal)),
            instructions: found.and_then(|measured| measured.instructions),
        }
    };
    bench.figures.iter().map(row).collect()
}

fn goal_text(figure: &Figure) -> String {
    format!("{:<36} {} {} {}", figure.name, figure.is.words(), figure.goal, figure.unit)
}

fn print(name: &str, bench: &Bench, rows: &[Row]) {
    println!("\nbench {name}");
    for (row, figure) in rows.iter().zip(&bench.figures) {
        let value = row.value.map_or_else(|| "not measured".to_owned(), |value| format!("{value:.4}"));
        let count = row.instructions.map_or_else(String::new, |count| format!(" ({count:.0} instructions)"));
        println!(
            "  {:<9} {value:>14}{count}  {}",
            if row.met { "met" } else { "NOT MET" },
            goal_text(figure)
        );
    }
    let met = rows.iter().filter(|row| row.met).count();
    println!("{met} of {} goals met", rows.len());
}

fn write_json(path: &Path, rows: &[Row]) -> Result<()> {
    let text = serde_json::to_string_pretty(rows).context("cannot write the figures as JSON")?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_measured_is_not_met() {
        let benches = goals::load().unwrap();
        let kernel = &benches["kernel"];
        let rows = rows(kernel, &BTreeMap::new());
        assert_eq!(rows.len(), kernel.figures.len());
        assert!(rows.iter().all(|row| row.value.is_none() && !row.met));
        let json = serde_json::to_value(&rows[0]).unwrap();
        assert_eq!(json["value"], serde_json::Value::Null);
        assert_eq!(json["met"], false);
    }

    #[test]
    fn figures_are_read_from_a_benchs_output() {
        let found = parse("noise\nfigure a 1.5\nfigure b 2 300\n").unwrap();
        assert_eq!(found["a"], Measured { value: 1.5, instructions: None });
        assert_eq!(found["b"], Measured { value: 2.0, instructions: Some(300.0) });
        assert!(parse("figure a fast\n").is_err());
    }
}
