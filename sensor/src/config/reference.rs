//! The reference of the configuration as Markdown, made of the default file, which tests keep like the types.

use std::fmt::Write as _;

use super::DEFAULT_FILE;

/// What stands before the keys.
const HEAD: &str = "# Configuration\n\n\
    Made by `sensor config reference` from the sensor's own types and defaults; a test fails where it is another.\n\n\
    The file is TOML, looked for in `/etc/sensor/sensor.toml` unless `--config` names another; options on the command \
    line\nwin. What is left out holds as it stands here. Paths are relative to the directory of the file. \
    `sensor config check`\nsays what is wrong with a file, `sensor reload` has a running sensor read it again.\n";

/// The whole page.
#[must_use]
pub(crate) fn page() -> String {
    let mut page = String::from(HEAD);
    let mut comment: Vec<&str> = Vec::new();
    let mut table = "";
    let mut in_table = false;
    let mut lines = DEFAULT_FILE.lines().skip_while(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = name;
            let _ = write!(page, "\n## [{table}]\n\n");
            if !comment.is_empty() {
                let _ = writeln!(page, "{}\n", comment.join("\n"));
            }
            comment.clear();
            in_table = false;
        } else if let Some(text) = line.strip_prefix('#') {
            comment.push(text.strip_prefix(' ').unwrap_or(text));
        } else if let Some((key, value)) = line.split_once(" = ") {
            let mut value = value.to_owned();
            while value.starts_with('[') && !value.ends_with(']') {
                let Some(more) = lines.next() else { break };
                value.push_str(if more == "]" { "" } else { " " });
                value.push_str(more.trim());
            }
            if !in_table {
                page.push_str("| key | default | meaning |\n|---|---|---|\n");
                in_table = true;
            }
            let value = value.replace("[ ", "[").replace(",]", "]");
            let (value, meaning) = (cell(&value), cell(&comment.join(" ")));
            let _ = writeln!(page, "| `{table}.{key}` | `{value}` | {meaning} |");
            comment.clear();
        } else if line.is_empty() && !comment.is_empty() {
            example(&mut page, &comment);
            comment.clear();
            in_table = false;
        }
    }
    page
}

/// A table that is only shown, in comments.
fn example(page: &mut String, comment: &[&str]) {
    let at = comment.iter().position(|line| line.starts_with("[[")).unwrap_or(comment.len());
    let (before, code) = comment.split_at(at);
    let before: Vec<&str> = before.iter().copied().filter(|line| !line.is_empty()).collect();
    if let Some(title) = code.first() {
        let _ = write!(page, "\n## {title}\n\n{}\n\n```toml\n", before.join("\n"));
        for line in code {
            let is_said = !line.contains(" = ") && !line.starts_with("[[");
            let _ = writeln!(page, "{}{line}", if is_said { "# " } else { "" });
        }
        page.push_str("```\n");
    } else {
        let _ = write!(page, "\n{}\n", before.join("\n"));
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_in_the_documents_is_what_the_types_say() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let written = std::fs::read_to_string(file).unwrap_or_default();
        assert!(written == page(), "docs/configuration.md is not what `sensor config reference` prints");
    }

    #[test]
    fn every_key_has_its_row() {
        let page = page();
        for row in
            ["| `health.listen` | `\"\"` | An address", "| `telemetry.environment` | `[\"LD_PRELOAD\", "]
        {
            assert!(page.contains(row), "{page}");
        }
        assert!(page.contains("## [[exceptions]]"));
    }
}
