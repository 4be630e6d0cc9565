//! What HTTPS outputs have in common: the client, who we are, what an answer says.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::header::{HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Response, StatusCode, Url, redirect};

use super::sender::Answer;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// An answer above this is none.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// A file above this holds no secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;
/// What is quoted of an answer.
const QUOTE_CHARS_MAX: usize = 300;

/// How the TLS library begins to say that the other side is not who we ask for.
const DISTRUST: &str = "invalid peer certificate";

/// Something that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Secret {
    /// From the file, if one is named, or else from the environment.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is empty.
    pub(crate) fn find(file: &Path, variable: &str) -> anyhow::Result<Option<Self>> {
        if file.as_os_str().is_empty() {
            let found = std::env::var(variable).ok().map(|text| text.trim().to_owned());
            return Ok(found.filter(|text| !text.is_empty()).map(Self));
        }
        let name = file.display();
        let size = std::fs::metadata(file).with_context(|| format!("{name}"))?.len();
        ensure!(size <= SECRET_BYTES_MAX, "{name} is larger than a secret");
        let text = std::fs::read_to_string(file).with_context(|| format!("{name}"))?;
        let text = text.trim();
        ensure!(!text.is_empty(), "{name} is empty");
        Ok(Some(Self(text.to_owned())))
    }
}

/// Who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nobody.
    Open,
    /// The whole value of the `Authorization` header.
    Header(Secret),
    /// Elasticsearch's `ApiKey`, as it gives it out in its encoded form.
    ApiKey(Secret),
    /// A user's name and password.
    Basic(String, Secret),
}

/// A place to send to.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: Url,
    pub(crate) access: Access,
    /// Certificates of the authorities that are trusted instead of the system's.
    pub(crate) ca_file: PathBuf,
    pub(crate) timeout: Duration,
}

/// Reads the address of a destination. Secrets travel with documents: only over TLS, or on this machine.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn address(text: &str) -> anyhow::Result<Url> {
    let url = Url::parse(text).context("not an address")?;
    ensure!(url.username().is_empty() && url.password().is_none(), "an address holds no user or password");
    match url.scheme() {
        "https" => {}
        "http" if is_this_machine(&url) => {}
        "http" => bail!("only https, unless it is this machine: what is sent holds secrets"),
        scheme => bail!("neither https nor http: {scheme}"),
    }
    Ok(url)
}

fn is_this_machine(url: &Url) -> bool {
    match url.host_str().map(|host| host.trim_matches(['[', ']'])) {
        Some("localhost") => true,
        Some(host) => host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

impl Endpoint {
    /// The place without what may be secret: paths of webhooks are.
    pub(super) fn shown(&self) -> String {
        let port = self.url.port().map_or_else(String::new, |port| format!(":{port}"));
        format!("{}://{}{port}", self.url.scheme(), self.url.host_str().unwrap_or_default())
    }

    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let mut client = Client::builder()
            .user_agent(concat!("sensor/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(self.timeout)
            .pool_max_idle_per_host(1)
            // A redirect would take documents and secrets elsewhere.
            .redirect(redirect::Policy::none());
        if !self.ca_file.as_os_str().is_empty() {
            let name = self.ca_file.display();
            let pem = std::fs::read(&self.ca_file).with_context(|| format!("{name}"))?;
            let authorities = Certificate::from_pem_bundle(&pem)
                .with_context(|| format!("{name} holds no certificates"))?;
            ensure!(!authorities.is_empty(), "{name} holds no certificates");
            client = client.tls_built_in_root_certs(false);
            for authority in authorities {
                client = client.add_root_certificate(authority);
            }
        }
        let with = || {
            let ca_file = self.ca_file.display();
            format!("no HTTPS client can be made, with ca_file = \"{ca_file}\"")
        };
        client.build().with_context(with)
    }

    pub(super) fn authorize(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let header = |text: String| {
            let value = HeaderValue::from_str(&text).map(|mut value| {
                value.set_sensitive(true);
                value
            });
            value.unwrap_or_else(|_| HeaderValue::from_static(""))
        };
        match &self.access {
            Access::Open => request,
            Access::Header(Secret(value)) => request.header("authorization", header(value.clone())),
            Access::ApiKey(Secret(key)) => request.header("authorization", header(format!("ApiKey {key}"))),
            Access::Basic(user, Secret(password)) => request.basic_auth(user, Some(password)),
        }
    }
}

/// Reads an answer's body, but not without end.
pub(super) async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|cause| failure(&cause))? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err("the answer has no end".to_owned());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// What stands in the way, with its causes, and without the address, whose path may be secret.
pub(super) fn failure(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { String::new() };
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&said);
        }
        cause = error.source();
    }
    // Which layer noticed is of no use to anybody.
    if let Some(cause) = text.find(DISTRUST).and_then(|at| text.get(at..)) {
        return format!(
            "its certificate is not trusted: {cause}; trusted are the authorities in ca_file, or else the system's"
        );
    }
    if text.is_empty() { "the request could not be sent".to_owned() } else { text }
}

/// The beginning of a body, fit for a log.
pub(super) fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(QUOTE_CHARS_MAX).collect()
}

/// How long the server asks to be left alone: seconds, or a date.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Duration::try_from(at.duration_since(jiff::Timestamp::now())).ok()
}

/// What an answer without success means for the whole request.
pub(super) fn whole(status: StatusCode, asked: Option<Duration>, said: &[u8]) -> Answer {
    let why = format!("{status}: {}", quote(said));
    match status.as_u16() {
        400 | 413 | 422 => Answer::Smaller(why),
        401 | 403 => {
            Answer::Later { why: format!("it refuses who we say we are, or what we may: {why}"), asked }
        }
        300..=399 => {
            Answer::Later { why: format!("it sends us elsewhere, where nothing is sent: {why}"), asked }
        }
        404 | 405 | 410 => Answer::Later { why: format!("there is nothing at this address: {why}"), asked },
        _ => Answer::Later { why, asked },
    }
}
