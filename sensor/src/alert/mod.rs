//! What a rule hit becomes: a document for an index, a text for a person.

mod author;
mod channel;
mod document;
mod emit;
mod gap;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use author::Author;
pub(crate) use channel::{Carries, Channel, ChannelGauge, ChannelStatus};
pub(crate) use emit::Emitter;
pub use emit::Format;
