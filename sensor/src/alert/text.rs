//! The alert as a person reads it: one screen, what happened first.

use std::fmt::Write as _;

use sensor_ecs::{Action, Event, Operation, Process, Value, field, time::rfc3339};
use sensor_eql::{Rule, RuleSeverity};

use crate::enrich::View;

use crate::shown::shown;

/// Of more events, the last is shown beside so many first ones.
const PARTS_SHOWN_MAX: usize = 7;

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";

/// Whether text may be coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Yes,
    No,
}

struct Page {
    text: String,
    colour: Colour,
}

impl Page {
    fn new(colour: Colour) -> Self {
        Self { text: String::new(), colour }
    }

    fn styled(&mut self, style: &str, text: &str) {
        match self.colour {
            Colour::Yes => {
                self.text.push_str(style);
                self.text.push_str(text);
                self.text.push_str(RESET);
            }
            Colour::No => self.text.push_str(text),
        }
    }

    /// A labelled line; nothing for an empty value.
    fn line(&mut self, label: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.styled(DIM, &format!("  {label:<11}"));
        self.text.push_str(value);
        self.text.push('\n');
    }

    fn title(&mut self, rule: &Rule) {
        let style = match rule.severity {
            RuleSeverity::Low => "\x1b[1;36m",
            RuleSeverity::Medium => "\x1b[1;33m",
            RuleSeverity::High => "\x1b[1;31m",
            RuleSeverity::Critical => "\x1b[1;97;41m",
        };
        let severity = rule.severity.as_str().to_uppercase();
        self.styled(style, &format!("ALERT {severity} {}", rule.risk_score));
        self.text.push_str("  ");
        self.styled(BOLD, &shown(rule.name.as_bytes()));
        self.text.push('\n');
    }
}

/// The whole alert; each line is ended.
pub(super) fn alert(rule: &Rule, event: &Event<'_>, view: View, colour: Colour) -> String {
    let mut page = Page::new(colour);
    page.title(rule);
    facts(&mut page, event, view);
    about(&mut page, rule);
    page.line("event", &value(event.any_value(field::EVENT_ID)));
    page.text
}

/// An event as a part of [`alert_of_several`].
pub(super) fn part(event: &Event<'_>, view: View, colour: Colour) -> String {
    let mut page = Page::new(colour);
    facts(&mut page, event, view);
    page.line("event", &value(event.any_value(field::EVENT_ID)));
    page.text
}

/// The alert for several events: those that fit on a screen, by what [`part`] made of each.
pub(super) fn alert_of_several(
    rule: &Rule,
    parts: &[Option<&[u8]>],
    lost_meanwhile: u64,
    colour: Colour,
) -> String {
    let mut page = Page::new(colour);
    page.title(rule);
    let hidden = PARTS_SHOWN_MAX..parts.len().saturating_sub(1);
    for (at, part) in parts.iter().enumerate() {
        if hidden.contains(&at) {
            continue;
        }
        if !hidden.is_empty() && at == hidden.end {
            page.line("and", &format!("{} more", hidden.len()));
        }
        let missing = if part.is_none() { ": did not come" } else { "" };
        page.styled(BOLD, &format!("  event {} of {}{missing}", at + 1, parts.len()));
        page.text.push('\n');
        page.text.push_str(&String::from_utf8_lossy(part.unwrap_or_default()));
    }
    if lost_meanwhile > 0 {
        page.line(
            "doubt",
            &format!("{lost_meanwhile} events of that time are lost; what did not come may be one"),
        );
    }
    about(&mut page, rule);
    page.text
}

fn facts(page: &mut Page, event: &Event<'_>, view: View) {
    let of = |id| value(event.any_value(id));
    page.line("when", &format!("{} on {}", when(event.meta.time_ns), of(field::HOST_NAME)));
    page.line("what", what(event));
    file(page, event, view);
    process(page, event);
    page.line("user", &who(event));
    if let Some(view) = &event.process {
        relation(page, "parent", view.parent);
        let others =
            [("group", view.group_leader), ("session", view.session_leader), ("entry", view.entry_leader)];
        for (label, leader) in others {
            let known =
                |process: &Process| leader.is_some_and(|leader| leader.entity_id == process.entity_id);
            if !known(view.process) && !view.parent.is_some_and(known) {
                relation(page, label, leader);
            }
        }
        let entry =
            [field::PROCESS_ENTRY_LEADER_ENTRY_META_TYPE, field::PROCESS_ENTRY_LEADER_ENTRY_META_SOURCE_IP];
        page.line("entered by", &words(entry.map(of)));
    }
    let container = [field::CONTAINER_NAME, field::CONTAINER_IMAGE_NAME, field::CONTAINER_ID];
    page.line("container", &words(container.map(of)));
    page.line("pod", &words([field::ORCHESTRATOR_NAMESPACE, field::ORCHESTRATOR_RESOURCE_NAME].map(of)));
    page.line("incomplete", &of(field::PROCESS_EXT_DEGRADED));
    if event.file.is_some_and(|file| file.path_incomplete) {
        page.line("path", "may be incomplete");
    }
}

/// What a rule's cap held back.
pub(super) fn held_back(rule: &Rule, count: u64, last_ns: i64, colour: Colour) -> String {
    let mut page = Page::new(colour);
    page.title(rule);
    page.line("held back", &format!("{count} further matches, the last at {}", when(last_ns)));
    page.line("why", &format!("the rule raises {} alerts at most in an interval", rule.max_signals));
    page.text
}

