//! What to do with an alert: look, undo, keep it from coming again, find it elsewhere.

use sensor_ecs::Action;

use super::package::{Package, Shipped};
use super::{Question, Text};

/// Steps for the person who has the alert in front of them.
pub(super) fn next_steps(question: &Question, package: Option<&Package>, runs_commands: bool) -> Vec<String> {
    let mut steps = Vec::new();
    let path = question.path.as_ref().map(shown);
    match (&path, question.action) {
        (Some(path), Action::Creation | Action::Rename) => {
            steps.push(format!("Keep a copy of {path} for later, outside of the directory it is in."));
            if runs_commands {
                steps.push(
                    "The file makes the package manager run commands as root: do not run apt or dpkg, and stop \
                     timers that do (apt-daily, apt-daily-upgrade), before it is gone."
                        .to_owned(),
                );
            }
            steps.push(match package {
                Some(Package { name: Some(name), shipped: Shipped::Different, manager: "rpm" }) => format!(
                    "The package {name} ships this file with other content. To restore it, remove it, then: \
                     dnf reinstall {name}"
                ),
                Some(Package { name: Some(name), shipped: Shipped::Different, .. }) => format!(
                    "The package {name} ships this file with other content. To restore it: \
                     apt-get -o Dpkg::Options::=--force-confask,confnew,confmiss install --reinstall {name}"
                ),
                Some(Package { name: Some(name), shipped: Shipped::Same, .. }) => format!(
                    "The content is what the package {name} ships. Find out why something else than the package \
                     manager wrote it."
                ),
                Some(Package { name: Some(name), manager, .. }) => {
                    format!("Compare the file with what the package {name} ships: {manager} --verify {name}")
                }
                _ => format!("No package is known to bring {path}: remove it unless you know who put it there."),
            });
            if let Some(host_path) = question.host_paths.first().map(shown) {
                steps.push(format!("On the host itself the file is {host_path}."));
            }
            if let Some(original) = question.original.as_ref().map(shown) {
                steps.push(format!("It came from {original}: look what else is there, and what wrote it."));
            }
        }
        (Some(path), _) => steps.push(format!("Find out whether {path} was meant to change.")),
        (None, _) => steps.push("Find out whether the program was meant to run.".to_owned()),
    }
    if let Some(process) = question.known.first() {
        let program = process.executable.as_ref().map_or_else(|| "the process".to_owned(), shown);
        steps.push(format!(
            "Look at {program} (pid {}), its parents and what else they did; end what should not run.",
            process.pid
        ));
    }
    steps.push("Run the query against all hosts; the same file in few places is what to look at.".to_owned());
    steps
}

/// An exception that keeps this from being raised again, as the configuration takes it: no wider than this program
/// and this file, or this command.
pub(super) fn exception(question: &Question) -> Result<String, &'static str> {
    let process = question.known.first().ok_or(NO_PROCESS)?;
    let executable = process.executable.as_ref().ok_or(NO_PROCESS)?;
    let what = match (&question.path, &process.command_line) {
        (Some(path), _) => format!("file.path == {}", quoted(path)?),
        (None, Some(line)) => format!("process.command_line == {}", quoted(line)?),
        (None, None) => return Err(NO_PROCESS),
    };
    let category = if question.path.is_some() { "file" } else { "process" };
    Ok(format!(
        "[[exceptions]]\nname = \"known: {}\"\nrules = [\"{}\"]\ncondition = '''\n{category} where \
         process.executable == {} and {what}\n'''\n",
        toml_text(&shown(executable)),
        toml_text(&question.rule_id),
        quoted(executable)?,
    ))
}

/// A query that shows where else the same happened.
pub(super) fn query(question: &Question) -> Result<String, &'static str> {
    let executable = question.known.first().and_then(|process| process.executable.as_ref());
    let (index, condition) = match &question.path {
        Some(path) => ("logs-endpoint.events.file-*", format!("file.path == {}", quoted(path)?)),
        None => {
            let executable = quoted(executable.ok_or(NO_PROCESS)?)?;
            ("logs-endpoint.events.process-*", format!("process.executable == {executable}"))
        }
    };
    Ok(format!(
        "from {index}\n| where @timestamp > now() - 30 day and host.os.type == \"linux\" and {condition}\n| stats \
         hosts = count_distinct(agent.id), events = count(*), last = max(@timestamp) by process.executable, \
         user.name\n| sort hosts asc",
    ))
}

const NO_PROCESS: &str = "which program it was is not known";

/// A string of EQL and ES|QL, which have no way to write some.
fn quoted(text: &Text) -> Result<String, &'static str> {
    let text = std::str::from_utf8(&text.0).map_err(|_| "the name has bytes that are no text")?;
    if text.chars().any(char::is_control) || text.contains("'''") {
        return Err("the name has characters that cannot be written there");
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

fn toml_text(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// For a sentence: control characters are shown, not obeyed.
fn shown(text: &Text) -> String {
    crate::shown::shown(&text.0)
}
