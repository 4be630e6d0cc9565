//! What `sensor watch` draws.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, List, ListItem, ListState, Paragraph, Sparkline, Wrap};
use serde_json::{Map, Value};

use super::{Alert, App, Page};
use crate::health::Status;
use crate::shown::shown;

pub(super) fn draw(frame: &mut Frame<'_>, app: &App) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    draw_head(frame, app, head);
    let keys = match app.page {
        Page::Overview => {
            draw_overview(frame, app, body);
            " up/down choose an alert   enter open its evidence   q quit"
        }
        Page::Alert(from) => {
            draw_alert(frame, app, from, body);
            " up/down, space scroll   esc back   q quit"
        }
    };
    frame.render_widget(Paragraph::new(keys).dim(), foot);
}

fn draw_head(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let Some(status) = &app.status else { return };
    let about = &status.about;
    let used = about.hooks.iter().filter(|hook| hook.is_used).count();
    let mut modes: Vec<&str> =
        about.hooks.iter().filter(|hook| hook.is_used).map(|hook| hook.mode.as_str()).collect();
    modes.sort_unstable();
    modes.dedup();
    let up = status.uptime_seconds;
    let first = Line::from(vec![
        Span::raw(" sensor ").bold(),
        Span::raw(format!("{}  up {}:{:02}:{:02}  ", about.version, up / 3600, up / 60 % 60, up % 60)),
        Span::raw(format!("hooks {used}/{} {}  ", about.hooks.len(), modes.join("+"))),
        Span::raw(format!(
            "rules {}  processes {}",
            status.vitals.rules.0.len(),
            status.vitals.processes.entries
        )),
    ]);
    let second = match (&app.silence, status.troubles.as_slice()) {
        (Some(why), _) => Line::from(format!(" NO ANSWER: {}", shown(why.as_bytes()))).red().bold(),
        (None, []) => Line::from(" well").green(),
        (None, [one]) => Line::from(format!(" TROUBLE: {}", shown(one.as_bytes()))).yellow(),
        (None, [one, more @ ..]) => {
            Line::from(format!(" {} TROUBLES: {} ...", more.len() + 1, shown(one.as_bytes()))).yellow()
        }
    };
    frame.render_widget(Paragraph::new(vec![first, second]), area);
}

fn draw_overview(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let Some(status) = &app.status else { return };
    let [top, busiest, alerts] =
        Layout::vertical([Constraint::Length(6), Constraint::Percentage(35), Constraint::Min(5)]).areas(area);
    let [rates, losses] =
        Layout::horizontal([Constraint::Percentage(55), Constraint::Percentage(45)]).areas(top);
    draw_rates(frame, app, rates);
    draw_losses(frame, status, losses);
    let [programs, directories] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(busiest);
    draw_busiest(frame, "busiest programs, last second", &status.vitals.programs, programs);
    draw_busiest(frame, "busiest directories", &status.vitals.directories, directories);
    draw_alerts(frame, app, alerts);
}

fn draw_rates(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let width = usize::from(area.width.saturating_sub(2));
    let newest = app.rates.iter().skip(app.rates.len().saturating_sub(width)).copied();
    let now = app.rates.back().copied().unwrap_or(0);
    let block = Block::bordered().title(format!(" {now} events/s "));
    let spark = Sparkline::default().block(block).data(newest.collect::<Vec<u64>>()).style(Color::Cyan);
    frame.render_widget(spark, area);
}

fn draw_losses(frame: &mut Frame<'_>, status: &Status, area: Rect) {
    let vitals = &status.vitals;
    let lost = vitals.lost.as_ref().map(|lost| lost.iter().map(|one| one.count).sum::<u64>());
    let dropped: u64 = status.channels.iter().map(crate::alert::ChannelStatus::dropped).sum();
    let waiting: u64 =
        status.channels.iter().filter_map(|channel| channel.spool).map(|spool| spool.documents).sum();
    let stored = status.store.unwrap_or_default();
    let suppressed: u64 = vitals.suppressed.iter().map(|one| one.count).sum();
    let row = |label: &str, text: String, bad: bool| {
        let style = if bad { Style::new().red().bold() } else { Style::new() };
        Line::from(vec![Span::raw(format!("{label:<11}")).dim(), Span::styled(text, style)])
    };
    let lines = vec![
        row("lost", lost.map_or("unknown".to_owned(), |lost| lost.to_string()), lost != Some(0)),
        row("dropped", format!("outputs {dropped}, store {}", stored.dropped), dropped + stored.dropped > 0),
        row("waiting", format!("{waiting} for other machines"), false),
        row("alerts", format!("{}, {suppressed} suppressed", vitals.alerts), false),
    ];
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" loss ")), area);
}

fn draw_busiest(frame: &mut Frame<'_>, title: &str, names: &[(String, u64)], area: Rect) {
    let width = usize::from(area.width.saturating_sub(10));
    let rows = names.iter().map(|(name, count)| ListItem::new(format!("{count:>6} {}", tail(name, width))));
    frame.render_widget(List::new(rows).block(Block::bordered().title(format!(" {title} "))), area);
}

