//! The state as Prometheus reads it, in the OpenMetrics text format.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::status::Status;
use crate::confine::Landlock;
use crate::pipeline;
use crate::remote;

/// A metric: name without `sensor_` and without `_total`, whether it only ever grows, what it says.
type Described = (&'static str, bool, &'static str);

const EVENTS: Described = ("events", true, "Events recorded, by event.action");
const LOST: Described = ("lost", true, "Records that the kernel could not deliver, by kind and reason");
const RULE_MATCHES: Described =
    ("rule_matches", true, "Matches, by rule id, those that caps held back included");
const ALERTS: Described = ("alerts", true, "Alerts raised");
const SUPPRESSED: Described =
    ("suppressed", true, "Matches that became no alert, by rule id and the exception or max_signals");
const HOOK_ATTACHED: Described = ("hook_attached", false, "Whether a hook is attached and of use, and how");
const PROCESS_ENTRIES: Described = ("process_table_entries", false, "Processes that are known");
const PROCESS_EVICTIONS: Described =
    ("process_table_evictions", true, "Living processes that were dropped for want of room");
const PROCESS_MISSES: Described =
    ("process_table_misses", true, "Processes that had to be looked up late, by what was missed");
const DEGRADED: Described = ("events_degraded", true, "Events of processes whose image was lost");
const UNDECODABLE: Described = ("undecodable", true, "Records that could not be decoded");
const GAPS: Described = ("gaps", true, "Gap records in the stream of events");
const UNACCOUNTED: Described =
    ("unaccounted", true, "Records that are missing for no reason that was counted");
const SWITCHED_OFF: Described = (
    "switched_off",
    false,
    "How many things keep attached programs from being run or from sending what they see",
);
const STATE_BYTES: Described = ("rule_state_bytes", false, "Bytes that rules on several events keep");
const STATE_EVICTIONS: Described =
    ("rule_state_evictions", true, "Partial matches that were dropped for want of room");
const STORE: Described = ("store_events", true, "Events for the store, by what became of them");
const SINK_LINES: Described = ("sink_lines", true, "Lines for an output, by what became of them");
const SPOOL_DOCUMENTS: Described = ("spool_documents", false, "Documents that wait in a spool");
const SPOOL_BYTES: Described = ("spool_bytes", false, "Bytes of a spool in use");
const SPOOL_BYTES_MAX: Described = ("spool_bytes_max", false, "Bytes that a spool may have");
const SPOOL_DROPPED: Described = ("spool_dropped", true, "Documents that a spool did not keep, by reason");
const REMOTE_DOCUMENTS: Described =
    ("remote_documents", true, "Documents for another machine, by what became of them");
const REMOTE_REQUESTS: Described = ("remote_requests", true, "Requests to another machine, by how they went");
const REMOTE_UP: Described = ("remote_up", false, "Whether documents are taken there");
const REMOTE_SECONDS: Described =
    ("remote_request_seconds", false, "Time of requests that were answered in full");
const DELAY_SECONDS: Described =
    ("delay_seconds", false, "From the kernel to the end of matching, for the oldest record of each look");
const RELOADS: Described = ("reloads", true, "Reloads, by how they went");
const CONFINED: Described = (
    "confined",
    false,
    "Whether threads of a kind are held by no_new_privs, seccomp and, unless they look at processes, Landlock",
);
const READY: Described = ("ready", false, "Whether every event is seen");
const UPTIME: Described = ("uptime_seconds", false, "Time since the start");
const BUILD_INFO: Described = ("build_info", false, "Version and kernel, always 1");

/// Every metric there is, for the documents.
#[cfg(test)]
pub(super) const ALL: [Described; 29] = [
    EVENTS,
    LOST,
    RULE_MATCHES,
    ALERTS,
    SUPPRESSED,
    HOOK_ATTACHED,
    PROCESS_ENTRIES,
    PROCESS_EVICTIONS,
    PROCESS_MISSES,
    DEGRADED,
    UNDECODABLE,
    STATE_BYTES,
    STATE_EVICTIONS,
    STORE,
    SINK_LINES,
    SPOOL_DOCUMENTS,
    SPOOL_BYTES,
    SPOOL_BYTES_MAX,
    SPOOL_DROPPED,
    REMOTE_DOCUMENTS,
    REMOTE_REQUESTS,
    REMOTE_UP,
    REMOTE_SECONDS,
    DELAY_SECONDS,
    RELOADS,
    CONFINED,
    READY,
    UPTIME,
    BUILD_INFO,
];

