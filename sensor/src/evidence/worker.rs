//! Alerts on their way to the sink: each waits here until its evidence is there, or too late.
//!
//! Two threads: one writes alerts in their order, the other looks. What looks may be made to wait for ever by a file
//! system of the attacker's choice; it is then left behind with the answers that it had, and another takes its place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sensor_ecs::Event;
use sensor_eql::Rule;

use crate::config::EvidenceSettings;
use crate::confine::{self, Role};
use crate::sink::AlertSinks;

use super::activity::Activity;
use super::text;
use super::{Answer, Bounds, Evidence, Places, Question, gather, package, write};

/// How long alerts that are under way may take when the sensor ends.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);
/// Alerts that may wait; more go out without evidence. As many as one rule raises at a time, and some.
const WAITING_MAX: usize = 128;
/// Threads that may be left behind at one time; until one of them ends, nothing is looked at any more.
const ABANDONED_MAX: usize = 8;

/// An alert without its evidence, in the forms in which it is wanted.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// A JSON object. Where it has a `sensor` member, that is an object with members, and the last one.
    pub(crate) document: Option<Vec<u8>>,
    /// Lines for a person.
    pub(crate) text: Option<String>,
    /// Whether those may be coloured.
    pub(crate) colour: bool,
}

#[derive(Debug)]
struct Job {
    alert: Pending,
    question: Option<Box<Question>>,
}

/// Remembers what happened, and gives alerts their evidence.
pub(crate) struct Collector {
    alerts: Arc<AlertSinks>,
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
    /// Set when the sensor cannot wait any longer.
    hurry: Arc<AtomicBool>,
    activity: Activity,
    /// What of a tree's acts is not recorded, in words.
    left_out: Option<&'static str>,
    time_max: Duration,
    /// Whether everything is recorded that a tree does after an alert.
    is_following: bool,
}

/// How long one alert may wait.
fn time_max(settings: &EvidenceSettings) -> Duration {
    Duration::from_secs(u64::from(settings.seconds))
}

