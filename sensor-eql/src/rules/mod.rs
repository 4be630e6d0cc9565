//! Rule files in Elastic's TOML format, and the set of rules made of them.

mod fields;
mod file;
mod offsets;
mod set;
mod table;

pub use fields::EventFields;
pub use file::{
    Language, NewTerms, Reason, Rule, RuleFile, RuleSeverity, RuleType, Tactic, Technique, Threat, Threshold,
    parse_rule_file,
};
pub use offsets::map_string;
pub use set::{ListedRule, LoadedRule, Origin, RuleIndex, RuleSet, RuleSource, Selection};
