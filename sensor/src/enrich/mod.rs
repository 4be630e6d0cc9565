//! Records to events: who did it, where, under which name.

pub(crate) mod agent;
mod clock;
mod container;
pub(crate) mod host;
mod names;
mod procfs;
