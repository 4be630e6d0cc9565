//! Rule files in Elastic's TOML format, and the set of rules made of them.

mod file;
mod index;
mod offsets;
mod set;
mod table;
mod trie;

pub use file::{
    Language, NewTerms, Reason, Rule, RuleFile, RuleSeverity, RuleType, Tactic, Technique, Threat, Threshold,
    parse_rule_file,
};
pub(crate) use index::Index;
pub use offsets::map_string;
pub use set::{ListedRule, LoadedRule, Origin, RuleIndex, RuleSet, RuleSource, Selection};
