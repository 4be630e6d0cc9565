//! Live tests of the sensor: what really happens in a kernel must come out as the right events and alerts.
//!
//! `sensor-livetest` runs inside a throw-away virtual machine as root. Each case is a function in [`live`], started as
//! a process of its own by [`runner`], so that one that hangs or panics takes no other with it.

pub mod actor;
pub mod command;
pub mod ctx;
pub mod doc;
pub mod live;
pub mod rules;
pub mod run;
pub mod runner;
pub mod sensor;
