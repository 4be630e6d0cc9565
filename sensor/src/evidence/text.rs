//! Evidence for a person: below the alert, on the same screen.

use std::fmt::Write as _;

use crate::shown::{is_plain, shown};

use super::package::Shipped;
use super::{Answer, Evidence};

const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";
const CONTENT_LINES_MAX: usize = 8;
const ANCESTORS_MAX: usize = 8;
const ACTS_MAX: usize = 8;
const NEIGHBOURS_MAX: usize = 6;

struct Lines {
    text: String,
    colour: bool,
}

impl Lines {
    fn line(&mut self, label: &str, value: &str) {
        let (dim, reset) = if self.colour { (DIM, RESET) } else { ("", "") };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{dim}  {label:<11}{reset}{value}");
    }

    /// What is missing, and why.
    fn absent<T>(&mut self, label: &str, answer: &Answer<T>) {
        if let Answer::Absent { absent } = answer {
            self.line(label, &format!("not known: {}", shown(absent.as_bytes())));
        }
    }
}

/// Each line is ended.
pub(super) fn lines(evidence: &Evidence, colour: bool) -> String {
    let mut to = Lines { text: String::new(), colour };
    file(&mut to, evidence);
    package(&mut to, evidence);
    people(&mut to, evidence);
    surroundings(&mut to, evidence);
    for (at, step) in evidence.next_steps.iter().enumerate() {
        to.line(if at == 0 { "next" } else { "" }, &format!("{}. {}", at + 1, shown(step.as_bytes())));
    }
    copied(&mut to, "query", &evidence.query);
    copied(&mut to, "exception", &evidence.exception);
    to.text
}

/// What is there to be copied, as it is.
fn copied(to: &mut Lines, label: &str, answer: &Answer<String>) {
    to.absent(label, answer);
    let Some(text) = answer.found() else { return };
    if !is_plain(text) {
        to.line(label, "has characters that a terminal does not show; it is in the document");
        return;
    }
    for (at, line) in text.lines().enumerate() {
        to.line(if at == 0 { label } else { "" }, line);
    }
}

fn file(to: &mut Lines, evidence: &Evidence) {
    to.absent("content", &evidence.file);
    let Some(file) = evidence.file.found() else { return };
    match file.content.text() {
        Some(text) => {
            let mut all = text.lines();
            for (at, line) in all.by_ref().take(CONTENT_LINES_MAX).enumerate() {
                to.line(if at == 0 { "content" } else { "" }, &format!("| {}", shown(line.as_bytes())));
            }
            let more = all.count();
            if more > 0 {
                to.line("", &format!("({more} more lines)"));
            }
        }
        None => to.line("content", &format!("no text: {}", shown(file.content.first_bytes()))),
    }
    for hook in &file.apt_hooks {
        let (name, value) = (shown(&hook.name.0), shown(&hook.value.0));
        let label = if hook.is_file() { "APT reads" } else { "APT runs" };
        to.line(label, &format!("{value}   ({name}, line {})", hook.line));
    }
    if file.apt_hooks_not_shown > 0 {
        to.line("", &format!("(and {} more that APT runs or reads)", file.apt_hooks_not_shown));
    }
    if let Some(sha256) = &file.sha256 {
        to.line("sha256", sha256);
    }
}

fn package(to: &mut Lines, evidence: &Evidence) {
    to.absent("package", &evidence.package);
    let Some(package) = evidence.package.found() else { return };
    let name = package.name.as_deref().map(|name| shown(name.as_bytes()));
    let said = match (name, package.shipped) {
        (None, Shipped::Unknown) => "none of those that could be read has this file".to_owned(),
        (None, _) => "none has this file".to_owned(),
        (Some(name), Shipped::Same) => format!("{name}: the content is what it ships"),
        (Some(name), Shipped::Different) => format!("{name}: the content is NOT what it ships"),
        (Some(name), Shipped::Never | Shipped::Unknown) => {
            format!("{name}: whether the content is its own is not known")
        }
    };
    to.line("package", &said);
}