/// The end of a name says more than its beginning.
fn tail(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width {
        return name.to_owned();
    }
    let end: String = name.chars().skip(length - width.saturating_sub(3)).collect();
    format!("...{end}")
}

fn head(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return name.to_owned();
    }
    let begin: String = name.chars().take(width.saturating_sub(3)).collect();
    format!("{begin}...")
}

fn colour(alert: &Alert) -> Color {
    match alert.summary.severity {
        90.. => Color::Magenta,
        60.. => Color::Red,
        40.. => Color::Yellow,
        _ => Color::Cyan,
    }
}

/// Before the alert that `enter` opens.
const CHOSEN: &str = "> ";
const WHEN_AND_SEVERITY: usize = 18;
/// Of a rule's name, this much is always shown.
const RULE_NAME_MIN: usize = 20;

fn draw_alerts(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let width = usize::from(area.width.saturating_sub(2)).saturating_sub(CHOSEN.len() + WHEN_AND_SEVERITY);
    let rows = app.alerts.iter().map(|alert| {
        let summary = &alert.summary;
        let time = summary.time.get(11..19).unwrap_or_default();
        // What was done says more than the end of a long name.
        let room = width.saturating_sub(summary.what.chars().count() + 2).max(RULE_NAME_MIN);
        ListItem::new(Line::from(vec![
            Span::raw(format!("{time} ")).dim(),
            Span::raw(format!("{:<8} ", summary.severity_name())).fg(colour(alert)),
            Span::raw(format!("{}: ", head(&summary.rule_name, room))).bold(),
            Span::raw(summary.what.clone()),
        ]))
    });
    let title = format!(" alerts since this began: {} ", app.alerts.len());
    let list = List::new(rows)
        .block(Block::bordered().title(title))
        // The mark is all that is left where there are no colours.
        .highlight_symbol(CHOSEN)
        .highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = ListState::default().with_selected((!app.alerts.is_empty()).then_some(app.selected));
    frame.render_stateful_widget(list, area, &mut state);
}

fn draw_alert(frame: &mut Frame<'_>, app: &App, from: u16, area: Rect) {
    let Some(alert) = app.alerts.get(app.selected) else { return };
    let mut lines = vec![Line::from(shown(alert.summary.what.as_bytes())), Line::default()];
    let evidence = alert.document.pointer("/sensor/evidence");
    match evidence {
        Some(evidence) => tree(evidence, 0, &mut lines),
        None => lines.push(Line::from("There is no evidence with this alert.").dim()),
    }
    lines.push(Line::default());
    lines.push(Line::from(format!("rule {}, event {}", alert.summary.rule_id, alert.summary.event_id)).dim());
    let title = format!(" {} {} ", alert.summary.severity_name(), alert.summary.rule_name);
    let block = Block::bordered().title(title).border_style(colour(alert));
    let from = from.min(u16::try_from(lines.len().saturating_sub(1)).unwrap_or(u16::MAX));
    frame
        .render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).scroll((from, 0)).block(block), area);
}

/// What is read first of an alert's evidence; the rest follows.
const FIRST: [&str; 9] =
    ["file", "package", "exclusions", "ancestry", "login", "next_steps", "exception", "query", "directory"];

fn members(object: &Map<String, Value>, depth: usize) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = object.iter().collect();
    if depth == 0 {
        let place = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
        members.sort_by_key(|(name, _)| place(name));
    }
    members
}