impl Collector {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub(crate) fn start(
        alerts: Arc<AlertSinks>,
        places: Places,
        settings: &EvidenceSettings,
    ) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let sinks = Arc::clone(&alerts);
        let hurry = Arc::new(AtomicBool::new(false));
        let hurried = Arc::clone(&hurry);
        let looker = Looker { places, settings: settings.clone(), reader: None, abandoned: Vec::new() };
        let writer = thread::Builder::new().name("alerts".to_owned()).spawn(move || {
            // Those that look are started from here, and inherit it.
            confine::thread(&Role::Look);
            write_alerts(&waiting, &sinks, looker, &hurried);
        })?;
        Ok(Self {
            alerts,
            jobs: Some(jobs),
            writer: Some(writer),
            hurry,
            activity: Activity::default(),
            left_out: None,
            time_max: time_max(settings),
            is_following: settings.follow_seconds > 0,
        })
    }

    /// Remembers an event.
    pub(crate) fn note(&mut self, event: &Event<'_>) {
        self.activity.note(event);
    }

    /// From now on this is left out of what is recorded.
    pub(crate) fn leaves_out(&mut self, left_out: Option<&'static str>) {
        self.left_out = left_out;
    }

    /// Sends an alert on its way. `about` is the event that it is about, if it is still at hand.
    pub(crate) fn raise(&mut self, alert: Pending, about: Option<(&Rule, &Event<'_>)>) {
        let Some(jobs) = &self.jobs else {
            return finish(&self.alerts, alert, None);
        };
        let question = about.map(|(rule, event)| {
            let time_ns = event.meta.time_ns;
            let mut question = Question::new(rule, event);
            (question.acts, question.acts_hidden) = self.activity.of(question.tree, time_ns);
            question.left_out = self.left_out;
            question.followed = self.is_following;
            question.related = self.activity.alerts_of(question.tree, time_ns);
            self.activity.note_alert(question.tree, time_ns, &rule.id, &rule.name);
            Box::new(question)
        });
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) =
            jobs.try_send(Job { alert, question })
        {
            let evidence = job.question.map(|_| Evidence::absent("too many alerts at once"));
            finish(&self.alerts, job.alert, evidence.as_ref());
        }
    }

    /// Waits for alerts that are under way. After some time they go out as they are.
    pub(crate) fn close(mut self) {
        drop(self.jobs.take());
        let deadline = Instant::now() + CLOSE_TIME_MAX;
        while let Some(writer) = &self.writer
            && !writer.is_finished()
        {
            self.hurry.store(Instant::now() >= deadline, Ordering::Relaxed);
            // The writer waits for the alert in hand no longer than it may take, and then for none.
            if Instant::now() >= deadline + self.time_max * 2 {
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn write_alerts(jobs: &Receiver<Job>, sinks: &AlertSinks, mut looker: Looker, hurry: &AtomicBool) {
    for Job { alert, question } in jobs {
        let evidence = question.map(|question| {
            if hurry.load(Ordering::Relaxed) {
                Evidence::absent("the sensor was stopping")
            } else {
                looker.look(*question)
            }
        });
        finish(sinks, alert, evidence.as_ref());
    }
}

/// Writes an alert with what was found.
fn finish(sinks: &AlertSinks, alert: Pending, evidence: Option<&Evidence>) {
    if let Some(lines) = alert.text {
        sinks.lines(|out| {
            out.extend_from_slice(lines.as_bytes());
            if let Some(evidence) = evidence {
                out.extend_from_slice(text::lines(evidence, alert.colour).as_bytes());
            }
        });
    }
    match (alert.document, evidence) {
        (Some(json), Some(evidence)) => {
            let mut completed = Vec::with_capacity(2 * json.len());
            complete(&json, evidence, &mut completed);
            sinks.document(&completed);
        }
        (Some(json), None) => sinks.document(&json),
        (None, _) => {}
    }
}

/// Puts the evidence into the document's own `sensor` member, or gives it one.
fn complete(json: &[u8], evidence: &Evidence, out: &mut Vec<u8>) {
    const ESCAPED: &[u8] = b"\"escaped\":true}}";
    match json.strip_suffix(b"}}") {
        Some(open) => {
            out.extend_from_slice(open);
            out.extend_from_slice(b",\"evidence\":");
        }
        None => {
            out.extend_from_slice(json.strip_suffix(b"}").unwrap_or(json));
            out.extend_from_slice(b",\"sensor\":{\"evidence\":");
        }
    }
    if write(evidence, out) && !json.ends_with(ESCAPED) {
        out.extend_from_slice(b",\"escaped\":true");
    }
    out.extend_from_slice(b"}}");
}

/// A question, how far it goes, and where the answers go.
type Ask = (Box<Question>, Bounds, Arc<Mutex<Evidence>>);

#[derive(Debug)]
struct Reader {
    ask: Sender<Ask>,
    done: Receiver<()>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Looker {
    places: Places,
    settings: EvidenceSettings,
    reader: Option<Reader>,
    /// Those that were left behind and still wait.
    abandoned: Vec<JoinHandle<()>>,
}

impl Looker {
    fn look(&mut self, question: Question) -> Evidence {
        self.abandoned.retain(|thread| !thread.is_finished());
        if self.abandoned.len() >= ABANDONED_MAX {
            return Evidence::absent("looking at other alerts has not ended");
        }
        if self.reader.is_none() {
            self.reader = self.start();
        }
        let Some(reader) = &self.reader else { return Evidence::absent("no thread could be started") };
        let evidence = Arc::new(Mutex::new(Evidence::default()));
        let time_max = time_max(&self.settings);
        let bounds = Bounds::new(&self.settings, Instant::now() + time_max);
        let asked = reader.ask.send((Box::new(question), bounds, Arc::clone(&evidence)));
        // The reader keeps the deadline by itself, unless it is held up.
        let patience = time_max + Duration::from_millis(100);
        let in_time = asked.is_ok() && reader.done.recv_timeout(patience) != Err(RecvTimeoutError::Timeout);
        if !in_time {
            self.abandoned.extend(self.reader.take().map(|reader| reader.thread));
            tracing::warn!("looking for evidence did not end in time; what there is is reported");
        }
        evidence.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn start(&self) -> Option<Reader> {
        let (ask, asked) = channel::<Ask>();
        let (tell, done) = channel();
        let places = self.places.clone();
        let thread = thread::Builder::new()
            .name("evidence".to_owned())
            .spawn(move || {
                let mut packages = package::Known::default();
                for (question, bounds, evidence) in asked {
                    gather(&question, &places, bounds, &mut packages, &evidence);
                    if tell.send(()).is_err() {
                        break;
                    }
                }
            })
            .ok()?;
        Some(Reader { ask, done, thread })
    }
}

impl Evidence {
    /// Nothing was found out, for one reason.
    fn absent(reason: &str) -> Self {
        fn answer<T>(reason: &str) -> Answer<T> {
            Answer::Absent { absent: reason.to_owned() }
        }
        Self {
            file: answer(reason),
            package: answer(reason),
            ancestry: answer(reason),
            login: answer(reason),
            sockets: answer(reason),
            directory: answer(reason),
            exclusions: answer(reason),
            exception: answer(reason),
            query: answer(reason),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_joins_what_the_document_says_of_itself() {
        let completed = |json: &str, evidence: &Evidence| {
            let mut out = Vec::new();
            complete(json.as_bytes(), evidence, &mut out);
            let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
            json["sensor"].clone()
        };
        let plain = Evidence::absent("x");
        let odd = Evidence { next_steps: vec!["\u{f7ff}".to_owned()], ..plain.clone() };
        for (json, members) in [
            (r#"{"Events":[]}"#, 1),
            (r#"{"Events":[{}],"sensor":{"view":"task"}}"#, 2),
            (r#"{"Events":[{}],"sensor":{"view":"task","escaped":true}}"#, 3),
        ] {
            let said = completed(json, &plain);
            assert_eq!(said.as_object().unwrap().len(), members, "{said}");
            assert_eq!(said["evidence"]["file"]["absent"], "x");
            assert_eq!(completed(json, &odd)["escaped"], true);
        }
    }

    #[test]
    fn what_never_answers_is_left_behind_with_what_was_found_before() {
        let places = tempfile::tempdir().unwrap();
        // Opening a pipe that nobody writes to waits, as the worst file system would.
        let process = places.path().join("proc/7");
        std::fs::create_dir_all(&process).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, process.join("stat"), fifo, 0o600.into(), 0).unwrap();
        let places =
            Places { root: places.path().into(), proc_root: places.path().join("proc"), hunting: None };
        let settings = EvidenceSettings::default();
        let time_max = time_max(&settings);
        let mut looker = Looker { places, settings, reader: None, abandoned: Vec::new() };
        let start = Instant::now();
        let evidence = looker.look(super::super::tests::question(7));
        assert!(start.elapsed() < time_max * 2);
        assert_eq!(looker.abandoned.len(), 1);
        assert!(evidence.exclusions.found().is_some_and(|exclusions| !exclusions.is_empty()));
        assert!(evidence.ancestry.found().is_none());
        // Nothing is looked at while too many wait, and again when one has gone on.
        let (hold, held) = channel::<()>();
        let held = Arc::new(Mutex::new(held));
        for _ in 1..ABANDONED_MAX {
            let held = Arc::clone(&held);
            looker.abandoned.push(thread::spawn(move || assert!(held.lock().unwrap().recv().is_err())));
        }
        assert!(looker.look(super::super::tests::question(7)).exclusions.found().is_none());
        drop(hold);
        while looker.abandoned.iter().filter(|thread| !thread.is_finished()).count() > 1 {
            thread::sleep(Duration::from_millis(1));
        }
        assert!(looker.look(super::super::tests::question(7)).exclusions.found().is_some());
    }
}