/// The whole page.
pub(super) fn page(status: Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("sensor");
    registry.register_collector(Box::new(Page(status)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Page(Status);

/// Values of one metric under their labels.
struct Family<'e>(MetricEncoder<'e>, bool);

impl Family<'_> {
    fn value<const N: usize>(&mut self, labels: [(&str, &str); N], value: u64) -> fmt::Result {
        put(self.0.encode_family(&labels)?, self.1, value)
    }

    /// The only one.
    fn alone(self, value: u64) -> fmt::Result {
        put(self.0, self.1, value)
    }
}

fn put(mut encoder: MetricEncoder<'_>, grows: bool, value: u64) -> fmt::Result {
    if grows {
        encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
    } else {
        encoder.encode_gauge(&value)
    }
}

fn family<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    (name, grows, help): Described,
) -> Result<Family<'e>, fmt::Error> {
    let kind = if grows { MetricType::Counter } else { MetricType::Gauge };
    let encoder = encoder.encode_descriptor(name, help, None, kind)?;
    Ok(Family(encoder, grows))
}

/// A histogram's parts.
struct Classes<'c>(&'c [f64], &'c [u64], f64);

impl EncodeMetric for Classes<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = self.0.iter().copied().chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.1.iter().copied()).collect();
        encoder.encode_histogram::<NoLabelSet>(self.2, self.1.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl Collector for Page {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(status) = self;
        let to = &mut to;
        self.events(to)?;
        self.rules(to)?;
        self.processes(to)?;
        if let Some(store) = status.store {
            let mut of = family(to, STORE)?;
            of.value([("fate", "stored")], store.stored)?;
            of.value([("fate", "dropped")], store.dropped)?;
        }
        self.outputs(to)?;
        let mut of = family(to, RELOADS)?;
        of.value([("result", "done")], status.reloads.done)?;
        of.value([("result", "refused")], status.reloads.refused)?;
        let mut of = family(to, CONFINED)?;
        for (threads, state) in &status.confinement.threads {
            let landlock = match state.landlock {
                Landlock::NotAsked => None,
                Landlock::Missing => Some(false),
                Landlock::Version(_) => Some(true),
            };
            for (by, holds) in [
                ("no_new_privs", Some(state.no_new_privs)),
                ("seccomp", Some(state.seccomp)),
                ("landlock", landlock),
            ] {
                if let Some(holds) = holds {
                    of.value([("threads", threads.as_str()), ("by", by)], u64::from(holds))?;
                }
            }
        }
        family(to, READY)?.alone(u64::from(status.vitals.ready))?;
        family(to, UPTIME)?.alone(status.uptime_seconds)?;
        let about = &status.about;
        family(to, BUILD_INFO)?.value([("version", &about.version), ("kernel", &about.kernel)], 1)
    }
}

impl Page {
    fn events(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let vitals = &self.0.vitals;
        let mut of = family(to, EVENTS)?;
        for (kind, count) in &vitals.events {
            of.value([("kind", kind)], *count)?;
        }
        let mut of = family(to, LOST)?;
        for lost in vitals.lost.iter().flatten() {
            of.value([("kind", &lost.of), ("reason", &lost.reason)], lost.count)?;
        }
        family(to, DEGRADED)?.alone(vitals.degraded)?;
        family(to, UNDECODABLE)?.alone(vitals.undecodable)?;
        family(to, GAPS)?.alone(vitals.gaps)?;
        family(to, UNACCOUNTED)?.alone(vitals.unaccounted)?;
        family(to, SWITCHED_OFF)?.alone(vitals.switched_off.len() as u64)?;
        let mut of = family(to, HOOK_ATTACHED)?;
        for hook in &self.0.about.hooks {
            of.value([("hook", &hook.name), ("mode", &hook.mode)], u64::from(hook.is_used))?;
        }
        let delays = Classes(&pipeline::SECONDS, &vitals.delays.counts, vitals.delays.seconds);
        let (name, _, help) = DELAY_SECONDS;
        delays.encode(to.encode_descriptor(name, help, None, MetricType::Histogram)?)
    }

