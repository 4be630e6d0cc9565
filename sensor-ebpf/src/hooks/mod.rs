//! One file per kind of record: which hooks, what they catch, what they miss.

mod create;
mod exec;
mod file;
mod process;
mod rename;
