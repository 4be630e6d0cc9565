//! What the stream of events says about events that are missing from it.

use sensor_common::wire::RecordKind;
use sensor_ecs::{Agent, EventId, time::rfc3339};

use super::document::{Members, write_agent};
use crate::pipeline::{Gap, Lost};

/// Why something was lost, as documents name it, and how much of it.
type Reason = (&'static str, fn(&Lost) -> u64);

const REASONS: [Reason; 3] = [
    ("ring_full", |lost| lost.ring_full),
    ("no_intent", |lost| lost.no_intent),
    ("program_missed", |lost| lost.missed),
];

/// Appends a gap as a document, without a line end.
pub(super) fn write_gap(gap: &Gap, agent: &Agent, id: &EventId, out: &mut Vec<u8>) {
    let (start, end) = (rfc3339(gap.start_ns), rfc3339(gap.end_ns));
    let total = gap.total();
    let mut to = Members::new(out);
    to.member("{\"@timestamp\":", &end);
    to.member(",\"data_stream\":{\"dataset\":\"sensor.gap\",\"namespace\":", &agent.namespace);
    to.raw(",\"type\":\"logs\"}");
    to.member(",\"event\":{\"action\":\"gap\",\"dataset\":\"sensor.gap\",\"end\":", &end);
    to.member(",\"id\":", id.as_bytes());
    to.member(",\"kind\":\"pipeline_error\",\"module\":\"sensor\",\"start\":", &start);
    to.raw(",\"type\":[\"error\"]}");
    to.member(",\"message\":", format!("{total} records are lost").as_bytes());
    write_agent(&mut to, ",", agent);
    to.number(",\"sensor\":{\"gap\":{\"lost\":", total);
    for (reason, count) in REASONS {
        let mut before = format!(",\"{reason}\":{{");
        for (kind, lost) in RecordKind::ALL.iter().zip(&gap.lost).filter(|(_, lost)| count(lost) > 0) {
            to.number(&format!("{before}\"{}\":", kind.name()), count(lost));
            ",".clone_into(&mut before);
        }
        if before == "," {
            to.raw("}");
        }
    }
    if gap.are_misses_uncounted {
        to.raw(",\"uncounted\":[\"program_missed\"]");
    }
    to.raw(if to.is_escaped() { "},\"escaped\":true}}" } else { "}}}" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_says_when_what_and_why() {
        let agent = Agent {
            id: b"a".as_slice().into(),
            version: b"1".as_slice().into(),
            namespace: b"default".as_slice().into(),
        };
        let mut lost = [Lost::default(); RecordKind::ALL.len()];
        lost[RecordKind::FileCreate.index()] = Lost { ring_full: 3, no_intent: 1, missed: 0 };
        lost[RecordKind::Exec.index()].ring_full = 2;
        let mut line = Vec::new();
        let (start_ns, end_ns) = (0, 1_500_000_000);
        let mut gap = Gap { start_ns, end_ns, lost, are_misses_uncounted: false };
        write_gap(&gap, &agent, &EventId::new([1; 10], 1), &mut line);
        let json: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(json["event"]["kind"], "pipeline_error");
        assert_eq!(json["event"]["start"], "1970-01-01T00:00:00.000000000Z");
        assert_eq!(json["@timestamp"], "1970-01-01T00:00:01.500000000Z");
        let told = serde_json::json!({
            "lost": 6, "ring_full": {"file_create": 3, "exec": 2}, "no_intent": {"file_create": 1}
        });
        assert_eq!(json["sensor"]["gap"], told);

        gap.are_misses_uncounted = true;
        line.clear();
        write_gap(&gap, &agent, &EventId::new([1; 10], 2), &mut line);
        let json: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(json["sensor"]["gap"]["uncounted"], serde_json::json!(["program_missed"]));
    }
}