fn value(value: Value<'_>) -> String {
    match value {
        Value::Absent => String::new(),
        Value::Keyword(bytes) => shown(bytes),
        Value::Long(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Boolean(yes) => yes.to_string(),
        Value::Date(ns) => when(ns),
        Value::List(items) => {
            words(items.iter().map(|item| self::value(item.as_value())).collect::<Vec<_>>())
        }
    }
}

fn words(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `2026-01-02 03:04:05.123 UTC`
fn when(ns: i64) -> String {
    let text = rfc3339(ns);
    let text = String::from_utf8_lossy(text.get(..23).unwrap_or_default()).replace('T', " ");
    format!("{text} UTC")
}

fn what(event: &Event<'_>) -> &'static str {
    match event.file.as_ref().and_then(|file| file.operation) {
        Some(Operation::Mkdir) => return "directory made",
        Some(Operation::Link) => return "hard link made",
        Some(Operation::Symlink) => return "symbolic link made",
        Some(Operation::Exchange) => return "names exchanged",
        Some(Operation::Rmdir) => return "directory removed",
        _ => {}
    }
    match event.meta.action {
        Action::Creation => "file created",
        Action::Rename => "file renamed",
        Action::Deletion => "file deleted",
        Action::Exec => "program started",
        Action::Fork => "process forked",
        Action::End => "process ended",
        Action::AlreadyRunning => "process was already running",
        Action::UidChange => "process changed its user",
        Action::GidChange => "process changed its group",
        Action::SessionIdChange => "process opened a session",
    }
}

fn file(page: &mut Page, event: &Event<'_>, view: View) {
    let of = |id| value(event.any_value(id));
    let mut path = of(field::FILE_PATH);
    if path.is_empty() {
        return;
    }
    path.push_str(match view {
        View::Task => "",
        View::Host => "  (as the host sees it)",
        View::FileSystem => "  (by way of its file system's mount)",
        View::Upper => "  (in the overlay's upper layer)",
    });
    page.line("file", &path);
    page.line("was", &of(field::FILE_EXT_ORIGINAL_PATH));
    if view == View::Task {
        page.line("on host", &of(field::FILE_EXT_HOST_PATH));
        page.line("was there", &of(field::FILE_EXT_ORIGINAL_HOST_PATH));
        page.line("also", &of(field::FILE_EXT_FILE_SYSTEM_PATH));
        page.line("also", &of(field::FILE_EXT_UPPER_PATH));
    }
    page.line("link to", &of(field::FILE_EXT_LINKED_PATH));
    page.line("target", &of(field::FILE_TARGET_PATH));
    let owner = [field::FILE_OWNER, field::FILE_GROUP].map(of).join(":");
    let mut facts = words([of(field::FILE_TYPE), of(field::FILE_MODE), owner.trim_matches(':').to_owned()]);
    if let Value::Long(size) = event.any_value(field::FILE_SIZE) {
        // Writing to a string cannot fail.
        let _ = write!(facts, " {size} bytes");
    }
    page.line("attributes", facts.trim_start());
}

fn process(page: &mut Page, event: &Event<'_>) {
    let of = |id| value(event.any_value(id));
    let Some(view) = &event.process else {
        page.line("process", "unknown");
        return;
    };
    relation(page, "process", Some(view.process));
    page.line("directory", &of(field::PROCESS_WORKING_DIRECTORY));
}

/// A process on one line: executable, pid, command line.
fn relation(page: &mut Page, label: &str, process: Option<&Process>) {
    let Some(process) = process else { return };
    let executable =
        process.image.executable.as_ref().map_or_else(|| "?".to_owned(), |path| shown(path.path()));
    let mut line = format!("{executable} (pid {})", process.pid);
    if let Some(command_line) = &process.image.arguments.command_line {
        let cut = if process.image.arguments.truncated { " ... (cut)" } else { "" };
        let _ = write!(line, "  {}{cut}", shown(command_line));
    }
    page.line(label, &line);
}

fn who(event: &Event<'_>) -> String {
    let account = |name, id| {
        let (name, id) = (value(event.any_value(name)), value(event.any_value(id)));
        match (name.is_empty(), id.is_empty()) {
            (false, false) => format!("{name} ({id})"),
            (true, false) => id,
            (_, true) => name,
        }
    };
    let effective = account(field::USER_NAME, field::USER_ID);
    let real = account(field::USER_EXT_REAL_NAME, field::USER_EXT_REAL_ID);
    let group = account(field::GROUP_NAME, field::GROUP_ID);
    let real = if real == effective || real.is_empty() { String::new() } else { format!("really {real}") };
    let group = if group.is_empty() { group } else { format!("group {group}") };
    words([effective, real, group])
}

fn about(page: &mut Page, rule: &Rule) {
    for threat in &rule.threats {
        let mut line = format!("{} {}", threat.tactic.name, threat.tactic.id);
        for (position, technique) in threat.techniques.iter().enumerate() {
            let separator = if position == 0 { ": " } else { "; " };
            let _ = write!(line, "{separator}{} {}", technique.name, technique.id);
            for sub in &technique.subtechniques {
                let _ = write!(line, ", {} {}", sub.name, sub.id);
            }
        }
        page.line("ATT&CK", &shown(line.as_bytes()));
    }
    let version = rule.version.map_or(String::new(), |version| format!(" version {version}"));
    page.line("rule", &format!("{}{version}", shown(rule.id.as_bytes())));
}
