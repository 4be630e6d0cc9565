//! State is bounded, forgets by event time, and says what it lost.

use sensor_eql::{
    Correlator, Known, Limits, Match, Origin, RuleSet, RuleSource, Stats, Stream, compile, parse, reference,
};

use crate::support::{JsonRecord, JsonSchema};

struct Run {
    schema: JsonSchema,
    stream: Stream<i64>,
    found: Vec<Vec<Option<i64>>>,
}

impl Run {
    fn new(query: &str, limits: Limits) -> Self {
        let schema = JsonSchema::ecs();
        let compiled = compile(&parse(query).unwrap(), &schema).unwrap();
        let stream = Stream::new(&compiled, None, limits);
        Self { schema, stream, found: Vec::new() }
    }

    fn event(&self, time: i64, host: &str, name: &str) -> JsonRecord {
        self.schema.document(&serde_json::json!({
            "@timestamp": time, "event": {"category": "process"}, "host": {"id": host}, "process": {"name": name},
        }))
    }

    fn push(&mut self, time: i64, host: &str, name: &str) {
        let record = self.event(time, host, name);
        let found = &mut self.found;
        self.stream.push(&record, &time, 100, &mut |events| found.push(events.to_vec()));
    }

    fn stats(&self) -> Stats {
        self.stream.stats()
    }
}

