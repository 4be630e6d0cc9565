//! Hunts: ES|QL over stored events, osquery SQL over the live host.

#![forbid(unsafe_code)]

pub mod esql;
