//! From the pipeline's hits to lines in sinks.

use std::sync::Arc;

use sensor_ecs::{Agent, Event, EventMeta, Integration, write_json};
use sensor_eql::{LoadedRule, ProcessVersion};

use crate::config::EvidenceSettings;
use crate::enrich::View;
use crate::evidence::{Collector, Pending, Places};
use crate::pipeline::{Gap, Hit, Output, SeveralHit, is_in_container};
use crate::sink::{AlertSinks, Recent, Report, Sink, Totals};
use crate::store::{Hunter, Hunting, StoreGauge, StoreTotals, Storing};

use super::author::Author;
use super::channel::{Carries, Channel, ChannelGauge};
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

/// Writes every event and every alert. Never waits: the outputs have threads of their own.
pub(crate) struct Emitter {
    channels: Vec<Channel>,
    /// Those of them that get events.
    events: Vec<Arc<Sink>>,
    /// An event's document, where several want it.
    document: Vec<u8>,
    store: Option<Storing>,
    hunter: Option<Hunter>,
    evidence: Collector,
    recent: Arc<Recent>,
    /// The forms in which alerts are wanted.
    colour: Option<Colour>,
    author: Author,
    /// Whether events of containers have a second document.
    cloud_defend: bool,
}

/// What became of everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct EmitterTotals {
    /// Of lines, by output.
    pub(crate) channels: Vec<(&'static str, Totals)>,
    /// Absent when nothing was stored.
    pub(crate) store: Option<StoreTotals>,
}

impl Emitter {
    /// Writes to these; evidence is looked for in `places`. `coloured` says whether alerts for people may be.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub(crate) fn new(
        channels: Vec<Channel>,
        coloured: bool,
        agent: Arc<Agent>,
        places: Places,
        settings: &EvidenceSettings,
    ) -> std::io::Result<Self> {
        let sinks_of = |carries| -> Vec<Arc<Sink>> {
            channels.iter().filter(|channel| channel.carries == carries).map(Channel::sink).collect()
        };
        let text = sinks_of(Carries::AlertText).pop();
        let colour = text.as_ref().map(|_| if coloured { Colour::Yes } else { Colour::No });
        let recent = Arc::new(Recent::default());
        let alerts = AlertSinks { text, documents: sinks_of(Carries::Alerts), recent: Arc::clone(&recent) };
        let evidence = Collector::start(Arc::new(alerts), places, settings)?;
        let events = sinks_of(Carries::Events);
        let author = Author::new(agent);
        Ok(Self {
            channels,
            events,
            document: Vec::new(),
            store: None,
            hunter: None,
            evidence,
            recent,
            colour,
            author,
            cloud_defend: false,
        })
    }

    /// Stores every event, too.
    pub(crate) fn store(&mut self, store: Storing) {
        self.store = Some(store);
    }

    /// Writes events of containers as documents of Elastic's integration for containers, too.
    pub(crate) fn write_for_containers(&mut self) {
        self.cloud_defend = true;
    }

    /// Hunts now and then; the rows go where events go.
    ///
    /// # Errors
    ///
    /// When a thread cannot be started.
    pub(crate) fn hunt(&mut self, hunting: Hunting, report: Report) -> std::io::Result<()> {
        let events = self.events.clone();
        let take = move |line: &[u8]| {
            let refused = |sink: &&Arc<Sink>| !sink.line(|out| out.extend_from_slice(line));
            // Each is asked, whatever the one before it said.
            events.iter().filter(refused).count() == 0
        };
        self.hunter = Some(Hunter::start(hunting, Box::new(take), report)?);
        Ok(())
    }

    /// Whether events go anywhere but into the store.
    pub(crate) fn sends_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// How each output fares, for as long as anybody wants to know.
    pub(crate) fn gauges(&self) -> Vec<ChannelGauge> {
        self.channels.iter().map(Channel::gauge).collect()
    }

    /// How the store fares.
    pub(crate) fn store_gauge(&self) -> Option<StoreGauge> {
        self.store.as_ref().map(Storing::gauge)
    }

    /// The last alerts.
    pub(crate) fn recent(&self) -> Arc<Recent> {
        Arc::clone(&self.recent)
    }

    /// Writes out what waits, and says what became of everything.
    pub(crate) fn close(self) -> EmitterTotals {
        self.evidence.close();
        drop(self.hunter);
        drop(self.events);
        let channels = self.channels.into_iter().map(Channel::close).collect();
        EmitterTotals { channels, store: self.store.map(|store| store.close()) }
    }

    fn send(&mut self, event: &Event<'_>) {
        match self.events.as_slice() {
            [] => {}
            [sink] => {
                sink.line(|out| write_json(event, out));
            }
            several => {
                self.document.clear();
                write_json(event, &mut self.document);
                for sink in several {
                    sink.line(|out| out.extend_from_slice(&self.document));
                }
            }
        }
    }

    /// An alert in the forms in which it is wanted.
    fn pending(
        &mut self,
        document: impl FnOnce(&mut Author, &mut Vec<u8>),
        text: impl FnOnce(Colour) -> String,
    ) -> Pending {
        let mut json = Vec::new();
        document(&mut self.author, &mut json);
        Pending {
            document: Some(json),
            text: self.colour.map(text),
            colour: self.colour == Some(Colour::Yes),
        }
    }
}

