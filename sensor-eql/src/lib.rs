//! EQL as Elasticsearch evaluates it: parse, check, compile, match. Pure: no clock, no I/O.

#![forbid(unsafe_code)]

pub mod ast;
mod compile;
mod correlate;
pub mod diag;
mod eval;
mod func;
mod inside;
mod ir;
mod key;
mod kql;
mod lex;
mod like;
mod lint;
mod lower;
mod matcher;
mod need;
mod net;
mod parse;
pub mod pattern;
mod possible;
pub mod reference;
mod regex;
mod rules;
mod texts;
mod time;
mod trie;
mod value;
mod wild;

pub use compile::{Compiled, Condition, Kind, compile, compile_condition};
pub use correlate::{Correlator, Limits, Match, Stats, Stream};
pub use diag::{Diagnostic, Diagnostics, Severity, Span};
pub use kql::parse_kql;
pub use matcher::{Concerned, Hits, Known, Memory, ProcessVersion};
pub use need::{Need, Role, Witness};
pub use parse::{parse, parse_condition};
pub use rules::{
    EventFields, Language, ListedRule, LoadedRule, NewTerms, Origin, Reason, Rule, RuleFile, RuleIndex,
    RuleSet, RuleSeverity, RuleSource, RuleType, Selection, Tactic, Technique, Threat, Threshold,
    map_string as map_toml_string, parse_rule_file,
};
