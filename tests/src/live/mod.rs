//! The cases, one file per area.

mod blinded;
mod changes;
mod cli;
mod container;
mod edits;
mod evasion;
mod evidence;
mod exec;
mod exec_forms;
mod file_create;
mod filter;
mod follow;
mod hunt;
mod lifecycle;
mod loss;
mod mounts;
mod names;
mod operations;
mod packages;
mod privileges;
mod process_table;
mod rename;
mod service;
mod silent;
mod stop;
mod stress;
mod views;

use crate::runner::Test;

/// Every case, in the order in which they run.
#[must_use]
pub fn all() -> Vec<Test> {
    [
        cli::TESTS,
        privileges::TESTS,
        file_create::TESTS,
        rename::TESTS,
        silent::TESTS,
        container::TESTS,
        evasion::TESTS,
        // Before those that fill the guest's memory with file systems: these have two more sensors.
        filter::TESTS,
        evidence::TESTS,
        hunt::TESTS,
        packages::TESTS,
        mounts::TESTS,
        operations::TESTS,
        views::TESTS,
        names::TESTS,
        exec::TESTS,
        exec_forms::TESTS,
        process_table::TESTS,
        changes::TESTS,
        stop::TESTS,
        service::TESTS,
        blinded::TESTS,
        edits::TESTS,
        lifecycle::TESTS,
        loss::TESTS,
        follow::TESTS,
        stress::TESTS,
    ]
    .concat()
}

/// A table of tests named like their functions.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(super) const TESTS: &[crate::runner::Test] =
            &[$(crate::runner::Test { name: stringify!($name), run: $name }),*];
    };
}
use tests;

#[cfg(test)]
mod unit {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let all = super::all();
        let names: BTreeSet<&str> = all.iter().map(|test| test.name).collect();
        assert_eq!(names.len(), all.len());
    }
}
