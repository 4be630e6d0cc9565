//! From the pipeline's hits to lines in sinks.

use std::io::IsTerminal as _;
use std::sync::Arc;

use sensor_ecs::{Agent, Event, write_json};
use sensor_eql::LoadedRule;

use crate::enrich::View;
use crate::pipeline::{Hit, Output, SeveralHit};
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
    alerts: Sink,
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
    /// Opens both outputs. `report` makes a function that tells a person about the state of an output.
    ///
    /// # Errors
    ///
    /// When an output cannot be opened.
    pub(crate) fn open(
        events: Option<&Place>,
        alerts: &Place,
        format: Format,
        agent: Arc<Agent>,
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
        Ok(Self {
            events: events.map(|place| Sink::open(place, report())).transpose()?,
            store: None,
            alerts: Sink::open(alerts, report())?,
            shape,
            author: Author::new(agent),
        })
    }

    /// Stores every event, too.
    pub(crate) fn store(&mut self, store: Storing) {
        self.store = Some(store);
    }

    /// Writes out what waits, and says what became of everything. `lost` events never came this far.
    pub(crate) fn close(self, lost: u64) -> EmitterTotals {
        EmitterTotals {
            events: self.events.map(Sink::close),
            store: self.store.map(|store| store.close(lost)),
            alerts: self.alerts.close(),
        }
    }
}

impl Output for Emitter {
    fn event(&mut self, event: &Event<'_>) {
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
        match self.shape {
            Shape::Document => self.alerts.line(|out| write_alert(rule, hit.event, hit.view, own, out)),
            Shape::Text(colour) => {
                let text = text::alert(rule, hit.event, hit.view, colour);
                self.alerts.line(|out| out.extend_from_slice(text.as_bytes()))
            }
        };
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
        match self.shape {
            Shape::Document => self.alerts.line(|out| author.several(hit, out)),
            Shape::Text(colour) => {
                let parts: Vec<_> =
                    hit.events.iter().map(|kept| kept.as_ref().map(|kept| &*kept.bytes)).collect();
                let text = text::alert_of_several(&hit.rule.rule, &parts, colour);
                self.alerts.line(|out| out.extend_from_slice(text.as_bytes()))
            }
        };
    }

    fn held_back(&mut self, rule: &LoadedRule, count: u64, last_ns: i64) {
        let author = &mut self.author;
        match self.shape {
            Shape::Document => self.alerts.line(|out| author.held_back(rule, count, last_ns, out)),
            Shape::Text(colour) => {
                let text = text::held_back(&rule.rule, count, last_ns, colour);
                self.alerts.line(|out| out.extend_from_slice(text.as_bytes()))
            }
        };
    }
}
