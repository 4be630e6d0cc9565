//! The Elastic Common Schema event: field table, borrowed values, JSON both ways. Pure: no clock, no I/O.

#![forbid(unsafe_code)]

mod digits;
mod document;
pub mod escape;
mod event;
pub mod fields;
pub mod file;
mod host;
mod id;
mod json;
mod open_schema;
mod process;
mod schema;
pub mod time;
mod value;
mod who;

pub use digits::Digits;
pub use document::{Document, DocumentError, Unknown};
pub use escape::write_json_string;
pub use event::{
    Action, Event, EventMeta, FileFields, FileType, Integration, Names, Operation, Outcome, ProcessView,
};
pub use fields::field;
pub use file::{Executable, PathView, rfind, same_as};
pub use host::{Agent, Host};
pub use id::{EventId, entity_id};
pub use json::{write_escaped_flag, write_facts, write_json};
pub use open_schema::OpenSchema;
pub use process::{
    Account, Arguments, Container, Credentials, Degradation, Elsewhere, EntryMeta, EntryType, Image, Pod,
    Process, Text, Tty, capabilities,
};
pub use schema::{ECS_VERSION, Ecs};
pub use value::{Field, FieldId, FieldType, Lifetime, Record, Scalar, Schema, Value};
