//! Hunts: ES|QL over stored events, osquery SQL over the live host.

pub mod answer;
mod base64;
pub mod cli;
pub mod esql;
pub mod file;
pub mod osquery;
pub mod report;
pub mod rpm;
pub mod show;
