//! `sensor watch`: a running sensor, live in the terminal.

mod view;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::Value;

use super::WatchArgs;
use super::ask;
use crate::health::{self, Status};
use crate::sink::Summary;

/// Between two questions to the sensor.
const ROUND: Duration = Duration::from_secs(1);
/// How long a key waits to be heard.
const KEY_TIME: Duration = Duration::from_millis(100);
/// Alerts and rates that are kept.
const ALERTS_MAX: usize = 200;
const RATES_MAX: usize = 300;

/// An alert as it is listed, and all of it.
struct Alert {
    summary: Summary,
    document: Value,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Page {
    #[default]
    Overview,
    /// One alert with its evidence, from this line on.
    Alert(u16),
}

/// What is shown.
#[derive(Default)]
struct App {
    status: Option<Status>,
    /// Why there is no newer status.
    silence: Option<String>,
    /// Newest first.
    alerts: VecDeque<Alert>,
    selected: usize,
    page: Page,
    /// Events each second, newest last.
    rates: VecDeque<u64>,
    ended: bool,
}

/// What the sensor said in a round.
type Said = Result<(Status, Vec<Vec<u8>>), String>;

impl App {
    fn hear(&mut self, said: Said) {
        let (status, alerts) = match said {
            Ok(said) => said,
            Err(why) => {
                self.silence = Some(why);
                return;
            }
        };
        self.silence = None;
        if let Some(former) = &self.status {
            let former_seconds = former.vitals.boot_ns;
            let passed = status.vitals.boot_ns.saturating_sub(former_seconds) as f64 / 1e9;
            if passed > 0.0 {
                let new = all_events(&status).saturating_sub(all_events(former));
                self.rates.push_back((new as f64 / passed) as u64);
                while self.rates.len() > RATES_MAX {
                    self.rates.pop_front();
                }
            }
        }
        self.status = Some(status);
        for document in alerts {
            let summary = Summary::of(&document);
            let document = serde_json::from_slice(&document).unwrap_or_default();
            self.alerts.push_front(Alert { summary, document });
            // The one that is looked at stays so.
            if self.selected > 0 || self.page != Page::Overview {
                self.selected += 1;
            }
        }
        self.alerts.truncate(ALERTS_MAX);
        self.selected = self.selected.min(self.alerts.len().saturating_sub(1));
    }

    fn press(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        match (self.page, key.code) {
            _ if control_c => self.ended = true,
            (_, KeyCode::Char('q')) => self.ended = true,
            (Page::Overview, KeyCode::Down | KeyCode::Char('j')) => {
                self.selected = (self.selected + 1).min(self.alerts.len().saturating_sub(1));
            }
            (Page::Overview, KeyCode::Up | KeyCode::Char('k')) => {
                self.selected = self.selected.saturating_sub(1)
            }
            (Page::Overview, KeyCode::Enter) if !self.alerts.is_empty() => self.page = Page::Alert(0),
            (Page::Alert(line), KeyCode::Down | KeyCode::Char('j')) => {
                self.page = Page::Alert(line.saturating_add(1))
            }
            (Page::Alert(line), KeyCode::PageDown | KeyCode::Char(' ')) => {
                self.page = Page::Alert(line.saturating_add(15));
            }
            (Page::Alert(line), KeyCode::Up | KeyCode::Char('k')) => {
                self.page = Page::Alert(line.saturating_sub(1))
            }
            (Page::Alert(line), KeyCode::PageUp) => self.page = Page::Alert(line.saturating_sub(15)),
            (Page::Alert(_), KeyCode::Esc | KeyCode::Backspace | KeyCode::Left) => self.page = Page::Overview,
            _ => {}
        }
    }
}

fn all_events(status: &Status) -> u64 {
    status.vitals.events.iter().map(|(_, count)| count).sum()
}

/// Watches until it is told to end.
///
/// # Errors
///
/// When there is no terminal, or no sensor answers.
pub(super) fn watch(args: &WatchArgs) -> anyhow::Result<ExitCode> {
    use std::io::IsTerminal as _;
    ensure!(
        std::io::stdout().is_terminal(),
        "there is no terminal to watch in; `sensor status` prints the state"
    );
    let socket = ask::socket(&args.ask)?;
    // Before the screen is taken, so that what is wrong can be read.
    let first = question(&socket, &mut 0).map_err(anyhow::Error::msg)?;
    let said = start_asking(socket)?;
    // Has the terminal put back on a panic too.
    let mut terminal = ratatui::try_init().context("the terminal cannot be used")?;
    let mut app = App::default();
    app.hear(Ok(first));
    app.alerts.clear();
    let done = run(&mut terminal, &mut app, &said);
    ratatui::try_restore().context("the terminal cannot be put back")?;
    done.context("the terminal cannot be used")?;
    Ok(ExitCode::SUCCESS)
}

fn run(terminal: &mut ratatui::DefaultTerminal, app: &mut App, said: &Receiver<Said>) -> std::io::Result<()> {
    while !app.ended {
        while let Ok(said) = said.try_recv() {
            app.hear(said);
        }
        terminal.draw(|frame| view::draw(frame, app))?;
        if event::poll(KEY_TIME)?
            && let Event::Key(key) = event::read()?
        {
            app.press(key);
        }
    }
    Ok(())
}

/// Asks on a thread of its own: a sensor that is slow to answer holds up no key.
fn start_asking(socket: PathBuf) -> anyhow::Result<Receiver<Said>> {
    let (tell, said) = sync_channel(4);
    std::thread::Builder::new().name("asker".to_owned()).spawn(move || {
        let mut next = 0;
        while tell.send(question(&socket, &mut next)).is_ok() {
            std::thread::sleep(ROUND);
        }
    })?;
    Ok(said)
}

/// The state, and the alerts from number `next` on.
fn question(socket: &std::path::Path, next: &mut u64) -> Said {
    let why = |error: anyhow::Error| format!("{error:#}");
    let status = health::ask(socket, "/status?watch").map_err(why)?;
    let status =
        serde_json::from_slice(&status).map_err(|_| "the sensor is of another version".to_owned())?;
    let answer = health::ask(socket, &format!("/alerts?since={next}")).map_err(why)?;
    let mut lines = answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let head: Value = lines.next().and_then(|line| serde_json::from_slice(line).ok()).unwrap_or_default();
    let number = head.get("next").and_then(Value::as_u64).unwrap_or(0);
    let alerts = lines.map(<[u8]>::to_vec).collect();
    // It has been started anew: its numbers begin again.
    *next = if number < *next { 0 } else { number };
    Ok((status, alerts))
}
