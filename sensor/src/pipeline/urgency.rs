//! Which records are worth a wake-up each: those that a rule may match.

use sensor_common::wire::RecordKind;
use sensor_ecs::{Action, Agent, Event, EventId, EventMeta, Host, Integration, Outcome};
use sensor_eql::RuleSet;

use super::streams::Streams;

/// Kinds of record whose events a rule may match, as bits by [`RecordKind::index`].
pub(crate) fn urgent_kinds(rules: &RuleSet, streams: &Streams, host: &Host, agent: &Agent) -> u32 {
    let is_urgent = |kind: &RecordKind| {
        action_of(*kind).is_some_and(|action| may_match(rules, streams, host, agent, action))
    };
    RecordKind::ALL.iter().filter(|kind| is_urgent(kind)).fold(0, |kinds, kind| kinds | 1 << kind.index())
}

/// What becomes of a record; nothing becomes of a script's before its exec.
const fn action_of(kind: RecordKind) -> Option<Action> {
    Some(match kind {
        RecordKind::FileCreate => Action::Creation,
        RecordKind::FileRename => Action::Rename,
        RecordKind::FileDelete => Action::Deletion,
        RecordKind::Exec => Action::Exec,
        RecordKind::Fork => Action::Fork,
        RecordKind::Exit => Action::End,
        RecordKind::UidChange => Action::UidChange,
        RecordKind::GidChange => Action::GidChange,
        RecordKind::SessionChange => Action::SessionIdChange,
        RecordKind::ExecScript => return None,
    })
}

/// Whether any rule may: in the data streams of Endpoint, or of containers.
fn may_match(rules: &RuleSet, streams: &Streams, host: &Host, agent: &Agent, action: Action) -> bool {
    let may = |integration, is_asked: &dyn Fn(&sensor_eql::Rule) -> bool| {
        let meta = EventMeta {
            id: EventId::new([0; 10], 0),
            sequence: 0,
            time_ns: 0,
            action,
            outcome: Some(Outcome::Success),
            integration,
        };
        let event = Event { meta, host, agent, file: None, process: None, actor: None };
        rules.may_concern(&event, &rules.select(|loaded| is_asked(&loaded.rule)))
    };
    may(Integration::Endpoint, &|rule| streams.is_read(rule, action))
        || may(Integration::CloudDefend, &|rule| streams.is_read_in_containers(rule, action))
}

#[cfg(test)]
mod tests {
    use sensor_ecs::Ecs;
    use sensor_eql::{Origin, RuleSource};

    use super::*;

    fn kinds(query: &str) -> Vec<&'static str> {
        let text = format!(
            "[rule]\nrule_id = \"1\"\nname = \"n\"\ntype = \"eql\"\nlanguage = \"eql\"\nseverity = \"low\"\n\
             risk_score = 1\nquery = '''{query}'''\n"
        );
        let source = RuleSource { origin: Origin::User, path: "r.toml".to_owned(), text };
        let rules = RuleSet::load(vec![source], &Ecs);
        assert_eq!(rules.rules().len(), 1, "{:?}", rules.errors());
        let text = |text: &str| text.as_bytes().into();
        let host = Host { name: text("here"), ..Host::default() };
        let agent = Agent { id: text("a"), version: text("1"), namespace: text("default") };
        let urgent = urgent_kinds(&rules, &Streams::default(), &host, &agent);
        RecordKind::ALL
            .iter()
            .filter(|kind| urgent >> kind.index() & 1 == 1)
            .map(|kind| kind.name())
            .collect()
    }

    #[test]
    fn a_rule_makes_the_records_urgent_that_it_may_match() {
        let names = |of: &[RecordKind]| of.iter().map(|kind| kind.name()).collect::<Vec<_>>();
        let files = names(&[RecordKind::FileCreate, RecordKind::FileRename, RecordKind::FileDelete]);
        let all: Vec<_> = RecordKind::ALL
            .iter()
            .filter(|kind| **kind != RecordKind::ExecScript)
            .map(|kind| kind.name())
            .collect();
        let processes: Vec<_> = all.iter().copied().filter(|name| !files.contains(name)).collect();
        assert_eq!(kinds("file where true"), files);
        assert_eq!(kinds("process where process.name == \"x\""), processes);
        assert_eq!(kinds("any where true"), all);
        assert_eq!(kinds("sequence [process where true] [file where true]"), all);
        let exec = names(&[RecordKind::Exec]);
        let of_exec = "host.os.type == \"linux\" and event.type == \"start\" and event.action in (\"exec\", \"exec_event\")";
        assert_eq!(kinds(&format!("process where {of_exec} and process.name == \"x\"")), exec);
        assert_eq!(kinds(&format!("process where {of_exec} and not process.name : \"x*\"")), exec);
        let start = kinds("process where event.type == \"start\" and process.args == \"x\"");
        assert_eq!(start, names(&[RecordKind::Exec, RecordKind::Fork]));
        assert_eq!(kinds("process where event.type == \"end\" or process.pid == 1"), processes);
        // What comes later in a sequence is as urgent as what begins it.
        let later = format!(
            "sequence by process.entity_id with maxspan=1m [process where {of_exec}] [file where event.action == \
             \"rename\"] ![process where event.type == \"end\"]"
        );
        let of_later = kinds(&later);
        for kind in [RecordKind::Exec, RecordKind::FileRename, RecordKind::Exit] {
            assert!(of_later.contains(&kind.name()), "{of_later:?}");
        }
        assert!(!of_later.contains(&RecordKind::Fork.name()), "{of_later:?}");
        // The host is the one that it is.
        assert_eq!(kinds("process where event.action == \"exec\" and host.name == \"here\""), exec);
        assert!(kinds("process where event.action == \"exec\" and host.name == \"there\"").is_empty());
    }
}
