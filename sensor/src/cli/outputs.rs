//! The outputs of `sensor run`, opened.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::RunArgs;
use super::say::note;
use crate::alert::{Carries, Channel, Format};
use crate::config::{Config, ElasticsearchOutput, WebhookOutput};
use crate::confine::Role;
use crate::remote::{Access, Bulk, Endpoint, Plan, Remote, Secret, Webhook, address};
use crate::sink::{Journald, PENDING_BYTES_MAX, Report, Sink, Syslog, Target};

/// The outputs, and whether alerts for people may be coloured.
pub(super) struct Opened {
    pub(super) channels: Vec<Channel>,
    pub(super) coloured: bool,
}

fn report() -> Report {
    Box::new(|text| note(format_args!("sensor: {text}")))
}

/// Opens every output that is asked for.
///
/// # Errors
///
/// When one cannot be opened.
pub(super) fn open(args: &RunArgs, config: &Config) -> anyhow::Result<Opened> {
    let outputs = &config.outputs;
    let mut channels = Vec::new();
    if let Some(place) = outputs.events.place(args.output.clone()) {
        channels.push(Channel::local("events-file", Carries::Events, Sink::open(&place, report())?));
    }
    let place = outputs.alerts.place(args.alerts.clone());
    let on_terminal = place.target == Target::Stdout && std::io::stdout().is_terminal();
    let carries = match args.alert_format.unwrap_or(outputs.alerts.format) {
        Format::Text => Carries::AlertText,
        Format::Auto if on_terminal => Carries::AlertText,
        Format::Auto | Format::Ndjson => Carries::Alerts,
    };
    channels.push(Channel::local("alerts-file", carries, Sink::open(&place, report())?));
    if outputs.alerts.journald {
        let sink =
            Sink::start(Journald::new(), "the journal".to_owned(), Role::Tell, PENDING_BYTES_MAX, report());
        channels.push(Channel::local(
            "journald",
            Carries::Alerts,
            sink.context("a thread cannot be started")?,
        ));
    }
    let syslog = &outputs.alerts.syslog;
    if !syslog.as_os_str().is_empty() {
        let name = syslog.display().to_string();
        let sink = Sink::start(Syslog::at(syslog.clone()), name, Role::Tell, PENDING_BYTES_MAX, report());
        channels.push(Channel::local("syslog", Carries::Alerts, sink.context("a thread cannot be started")?));
    }
    let state = &config.agent.state_directory;
    // Each takes its room on the disk now: where there is little, alerts have theirs before events.
    webhook(&outputs.webhook, state, &mut channels).context("outputs.webhook")?;
    elasticsearch(&outputs.elasticsearch, state, &mut channels).context("outputs.elasticsearch")?;
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    Ok(Opened { channels, coloured: on_terminal && !no_colour })
}

fn elasticsearch(
    settings: &ElasticsearchOutput,
    state_directory: &Path,
    channels: &mut Vec<Channel>,
) -> anyhow::Result<()> {
    if settings.url.is_empty() {
        return Ok(());
    }
    let key = Secret::find(&settings.api_key_file, "SENSOR_ELASTICSEARCH_API_KEY")?;
    let password = Secret::find(&settings.password_file, "SENSOR_ELASTICSEARCH_PASSWORD")?;
    let access = match (key, password) {
        (Some(key), _) => Access::ApiKey(key),
        (None, Some(password)) if !settings.user.is_empty() => Access::Basic(settings.user.clone(), password),
        (None, Some(_)) => anyhow::bail!("there is a password but no user"),
        (None, None) if !settings.user.is_empty() => anyhow::bail!("there is a user but no password"),
        (None, None) => Access::Open,
    };
    let endpoint = Endpoint {
        url: address(&settings.url)?,
        access,
        ca_file: settings.ca_file.clone(),
        timeout: Duration::from_secs(u64::from(settings.timeout_seconds.get())),
    };
    for (wanted, carries, name, spool_bytes) in [
        (settings.alerts, Carries::Alerts, "elasticsearch-alerts", settings.alert_spool_bytes),
        (settings.events, Carries::Events, "elasticsearch-events", settings.spool_bytes),
    ] {
        if wanted {
            let plan = Plan { name, state_directory, spool_bytes };
            let remote = Remote::open(&plan, Bulk::new(endpoint.clone(), settings.gzip)?, report)?;
            channels.push(Channel::remote(name, carries, remote));
        }
    }
    Ok(())
}

fn webhook(
    settings: &WebhookOutput,
    state_directory: &Path,
    channels: &mut Vec<Channel>,
) -> anyhow::Result<()> {
    if settings.url.is_empty() {
        return Ok(());
    }
    let secret = Secret::find(&settings.authorization_file, "SENSOR_WEBHOOK_AUTHORIZATION")?;
    let endpoint = Endpoint {
        url: address(&settings.url)?,
        access: secret.map_or(Access::Open, Access::Header),
        ca_file: settings.ca_file.clone(),
        timeout: Duration::from_secs(u64::from(settings.timeout_seconds.get())),
    };
    let plan = Plan { name: "webhook", state_directory, spool_bytes: settings.spool_bytes };
    let remote = Remote::open(&plan, Webhook::new(endpoint)?, report)?;
    channels.push(Channel::remote("webhook", Carries::Alerts, remote));
    Ok(())
}
