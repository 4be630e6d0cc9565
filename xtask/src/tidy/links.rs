//! Relative links in Markdown must lead to something.

use std::path::Path;

use super::Finding;

pub(super) fn check(root: &Path, file: &str, text: &str) -> Vec<Finding> {
    let folder = root.join(file).parent().map(Path::to_path_buf).unwrap_or_default();
    let mut findings = Vec::new();
    let mut in_code = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for target in targets(line) {
            let path = target.split(['#', '?']).next().unwrap_or_default();
            let outside = target.contains("://") || target.starts_with("mailto:");
            if !outside && !path.is_empty() && !folder.join(path).exists() {
                findings.push(Finding::new(file, number, format!("the link leads nowhere: {target}")));
            }
        }
    }
    findings
}

/// What stands between `](` and the closing parenthesis, outside of code spans.
fn targets(line: &str) -> Vec<&str> {
    // Every second piece between backquotes is code.
    line.split('`')
        .step_by(2)
        .flat_map(|text| text.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split_whitespace().next().unwrap_or_default())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_outside_code() {
        assert_eq!(targets("see [a](b.md#c) and [d](e \"title\"), not `[x](y)`"), ["b.md#c", "e"]);
    }

    #[test]
    fn a_dead_link_is_located() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = "[here](Cargo.toml)\n[out](https://example.org)\n\n[dead](no-such-file.md)\n";
        let found = check(root, "x.md", text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].line, 4);
    }
}
