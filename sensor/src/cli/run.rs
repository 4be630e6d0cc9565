//! `sensor run`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use sensor_ecs::Ecs;
use sensor_eql::RuleSet;
use sensor_eql::diag::printable;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::RunArgs;
use super::edits::Edits;
use super::outputs::{self, Opened};
use super::reload::Reloader;
use super::rules::{ForRun, load_for_run};
use super::say::{count, note};
use super::{hunting, seed, store};
use crate::alert::Emitter;
use crate::config::{self, Config, HealthSettings, Loaded};
use crate::confine::{self, Role};
use crate::enrich::environment;
use crate::enrich::{Enricher, Sources, TABLE_BYTES_MAX, agent, boot_ns_now, host};
use crate::evidence::Places;
use crate::filter::{Filter, Filtered, Mounts};
use crate::health::{self, About, HookState, Reload, Reloads, Server};
use crate::kernel::{self, Capabilities, HookStatus, HostFacts, Kernel, KernelOptions, Mode};
use crate::memory::{self, Keeper, Remembered, Start};
use crate::pipeline::{self, Board, Engine, Lines, Output as _, Reach};
use crate::selftest::{self, Meanwhile};
use crate::service::{self, Notifier};
use crate::sink::Totals;

/// Runs the sensor until it is stopped.
///
/// # Errors
///
/// When it cannot start.
pub fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    log_to_stderr();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the event loop cannot be made")?;
    // First of all: a signal from now on ends the sensor in order.
    let stop = {
        let _context = runtime.enter();
        Stop::listen().context("signals cannot be received")?
    };
    let loaded = configured(&args)?;
    environment::allow(&loaded.config.telemetry.environment);
    // Before they are read: what changes afterwards is a change.
    let edits = loaded.config.agent.reload_on_change.then(|| Edits::new(&args, &loaded.config));
    let rules = load_for_run(&loaded)?;
    // Who may not load programs hears of that alone, and leaves nothing behind.
    kernel::require_capabilities()?;
    let _lock = service::lock(&loaded.config.agent.state_directory)?;
    if loaded.config.agent.confine {
        confine::begin();
    }
    runtime.block_on(record(&args, &loaded, rules, edits, stop))
}

/// What the file says, but for what the command line says otherwise.
///
/// # Errors
///
/// When the file cannot be read, or is broken.
pub(super) fn configured(args: &RunArgs) -> anyhow::Result<Loaded> {
    let mut loaded = config::load(args.config.config.as_deref())?;
    let Config { telemetry, agent, rules, .. } = &mut loaded.config;
    telemetry.scope = args.scope.unwrap_or(telemetry.scope);
    telemetry.ring_bytes = args.ring_bytes.unwrap_or(telemetry.ring_bytes);
    if let Some(directory) = &args.state_directory {
        agent.state_directory = std::path::absolute(directory).context("the state directory")?;
    }
    if !args.rules.is_empty() {
        rules.paths.clone_from(&args.rules);
    }
    rules.strict |= args.strict;
    Ok(loaded)
}