impl Output for Emitter {
    fn event(&mut self, event: &Event<'_>, process: Option<ProcessVersion>) {
        self.evidence.note(event);
        self.send(event);
        if self.cloud_defend && is_in_container(event) {
            let meta = EventMeta { integration: Integration::CloudDefend, ..event.meta };
            self.send(&Event { meta, ..*event });
        }
        if let Some(store) = &mut self.store {
            store.event(event, process);
        }
    }

    fn alert(&mut self, hit: &Hit<'_>) {
        let rule = &hit.rule.rule;
        let alert = self.pending(
            |author, out| write_alert(rule, hit.event, hit.view, author.next(), out),
            |colour| text::alert(rule, hit.event, hit.view, colour),
        );
        self.evidence.raise(alert, Some((rule, hit.event)));
    }

    fn keep(&self, event: &Event<'_>, view: View) -> (Box<[u8]>, Box<[u8]>) {
        let mut document = Vec::new();
        write_json(event, &mut document);
        let text = self.colour.map(|colour| text::part(event, view, colour)).unwrap_or_default();
        (document.into(), text.into_bytes().into())
    }

    fn alert_of_several(&mut self, hit: &SeveralHit<'_>) {
        let alert = self.pending(
            |author, out| author.several(hit, out),
            |colour| {
                let parts: Vec<_> =
                    hit.events.iter().map(|kept| kept.as_ref().map(|kept| &*kept.text)).collect();
                text::alert_of_several(&hit.rule.rule, &parts, hit.lost_meanwhile, colour)
            },
        );
        self.evidence.raise(alert, hit.current.map(|event| (&hit.rule.rule, event)));
    }

    fn leaves_out(&mut self, left_out: Option<&'static str>) {
        self.evidence.leaves_out(left_out);
        if let Some(store) = &mut self.store {
            store.leaves_out(left_out);
        }
    }

    fn gap(&mut self, gap: &Gap) {
        self.document.clear();
        self.author.gap(gap, &mut self.document);
        for sink in &self.events {
            sink.line(|out| out.extend_from_slice(&self.document));
        }
        if let Some(store) = &self.store {
            store.gap(gap.total());
        }
    }

    fn held_back(&mut self, rule: &LoadedRule, count: u64, last_ns: i64) {
        let notice = self.pending(
            |author, out| author.held_back(rule, count, last_ns, out),
            |colour| text::held_back(&rule.rule, count, last_ns, colour),
        );
        self.evidence.raise(notice, None);
    }
}