fn is_plain(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

fn text(plain: &Value) -> String {
    let text = plain.as_str().map_or_else(|| plain.to_string(), str::to_owned);
    shown(text.as_bytes())
}

/// An object as indented lines, those without more inside on one.
fn tree(value: &Value, depth: usize, lines: &mut Vec<Line<'static>>) {
    let indent = "  ".repeat(depth.min(8));
    let mut entry = |label: String, value: &Value| match value {
        Value::Object(inner) if label == "-" && inner.values().all(is_plain) => {
            let mut spans = vec![Span::raw(format!("{indent}-"))];
            for (name, plain) in inner {
                spans.push(Span::raw(format!(" {} ", shown(name.as_bytes()))).dim());
                spans.push(Span::raw(text(plain)));
            }
            lines.push(Line::from(spans));
        }
        Value::Object(_) | Value::Array(_) => {
            lines.push(Line::from(format!("{indent}{label}")).bold());
            tree(value, depth + 1, lines);
        }
        plain => {
            let label = Span::raw(format!("{indent}{label} ")).dim();
            lines.push(Line::from(vec![label, Span::raw(text(plain))]));
        }
    };
    match value {
        Value::Object(object) => {
            let members = members(object, depth).into_iter();
            members.for_each(|(name, value)| entry(shown(name.as_bytes()), value));
        }
        Value::Array(items) => items.iter().for_each(|item| entry("-".to_owned(), item)),
        plain => entry(String::new(), plain),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::health::HookState;

    const ALERT: &str = r#"{"@timestamp":"2026-01-02T03:04:05Z","event":{"id":"e1","severity":47},"rule":{"id":"7c2e","name":"APT file"},"file":{"path":"/etc/apt/\u001b[2J"},"process":{"executable":"/usr/bin/cp","pid":7},"Events":[{"event":{"action":"creation"}}],"sensor":{"evidence":{"activity":[{"action":"exec","pid":7}],"package":{"absent":"no package owns it"},"next_steps":["look at it"]}}}"#;

    fn status(events: u64, seconds: u64) -> Status {
        let mut status = Status::default();
        status.about.version = "9.9".to_owned();
        status.about.hooks =
            vec![HookState { name: "vfs_rename".to_owned(), mode: "fentry".to_owned(), is_used: true }];
        status.vitals.ready = true;
        status.vitals.boot_ns = seconds * 1_000_000_000;
        status.vitals.events = vec![("creation".to_owned(), events)];
        status.vitals.lost = Some(Vec::new());
        status.vitals.programs = vec![(format!("/opt/{}/program", "x".repeat(100)), 5)];
        status.vitals.directories = vec![("/var/lib".to_owned(), 7)];
        status
    }

    fn screen(app: &App, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, app)).unwrap();
        terminal.backend().to_string()
    }

    fn press(app: &mut App, code: KeyCode) {
        app.press(KeyEvent::new(code, KeyModifiers::NONE));
    }

    #[test]
    fn all_of_it_fits_eighty_by_twenty_four() {
        let mut app = App::default();
        app.hear(Ok((status(100, 10), Vec::new())));
        app.hear(Ok((status(350, 12), vec![ALERT.into()])));
        let shown = screen(&app, 80, 24);
        for text in [
            "sensor 9.9",
            "hooks 1/1 fentry",
            " well",
            "125 events/s",
            "lost       0",
            "...",
            "/program",
            "7 /var/lib",
            "alerts since this began: 1",
            "03:04:05 MEDIUM   APT file: creation /etc/apt/\\x1b[2J",
            "q quit",
        ] {
            assert!(shown.contains(text), "{text} is not in\n{shown}");
        }
    }

    #[test]
    fn a_long_name_of_a_rule_leaves_room_for_what_was_done() {
        let mut app = App::default();
        let named =
            ALERT.replace("APT file", "APT Package Manager Configuration File Creation by Somebody Unusual");
        app.hear(Ok((status(1, 1), vec![named.into()])));
        let row = "> 03:04:05 MEDIUM   APT Package Manag...: creation /etc/apt/\\x1b[2J by /usr/bi";
        assert!(screen(&app, 80, 24).contains(row), "{}", screen(&app, 80, 24));
        assert!(screen(&app, 200, 24).contains("Creation by Somebody Unusual: creation"));
    }

    #[test]
    fn a_key_opens_an_alert_s_evidence_and_another_leads_back() {
        let mut app = App::default();
        press(&mut app, KeyCode::Enter);
        assert_eq!(app.page, Page::Overview);
        app.hear(Ok((status(1, 1), vec![ALERT.into()])));
        press(&mut app, KeyCode::Enter);
        let shown = screen(&app, 80, 24);
        for text in ["MEDIUM APT file", "package", "absent no package owns it", "- look at it", "esc back"] {
            assert!(shown.contains(text), "{text} is not in\n{shown}");
        }
        let place = |text: &str| shown.find(text).unwrap_or_else(|| panic!("{text} is not in\n{shown}"));
        assert!(place("package") < place("- action exec pid 7"));
        // What comes meanwhile does not put another one in its place.
        app.hear(Ok((status(1, 2), vec![ALERT.replace("APT file", "another").into()])));
        assert!(screen(&app, 80, 24).contains("MEDIUM APT file"));
        press(&mut app, KeyCode::Esc);
        assert_eq!(app.page, Page::Overview);
        press(&mut app, KeyCode::Char('q'));
        assert!(app.ended);
    }

    #[test]
    fn silence_and_trouble_are_seen_and_no_size_is_too_small() {
        let mut app = App::default();
        for (width, height) in [(1, 1), (10, 3), (80, 24), (300, 100)] {
            screen(&app, width, height);
        }
        let mut ill = status(1, 1);
        ill.troubles = vec!["3 records were lost".to_owned(), "another".to_owned()];
        ill.vitals.lost = None;
        app.hear(Ok((ill, vec![ALERT.into(); 500])));
        assert!(screen(&app, 80, 24).contains("2 TROUBLES: 3 records were lost"));
        assert_eq!(app.alerts.len(), super::super::ALERTS_MAX);
        app.hear(Err("gone\u{1b}".to_owned()));
        for (width, height) in [(1, 1), (10, 3), (80, 24), (300, 100)] {
            screen(&app, width, height);
            press(&mut app, KeyCode::Down);
        }
        assert!(screen(&app, 80, 24).contains("NO ANSWER: gone"));
        press(&mut app, KeyCode::Enter);
        (0..50).for_each(|_| press(&mut app, KeyCode::PageDown));
        for (width, height) in [(1, 1), (10, 3), (80, 24)] {
            screen(&app, width, height);
        }
    }
}
