//! The alert as a document, in the shape of Elastic Endpoint's behaviour alerts.

use std::io::Write as _;

use sensor_ecs::{
    Action, Agent, Event, EventId, escape::write_json_string, time::rfc3339, write_facts, write_json,
};
use sensor_eql::{Rule, Technique};

use crate::enrich::View;
use crate::pipeline::SeveralHit;

/// What an alert has of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct AlertId {
    pub(super) id: EventId,
    pub(super) sequence: u64,
}

/// Writes JSON members, remembering whether text was escaped.
pub(super) struct Members<'o> {
    out: &'o mut Vec<u8>,
    escaped: bool,
}

impl<'o> Members<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, escaped: false }
    }

    pub(super) fn is_escaped(&self) -> bool {
        self.escaped
    }

    pub(super) fn raw(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.escaped |= write_json_string(text, self.out);
    }

    /// `"key":"text"`, preceded by what goes before it.
    pub(super) fn member(&mut self, before_and_key: &str, text: &[u8]) {
        self.raw(before_and_key);
        self.text(text);
    }

    pub(super) fn number(&mut self, before_and_key: &str, number: u64) {
        self.raw(before_and_key);
        // Writing to a vector cannot fail.
        let _ = write!(self.out, "{number}");
    }

    fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.raw("[");
        for (position, each) in items.iter().enumerate() {
            if position > 0 {
                self.raw(",");
            }
            item(self, each);
        }
        self.raw("]");
    }
}

/// Appends the alert for one event as a JSON object, without a line end.
pub(super) fn write_alert(rule: &Rule, event: &Event<'_>, view: View, own: AlertId, out: &mut Vec<u8>) {
    let category = category(event.meta.action);
    let mut to = Members::new(out);
    head(&mut to, rule, event.agent, category, event.meta.time_ns, own);
    to.member(",\"message\":", format!("Malicious Behavior Detection Alert: {}", rule.name).as_bytes());
    to.raw(",");
    to.escaped |= write_facts(event, to.out);
    rule_and_threat(&mut to, rule);
    to.raw(",\"Events\":[");
    write_json(event, to.out);
    label(&mut to, category, 0, view);
    to.raw("]");
    own_members(&mut to, event.meta.action, view, 0);
    to.raw("}");
}

/// Appends the alert for several events, which are kept as [`write_json`] wrote them.
pub(super) fn write_alert_of_several(hit: &SeveralHit<'_>, agent: &Agent, own: AlertId, out: &mut Vec<u8>) {
    let rule = &hit.rule.rule;
    let kept = || hit.events.iter().enumerate().filter_map(|(stage, kept)| Some((stage, kept.as_deref()?)));
    // An alert is about what happened last.
    let Some((_, last)) = kept().max_by_key(|(_, kept)| (kept.time_ns, kept.sequence)) else { return };
    let mut to = Members::new(out);
    head(&mut to, rule, agent, category(last.action), last.time_ns, own);
    to.member(",\"message\":", format!("Malicious Behavior Detection Alert: {}", rule.name).as_bytes());
    to.raw(",");
    match hit.current {
        Some(event) => to.escaped |= write_facts(event, to.out),
        None => facts_again(&mut to, &last.bytes, agent),
    }
    rule_and_threat(&mut to, rule);
    to.raw(",\"Events\":[");
    for (position, (stage, kept)) in kept().enumerate() {
        to.raw(if position > 0 { "," } else { "" });
        to.out.extend_from_slice(&kept.bytes);
        label(&mut to, category(kept.action), stage, kept.view);
    }
    to.raw("]");
    own_members(&mut to, last.action, last.view, hit.lost_meanwhile);
    to.raw("}");
}

/// Says inside an event's own braces which part it has in the alert, and under which of its names.
fn label(to: &mut Members<'_>, category: &str, stage: usize, view: View) {
    to.out.pop();
    to.member(",\"_label\":", category.as_bytes());
    to.number(",\"_state\":", stage as u64);
    if view != View::Task {
        to.member(",\"_view\":", view.name().as_bytes());
    }
    to.raw("}");
}

/// What no other product's alerts have: by which way the file was named when the rule matched, and what was lost while
/// the rule waited for an event that must not come.
fn own_members(to: &mut Members<'_>, action: Action, view: View, lost_meanwhile: u64) {
    let mut before = ",\"sensor\":{";
    if action.is_file() {
        to.raw(before);
        to.member("\"view\":", view.name().as_bytes());
        before = ",";
    }
    if lost_meanwhile > 0 {
        to.raw(before);
        to.number("\"lost_meanwhile\":", lost_meanwhile);
        before = ",";
    }
    if to.escaped {
        to.raw(before);
        to.raw("\"escaped\":true");
        before = ",";
    }
    if before == "," {
        to.raw("}");
    }
}

