//! Answers as events of their own, one ECS document a line: what a schedule of hunts sends where events go.

use std::hash::{BuildHasher as _, RandomState};

use sensor_ecs::EventId;
use serde_json::{Map, Value, json};

use super::machine::{status, value};
use crate::answer::Done;
use crate::esql::date_text;

/// Of whom the documents are.
#[derive(Clone, Debug)]
pub struct Author {
    /// `agent.id`; absent if it is not known.
    pub agent: Option<String>,
    /// The last part of the data stream's name.
    pub namespace: String,
    /// When the hunt ran, milliseconds since 1970.
    pub time_ms: i64,
}

const DATASET: &str = "sensor.hunt";

/// A document for each row, whose columns stand below `sensor.hunt.row` under their whole names, and one for each query
/// with what became of it.
#[must_use]
pub fn documents(done: &Done, author: &Author) -> String {
    let (mut out, nonce, mut sequence) = (String::new(), nonce(), 0);
    let mut send = |action: &str, about: Map<String, Value>| {
        out.push_str(&document(author, &EventId::new(nonce, sequence), action, about));
        sequence += 1;
    };
    for (index, (query, outcome)) in done.hunt.queries.iter().zip(&done.outcomes).enumerate() {
        let about = || {
            let mut about = Map::new();
            about.insert("name".into(), done.hunt.name.clone().into());
            about.insert("uuid".into(), done.hunt.uuid.clone().into());
            about.retain(|_, value| !value.is_null());
            about
        };
        for row in outcome.iter().flat_map(|answer| &answer.rows) {
            let columns = outcome.iter().flat_map(|answer| &answer.columns);
            let cells = columns.zip(row).map(|(column, cell)| (column.name.clone(), value(cell)));
            let mut about = about();
            about.insert("query".into(), (index + 1).into());
            about.insert("language".into(), query.language.to_string().into());
            about.insert("row".into(), Value::Object(cells.collect()));
            send("hunt_row", about);
        }
        let mut about = about();
        about.extend(status(index, query, outcome));
        send("hunt_ran", about);
    }
    out
}

/// What tells the events of one run from those of any other.
fn nonce() -> [u8; 10] {
    let state = RandomState::new();
    let mut nonce = [0; 10];
    let bytes = [0, 1].map(|half: u8| state.hash_one(half).to_ne_bytes());
    for (place, byte) in nonce.iter_mut().zip(bytes.as_flattened()) {
        *place = *byte;
    }
    nonce
}

fn document(author: &Author, id: &EventId, action: &str, about: Map<String, Value>) -> String {
    let mut document = json!({
        "@timestamp": date_text(author.time_ms),
        "data_stream": { "type": "logs", "dataset": DATASET, "namespace": author.namespace },
        "ecs": { "version": sensor_ecs::ECS_VERSION },
        "event": {
            "id": String::from_utf8_lossy(id.as_bytes()),
            "kind": "event", "module": "sensor", "dataset": DATASET, "action": action,
        },
        "host": {
            "name": rustix::system::uname().nodename().to_string_lossy(),
            "os": { "type": "linux" },
        },
        "sensor": { "hunt": about },
    });
    if let (Some(agent), Some(object)) = (&author.agent, document.as_object_mut()) {
        object.insert("agent".into(), json!({ "id": agent, "type": "endpoint" }));
    }
    format!("{document}\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::answer::{Answer, Unanswered};
    use crate::esql::{Cell, Column, Type};
    use crate::file::Hunt;

    #[test]
    fn each_row_is_an_event_and_so_is_what_became_of_a_query() {
        let hunt = Hunt::parse("[hunt]\nname = 'h'\nuuid = 'u'\nquery = ['from logs-*', 'select']").unwrap();
        let answer = Answer {
            columns: vec![
                Column { name: "file.name".into(), ty: Type::Keyword },
                Column { name: "cc".into(), ty: Type::Long },
            ],
            rows: vec![vec![Cell::Text("a\nb".into()), Cell::Long(3)]],
            warnings: Vec::new(),
            notes: vec!["period not fully covered".into()],
            incomplete: None,
            scanned: 5,
            elapsed: Duration::ZERO,
        };
        let done = Done { hunt, outcomes: vec![Ok(answer), Err(Unanswered::Invalid("no".into()))] };
        let author = Author { agent: Some("me".into()), namespace: "default".into(), time_ms: 0 };
        let text = documents(&done, &author);
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["sensor"]["hunt"]["row"], json!({ "file.name": "a\nb", "cc": 3 }));
        assert_eq!(lines[0]["agent"]["id"], "me");
        // What receives them knows by it whether it has one already.
        let again = documents(&done, &author);
        let ids: std::collections::BTreeSet<String> = [&text, &again]
            .iter()
            .flat_map(|text| text.lines())
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["event"]["id"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(ids.len(), 6);
        assert_eq!(lines[1]["sensor"]["hunt"]["notes"][0], "period not fully covered");
        assert_eq!(
            (&lines[1]["event"]["action"], &lines[1]["sensor"]["hunt"]["rows"]),
            (&json!("hunt_ran"), &json!(1))
        );
        assert_eq!(lines[2]["sensor"]["hunt"]["status"], "invalid");
        assert!(lines.iter().all(|line| line["@timestamp"] == "1970-01-01T00:00:00.000Z"));
    }
}
