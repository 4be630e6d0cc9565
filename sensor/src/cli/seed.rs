//! What the event store shows of rules on new terms that remember nothing themselves.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use sensor_ecs::{Document, OpenSchema, Record, Value, field};
use sensor_eql::{Match, RuleSet};

use super::events::Events;
use super::hunting;
use super::replay::{Line, Replay, Taker};
use crate::memory::Remembered;

/// How long a start waits for the store. What was not read by then is learnt live.
const TIME_MAX: Duration = Duration::from_secs(10);

/// What was found out, and from when on it is all there is.
pub(super) struct Seeded {
    pub(super) memories: Vec<Remembered>,
    /// The store was not read to its end in time: the terms are known, but the window is learnt anew.
    pub(super) is_cut: bool,
}

/// Reads the store at `root`, back to the start of the longest window of `rules`, which are on new terms all.
///
/// # Errors
///
/// When the store cannot be read.
pub(super) fn seed(root: &Path, rules: RuleSet, now_ns: i64) -> anyhow::Result<Seeded> {
    let windows = rules.rules().iter().filter_map(|loaded| Some(loaded.rule.new_terms.as_ref()?.history_ns));
    let since_ns = now_ns.saturating_sub(windows.max().unwrap_or(0));
    let since = jiff::Timestamp::from_nanosecond(since_ns.into()).context("the start of the window")?;
    let mut child = Command::new(hunting::find()?)
        .args(["store", "export", "--since", &since.to_string()])
        .arg(root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("the hunting program cannot be started")?;
    let output = child.stdout.take().context("no pipe")?;
    let (to, from) = sync_channel(1);
    let name = root.display().to_string();
    let reader = std::thread::Builder::new().name("seed".to_owned()).spawn(move || {
        let _ = to.send(learn(BufReader::new(output), name, &rules, now_ns));
    });
    reader.context("a thread cannot be started")?;
    let (learnt, is_late) = match from.recv_timeout(TIME_MAX) {
        Ok(learnt) => (learnt, false),
        Err(RecvTimeoutError::Timeout) => {
            // Its end is the end of what the thread reads.
            end(&mut child);
            (from.recv().context("the thread has gone")?, true)
        }
        Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the thread has gone"),
    };
    let status = child.wait().context("the hunting program")?;
    let is_cut = is_late || !status.success();
    let mut memories = learnt?;
    if is_cut {
        memories.iter_mut().for_each(|memory| memory.since_ns = now_ns);
    }
    Ok(Seeded { memories, is_cut })
}

fn end(child: &mut Child) {
    // It may have ended by itself meanwhile.
    let _ = child.kill();
}

/// What each rule would have seen of these events, which come in any order.
fn learn(
    events: impl BufRead,
    name: String,
    rules: &RuleSet,
    now_ns: i64,
) -> anyhow::Result<Vec<Remembered>> {
    let schema = OpenSchema::new();
    let mut events = Events::new(events, name);
    let mut document = Document::new();
    let mut replay = Replay::new(&schema, rules, Nobody);
    let (mut first_ns, mut last_ns) = (None, i64::MIN);
    while let Some(number) = events.next(&mut document, &schema).context("events")? {
        if let Value::Date(time_ns) = document.value(field::TIMESTAMP) {
            first_ns = Some(first_ns.unwrap_or(time_ns).min(time_ns));
            last_ns = last_ns.max(time_ns);
        }
        replay.event(Line::new(number, &[]), &document).context("matches")?;
    }
    let Some(first_ns) = first_ns else { return Ok(Vec::new()) };
    let mut memories = Vec::new();
    for (index, loaded) in rules.indexed() {
        let Some(terms) = &loaded.rule.new_terms else { continue };
        let oldest_ns = now_ns.saturating_sub(terms.history_ns);
        let mut seen = replay.seen(index);
        seen.retain(|(_, time_ns)| (oldest_ns..=now_ns).contains(time_ns));
        let rule = loaded.rule.id.clone();
        memories.push(Remembered { rule, since_ns: first_ns, until_ns: last_ns.min(now_ns), seen });
    }
    Ok(memories)
}

/// Matches of the past are nobody's business.
struct Nobody;

impl Taker for Nobody {
    type Event = ();

    fn keep(&self, _: Line<'_>, _: &Document, _: &impl Record) -> ((), usize) {
        ((), 0)
    }

    fn found(&mut self, _: &RuleSet, _: &Match<'_, ()>) -> io::Result<()> {
        Ok(())
    }

    fn end(&mut self, _: &RuleSet) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sensor_ecs::Ecs;
    use sensor_eql::{Origin, RuleSource};

    const RULE: &str = "[rule]\nname = \"n\"\nrule_id = \"r\"\ntype = \"new_terms\"\nlanguage = \"kuery\"\n\
        severity = \"low\"\nrisk_score = 1\nindex = [\"logs-endpoint.events.file*\"]\n\
        query = \"event.category:file\"\n[rule.new_terms]\nfield = \"new_terms_fields\"\nvalue = [\"file.path\"]\n\
        [[rule.new_terms.history_window_start]]\nfield = \"history_window_start\"\nvalue = \"now-10s\"\n";

    #[test]
    fn what_is_stored_is_known_as_far_back_as_the_window_goes() {
        let source = RuleSource { origin: Origin::User, path: "r.toml".into(), text: RULE.into() };
        let rules = RuleSet::load([source], &Ecs);
        assert_eq!(rules.rules().len(), 1);
        let event = |seconds: i64, dataset: &str, path: &str| {
            format!(
                "{{\"@timestamp\": {}, \"event\": {{\"category\": [\"file\"]}}, \"file\": {{\"path\": \"{path}\"}}, \
                 \"data_stream\": {{\"type\": \"logs\", \"dataset\": \"{dataset}\", \"namespace\": \"default\"}}}}\n",
                seconds * 1000
            )
        };
        // Parts of a store come in any order.
        let stored = [
            event(98, "endpoint.events.file", "/new"),
            event(80, "endpoint.events.file", "/forgotten"),
            event(95, "endpoint.events.file", "/old"),
            event(96, "endpoint.events.process", "/elsewhere"),
        ];
        let learnt = learn(stored.concat().as_bytes(), "s".into(), &rules, 100_000_000_000).unwrap();
        let [memory] = learnt.as_slice() else { panic!("{learnt:?}") };
        assert_eq!((memory.since_ns, memory.until_ns), (80_000_000_000, 98_000_000_000));
        let mut seconds: Vec<i64> = memory.seen.iter().map(|(_, ns)| ns / 1_000_000_000).collect();
        seconds.sort_unstable();
        assert_eq!(seconds, [95, 98]);
        assert!(learn(&b""[..], "s".into(), &rules, 0).unwrap().is_empty());
    }
}