async fn record(
    args: &RunArgs,
    loaded: &Loaded,
    rules: ForRun,
    edits: Option<Edits>,
    mut stop: Stop,
) -> anyhow::Result<ExitCode> {
    let config = &loaded.config;
    let ForRun { rules, exceptions, broken, .. } = rules;
    let telemetry = &config.telemetry;
    let streams = config.streams();
    let filter =
        Filter::new(telemetry.scope, &rules, |rule, action| streams.is_read_in_containers(rule, action));
    note(format_args!("sensor: {}", filter.summary()));
    let agent = agent::load(&config.agent.state_directory, &config.agent.namespace)
        .context("no agent id can be made")?;
    let agent = Arc::new(agent);
    let mut kernel = Kernel::load(&KernelOptions {
        ring_bytes: telemetry.ring_bytes,
        diagnostics: args.kernel_diagnostics,
        urgent_kinds: pipeline::urgent_kinds(&rules, &streams, &host::read(&config.host.root), &agent),
        attach: args.attach,
    })?;
    let since_ns = boot_ns_now();
    for line in kernel.capabilities().explain() {
        note(format_args!("sensor: {line}"));
    }
    let outputs = &config.outputs;
    let sent = outputs.elasticsearch.events && !outputs.elasticsearch.url.is_empty();
    let written = outputs.events.place(args.output.clone()).is_some();
    let records = sent || written || store::is_wanted(args.store.as_deref(), config);
    check_reach(kernel.capabilities(), &rules, config, records)?;
    if let Some(uncounted) = kernel.uncounted() {
        note(format_args!("sensor: {uncounted}"));
    }
    let meanwhile = if args.no_self_test { Meanwhile::default() } else { selftest::run(&mut kernel)? };
    let hooks = kernel.hooks().iter().filter(|status| status.is_used && status.mode.is_some()).count();
    let missing = kernel.capabilities().missing_names();

    let sources = Sources {
        root: config.host.root.clone(),
        hashed_bytes_max: config.hashing.executable_bytes,
        hashed_file_bytes_max: config.hashing.file_bytes,
        ..Sources::default()
    };
    let places = Places {
        root: sources.root.clone(),
        proc_root: sources.proc_root.clone(),
        hunting: hunting::find().ok(),
    };
    let Opened { channels, coloured } = outputs::open(args, config)?;
    let mut emitter = Emitter::new(channels, coloured, Arc::clone(&agent), places, &config.evidence)
        .context("a thread cannot be started")?;
    if config.containers.cloud_defend {
        emitter.write_for_containers();
    }
    emitter.leaves_out(telemetry.scope.leaves_out());
    if let Some(store) = store::open(args.store.as_deref(), config, kernel.capabilities(), &agent)? {
        emitter.store(store);
    }
    if let Some(wanted) = store::hunting(args.store.as_deref(), config, &agent)? {
        anyhow::ensure!(
            emitter.sends_events(),
            "hunts are to run, and nothing takes their rows: no output carries events"
        );
        let report = Box::new(|text: &str| note(format_args!("sensor: {text}")));
        emitter.hunt(wanted, report).context("a thread cannot be started")?;
    }
    let about = About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        agent_id: String::from_utf8_lossy(&agent.id).into_owned(),
        kernel: HostFacts::gather().release,
        config: loaded.path.as_deref().map_or_else(String::new, |path| path.display().to_string()),
        hooks: kernel.hooks().iter().map(hook_state).collect(),
        missing: missing.clone(),
        started_ns: since_ns,
    };
    // Only now: the self-test's own files are nothing to any rule.
    let mut kernel = Filtered::new(kernel, filter, Mounts::open(&sources.proc_root))
        .context("the filter cannot be given to the kernel")?;
    let (memories, keeper) = remembered(args.store.as_deref(), config, &rules)?;
    let (swap, swaps) = mpsc::channel(1);
    let (reload, reloads_wanted) = mpsc::channel(1);
    let reloads = Arc::new(Mutex::new(Reloads::default()));
    let reloader = Reloader {
        args: args.clone(),
        config: config.clone(),
        broken,
        swaps: swap.clone(),
        reloads: Arc::clone(&reloads),
    };
    // It may have to start a program, which who watches may not.
    reloader.start(reloads_wanted).context("a thread cannot be started")?;
    if let Some(edits) = edits {
        edits.start(reload.clone()).context("a thread cannot be started")?;
    }
    // Everything is open and attached; the scan of /proc and every thread that is started from now on inherit it.
    confine::thread(&Role::Watch);
    say_confinement();
    let enricher =
        Enricher::new(&sources, agent, TABLE_BYTES_MAX).context("the kernel gives no random bytes")?;
    let mut engine = Engine::new(enricher, rules, exceptions, emitter, since_ns, streams);
    engine.remember(memories, keeper);
    engine.follow_for(config.evidence.follow_seconds);
    engine.went_elsewhere(&meanwhile.own);
    meanwhile.others.iter().for_each(|record| engine.record(record));
    let board = Arc::new(Board::default());
    let asked = health::Sources {
        about,
        board: Arc::clone(&board),
        channels: engine.output().gauges(),
        store: engine.output().store_gauge(),
        recent: engine.output().recent(),
        reloads,
    };
    let HealthSettings { socket, listen } = &config.health;
    let report = |text: &str| note(format_args!("sensor: {text}"));
    let server = Server::start(socket, listen, asked, reload.clone(), report);
    let notifier = Notifier::from_environment();
    let ready = |engine: &Engine<Emitter>| {
        kernel::trim_heap();
        kernel::drop_code();
        let status = format!(
            "{}, {}, {} processes{}{missing}",
            count(engine.rules().rules().len() as u64, "rule"),
            count(hooks as u64, "hook"),
            engine.processes(),
            if missing.is_empty() { "" } else { "; NOT available: " }
        );
        note(format_args!("sensor: ready: {status}"));
        notifier.ready(&status);
    };
    let lines = Lines { board: &board, swaps };
    let stop_told = async {
        stop.wait(&reload).await;
        notifier.stopping();
    };
    let (totals, emitter) =
        pipeline::run(&mut kernel, engine, sources.proc_root, lines, stop_told, ready, || notifier.alive())
            .await
            .context("the kernel's ring cannot be waited for")?;
    // Nobody is told of a sensor that has ended.
    drop((server, kernel));
    let written = emitter.close();
    for (name, totals) in &written.channels {
        say_dropped(name, *totals);
    }
    if let Some(store) = written.store {
        note(format_args!("sensor: {} stored, {} could not be", count(store.stored, "event"), store.dropped));
    }
    note(format_args!("sensor: stopped by {}\n{totals}", stop.name()));
    if !missing.is_empty() {
        note(format_args!("missing    {missing}"));
    }
    Ok(ExitCode::SUCCESS)
}

