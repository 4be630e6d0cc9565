//! The Elastic Common Schema event: field table, borrowed values, JSON both ways. Pure: no clock, no I/O.

#![forbid(unsafe_code)]

mod digits;
mod event;
pub mod fields;
pub mod file;
mod host;
mod id;
mod process;
mod schema;
mod value;
mod who;

pub use digits::Digits;
pub use event::{Action, Event, EventMeta, FileFields, FileType, Outcome, ProcessView};
pub use fields::field;
pub use file::{Executable, PathView};
pub use host::{Agent, Host};
pub use id::{EventId, entity_id};
pub use process::{
    Account, Arguments, Container, Credentials, Degradation, EntryMeta, EntryType, Image, Pod, Process, Text,
    Tty, capabilities,
};
pub use schema::{ECS_VERSION, Ecs};
pub use value::{Field, FieldId, FieldType, Record, Scalar, Schema, Value};
