//! The goals, one file for all benches.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::paths;

/// Where they stand.
pub(super) const FILE: &str = "xtask/goals.toml";

/// How a value relates to its goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Relation {
    #[serde(rename = "at most")]
    AtMost,
    #[serde(rename = "below")]
    Below,
    #[serde(rename = "at least")]
    AtLeast,
    #[serde(rename = "above")]
    Above,
}

impl Relation {
    pub(super) fn met(self, value: f64, goal: f64) -> bool {
        match self {
            Self::AtMost => value <= goal,
            Self::Below => value < goal,
            Self::AtLeast => value >= goal,
            Self::Above => value > goal,
        }
    }

    pub(super) fn better(self, value: f64, than: f64) -> bool {
        match self {
            Self::AtMost | Self::Below => value < than,
            Self::AtLeast | Self::Above => value > than,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::AtMost => "at most",
            Self::Below => "below",
            Self::AtLeast => "at least",
            Self::Above => "above",
        }
    }
}

/// One figure and its goal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) goal: f64,
    pub(super) is: Relation,
}

/// A bench that lives in xtask itself.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Builtin {
    /// The time of a demo whose set-up is done.
    Demo,
    /// The sensor in the virtual machine.
    Kernel,
    /// The event store, beside other engines.
    Hunt,
}

/// A bench: how to run it, and what it must measure.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bench {
    /// Program and arguments, run at the repository's root; empty where nobody has written the bench yet.
    #[serde(default)]
    pub(super) command: Vec<String>,
    pub(super) builtin: Option<Builtin>,
    #[serde(default = "five")]
    pub(super) runs: u32,
    pub(super) figures: Vec<Figure>,
}

fn five() -> u32 {
    5
}

pub(super) fn load() -> Result<BTreeMap<String, Bench>> {
    let path = paths::root()?.join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is not as it should be", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_met_on_the_right_side() {
        assert!(Relation::AtMost.met(1.0, 1.0) && !Relation::Below.met(1.0, 1.0));
        assert!(Relation::AtLeast.met(1.0, 1.0) && !Relation::Above.met(1.0, 1.0));
        assert!(Relation::AtMost.better(1.0, 2.0) && Relation::Above.better(2.0, 1.0));
    }

    #[test]
    fn every_name_stands_once() {
        for bench in load().unwrap().values() {
            let mut names: Vec<&str> = bench.figures.iter().map(|figure| figure.name.as_str()).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count);
        }
    }
}