const HOUR_NS: i64 = 3_600_000_000_000;

/// What rules on new terms remember, with what a person should know of it, and what keeps it.
///
/// # Errors
///
/// When a thread cannot be started.
pub(super) fn remembered(
    store: Option<&Path>,
    config: &Config,
    rules: &RuleSet,
) -> anyhow::Result<(Vec<Remembered>, Option<Keeper>)> {
    let directory = &config.agent.state_directory;
    let now = jiff::Timestamp::now();
    let now_ns = i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX);
    let (mut warm, mut cold) = (Vec::new(), BTreeSet::new());
    for (rule, start) in memory::load(directory, rules, now_ns) {
        match start {
            Start::Warm(memory) => warm.push(memory),
            Start::Cold(why) => {
                if let Some(why) = why {
                    note(format_args!("sensor: rule {}: what it remembered {why}", printable(&rule)));
                }
                cold.insert(rule);
            }
        }
    }
    let remember = warm.len();
    let seeded = if cold.is_empty() { Vec::new() } else { from_store(store, config, rules, &cold, now_ns) };
    let is_whole = |memory: &Remembered| {
        let loaded = rules.rules().iter().find(|loaded| loaded.rule.id == memory.rule);
        let window = loaded.and_then(|loaded| loaded.rule.new_terms.as_ref()).map(|terms| terms.history_ns);
        window.is_some_and(|window_ns| memory.since_ns.saturating_add(window_ns) <= now_ns)
    };
    for memory in &seeded {
        if is_whole(memory) {
            cold.remove(&memory.rule);
        }
    }
    if cold.len() + remember + seeded.len() > 0 {
        let terms = |of: &[Remembered]| of.iter().map(|memory| memory.seen.len()).sum::<usize>();
        let cold_rules = rules.rules().iter().filter(|loaded| cold.contains(&loaded.rule.id));
        let windows = cold_rules.filter_map(|loaded| Some(loaded.rule.new_terms.as_ref()?.history_ns));
        let longest_ns = windows.max().unwrap_or_default();
        let learning = match cold.len() {
            0 => String::new(),
            cold => format!(", {cold} learn silently for {} h at most", longest_ns / HOUR_NS),
        };
        let from_store = match seeded.len() {
            0 => String::new(),
            rules => format!(", {rules} got {} terms from the event store", terms(&seeded)),
        };
        note(format_args!(
            "sensor: {} on new terms: {remember} remember {} terms{from_store}{learning}",
            count(
                rules.rules().iter().filter(|loaded| loaded.rule.new_terms.is_some()).count() as u64,
                "rule"
            ),
            terms(&warm)
        ));
    }
    warm.extend(seeded);
    let report = |text: &str| note(format_args!("sensor: {text}"));
    let keeper = Keeper::start(directory, rules, report).context("a thread cannot be started")?;
    Ok((warm, keeper))
}

