//! Alerts as HTTPS requests, one each.

use reqwest::Client;
use serde_json::Value;

use super::http::{Endpoint, body, failure, quote, retry_after, whole};
use super::sender::{Answer, Destination, Fate};
use crate::spool::Record;

/// One receiver.
pub(crate) struct Webhook {
    endpoint: Endpoint,
    client: Client,
}

impl Webhook {
    /// A client for it.
    ///
    /// # Errors
    ///
    /// When the certificates cannot be read.
    pub(crate) fn new(endpoint: Endpoint) -> anyhow::Result<Self> {
        Ok(Self { client: endpoint.client()?, endpoint })
    }

    async fn post(&self, record: &Record) -> Result<Answer, String> {
        let mut request =
            self.client.post(self.endpoint.url.clone()).header("content-type", "application/json");
        let document: Value = serde_json::from_slice(&record.bytes).unwrap_or_default();
        if let Some(id) = document.pointer("/event/id").and_then(Value::as_str) {
            // The same however often it is sent.
            request = request.header("idempotency-key", id);
        }
        let request = self.endpoint.authorize(request).body(record.bytes.clone());
        let response = request.send().await.map_err(|cause| failure(&cause))?;
        let (status, asked) = (response.status(), retry_after(&response));
        let said = body(response).await?;
        Ok(match status.as_u16() {
            200..=299 => Answer::Each(vec![Fate::Arrived]),
            409 => Answer::Each(vec![Fate::Known]),
            400..=499 if !matches!(status.as_u16(), 401 | 403 | 404 | 405 | 407 | 408 | 410 | 425 | 429) => {
                Answer::Each(vec![Fate::Refused(format!("{status}: {}", quote(&said)))])
            }
            _ => whole(status, asked, &said),
        })
    }
}

impl Destination for Webhook {
    fn shown(&self) -> String {
        self.endpoint.shown()
    }

    fn limits(&self) -> (usize, usize) {
        (1, usize::MAX)
    }

    async fn send(&mut self, records: &[Record]) -> Answer {
        let Some(record) = records.first() else { return Answer::Each(Vec::new()) };
        self.post(record).await.unwrap_or_else(|why| Answer::Later { why, asked: None })
    }
}
