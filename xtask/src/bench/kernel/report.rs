//! What the guest measured, and the table of it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};

/// Cost of one operation in instructions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cost {
    /// Of the workload itself.
    pub(super) inline: f64,
    /// Of the watcher.
    pub(super) reader: f64,
    /// Of both while they ran together.
    pub(super) wall: f64,
}

/// Everything from one or more boots.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// In the order of the guest.
    configs: Vec<String>,
    workloads: Vec<String>,
    costs: BTreeMap<(String, String), Cost>,
    values: Vec<(String, f64)>,
    skipped: Vec<String>,
}

impl Report {
    /// Takes the guest's lines; others are passed over.
    pub(super) fn take(&mut self, output: &str) -> Result<()> {
        for line in output.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["row", config, workload, inline, reader, wall] => {
                    let cost = Cost { inline: number(inline)?, reader: number(reader)?, wall: number(wall)? };
                    remember(&mut self.configs, config);
                    remember(&mut self.workloads, workload);
                    self.costs.insert(((*config).to_owned(), (*workload).to_owned()), cost);
                }
                ["value", name, value] => self.values.push(((*name).to_owned(), number(value)?)),
                ["skipped", ..] => self.skip(line.trim_start_matches("skipped ")),
                ["row" | "value", ..] => bail!("a line of the guest is not as it should be: {line:?}"),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn skip(&mut self, what: &str) {
        self.skipped.push(what.to_owned());
    }

    pub(super) fn cost(&self, config: &str, workload: &str) -> Option<Cost> {
        self.costs.get(&(config.to_owned(), workload.to_owned())).copied()
    }

    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// What it costs with nothing beside it: before all others and after them.
    pub(super) fn baseline(&self, workload: &str) -> Option<f64> {
        let before = self.cost("nothing", workload)?.inline;
        Some(self.cost("nothing_again", workload).map_or(before, |after| f64::midpoint(before, after.inline)))
    }
}

fn remember(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

fn number(text: &str) -> Result<f64> {
    text.parse().with_context(|| format!("{text:?} is no number"))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Instructions per operation, of the workload itself + of the watcher (ratio of the workload's"
        )?;
        writeln!(f, "to that with nothing beside it; ratio with both on one processor):")?;
        for workload in &self.workloads {
            writeln!(f, "\n{workload}")?;
            for config in &self.configs {
                let Some(cost) = self.cost(config, workload) else { continue };
                write!(f, "  {config:<16}{:>12.0} +{:>9.0}", cost.inline, cost.reader)?;
                match self.baseline(workload) {
                    Some(base) => writeln!(f, "   {:.4}  {:.4}", cost.inline / base, cost.wall / base)?,
                    None => writeln!(f)?,
                }
            }
        }
        writeln!(f)?;
        for (name, value) in &self.values {
            writeln!(f, "{name:<36} {value:.3}")?;
        }
        for what in &self.skipped {
            writeln!(f, "skipped: {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_guest_become_a_table() {
        let mut report = Report::default();
        report
            .take("noise\nrow nothing create 100 0 100\nrow sensor create 110 40 150\nvalue x 2.5\n")
            .unwrap();
        report.take("row nothing_again create 102 0 102\nskipped bpftrace: no such package\n").unwrap();
        assert_eq!(report.baseline("create"), Some(101.0));
        assert_eq!(report.value("x"), Some(2.5));
        let text = report.to_string();
        assert!(text.contains("sensor                   110 +       40   1.0891  1.4851"), "{text}");
        assert!(text.contains("skipped: bpftrace: no such package"));
        assert!(report.take("row nothing create fast 0 1\n").is_err());
        assert!(report.take("row nothing create 1\n").is_err());
    }
}