/// What the event store, if there is one, shows of rules that remember nothing.
fn from_store(
    store: Option<&Path>,
    config: &Config,
    rules: &RuleSet,
    cold: &BTreeSet<String>,
    now_ns: i64,
) -> Vec<Remembered> {
    let root = store::root(store, config);
    if root.as_os_str().is_empty() || !root.is_dir() {
        return Vec::new();
    }
    let mut wanted = rules.clone();
    wanted.retain(|loaded| cold.contains(&loaded.rule.id), &Ecs);
    match seed::seed(root, wanted, now_ns) {
        Ok(seeded) => {
            if seeded.is_cut {
                note(format_args!(
                    "sensor: the event store {} was not read to its end in time",
                    root.display()
                ));
            }
            seeded.memories
        }
        Err(cause) => {
            note(format_args!("sensor: rules on new terms learn nothing from {}: {cause:#}", root.display()));
            Vec::new()
        }
    }
}

/// A sensor whose every rule is blind would look healthy and see nothing; unless events are wanted for themselves.
fn check_reach(
    capabilities: &Capabilities,
    rules: &RuleSet,
    config: &Config,
    records: bool,
) -> anyhow::Result<()> {
    let reach = Reach { files: capabilities.sees_files(), processes: capabilities.sees_processes() };
    let (all, blind) = (rules.rules().len(), reach.blind_rules(rules, &config.streams()));
    if blind == 0 {
        return Ok(());
    }
    anyhow::ensure!(
        blind < all || records,
        "no rule can match on this kernel ({} loaded), and no events are written: {}",
        count(all as u64, "rule"),
        capabilities.explain().join("; ")
    );
    note(format_args!("sensor: {blind} of {} can match nothing on this kernel", count(all as u64, "rule")));
    Ok(())
}

fn say_confinement() {
    let confinement = confine::done();
    match confinement.threads.get("watch") {
        Some(watcher) => note(format_args!("sensor: confined: {watcher}")),
        None => note(format_args!("sensor: NOT confined: agent.confine is false")),
    }
}

fn hook_state(status: &HookStatus) -> HookState {
    HookState {
        name: status.hook.name.to_owned(),
        mode: status.mode.map_or("none", Mode::name).to_owned(),
        is_used: status.is_used && status.mode.is_some(),
    }
}

fn say_dropped(what: &str, totals: Totals) {
    if totals.dropped() > 0 {
        note(format_args!("sensor: {what}: {} lines could not be written", totals.dropped()));
    }
}

/// Messages of the sensor about itself, one per line, without colours or times: whoever reads stderr adds those.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SENSOR_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false);
    // Fails only if there is one already.
    let _ = subscriber.try_init();
}

/// The signals that end the sensor.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    name: &'static str,
}

impl Stop {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            name: "request",
        })
    }

    /// SIGHUP has rules and configuration read anew.
    async fn wait(&mut self, reload: &mpsc::Sender<Reload>) {
        self.name = loop {
            tokio::select! {
                _ = self.interrupt.recv() => break "SIGINT",
                _ = self.terminate.recv() => break "SIGTERM",
                _ = self.hangup.recv() => {
                    // How it went is said on stderr. One that is under way is enough.
                    let (tell, _) = oneshot::channel();
                    let _ = reload.try_send(tell);
                }
            }
        };
    }

    fn name(&self) -> &'static str {
        self.name
    }
}
