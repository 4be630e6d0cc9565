//! Hunts: ES|QL over stored events, osquery SQL over the live host.
//!
//! Nothing is implemented yet. When it is, this crate holds the ES|QL front end and executor over the event
//! store and the osquery tables; it depends on `sensor-ecs` alone and does no I/O of its own for ES|QL.
