//! One file per kind of record: which hooks, what they catch, what they miss.

mod create;
mod credentials;
mod delete;
mod exec;
mod file;
mod process;
mod rename;
