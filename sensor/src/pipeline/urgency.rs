//! Which records are worth a wake-up each: those that a rule may match.

use sensor_common::wire::RecordKind;
use sensor_eql::RuleSet;

/// Kinds of record whose events a rule may match, as bits by [`RecordKind::index`].
pub(crate) fn urgent_kinds(rules: &RuleSet) -> u32 {
    rules.rules().iter().fold(0, |kinds, loaded| match loaded.compiled.categories() {
        Some(categories) => categories.into_iter().map(kinds_of).fold(kinds, |kinds, more| kinds | more),
        None => u32::MAX,
    })
}

fn kinds_of(category: &[u8]) -> u32 {
    RecordKind::ALL
        .into_iter()
        .filter(|kind| category_of(*kind) == Some(category))
        .fold(0, |kinds, kind| kinds | 1 << kind.index())
}

/// `event.category` of what becomes of a record; nothing becomes of a script's before its exec.
fn category_of(kind: RecordKind) -> Option<&'static [u8]> {
    match kind {
        RecordKind::FileCreate | RecordKind::FileRename | RecordKind::FileDelete => Some(b"file"),
        RecordKind::Exec
        | RecordKind::Fork
        | RecordKind::Exit
        | RecordKind::UidChange
        | RecordKind::GidChange
        | RecordKind::SessionChange => Some(b"process"),
        RecordKind::ExecScript => None,
    }
}

#[cfg(test)]
mod tests {
    use sensor_ecs::Ecs;
    use sensor_eql::{Origin, RuleSource};

    use super::*;

    fn kinds(query: &str) -> u32 {
        let text = format!(
            "[rule]\nrule_id = \"1\"\nname = \"n\"\ntype = \"eql\"\nlanguage = \"eql\"\nseverity = \"low\"\n\
             risk_score = 1\nquery = '{query}'\n"
        );
        let source = RuleSource { origin: Origin::User, path: "r.toml".to_owned(), text };
        let rules = RuleSet::load(vec![source], &Ecs);
        assert_eq!(rules.rules().len(), 1, "{:?}", rules.errors());
        urgent_kinds(&rules)
    }

    #[test]
    fn a_rule_makes_the_records_of_its_categories_urgent() {
        let (file, exec, fork) = (1 << RecordKind::FileRename.index(), 1 << RecordKind::Exec.index(), 1 << 4);
        assert_eq!(kinds("file where true"), 1 | file | 1 << RecordKind::FileDelete.index());
        let both = kinds("sequence [process where true] [file where true]");
        assert_eq!(both & (file | exec | fork), file | exec | fork);
        assert_eq!(kinds("any where true"), u32::MAX);
        assert_eq!(kinds("process where true") & (1 << RecordKind::ExecScript.index()), 0);
    }
}