fn category(action: Action) -> &'static str {
    if action.is_file() { "file" } else { "process" }
}

/// What [`write_facts`] would write, from the document of an event that is over.
fn facts_again(to: &mut Members<'_>, document: &[u8], agent: &Agent) {
    let Ok(mut facts) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(document) else {
        write_agent(to, "", agent);
        return;
    };
    facts.retain(|name, _| !["@timestamp", "message", "event", "data_stream"].contains(&name.as_str()));
    // The one thing in it is the flag.
    to.escaped |= facts.remove("sensor").is_some();
    if let Ok(json) = serde_json::to_vec(&facts) {
        to.out.extend_from_slice(json.get(1..json.len().saturating_sub(1)).unwrap_or_default());
    }
}

pub(super) fn write_agent(to: &mut Members<'_>, before: &str, agent: &Agent) {
    to.raw(before);
    to.member("\"agent\":{\"id\":", &agent.id);
    to.member(",\"type\":\"endpoint\",\"version\":", &agent.version);
    to.raw("}");
}

/// Appends what a rule's cap held back, as an alert without events.
pub(super) fn write_held_back(
    rule: &Rule,
    agent: &Agent,
    count: u64,
    last_ns: i64,
    own: AlertId,
    out: &mut Vec<u8>,
) {
    let mut to = Members::new(out);
    head(&mut to, rule, agent, "host", last_ns, own);
    let message =
        format!("Malicious Behavior Detection Alert: {}: {count} further matches held back", rule.name);
    to.member(",\"message\":", message.as_bytes());
    write_agent(&mut to, ",", agent);
    rule_and_threat(&mut to, rule);
    to.number(",\"sensor\":{\"held_back\":", count);
    to.raw(if to.escaped { ",\"escaped\":true}}" } else { "}}" });
}

fn head(to: &mut Members<'_>, rule: &Rule, agent: &Agent, category: &str, time_ns: i64, own: AlertId) {
    let time = rfc3339(time_ns);
    to.member("{\"@timestamp\":", &time);
    to.member(",\"data_stream\":{\"dataset\":\"endpoint.alerts\",\"namespace\":", &agent.namespace);
    to.raw(",\"type\":\"logs\"}");
    to.raw(",\"event\":{\"action\":\"rule_detection\",\"category\":[\"malware\",\"intrusion_detection\",");
    to.text(category.as_bytes());
    to.member("],\"code\":\"behavior\",\"created\":", &time);
    to.member(",\"dataset\":\"endpoint.alerts\",\"id\":", own.id.as_bytes());
    to.raw(",\"kind\":\"alert\",\"module\":\"endpoint\",\"outcome\":\"success\"");
    to.number(",\"risk_score\":", u64::from(rule.risk_score));
    to.number(",\"sequence\":", own.sequence);
    to.number(",\"severity\":", u64::from(rule.severity.number()));
    to.raw(",\"type\":[\"info\",\"allowed\"]}");
}

fn rule_and_threat(to: &mut Members<'_>, rule: &Rule) {
    to.member(",\"rule\":{\"id\":", rule.id.as_bytes());
    to.member(",\"name\":", rule.name.as_bytes());
    to.member(",\"description\":", rule.description.trim().as_bytes());
    if !rule.references.is_empty() {
        to.raw(",\"reference\":");
        to.list(&rule.references, |to, link| to.text(link.as_bytes()));
    }
    to.raw(",\"ruleset\":\"production\"");
    if let Some(version) = rule.version {
        to.member(",\"version\":", version.to_string().as_bytes());
    }
    to.raw("}");
    if rule.threats.is_empty() {
        return;
    }
    to.raw(",\"threat\":");
    to.list(&rule.threats, |to, threat| {
        to.member("{\"framework\":", threat.framework.as_bytes());
        to.member(",\"tactic\":{\"id\":", threat.tactic.id.as_bytes());
        to.member(",\"name\":", threat.tactic.name.as_bytes());
        to.member(",\"reference\":", threat.tactic.reference.as_bytes());
        to.raw("}");
        if !threat.techniques.is_empty() {
            to.raw(",\"technique\":");
            techniques(to, &threat.techniques);
        }
        to.raw("}");
    });
}

fn techniques(to: &mut Members<'_>, list: &[Technique]) {
    to.list(list, |to, technique| {
        to.member("{\"id\":", technique.id.as_bytes());
        to.member(",\"name\":", technique.name.as_bytes());
        to.member(",\"reference\":", technique.reference.as_bytes());
        if !technique.subtechniques.is_empty() {
            to.raw(",\"subtechnique\":");
            techniques(to, &technique.subtechniques);
        }
        to.raw("}");
    });
}
