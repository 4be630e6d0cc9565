//! From the pipeline's hits to lines in sinks.

use std::io::IsTerminal as _;
use std::sync::Arc;

use sensor_ecs::{Agent, Event, write_json};
use sensor_eql::LoadedRule;

use crate::enrich::View;
use crate::evidence::{Collector, Pending, Places};
use crate::pipeline::{Gap, Hit, Output, SeveralHit};
use crate::sink::{OpenError, Place, Report, Sink, Target, Totals};

use crate::store::{StoreTotals, Storing};

use super::author::Author;
use super::document::write_alert;
use super::text::{self, Colour};

/// How alerts are written.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// As text on a terminal, otherwise as NDJSON.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For an index: one document per line.
    Ndjson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text(Colour),
    Document,
}

/// Writes every event and every alert. Never waits: the sinks have threads of their own.
pub(crate) struct Emitter {
    events: Option<Sink>,
    store: Option<Storing>,
    alerts: Arc<Sink>,
    evidence: Collector,
    shape: Shape,
    author: Author,
}

/// What became of the lines of both sinks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EmitterTotals {
    /// Absent when no output for events was asked for.
    pub(crate) events: Option<Totals>,
    pub(crate) alerts: Totals,
    /// Absent when nothing was stored.
    pub(crate) store: Option<StoreTotals>,
}

impl Emitter {
    /// Opens both outputs; evidence is looked for in `places`. `report` makes a function that tells a person about the
    /// state of an output.
    ///
    /// # Errors
    ///
    /// When an output cannot be opened.
    pub(crate) fn open(
        events: Option<&Place>,
        alerts: &Place,
        format: Format,
        agent: Arc<Agent>,
        places: Places,
        report: impl Fn() -> Report,
    ) -> Result<Self, OpenError> {
        let on_terminal = alerts.target == Target::Stdout && std::io::stdout().is_terminal();
        let colour = match std::env::var_os("NO_COLOR") {
            Some(set) if !set.is_empty() => Colour::No,
            _ if !on_terminal => Colour::No,
            _ => Colour::Yes,
        };
        let shape = match format {
            Format::Auto if on_terminal => Shape::Text(colour),
            Format::Text => Shape::Text(colour),
            Format::Auto | Format::Ndjson => Shape::Document,
        };
        let events = events.map(|place| Sink::open(place, report())).transpose()?;
        let target = &alerts.target;
        let alerts = Arc::new(Sink::open(alerts, report())?);
        let evidence = Collector::start(Arc::clone(&alerts), places)
            .map_err(|cause| OpenError::thread(target, cause))?;
        Ok(Self { events, store: None, alerts, evidence, shape, author: Author::new(agent) })
    }

    /// Stores every event, too.
    pub(crate) fn store(&mut self, store: Storing) {
        self.store = Some(store);
    }

    /// Writes out what waits, and says what became of everything.
    pub(crate) fn close(self) -> EmitterTotals {
        self.evidence.close();
        let events = self.events.map(Sink::close);
        let alerts = match Arc::try_unwrap(self.alerts) {
            Ok(sink) => sink.close(),
            // A thread that hangs still has it.
            Err(shared) => shared.totals(),
        };
        EmitterTotals { events, store: self.store.map(|store| store.close()), alerts }
    }
}

fn document(write: impl FnOnce(&mut Vec<u8>)) -> Pending {
    let mut json = Vec::new();
    write(&mut json);
    Pending::Document(json)
}

fn lines(lines: String, colour: Colour) -> Pending {
    Pending::Text { lines, colour: colour == Colour::Yes }
}

impl Output for Emitter {
    fn event(&mut self, event: &Event<'_>) {
        self.evidence.note(event);
        if let Some(sink) = &self.events {
            sink.line(|out| write_json(event, out));
        }
        if let Some(store) = &self.store {
            store.event(event);
        }
    }

    fn alert(&mut self, hit: &Hit<'_>) {
        let own = self.author.next();
        let rule = &hit.rule.rule;
        let alert = match self.shape {
            Shape::Document => document(|out| write_alert(rule, hit.event, hit.view, own, out)),
            Shape::Text(colour) => lines(text::alert(rule, hit.event, hit.view, colour), colour),
        };
        self.evidence.raise(alert, Some((rule, hit.event)));
    }

    fn keep(&self, event: &Event<'_>, view: View) -> Box<[u8]> {
        match self.shape {
            Shape::Document => {
                let mut document = Vec::new();
                write_json(event, &mut document);
                document.into()
            }
            Shape::Text(colour) => text::part(event, view, colour).into_bytes().into(),
        }
    }

    fn alert_of_several(&mut self, hit: &SeveralHit<'_>) {
        let author = &mut self.author;
        let alert = match self.shape {
            Shape::Document => document(|out| author.several(hit, out)),
            Shape::Text(colour) => {
                let parts: Vec<_> =
                    hit.events.iter().map(|kept| kept.as_ref().map(|kept| &*kept.bytes)).collect();
                lines(text::alert_of_several(&hit.rule.rule, &parts, hit.lost_meanwhile, colour), colour)
            }
        };
        self.evidence.raise(alert, hit.current.map(|event| (&hit.rule.rule, event)));
    }

    fn gap(&mut self, gap: &Gap) {
        let author = &mut self.author;
        if let Some(sink) = &self.events {
            sink.line(|out| author.gap(gap, out));
        }
        if let Some(store) = &self.store {
            store.gap(gap.total());
        }
    }

    fn held_back(&mut self, rule: &LoadedRule, count: u64, last_ns: i64) {
        let author = &mut self.author;
        let notice = match self.shape {
            Shape::Document => document(|out| author.held_back(rule, count, last_ns, out)),
            Shape::Text(colour) => lines(text::held_back(&rule.rule, count, last_ns, colour), colour),
        };
        self.evidence.raise(notice, None);
    }
}
