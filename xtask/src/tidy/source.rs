//! Rules about lines: length of files, first lines, unsafe code, left-overs, white space, words.

use super::Finding;

const LINES_MAX: usize = 500;

/// In pieces for the same reason as the words below.
const UNSAFE: &str = concat!("uns", "afe");

/// Where unsafe code may stand. Everything else is safe Rust, by lint and by this list.
const UNSAFE_ALLOWED: [&str; 4] =
    ["sensor-ebpf/src/", "sensor/src/kernel/", "sensor-hunt/src/osquery/vtab.rs", "tests/src/actor/raw.rs"];

/// Written in pieces, so that this list does not find itself.
const LEFT_OVERS: [(&str, &str); 5] = [
    (concat!("TO", "DO"), "is unfinished: finish it or file it"),
    (concat!("FIX", "ME"), "is unfinished: finish it or file it"),
    (concat!("XX", "X"), "is unfinished: finish it or file it"),
    (concat!("todo", "!("), "panics where code is missing"),
    (concat!("unimplemented", "!("), "panics where code is missing"),
];

const FOREIGN: [(&str, &str); 6] = [
    (concat!("/wo", "rk/"), "names a folder of one developer's machine"),
    (concat!("/Us", "ers/"), "names a folder of one developer's machine"),
    (concat!("crates", ".io"), "names a package host: the package's name is enough"),
    (concat!("deb.debian", ".org"), "names a package host: the package's name is enough"),
    (concat!("pypi", ".org"), "names a package host: the package's name is enough"),
    (concat!("registry.npmjs", ".org"), "names a package host: the package's name is enough"),
];

pub(super) fn check(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let generated = file.ends_with("Cargo.lock");
    if generated {
        return findings;
    }
    let rust = file.ends_with(".rs");
    if rust {
        findings.extend(rust_file(file, text));
    }
    for (number, line) in (1..).zip(text.lines()) {
        // Two blanks at the end of a line are a line break in Markdown, but nobody sees them.
        if line.ends_with([' ', '\t', '\r']) {
            findings.push(Finding::new(file, number, "white space at the end of the line"));
        }
        for (word, cause) in LEFT_OVERS.iter().filter(|_| rust).chain(&FOREIGN) {
            if has_word(line, word) {
                findings.push(Finding::new(file, number, format!("{word} {cause}")));
            }
        }
    }
    if !text.is_empty() && !text.ends_with('\n') {
        findings.push(Finding::new(file, text.lines().count(), "no line feed at the end of the file"));
    }
    findings
}

fn rust_file(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.push(Finding::new(
            file,
            lines,
            format!("{lines} lines: more than {LINES_MAX}, split the file"),
        ));
    }
    if !text.starts_with("//! ") {
        findings.push(Finding::new(file, 1, "the first line must say what the file is for: //! ..."));
    }
    if !UNSAFE_ALLOWED.iter().any(|allowed| file.starts_with(allowed)) {
        for (number, line) in (1..).zip(text.lines()) {
            let code = line.split("//").next().unwrap_or_default();
            // Every second piece between quotes is text.
            if code.split('"').step_by(2).any(|piece| has_word(piece, UNSAFE)) {
                findings.push(Finding::new(
                    file,
                    number,
                    format!("{UNSAFE} code outside the modules that may hold it"),
                ));
            }
        }
    }
    findings
}

/// Whether the word stands alone: neither letters, digits nor underscores touch its word-like ends.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, found)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + found.len()..).and_then(|text| text.chars().next());
        let open_start = !word.starts_with(part_of_word) || !before.is_some_and(part_of_word);
        let open_end = !word.ends_with(part_of_word) || !after.is_some_and(part_of_word);
        open_start && open_end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn causes(file: &str, text: &str) -> Vec<String> {
        check(file, text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_clean_file_has_no_findings() {
        assert!(causes("a/src/lib.rs", "//! Says it.\nfn a() {}\n").is_empty());
    }

    #[test]
    fn each_rule_names_its_line() {
        let text = format!("fn a() {{}} \n// {}: later\nlet p = \"{}x\";\n", LEFT_OVERS[0].0, FOREIGN[0].0);
        let found = causes("a/src/lib.rs", &text);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].starts_with("a/src/lib.rs:1: the first line"));
        assert!(found[1].starts_with("a/src/lib.rs:1: white space"));
        assert!(found[2].starts_with("a/src/lib.rs:2: "));
        assert!(found[3].starts_with("a/src/lib.rs:3: "));
    }

    #[test]
    fn long_files_are_found() {
        let text = format!("//! Long.\n{}", "\n".repeat(LINES_MAX));
        assert_eq!(causes("a.rs", &text).len(), 1);
        assert!(causes("a.md", &text).is_empty());
    }

    #[test]
    fn unsafe_code_is_found_where_it_may_not_be() {
        let text = format!("//! Raw.\nlet x = {} {{ y }};\n", UNSAFE);
        assert_eq!(causes("sensor-ecs/src/a.rs", &text).len(), 1);
        assert!(causes("sensor/src/kernel/a.rs", &text).is_empty());
        assert!(causes("sensor-ecs/src/a.rs", "//! Says #![forbid(unsafe_code)].\n").is_empty());
        assert!(
            causes("sensor-ecs/src/a.rs", &format!("//! Says.\nlet x = \"{UNSAFE} it is\";\n")).is_empty()
        );
    }

    #[test]
    fn words_inside_words_are_not_found() {
        assert!(!has_word(&format!("{UNSAFE}_code"), UNSAFE));
        assert!(has_word(&format!("a {UNSAFE}{{"), UNSAFE));
    }
}
