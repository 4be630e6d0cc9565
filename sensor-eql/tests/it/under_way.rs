//! Random sequences over random events: a correlator, which looks at later stages only while something is under way,
//! finds what a stream finds that looks at every stage always.

use proptest::prelude::*;
use sensor_eql::{Correlator, Limits, Origin, RuleSet, RuleSource, Stream};

use crate::support::JsonSchema;

fn filter() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c", "?"]);
    let category = prop::sample::select(vec!["process", "file", "any"]);
    (category, name).prop_map(|(category, name)| match name {
        "?" => format!("[{category} where process.name != \"a\"]"),
        name => format!("[{category} where process.name == \"{name}\"]"),
    })
}

fn sequence() -> impl Strategy<Value = String> {
    let stage = (filter(), 0..6_u8, 1..3_u8).prop_map(|(filter, form, runs)| match (form, runs) {
        (0, _) => format!("!{filter}"),
        (1, runs) => format!("{filter} with runs={runs}"),
        _ => filter,
    });
    (any::<bool>(), 1..20_u8, prop::collection::vec(stage, 2..5), prop::option::of(filter())).prop_map(
        |(keyed, span, mut stages, until)| {
            if stages.iter().all(|stage| stage.starts_with('!')) {
                stages[0].remove(0);
            }
            let by = if keyed { " by host.id" } else { "" };
            let until = until.map_or_else(String::new, |until| format!(" until {until}"));
            format!("sequence{by} with maxspan={span}s {}{until}", stages.join(" "))
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    Event { after: i64, category: &'static str, host: &'static str, name: &'static str },
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    let event = (
        prop_oneof![8 => 0..6_i64, 1 => -9..0_i64, 1 => 20..50_i64],
        prop::sample::select(vec!["process", "file"]),
        prop::sample::select(vec!["h1", "h2"]),
        prop::sample::select(vec!["a", "b", "c", "d"]),
    );
    prop_oneof![
        9 => event.prop_map(|(after, category, host, name)| Step::Event { after, category, host, name }),
        1 => Just(Step::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_not_looked_at_changes_nothing(
        queries in prop::collection::vec(sequence(), 1..8), steps in prop::collection::vec(step(), 1..80),
    ) {
        let schema = JsonSchema::ecs();
        let sources = queries.iter().enumerate().map(|(i, query)| RuleSource {
            origin: Origin::User,
            path: i.to_string(),
            text: format!(
                "[rule]\nname = \"n\"\nrule_id = \"{i}\"\ntype = \"eql\"\nseverity = \"low\"\nquery = '''{query}'''\n"
            ),
        });
        let set = RuleSet::load(sources, &schema);
        prop_assert!(set.errors().is_empty(), "{:?}", set.errors());
        let mut all = Correlator::new(&set, Limits::default());
        let mut each: Vec<Stream<usize>> = set
            .rules()
            .iter()
            .map(|rule| Stream::new(&rule.compiled, Some(rule.rule.look_back_ns), Limits::default()))
            .collect();
        let mut have = vec![Vec::new(); each.len()];
        let mut want = have.clone();
        let mut seconds = 1_000;
        for (number, step) in steps.iter().enumerate() {
            let Step::Event { after, category, host, name } = step else {
                let now = seconds * 1_000_000_000;
                all.advance(now, &mut |m| have[m.rule.0 as usize].push(m.events.to_vec()));
                for (stream, want) in each.iter_mut().zip(&mut want) {
                    stream.advance(now, &mut |events| want.push(events.to_vec()));
                }
                continue;
            };
            seconds += after;
            let record = schema.document(&serde_json::json!({
                "@timestamp": seconds * 1000, "event": {"category": category}, "host": {"id": host},
                "process": {"name": name},
            }));
            all.push(&set, &record, &number, 10, &mut |m| have[m.rule.0 as usize].push(m.events.to_vec()));
            for (stream, want) in each.iter_mut().zip(&mut want) {
                stream.push(&record, &number, 10, &mut |events| want.push(events.to_vec()));
            }
        }
        all.finish(&mut |m| have[m.rule.0 as usize].push(m.events.to_vec()));
        for (stream, want) in each.iter_mut().zip(&mut want) {
            stream.finish(&mut |events| want.push(events.to_vec()));
        }
        prop_assert_eq!(have, want, "{:#?}", queries);
    }
}
