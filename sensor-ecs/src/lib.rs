//! The Elastic Common Schema event: field table, borrowed values, JSON both ways. Pure: no clock, no I/O.

#![forbid(unsafe_code)]

mod value;

pub use value::{Field, FieldId, FieldType, Record, Scalar, Schema, Value};