const PAIR: &str = "sequence by host.id with maxspan=10s
    [process where process.name == \"a\"] [process where process.name == \"b\"]";

#[test]
fn keys_beyond_the_limit_evict_the_oldest_and_are_counted() {
    let mut run = Run::new(PAIR, Limits { keys_max: 2, bytes_max: usize::MAX });
    for (time, host) in [(1, "h1"), (2, "h2"), (3, "h1"), (4, "h3")] {
        run.push(time, host, "a");
    }
    assert_eq!((run.stats().keys, run.stats().evicted), (2, 1));
    // h1 was touched after h2, so h2 went.
    for host in ["h1", "h2", "h3"] {
        run.push(5, host, "b");
    }
    assert_eq!(run.found, [[Some(3), Some(5)], [Some(4), Some(5)]]);
    assert_eq!((run.stats().keys, run.stats().bytes), (0, 0));
}

#[test]
fn bytes_beyond_the_limit_evict_too() {
    let mut run = Run::new(PAIR, Limits { keys_max: usize::MAX, bytes_max: 3000 });
    for n in 0..1000 {
        run.push(n, &format!("h{n}"), "a");
        assert!(run.stats().bytes <= 3000);
    }
    let stats = run.stats();
    assert_eq!(stats.evicted + stats.keys as u64, 1000);
    assert!(stats.keys > 1);
}

#[test]
fn what_is_over_by_event_time_is_forgotten() {
    let mut run = Run::new(PAIR, Limits::default());
    (0..100).for_each(|n| run.push(n, &format!("h{n}"), "a"));
    run.push(10_150, "other", "a");
    assert_eq!((run.stats().keys, run.stats().expired, run.stats().evicted), (1, 100, 0));
}

#[test]
fn an_event_with_endless_keys_is_cut_and_counted() {
    let schema = JsonSchema::ecs();
    let query = "sequence by process.args with maxspan=1s [any where true] [any where true]";
    let compiled = compile(&parse(query).unwrap(), &schema).unwrap();
    let mut stream = Stream::new(&compiled, None, Limits::default());
    let args: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let record = schema.document(&serde_json::json!({"@timestamp": 1, "process": {"args": args}}));
    stream.push(&record, &0, 1, &mut |_| {});
    let stats = stream.stats();
    assert!(stats.keys < 1000 && stats.combinations_cut > 0, "{stats:?}");
}

#[test]
fn a_clock_set_back_is_noticed_and_matching_goes_on() {
    let mut run = Run::new(PAIR, Limits::default());
    (0..10).for_each(|n| run.push(1_000_000 + n, &format!("h{n}"), "a"));
    (0..100).for_each(|n| run.push(n, "h", "a"));
    run.push(200, "h", "b");
    assert_eq!(run.found, [[Some(99), Some(200)]]);
    assert!(run.stats().late >= 64);
    // What lay in the future of the new time is gone.
    assert_eq!(run.stats().keys, 0);
}

impl Run {
    fn of_rule(kind: &str, more: &str) -> Self {
        let schema = JsonSchema::ecs();
        let text = format!(
            "[rule]\nname = \"n\"\nrule_id = \"i\"\ntype = \"{kind}\"\nlanguage = \"kuery\"\nseverity = \"low\"\n\
             risk_score = 1\nfrom = \"now-10s\"\nquery = \"event.category:process\"\n{more}"
        );
        let set = RuleSet::load([RuleSource { origin: Origin::User, path: "r".into(), text }], &schema);
        let rule = &set.rules()[0];
        let stream = Stream::new(&rule.compiled, Some(rule.rule.look_back_ns), Limits::default());
        Self { schema, stream, found: Vec::new() }
    }
}

const THREE: &str = "[rule.threshold]\nfield = [\"host.id\"]\nvalue = 3\n";

#[test]
fn a_threshold_counts_late_events_by_their_own_time() {
    let mut run = Run::of_rule("threshold", THREE);
    for time in [20_000, 21_000, 1_000] {
        run.push(time, "h", "a");
    }
    assert!(run.found.is_empty(), "the late one is out of the window");
    run.push(12_000, "h", "a");
    assert_eq!(run.found, [[Some(12_000), Some(20_000), Some(21_000)]]);
    assert_eq!(run.stats().late, 2);
}

#[test]
fn a_threshold_forgets_the_future_when_the_clock_was_set_back() {
    let mut run = Run::of_rule("threshold", THREE);
    run.push(9_000_000, "h", "a");
    run.push(9_000_001, "h", "a");
    for n in 0..64 {
        run.push(n, &format!("other{n}"), "a");
    }
    for time in [100, 101, 102] {
        run.push(time, "h", "a");
    }
    assert_eq!(run.found, [[Some(100), Some(101), Some(102)]]);
}

#[test]
fn new_terms_of_the_future_stay_known_when_the_clock_was_set_back_and_no_longer_than_the_window() {
    let mut run = Run::of_rule(
        "new_terms",
        "[rule.new_terms]\nfield = \"f\"\nvalue = [\"host.id\"]\n\
         [[rule.new_terms.history_window_start]]\nfield = \"h\"\nvalue = \"now-10s\"\n",
    );
    run.stream.seed(-100_000_000_000, []);
    run.push(9_000_000, "h", "a");
    for n in 0..64 {
        run.push(n, "x", "a");
    }
    let before = run.found.len();
    run.push(100, "h", "a");
    assert_eq!(run.found.len(), before, "known");
    run.push(10_200, "h", "a");
    assert_eq!(run.found.len(), before + 1, "forgotten after the window");
}

#[test]
fn a_sample_forgets_the_future_when_the_clock_was_set_back() {
    let query =
        "sample by host.id [process where process.name == \"a\"] [process where process.name == \"b\"]";
    let schema = JsonSchema::ecs();
    let compiled = compile(&parse(query).unwrap(), &schema).unwrap();
    let stream = Stream::new(&compiled, Some(10_000_000_000), Limits::default());
    let mut run = Run { schema, stream, found: Vec::new() };
    run.push(9_000_000, "h", "a");
    for n in 0..64 {
        run.push(n, &format!("other{n}"), "a");
    }
    run.push(100, "h", "b");
    assert!(run.found.is_empty());
    run.push(101, "h", "a");
    assert_eq!(run.found, [[Some(101), Some(100)]]);
}

#[test]
fn an_absence_is_reported_when_its_time_is_over() {
    let mut run = Run::new(
        "sequence by host.id with maxspan=10s [process where process.name == \"a\"] ![process where process.name == \"b\"]",
        Limits::default(),
    );
    run.push(1000, "h", "a");
    let mut found = Vec::new();
    run.stream.advance(11_000_000_000, &mut |events| found.push(events.to_vec()));
    assert!(found.is_empty());
    run.stream.advance(11_000_000_001, &mut |events| found.push(events.to_vec()));
    assert_eq!(found, [[Some(1000), None]]);
}

#[test]
fn what_waits_for_an_absence_is_bounded_in_bytes_too() {
    let query = "sequence by host.id with maxspan=10s [process where process.name == \"a\"] ![process where process.name == \"b\"]";
    let mut run = Run::new(query, Limits { keys_max: usize::MAX, bytes_max: 3000 });
    for n in 0..1000 {
        run.push(n, &format!("h{n}"), "a");
        assert!(run.stats().bytes <= 3000);
    }
    // An absence that is disproved gives its room back.
    run.push(1000, "h999", "b");
    let mut found = 0;
    run.stream.finish(&mut |_| found += 1);
    assert_eq!((run.stats().evicted + found, run.stats().bytes), (999, 0));
    assert!(found > 1);
}

#[test]
fn another_look_at_an_event_makes_no_second_event() {
    let schema = JsonSchema::ecs();
    let text = "[rule]\nname = \"n\"\nrule_id = \"r\"\ntype = \"eql\"\nlanguage = \"eql\"\nseverity = \"low\"\n\
                query = \"sequence by host.id [process where process.pid == 1] [process where process.pid > 0]\"\n";
    let source = RuleSource { origin: Origin::User, path: "n".to_owned(), text: text.to_owned() };
    let set = RuleSet::load([source], &schema);
    assert_eq!(set.rules().len(), 1, "{:?}", set.errors());
    let (all, none) = (set.select(|_| true), set.select(|_| false));
    let look = |time: i64, pid: i64| {
        schema.document(&serde_json::json!({
            "@timestamp": time, "event": {"category": "process"}, "host": {"id": "h"}, "process": {"pid": pid},
        }))
    };
    let mut correlator = Correlator::new(&set, Limits::default());
    let mut memory = set.memory(0);
    let (mut made, mut found) = (0, Vec::new());
    for (time, first, second, selection) in
        [(1, 0, 1, &all), (2, 2, 3, &none), (3, 1, 2, &all), (4, 0, 0, &all), (5, 5, 6, &all)]
    {
        let mut keep = || {
            made += 1;
            (time, 1)
        };
        let mut add = |hit: Match<'_, i64>| found.push(hit.events.to_vec());
        let (first, second) = (look(time, first), look(time, second));
        let hits = set.look(&first, Known::default(), correlator.under_way(), &mut memory);
        correlator.push_stateful(hits, &first, selection, &mut keep, &mut add);
        let hits = set.look(&second, Known::default(), correlator.under_way(), &mut memory);
        correlator.push_again(hits, &second, selection, &mut keep, &mut add);
    }
    // The second look of 1 begins what the first look of 3 ends and begins anew.
    assert_eq!(found, [[Some(1), Some(3)], [Some(3), Some(5)]]);
    assert_eq!(made, 3);
}

#[test]
fn explain_shows_each_leaf_with_its_values() {
    let source = "process where process.name == \"a\" and not (process.args : \"-x*\" or process.pid > 5)";
    let schema = JsonSchema::ecs();
    let sensor_eql::ast::Query::Event(query) = parse(source).unwrap() else { panic!() };
    let record = schema.document(&serde_json::json!({"process": {"name": "a", "args": ["a", "-X1"]}}));
    let seen = reference::by_name(&schema, &record);
    let tree = reference::explain(&query.filter.condition, &schema, &seen);
    let want = "\
false all of
true    process.name == \"a\"    [process.name = \"a\"]
false   not
true      any of
true        process.args : \"-x*\"    [process.args = [\"a\", \"-X1\"]]
false       process.pid > 5    [process.pid = null]
";
    assert_eq!(tree.render(source), want);
}

#[test]
fn a_new_terms_rule_keeps_its_memory_over_a_restart() {
    let schema = JsonSchema::ecs();
    let text = "[rule]\nname = \"n\"\nrule_id = \"r\"\ntype = \"new_terms\"\nlanguage = \"kuery\"\nseverity = \"low\"\n\
                query = \"event.category:process\"\n[rule.new_terms]\nvalue = [\"host.id\", \"process.pid\"]\n\
                [[rule.new_terms.history_window_start]]\nvalue = \"now-1d\"\n";
    let source = RuleSource { origin: Origin::User, path: "n".to_owned(), text: text.to_owned() };
    let set = RuleSet::load([source], &schema);
    let day = 86_400_000;
    let event = |time: i64, pid: i64| {
        let event = serde_json::json!({"event": {"category": "process"}, "@timestamp": time,
            "host": {"id": "h"}, "process": {"pid": pid}});
        schema.document(&event)
    };
    let compiled = &set.rules()[0].compiled;
    let mut before: Stream<i64> = Stream::new(compiled, None, Limits::default());
    let mut hits = Vec::new();
    before.push(&event(0, 1), &0, 1, &mut |e| hits.push(e[0]));
    assert_eq!((hits.len(), before.learning_until()), (0, Some(day * 1_000_000)));

    let mut after: Stream<i64> = Stream::new(compiled, None, Limits::default());
    after.seed(0, before.seen());
    after.push(&event(day, 1), &1, 1, &mut |e| hits.push(e[0]));
    after.push(&event(day, 2), &2, 1, &mut |e| hits.push(e[0]));
    assert_eq!(hits, [Some(2)]);
    // Bytes that are not ours are left out.
    after.seed(0, [(b"nonsense".to_vec(), 0)]);
}