    fn rules(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let vitals = &self.0.vitals;
        let mut of = family(to, RULE_MATCHES)?;
        for ((id, _), count) in vitals.rules.0.iter().zip(&vitals.matches) {
            of.value([("rule", id)], *count)?;
        }
        family(to, ALERTS)?.alone(vitals.alerts)?;
        let mut of = family(to, SUPPRESSED)?;
        for suppressed in &vitals.suppressed {
            of.value([("rule", &suppressed.of), ("reason", &suppressed.reason)], suppressed.count)?;
        }
        family(to, STATE_BYTES)?.alone(vitals.state.bytes as u64)?;
        family(to, STATE_EVICTIONS)?.alone(vitals.state.evicted + vitals.state.cut)
    }

    fn processes(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let table = self.0.vitals.processes;
        family(to, PROCESS_ENTRIES)?.alone(table.entries)?;
        family(to, PROCESS_EVICTIONS)?.alone(table.evicted)?;
        let mut of = family(to, PROCESS_MISSES)?;
        of.value([("missed", "start")], table.discovered)?;
        of.value([("missed", "exec")], table.repaired)?;
        of.value([("missed", "image")], table.images_lost)
    }

    fn outputs(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let channels = &self.0.channels;
        let mut of = family(to, SINK_LINES)?;
        for channel in channels {
            let (sink, lines) = (channel.name.as_str(), channel.lines);
            of.value([("sink", sink), ("fate", "written")], lines.written)?;
            of.value([("sink", sink), ("fate", "dropped_full")], lines.dropped_full)?;
            of.value([("sink", sink), ("fate", "dropped_failed")], lines.dropped_failed)?;
        }
        let spools = || channels.iter().filter_map(|channel| Some((channel.name.as_str(), channel.spool?)));
        for (metric, value) in [
            (SPOOL_DOCUMENTS, (|spool| spool.documents) as fn(&remote::Waiting) -> u64),
            (SPOOL_BYTES, |spool| spool.bytes),
            (SPOOL_BYTES_MAX, |spool| spool.bytes_max),
        ] {
            let mut of = family(to, metric)?;
            for (sink, spool) in spools() {
                of.value([("sink", sink)], value(&spool))?;
            }
        }
        let mut of = family(to, SPOOL_DROPPED)?;
        for (sink, spool) in spools() {
            of.value([("sink", sink), ("reason", "full")], spool.dropped_full)?;
            of.value([("sink", sink), ("reason", "large")], spool.dropped_large)?;
            of.value([("sink", sink), ("reason", "damaged")], spool.damaged)?;
        }
        let remotes =
            || channels.iter().filter_map(|channel| Some((channel.name.as_str(), channel.remote.as_ref()?)));
        let mut of = family(to, REMOTE_DOCUMENTS)?;
        for (sink, remote) in remotes() {
            of.value([("sink", sink), ("fate", "delivered")], remote.delivered)?;
            of.value([("sink", sink), ("fate", "duplicate")], remote.duplicates)?;
            of.value([("sink", sink), ("fate", "dead_letter")], remote.dead)?;
            of.value([("sink", sink), ("fate", "dead_letter_lost")], remote.dead_lost)?;
        }
        let mut of = family(to, REMOTE_REQUESTS)?;
        for (sink, remote) in remotes() {
            of.value([("sink", sink), ("result", "answered")], remote.requests)?;
            of.value([("sink", sink), ("result", "failed")], remote.requests_failed)?;
        }
        let mut of = family(to, REMOTE_UP)?;
        for (sink, remote) in remotes() {
            of.value([("sink", sink)], u64::from(remote.trouble.is_none()))?;
        }
        let (name, _, help) = REMOTE_SECONDS;
        let mut encoder = to.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (sink, remote) in remotes() {
            let classes = Classes(&remote::SECONDS, &remote.times, remote.seconds);
            classes.encode(encoder.encode_family(&[("sink", sink)])?)?;
        }
        Ok(())
    }
}
