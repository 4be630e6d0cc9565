//! Events of containers belong to two data streams, where that is configured.

use sensor_eql::RuleSource;

use super::*;
use crate::pipeline::matcher::Matcher;

const ID: &str = "5694f82f44168cc048e014ae14d1b0c8ef673bec49f329dc169911ea638f63c2";

fn rule(id: &str, index: &str, query: &str) -> RuleSource {
    let text = format!(
        "[rule]\nname = \"{id}\"\ndescription = \"{id}\"\nrule_id = \"{id}\"\nrisk_score = 1\nseverity = \"low\"\n\
         index = [\"{index}\"]\nlanguage = \"eql\"\ntype = \"eql\"\nquery = '{query}'\n"
    );
    RuleSource { origin: Origin::User, path: format!("{id}.toml"), text }
}

/// A program of a host and one of a container each write a file.
fn run(cloud_defend: bool, rules: Vec<RuleSource>) -> Engine<Kept> {
    let rules = RuleSet::load(rules, &Ecs);
    assert!(rules.errors().is_empty());
    let root = tempfile::tempdir().unwrap();
    let mut engine = engine_with(root.path(), rules);
    engine.matcher = Matcher::new(
        std::mem::take(&mut engine.matcher.rules),
        Exceptions::default(),
        Kept::default(),
        Streams::new("default", cloud_defend),
    );
    engine.scanned(Vec::new());
    let cgroup = format!("/system.slice/docker-{ID}.scope");
    for (pid, cgroup) in [(900, "/user.slice/user-0.slice/session-1.scope"), (901, cgroup.as_str())] {
        let task =
            TaskFacts { cgroup_id: pid.into(), ..synth::after_exec(&synth::task(pid, 9 * SECOND), 41) };
        engine.record(&synth::exec(&task, 10 * SECOND, &ExecSpec { cgroup, ..ExecSpec::default() }));
        engine.record(&synth::create(&task, 11 * SECOND, "/srv/a", "/"));
    }
    engine
}

/// Ids of the rules that match, each as often as it does.
fn matched(cloud_defend: bool, rules: Vec<RuleSource>) -> Vec<String> {
    let mut engine = run(cloud_defend, rules);
    let rules = engine.vitals(None, &Board::default());
    let counted = rules.rules.0.iter().zip(&rules.matches);
    counted.map(|((id, _), count)| format!("{id} {count}")).collect()
}

fn rules() -> Vec<RuleSource> {
    let (files, processes) = ("file where file.name == \"a\"", "process where event.action == \"exec\"");
    let pair = "sequence by process.entity_id [process where event.action == \"exec\"] [file where true]";
    vec![
        rule("endpoint", "logs-endpoint.events.file*", files),
        rule("files", "logs-cloud_defend.file*", files),
        rule("processes", "logs-cloud_defend.process-*", processes),
        rule("pair", "logs-cloud_defend.*", pair),
        rule("named", "logs-cloud_defend*", "any where event.dataset == \"cloud_defend.file\""),
        rule("both", "logs-*", files),
    ]
}

#[test]
fn rules_on_containers_see_what_containers_do() {
    assert_eq!(
        matched(true, rules()),
        ["endpoint 2", "files 1", "processes 1", "pair 1", "named 1", "both 2"]
    );
}

#[test]
fn rules_on_containers_see_nothing_unless_configured() {
    assert_eq!(
        matched(false, rules()),
        ["endpoint 2", "files 0", "processes 0", "pair 0", "named 0", "both 2"]
    );
}

#[test]
fn alerts_show_the_document_that_the_rule_read() {
    let only = |id: &str| rules().into_iter().filter(|rule| rule.path == format!("{id}.toml")).collect();
    for (id, datasets) in [
        ("files", vec!["cloud_defend.file"]),
        ("processes", vec!["cloud_defend.process"]),
        ("both", vec!["endpoint.events.file"; 2]),
    ] {
        assert_eq!(run(true, only(id)).matcher.output.datasets, datasets, "{id}");
    }
}
