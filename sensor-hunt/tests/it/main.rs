//! ES|QL on small stores, case by case and beside other engines.

#[cfg(test)]
mod cli;
#[cfg(test)]
mod common;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod report;
#[cfg(test)]
mod spec;
