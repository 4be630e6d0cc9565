//! What a rule hit becomes: a document for an index, a text for a person.

mod document;
mod emit;
mod shown;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use emit::Emitter;
pub use emit::Format;
