//! Which rules can match at all with the events that this kernel gives.

use sensor_ecs::Action;
use sensor_eql::{LoadedRule, RuleSet};

use super::streams::Streams;

/// The events that can come, by the data stream that they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Of files.
    pub(crate) files: bool,
    /// Of processes.
    pub(crate) processes: bool,
}

impl Reach {
    /// How many of the rules can match nothing. A rule on several events counts if it can see none of them.
    pub(crate) fn blind_rules(self, rules: &RuleSet, streams: &Streams) -> usize {
        let sees = |is_there: bool, category: &[u8], action: Action, loaded: &LoadedRule| {
            let categories = loaded.compiled.categories();
            is_there
                && categories.is_none_or(|wanted| wanted.contains(&category))
                && streams.is_read_in_containers(&loaded.rule, action)
        };
        let is_blind = |loaded: &&LoadedRule| {
            !sees(self.files, b"file", Action::Creation, loaded)
                && !sees(self.processes, b"process", Action::Exec, loaded)
        };
        rules.rules().iter().filter(is_blind).count()
    }
}

#[cfg(test)]
mod tests {
    use sensor_ecs::Ecs;
    use sensor_eql::{Origin, RuleSource};

    use super::*;

    fn rules(queries: &[&str]) -> RuleSet {
        let source = |(number, query): (usize, &&str)| RuleSource {
            path: format!("{number}.toml"),
            origin: Origin::User,
            text: format!(
                "[metadata]\nmaturity = \"production\"\n[rule]\nauthor = [\"a\"]\ndescription = \"d\"\n\
                 index = [\"logs-endpoint.events.*\"]\nlanguage = \"eql\"\nlicense = \"MIT\"\nname = \"{number}\"\n\
                 risk_score = 1\nrule_id = \"00000000-0000-4000-8000-00000000000{number}\"\nseverity = \"low\"\n\
                 type = \"eql\"\nquery = '{query}'\n"
            ),
        };
        let rules = RuleSet::load(queries.iter().enumerate().map(source), &Ecs);
        assert_eq!(rules.rules().len(), queries.len(), "{:?}", rules.errors());
        rules
    }

    #[test]
    fn a_rule_without_any_of_its_events_is_blind() {
        let rules = rules(&[
            "file where event.action == \"rename\"",
            "process where event.action == \"exec\"",
            "any where process.pid == 1",
            "sequence by process.pid [process where true] [file where true]",
        ]);
        let blind = |files, processes| Reach { files, processes }.blind_rules(&rules, &Streams::default());
        assert_eq!(blind(true, true), 0);
        assert_eq!(blind(false, true), 1);
        assert_eq!(blind(true, false), 1);
        assert_eq!(blind(false, false), 4);
    }
}