fn people(to: &mut Lines, evidence: &Evidence) {
    to.absent("ancestors", &evidence.ancestry);
    for (at, ancestor) in evidence.ancestry.found().into_iter().flatten().take(ANCESTORS_MAX).enumerate() {
        let process = &ancestor.process;
        let name = process.command_line.as_ref().or(process.executable.as_ref());
        let name = name.map_or_else(|| "?".to_owned(), |name| shown(&name.0));
        let hash = ancestor.sha256().and_then(|sha256| sha256.get(..12));
        let hash = hash.map_or_else(String::new, |hash| format!("  sha256 {hash}.."));
        let branch = if at == 0 { String::new() } else { format!("{}\u{2514} ", "  ".repeat(at - 1)) };
        to.line(if at == 0 { "ancestors" } else { "" }, &format!("{branch}[{}] {name}{hash}", process.pid));
    }
    if let Some(why) = evidence.ancestry_incomplete {
        to.line("", &format!("(and more: {why})"));
    }
    match evidence.login.found() {
        Some(login) => {
            let user = login.user.as_deref().unwrap_or("somebody");
            let from = login.remote.as_deref().map_or_else(String::new, |remote| format!(" from {remote}"));
            to.line("login", &shown(format!("{user}{from} ({})", login.source).as_bytes()));
        }
        None => to.absent("login", &evidence.login),
    }
    for socket in evidence.sockets.found().into_iter().flatten().take(4) {
        let remote = socket.remote.as_deref().map_or_else(String::new, |remote| format!(" to {remote}"));
        to.line(
            "socket",
            &format!("{} {} {}{remote} (pid {})", socket.protocol, socket.state, socket.local, socket.pid),
        );
    }
    if let Some(why) = evidence.sockets_incomplete {
        to.line("socket", &format!("(not all: {why})"));
    }
}

fn surroundings(to: &mut Lines, evidence: &Evidence) {
    let hidden = evidence.activity.len().saturating_sub(ACTS_MAX);
    for (at, act) in evidence.activity.iter().skip(hidden).enumerate() {
        let said = format!("{} {} (pid {})", act.action, shown(&act.name.0), act.pid);
        to.line(if at == 0 { "tree did" } else { "" }, &said);
    }
    if let Some(left_out) = &evidence.activity_left_out {
        to.line("", &format!("(not recorded: {})", shown(left_out.as_bytes())));
    }
    let mut related: Vec<(&str, usize)> = Vec::new();
    for alert in &evidence.related_alerts {
        match related.iter_mut().find(|(name, _)| *name == alert.rule_name) {
            Some((_, times)) => *times += 1,
            None => related.push((&alert.rule_name, 1)),
        }
    }
    for (at, (name, times)) in related.into_iter().enumerate() {
        let times = if times > 1 { format!("  ({times} times)") } else { String::new() };
        to.line(if at == 0 { "also" } else { "" }, &format!("{}{times}", shown(name.as_bytes())));
    }
    let no_package = if evidence.package.found().is_some() { "no package" } else { "package not known" };
    for (at, neighbour) in evidence.directory.found().into_iter().flatten().take(NEIGHBOURS_MAX).enumerate() {
        let package =
            neighbour.package.as_deref().map_or_else(|| no_package.to_owned(), |name| shown(name.as_bytes()));
        to.line(
            if at == 0 { "beside it" } else { "" },
            &format!("{}  ({package})", shown(&neighbour.name.0)),
        );
    }
    let shown = evidence.directory.found().map_or(0, |all| all.len().min(NEIGHBOURS_MAX) as u64);
    let all = evidence.directory.found().map_or(0, |all| all.len() as u64) + evidence.directory_not_shown;
    if evidence.directory_not_counted {
        to.line("", "(and more: there was no time to count them)");
    } else if all > shown {
        to.line("", &format!("(and {} more, older)", all - shown));
    }
}
