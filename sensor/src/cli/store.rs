//! The event store of `sensor run`.

use std::path::Path;

use anyhow::Context as _;
use sensor_ecs::{Action, Agent};
use sensor_store::coverage;

use super::hunting;
use super::say::note;
use crate::config::Config;
use crate::kernel::Capabilities;
use crate::store::{Hunting, Keeping, Storing};

/// Where it is, if one is wanted.
pub(super) fn root<'a>(named: Option<&'a Path>, config: &'a Config) -> &'a Path {
    named.unwrap_or(&config.store.path)
}

/// Whether events are to be stored.
pub(super) fn is_wanted(named: Option<&Path>, config: &Config) -> bool {
    !root(named, config).as_os_str().is_empty()
}

/// Opens it, if one is wanted.
pub(super) fn open(
    named: Option<&Path>,
    config: &Config,
    capabilities: &Capabilities,
    agent: &Agent,
) -> anyhow::Result<Option<Storing>> {
    let settings = &config.store;
    if !is_wanted(named, config) {
        return Ok(None);
    }
    let root = root(named, config).to_owned();
    let datasets = [
        (capabilities.sees_files(), "endpoint.events.file"),
        (capabilities.sees_processes(), "endpoint.events.process"),
    ];
    let left_out = config.telemetry.scope.leaves_out().map(str::to_owned);
    let scope = coverage::Scope {
        datasets: datasets.iter().filter(|(seen, _)| *seen).map(|(_, name)| (*name).to_owned()).collect(),
        actions: Action::ALL.iter().map(|action| action.name().to_owned()).collect(),
        left_out: left_out.into_iter().collect(),
    };
    let program = hunting::find().inspect_err(|cause| {
        note(format_args!(
            "sensor: events are stored, but nobody seals their log or removes old ones: {cause:#}"
        ));
    });
    let within = Some(&config.agent.state_directory).filter(|own| root.parent() == Some(own));
    let keeping = Keeping {
        within: within.cloned(),
        root,
        program: program.ok(),
        days: settings.days.get(),
        bytes: settings.bytes,
    };
    let id = String::from_utf8_lossy(&agent.id).into_owned();
    let store = Storing::open(keeping, &id, scope, Box::new(|text| note(format_args!("sensor: {text}"))));
    Ok(Some(store.context("the event store cannot be written")?))
}

/// What is to be hunted by itself, if anything.
pub(super) fn hunting(
    named: Option<&Path>,
    config: &Config,
    agent: &Agent,
) -> anyhow::Result<Option<Hunting>> {
    let settings = &config.hunts;
    if settings.paths.is_empty() {
        return Ok(None);
    }
    Ok(Some(Hunting {
        program: hunting::find()?,
        hunts: settings.paths.clone(),
        store: Some(root(named, config).to_owned()).filter(|root| !root.as_os_str().is_empty()),
        agent: String::from_utf8_lossy(&agent.id).into_owned(),
        namespace: config.agent.namespace.clone(),
        every: settings.hours.duration(),
    }))
}
