//! APT's configuration: which commands it makes APT run.
//!
//! Read as APT reads it, for what it reads otherwise hides from whoever looks here: comments are cut out of each line first,
//! also in the middle of a name; a quote ends with its line; parts in quotes and without them are one word; `%2d` in a name
//! is `-`; a backslash is one. A statement of one word is an item of the list around it, in one of more the first names
//! the option. What APT refuses to read is reported all the same.

use serde::Serialize;

use super::Text;

/// A hook that APT or dpkg will run, as root, or a file that APT will read for more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Directive {
    /// As APT writes it, scopes joined: `DPkg::Pre-Invoke`; `#include`.
    pub(super) name: Text,
    /// The command; the file.
    pub(super) value: Text,
    pub(super) line: usize,
}

impl Directive {
    /// Whether the value names a file with more configuration.
    pub(super) fn is_file(&self) -> bool {
        self.name.0.starts_with(b"#") || self.name.0.to_ascii_lowercase().starts_with(b"dir::etc::")
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) directives: Vec<Directive>,
    /// More than are listed.
    pub(super) not_listed: u64,
}

/// Bytes of a configuration that are looked at.
pub(super) const BYTES_MAX: usize = 1 << 20;
/// More are counted.
const DIRECTIVES_MAX: usize = 32;
/// Names that run anything are shorter.
const NAME_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 4096;

/// Whether a path is one that APT reads its configuration from.
pub(super) fn is_configuration(path: &[u8]) -> bool {
    path == b"/etc/apt/apt.conf"
        || path
            .strip_prefix(b"/etc/apt/apt.conf.d/".as_slice())
            .is_some_and(|name| !name.is_empty() && !name.contains(&b'/'))
}

/// Options whose values, or those of their parts, are run, or say where programs and more configuration are found.
const RUN: [&str; 12] = [
    "apt::compressor",
    "apt::key::gpgvcommand",
    "apt::planner",
    "apt::solver",
    "aptcli::hooks",
    "dir::bin",
    "dir::etc::main",
    "dir::etc::parts",
    "dpkg::build-command",
    "dpkg::chroot-directory",
    "dpkg::options",
    "dpkg::path",
];
/// The same, wherever they are.
const RUN_ANYWHERE: [&str; 5] =
    ["pre-install-pkgs", "proxyautodetect", "proxy-auto-detect", "planners", "solvers"];

/// Whether an option's value is run as a command, or is a file with more options.
fn runs(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    // `Binary::apt-get::…` counts for that program only.
    let of_program = name.strip_prefix("binary::").and_then(|rest| rest.split_once("::"));
    let option = of_program.map_or(name.as_str(), |(_, option)| option);
    name == "#include"
        || name.split("::").any(|part| part.contains("invoke") || RUN_ANYWHERE.contains(&part))
        || RUN.iter().any(|prefix| option.starts_with(prefix))
}

/// The hooks of a configuration.
pub(super) fn directives(text: &[u8]) -> Found {
    let mut reader = Reader::default();
    for (line, bytes) in text.split(|byte| *byte == b'\n').enumerate() {
        reader.line(bytes, line + 1);
    }
    // APT wants it ended; later ones may not.
    reader.end_statement();
    reader.found
}

#[derive(Default)]
struct Reader {
    in_comment: bool,
    /// Names of the scopes around, joined.
    scope: Vec<u8>,
    /// How much of it each scope found.
    outer: Vec<usize>,
    statement: Vec<u8>,
    /// Where that begins.
    begun: usize,
    found: Found,
}

impl Reader {
    fn line(&mut self, bytes: &[u8], line: usize) {
        let mut quoted = false;
        for byte in self.without_comments(bytes) {
            quoted ^= byte == b'"';
            match byte {
                b'{' if !quoted => self.open(),
                b';' if !quoted => self.end_statement(),
                b'}' if !quoted => {
                    self.end_statement();
                    self.scope.truncate(self.outer.pop().unwrap_or(0));
                }
                _ if self.statement.is_empty() && is_blank(byte) => {}
                _ => {
                    if self.statement.is_empty() {
                        self.begun = line;
                    }
                    self.statement.push(byte);
                }
            }
        }
        if !self.statement.is_empty() {
            self.statement.push(b' ');
        }
    }

    fn without_comments(&mut self, line: &[u8]) -> Vec<u8> {
        let (mut left, mut rest, mut quoted) = (Vec::with_capacity(line.len()), line, false);
        loop {
            if self.in_comment {
                let Some(end) = memchr::memmem::find(rest, b"*/") else { return left };
                rest = rest.get(end + 2..).unwrap_or_default();
                self.in_comment = false;
            }
            let Some((&byte, after)) = rest.split_first() else { return left };
            quoted ^= byte == b'"';
            if !quoted && rest.starts_with(b"/*") {
                self.in_comment = true;
                rest = rest.get(2..).unwrap_or_default();
                continue;
            }
            let is_directive = [&b"#clear"[..], b"#include"].iter().any(|word| rest.starts_with(word));
            if !quoted && (rest.starts_with(b"//") || byte == b'#' && !is_directive) {
                return left;
            }
            left.push(byte);
            rest = after;
        }
    }

