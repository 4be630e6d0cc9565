//! Rules and configuration read anew while the sensor runs: all of it takes effect, or nothing does.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use tokio::sync::mpsc;

use super::RunArgs;
use super::hunting;
use super::rules::{ForRun, load_for_run};
use super::run::{configured, remembered};
use super::say::note;
use crate::config::{Config, Loaded};
use crate::confine::{self, Role};
use crate::filter::{Filter, Filtered};
use crate::health::{Reload, Reloads};
use sensor_eql::Rule;

use crate::pipeline::{NextRules, RecordSource, Swap};

/// What takes effect without a restart; an entry that ends in a dot stands for everything below it.
const LIVE: [&str; 3] = ["rules.", "exceptions", "telemetry.scope"];

type SwapOf = Swap<<Filtered as RecordSource>::Filter>;

/// Reads anew whenever somebody asks.
pub(super) struct Reloader {
    pub(super) args: RunArgs,
    pub(super) config: Config,
    /// Rule files that are left out.
    pub(super) broken: BTreeMap<String, String>,
    pub(super) swaps: mpsc::Sender<SwapOf>,
    pub(super) reloads: Arc<Mutex<Reloads>>,
}

impl Reloader {
    /// Starts the thread, which ends when nobody can ask any more.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn start(mut self, mut wanted: mpsc::Receiver<Reload>) -> io::Result<()> {
        let role = Role::Reload {
            state_directory: self.config.agent.state_directory.clone(),
            program: hunting::find().ok(),
        };
        std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            confine::thread(&role);
            while let Some(asker) = wanted.blocking_recv() {
                let done = self.reload().map_err(|cause| format!("nothing was changed: {cause:#}"));
                let text = match &done {
                    Ok(text) | Err(text) => text.clone(),
                };
                note(format_args!("sensor: reload: {text}"));
                {
                    let mut reloads = self.reloads.lock().unwrap_or_else(PoisonError::into_inner);
                    *(if done.is_ok() { &mut reloads.done } else { &mut reloads.refused }) += 1;
                    reloads.last = format!("{} {text}", jiff::Timestamp::now());
                }
                // Whoever asked may have gone.
                let _ = asker.send(done.map(|text| text + "\n").map_err(|text| text + "\n"));
            }
        })?;
        Ok(())
    }

    /// Reads everything, and has the loop go on with it.
    fn reload(&mut self) -> anyhow::Result<String> {
        let loaded = configured(&self.args)?;
        let fixed = changed(&self.config, &loaded.config)?;
        if !fixed.is_empty() {
            bail!("only a restart changes {}", fixed.join(", "));
        }
        let ForRun { rules, exceptions, broken, summary } = load_for_run(&loaded)?;
        if let Some((_, why)) = broken.iter().find(|(file, _)| !self.broken.contains_key(*file)) {
            bail!("a rule is broken that was not\n{why}");
        }
        let Loaded { config, .. } = loaded;
        let streams = config.streams();
        let asked = |rule: &Rule, action| streams.is_read_in_containers(rule, action);
        let filter = Filter::new(config.telemetry.scope, &rules, asked);
        note(format_args!("sensor: {}", filter.summary()));
        let same_exceptions = config.exceptions == self.config.exceptions;
        let (memories, keeper) = remembered(self.args.store.as_deref(), &config, &rules)?;
        let left_out = config.telemetry.scope.leaves_out();
        let rules = NextRules { rules, exceptions, same_exceptions, memories, keeper, left_out };
        let (tell, told) = std::sync::mpsc::channel();
        let answer = Box::new(move |done| {
            // The other side waits for it.
            let _ = tell.send(done);
        });
        self.swaps.blocking_send(Swap { filter, rules, answer }).ok().context("the sensor is ending")?;
        let done = told.recv().context("the sensor is ending")?;
        done.context("the filter cannot be given to the kernel")?;
        self.config = config;
        self.broken = broken;
        Ok(summary)
    }
}

/// The keys of the new configuration that a running sensor cannot change to.
fn changed(old: &Config, new: &Config) -> anyhow::Result<Vec<String>> {
    let (old, new) = (toml::Table::try_from(old)?, toml::Table::try_from(new)?);
    let mut keys = Vec::new();
    differing(&old, &new, "", &mut keys);
    let is_live = |key: &String| {
        LIVE.iter().any(|live| if live.ends_with('.') { key.starts_with(live) } else { key == live })
    };
    keys.retain(|key| !is_live(key));
    Ok(keys)
}

fn differing(old: &toml::Table, new: &toml::Table, prefix: &str, keys: &mut Vec<String>) {
    let removed = old.keys().filter(|key| !new.contains_key(*key)).map(|key| format!("{prefix}{key}"));
    keys.extend(removed);
    for (key, value) in new {
        let name = format!("{prefix}{key}");
        match (old.get(key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => {
                differing(old, new, &format!("{name}."), keys);
            }
            (Some(known), value) if known == value => {}
            _ => keys.push(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn what_only_a_restart_changes_is_named() {
        let config = |text: &str| parse("sensor.toml", text).unwrap();
        let old = config("[outputs.alerts]\npath = \"a\"\n");
        let new = config(
            "[rules]\nstrict = true\ndisable.ids = [\"x\"]\n[telemetry]\nscope = \"all\"\nring_bytes = 4096\n\
             [outputs.alerts]\npath = \"b\"\n[[exceptions]]\nname = \"e\"\nrules = \"all\"\ncondition = 'any where true'\n",
        );
        assert_eq!(changed(&old, &new).unwrap(), ["outputs.alerts.path", "telemetry.ring_bytes"]);
        assert_eq!(changed(&old, &old).unwrap(), Vec::<String>::new());
    }
}
