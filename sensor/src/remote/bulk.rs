//! Elasticsearch and OpenSearch: `_bulk` with `create` operations, which data streams take and which make what arrives
//! twice a conflict of one document with itself.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Client, Url};
use serde::Deserialize;

use super::http::{Endpoint, body, failure, quote, retry_after, whole};
use super::sender::{Answer, Destination, Fate};
use crate::spool::Record;

/// Documents of one request, and their bytes: what Elastic's own shippers send.
const DOCUMENTS_MAX: usize = 1000;
const BYTES_MAX: usize = 4 << 20;
/// Of the answer, no more than is looked at.
const FILTER: &str = "errors,items.*.status,items.*.error.type,items.*.error.reason";

/// One cluster.
pub(crate) struct Bulk {
    endpoint: Endpoint,
    client: Client,
    url: Url,
    gzip: bool,
}

/// What of a document says where it belongs.
#[derive(Deserialize)]
struct Head {
    event: Id,
    data_stream: Stream,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Stream {
    r#type: String,
    dataset: String,
    namespace: String,
}

#[derive(Deserialize)]
struct Reply {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    error: Option<Trouble>,
}

/// Servers of other makes say it in a word.
#[derive(Deserialize)]
#[serde(untagged)]
enum Trouble {
    Explained { r#type: Option<String>, reason: Option<String> },
    Otherwise(serde_json::Value),
}

impl Outcome {
    fn why(&self) -> String {
        let said = match &self.error {
            Some(Trouble::Explained { r#type, reason }) => {
                let parts = [r#type.as_deref(), reason.as_deref()];
                parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
            }
            Some(Trouble::Otherwise(value)) => value.to_string(),
            None => String::new(),
        };
        format!("{}: {}", self.status, quote(said.as_bytes()))
    }

    fn fate(&self) -> Fate {
        match self.status {
            200..=299 => Fate::Arrived,
            409 => Fate::Known,
            // The document is not at fault: who we are, a stream that is not there, a node that is busy.
            401 | 403 | 404 => Fate::Denied(self.why()),
            429 | 500.. => Fate::Later(self.why()),
            _ => Fate::Refused(self.why()),
        }
    }
}

impl Bulk {
    /// A client for it.
    ///
    /// # Errors
    ///
    /// When the certificates cannot be read.
    pub(crate) fn new(endpoint: Endpoint, gzip: bool) -> anyhow::Result<Self> {
        let client = endpoint.client()?;
        let mut url = endpoint.url.clone();
        url.set_path(&format!("{}/_bulk", url.path().trim_end_matches('/')));
        url.set_query(Some(&format!("filter_path={FILTER}")));
        Ok(Self { endpoint, client, url, gzip })
    }

    async fn try_send(&self, payload: Vec<u8>, count: usize) -> Result<Answer, String> {
        let request = self.client.post(self.url.clone()).header("content-type", "application/x-ndjson");
        let request = if self.gzip { request.header("content-encoding", "gzip") } else { request };
        let request = self.endpoint.authorize(request).body(payload);
        let response = request.send().await.map_err(|cause| failure(&cause))?;
        let (status, asked) = (response.status(), retry_after(&response));
        let said = body(response).await?;
        if !status.is_success() {
            return Ok(whole(status, asked, &said));
        }
        let reply: Reply = serde_json::from_slice(&said).map_err(|cause| {
            format!("it does not answer as Elasticsearch does: {cause}: {}", quote(&said))
        })?;
        if reply.items.len() != count {
            return Err(format!("it answers for {} documents of {count}", reply.items.len()));
        }
        Ok(Answer::Each(reply.items.iter().map(|item| item.create.fate()).collect()))
    }
}

/// The operation for a document, if it says where it belongs.
fn operation(document: &[u8]) -> Result<Vec<u8>, String> {
    let head: Head =
        serde_json::from_slice(document).map_err(|cause| format!("it is no document of ours: {cause}"))?;
    let Stream { r#type, dataset, namespace } = head.data_stream;
    let index = format!("{}-{dataset}-{namespace}", r#type);
    Ok(serde_json::json!({"create": {"_index": index, "_id": head.event.id}}).to_string().into_bytes())
}

fn compress(lines: Vec<u8>, gzip: bool) -> Vec<u8> {
    if !gzip {
        return lines;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 8), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(&lines);
    encoder.finish().unwrap_or_default()
}

impl Destination for Bulk {
    fn shown(&self) -> String {
        self.endpoint.shown()
    }

    fn limits(&self) -> (usize, usize) {
        (DOCUMENTS_MAX, BYTES_MAX)
    }

    async fn send(&mut self, records: &[Record]) -> Answer {
        let mut lines = Vec::with_capacity(records.iter().map(|record| record.bytes.len() + 120).sum());
        let mut fates = Vec::with_capacity(records.len());
        for record in records {
            match operation(&record.bytes) {
                Ok(operation) => {
                    for line in [operation.as_slice(), &record.bytes] {
                        lines.extend_from_slice(line);
                        lines.push(b'\n');
                    }
                    fates.push(None);
                }
                Err(why) => fates.push(Some(Fate::Refused(why))),
            }
        }
        let sent = fates.iter().filter(|fate| fate.is_none()).count();
        if sent == 0 {
            return Answer::Each(fates.into_iter().flatten().collect());
        }
        match self.try_send(compress(lines, self.gzip), sent).await {
            Ok(Answer::Each(answered)) => {
                let mut answered = answered.into_iter();
                Answer::Each(fates.into_iter().filter_map(|fate| fate.or_else(|| answered.next())).collect())
            }
            Ok(other) => other,
            Err(why) => Answer::Later { why, asked: None },
        }
    }
}
