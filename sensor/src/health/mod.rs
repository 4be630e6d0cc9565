//! How the sensor fares, for whoever may ask: metrics, liveness, and the whole of it for root.

mod client;
mod metrics;
mod server;
mod status;
#[cfg(test)]
mod tests;

pub(crate) use client::{ask, tell};
pub(crate) use server::{Reload, Server};
pub(crate) use status::{About, HookState, Reloads, Sources, Status};