    fn open(&mut self) {
        self.outer.push(self.scope.len());
        let statement = std::mem::take(&mut self.statement);
        let (name, rest) = word(&statement);
        join(&mut self.scope, &name);
        // An option can have a value and parts.
        self.add(self.scope.clone(), unquoted(rest));
    }

    fn end_statement(&mut self) {
        let statement = std::mem::take(&mut self.statement);
        let (first, rest) = word(&statement);
        let mut name = self.scope.clone();
        let value = if rest.iter().all(|byte| is_blank(*byte)) {
            first
        } else {
            // What begins a directive is not part of any scope.
            if first.starts_with(b"#") {
                name.clear();
            }
            join(&mut name, &first);
            unquoted(rest)
        };
        self.add(name, value);
    }

    fn add(&mut self, name: Vec<u8>, value: Vec<u8>) {
        if value.is_empty() || !runs(&name) {
            return;
        }
        if self.found.directives.len() >= DIRECTIVES_MAX {
            self.found.not_listed += 1;
            return;
        }
        let value = value.get(..VALUE_BYTES_MAX).unwrap_or(&value).to_vec();
        self.found.directives.push(Directive { name: Text(name), value: Text(value), line: self.begun });
    }
}

/// Appends a part to a name, unless it becomes longer than any that runs something.
fn join(name: &mut Vec<u8>, part: &[u8]) {
    let part = part.strip_suffix(b"::").unwrap_or(part);
    if part.is_empty() || name.len() + part.len() > NAME_BYTES_MAX {
        return;
    }
    if !name.is_empty() {
        name.extend_from_slice(b"::");
    }
    name.extend_from_slice(part);
}

/// The first word, decoded, and what follows it.
fn word(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let begin = text.iter().position(|byte| !is_blank(*byte)).unwrap_or(text.len());
    let (mut word, mut rest, mut quoted) = (Vec::new(), text.get(begin..).unwrap_or_default(), false);
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after) {
            (b'"', _) => quoted = !quoted,
            (b'%', [high, low, ..]) if let (Some(high), Some(low)) = (hex(*high), hex(*low)) => {
                word.push(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
                continue;
            }
            _ if !quoted && is_blank(byte) => return (word, rest),
            _ => word.push(byte),
        }
        rest = after;
    }
    (word, rest)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// C's idea of it.
const fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// A value: quotes are left out, and blanks between them are one.
fn unquoted(text: &[u8]) -> Vec<u8> {
    let (mut value, mut quoted) = (Vec::new(), false);
    let mut is_apart = false;
    for &byte in text {
        match byte {
            b'"' => quoted = !quoted,
            _ if !quoted && is_blank(byte) => is_apart = !value.is_empty(),
            _ => {
                if std::mem::take(&mut is_apart) {
                    value.push(b' ');
                }
                value.push(byte);
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Vec<(String, String, usize)> {
        let text_of = |text: Text| String::from_utf8(text.0).unwrap();
        let of = |found: Directive| (text_of(found.name), text_of(found.value), found.line);
        directives(text.as_bytes()).directives.into_iter().map(of).collect()
    }

    fn hook(name: &str, value: &str, line: usize) -> (String, String, usize) {
        (name.to_owned(), value.to_owned(), line)
    }

    #[test]
    fn every_way_to_write_a_hook_is_found() {
        let one = |name, value| vec![hook(name, value, 1)];
        assert_eq!(
            found("APT::Update::Pre-Invoke {\"id > /tmp/x\";};"),
            one("APT::Update::Pre-Invoke", "id > /tmp/x")
        );
        assert_eq!(
            found("DPkg::Post-Invoke:: \"sh -c \\\"x\\\"\";"),
            one("DPkg::Post-Invoke", "sh -c \\x\\")
        );
        assert_eq!(found("dpkg { pre-invoke { \"a;b\"; } }"), one("dpkg::pre-invoke", "a;b"));
        assert_eq!(
            found("DPkg\n{\n  Pre-Install-Pkgs { \"one\"; \"two\"; };\n};"),
            [hook("DPkg::Pre-Install-Pkgs", "one", 3), hook("DPkg::Pre-Install-Pkgs", "two", 3)]
        );
        assert_eq!(
            found("APT::Update::Post-Invoke-Success {\"x\";};"),
            one("APT::Update::Post-Invoke-Success", "x")
        );
        assert_eq!(
            found("Acquire::http::Proxy-Auto-Detect \"/tmp/p\";"),
            one("Acquire::http::Proxy-Auto-Detect", "/tmp/p")
        );
    }

    #[test]
    fn comments_and_plain_options_are_not() {
        assert_eq!(
            found(
                "// DPkg::Pre-Invoke {\"x\";};\n# DPkg::Pre-Invoke {\"x\";};\n/* DPkg::Pre-Invoke\n{\"x\";}; */"
            ),
            []
        );
        assert_eq!(found("APT::Install-Recommends \"false\";\nAcquire::Retries 3;"), []);
        // A comment in front does not hide what follows it.
        assert_eq!(found("/* */ DPkg::Pre-Invoke {\"x\";};"), [hook("DPkg::Pre-Invoke", "x", 1)]);
    }

    /// Each as apt-config of APT 2.6 reads it.
    #[test]
    fn nothing_hides_in_how_it_is_written() {
        let pre = |value| vec![hook("DPkg::Pre-Invoke", value, 1)];
        for text in [
            "DPkg::Pre-In/**/voke {\"x\";};",
            "D%50kg::Pre%2dInvoke {\"x\";};",
            "\"DPkg\"::\"Pre-Invoke\" {\"x\"}",
            "\u{b}DPkg::Pre-Invoke\u{b}\"x\";",
            "DPkg { Pre-Invoke { x; } }",
            "DPkg::Pre-Invoke#c\n{\"x\";};",
            "DPkg::Pre-Invoke {\n#c\n\"x\";};",
            "\"\" { DPkg::Pre-Invoke \"x\"; };",
            "} }; DPkg::Pre-Invoke \"x\"",
            "DPkg::Pre-Invoke \"x\" { }",
        ] {
            let lines = text.lines().position(|line| line.contains("\"x\"")).filter(|_| text.contains('#'));
            let wanted = vec![hook("DPkg::Pre-Invoke", "x", lines.map_or(1, |line| line + 1))];
            assert_eq!(found(text), wanted, "{text}");
        }
        assert_eq!(found("DPkg::Pre-Invoke:: \"a\" \"b\"\"c\";"), pre("a bc"));
        assert_eq!(found("DPkg::Pre-Invoke {\"a//b#c/*d*/\";};"), pre("a//b#c/*d*/"));
        let post = |line| vec![hook("DPkg::Post-Invoke", "b", line)];
        assert_eq!(found("/*/ DPkg::Pre-Invoke \"a\"; /*/ DPkg::Post-Invoke \"b\";"), post(1));
        assert_eq!(found("// /*\nDPkg::Post-Invoke \"b\";"), post(2));
        assert_eq!(found("/* \" */ DPkg::Post-Invoke \"b\";"), post(1));
        let deep = format!("{}DPkg::Post-Invoke \"b\";", "\"\" {".repeat(100));
        assert_eq!(found(&deep), post(1));
        let hidden = format!("{}DPkg::Post-Invoke \"b\";", "a { b c; };".repeat(100));
        assert_eq!(found(&hidden), post(1));
        // More configuration is somewhere else.
        assert_eq!(found("x 1; #include \"/tmp/a\";"), [hook("#include", "/tmp/a", 1)]);
        assert_eq!(found("Dir::Etc::Main /tmp/a;"), [hook("Dir::Etc::Main", "/tmp/a", 1)]);
        assert_eq!(found("#clear DPkg::Pre-Invoke;"), []);
        assert_eq!(
            found("Binary::apt::AptCli::Hooks::Install:: \"/tmp/a\";"),
            [hook("Binary::apt::AptCli::Hooks::Install", "/tmp/a", 1)]
        );
        assert_eq!(directives(b"DPkg::Pre-Invoke {\"\xff\0\";};").directives.len(), 1);
        let many = directives("DPkg::Pre-Invoke:: x;".repeat(40).as_bytes());
        assert_eq!((many.directives.len(), many.not_listed), (DIRECTIVES_MAX, 8));
    }

    #[test]
    fn only_the_configuration_directory_is_aptss() {
        assert!(is_configuration(b"/etc/apt/apt.conf") && is_configuration(b"/etc/apt/apt.conf.d/99x"));
        assert!(!is_configuration(b"/etc/apt/apt.conf.d/") && !is_configuration(b"/etc/apt/sources.list"));
    }

    proptest! {
        #[test]
        fn whatever_comes_ends(text: String) {
            prop_assert!(directives(text.as_bytes()).directives.len() <= DIRECTIVES_MAX);
        }

        #[test]
        fn braces_and_quotes_in_any_order_end(text in "[{};:\"\\\\a\n/*# ]{0,200}") {
            prop_assert!(directives(text.as_bytes()).directives.len() <= DIRECTIVES_MAX);
        }
    }
}
