//! APT's configuration: which commands it makes APT run.
//!
//! The format is that of apt.conf(5): `Name::Of::Option "value";` and `Name { Part "value"; { "a"; "b"; }; };`, with
//! `//`, `#` and `/* */` comments. Only what runs something is reported.

use serde::Serialize;

/// A hook that APT or dpkg will run, as root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Directive {
    /// As APT writes it, scopes joined: `DPkg::Pre-Invoke`.
    pub(super) name: String,
    /// The command.
    pub(super) value: String,
    pub(super) line: usize,
}

/// More are not listed.
const DIRECTIVES_MAX: usize = 32;
const DEPTH_MAX: usize = 16;

/// Whether a path is one that APT reads its configuration from.
pub(super) fn is_configuration(path: &[u8]) -> bool {
    path == b"/etc/apt/apt.conf"
        || path
            .strip_prefix(b"/etc/apt/apt.conf.d/".as_slice())
            .is_some_and(|name| !name.is_empty() && !name.contains(&b'/'))
}

/// Whether an option's value is run as a command.
fn runs(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let last = name.trim_end_matches(':').rsplit("::").next().unwrap_or_default();
    let invoked = last.contains("invoke") || last == "pre-install-pkgs" || name.contains("-invoke");
    let helper = ["dpkg::path", "dpkg::options", "apt::solver", "dir::bin"];
    let methods = ["proxyautodetect", "proxy-auto-detect", "planners", "solvers"];
    invoked || helper.iter().any(|prefix| name.starts_with(prefix)) || methods.contains(&last)
}

/// The hooks of a configuration's text.
pub(super) fn directives(text: &str) -> Vec<Directive> {
    let mut found = Vec::new();
    let mut scopes: Vec<String> = Vec::new();
    // What stands before a value or a brace.
    let mut name = String::new();
    let mut tokens = Tokens { text, at: 0, line: 1 };
    while let Some((token, line)) = tokens.next_token() {
        match token {
            Token::Word(word) if name.is_empty() => name = word,
            Token::Word(value) => {
                let full = full_name(&scopes, &name);
                add(&mut found, full, value, line);
            }
            Token::Quoted(value) => {
                let full = full_name(&scopes, &name);
                add(&mut found, full, value, line);
            }
            Token::Open => {
                if scopes.len() >= DEPTH_MAX {
                    break;
                }
                scopes.push(std::mem::take(&mut name));
            }
            Token::Close => {
                scopes.pop();
                name.clear();
            }
            Token::End => name.clear(),
        }
        if found.len() >= DIRECTIVES_MAX {
            break;
        }
    }
    found
}

fn full_name(scopes: &[String], name: &str) -> String {
    let parts = scopes.iter().map(String::as_str).chain([name]);
    let named: Vec<_> =
        parts.map(|part| part.trim_end_matches(':')).filter(|part| !part.is_empty()).collect();
    named.join("::")
}

fn add(found: &mut Vec<Directive>, name: String, value: String, line: usize) {
    if runs(&name) && !value.is_empty() {
        found.push(Directive { name, value, line });
    }
}

enum Token {
    Word(String),
    Quoted(String),
    Open,
    Close,
    End,
}

struct Tokens<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

impl Tokens<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, bytes: usize) {
        self.line += self.rest().bytes().take(bytes).filter(|byte| *byte == b'\n').count();
        self.at += bytes;
    }

    fn skip_line(&mut self) {
        let line = self.rest().find('\n').map_or(self.rest().len(), |end| end + 1);
        self.skip(line);
    }

    fn next_token(&mut self) -> Option<(Token, usize)> {
        loop {
            let rest = self.rest();
            let first = rest.chars().next()?;
            let line = self.line;
            match first {
                _ if first.is_whitespace() => self.skip(first.len_utf8()),
                // `#clear` and `#include` are the only directives that begin so; neither runs anything.
                '#' => self.skip_line(),
                '/' if rest.starts_with("//") => self.skip_line(),
                '/' if rest.starts_with("/*") => {
                    let length = rest.find("*/").map_or(rest.len(), |end| end + 2);
                    self.skip(length);
                }
                '{' => {
                    self.skip(1);
                    return Some((Token::Open, line));
                }
                '}' => {
                    self.skip(1);
                    return Some((Token::Close, line));
                }
                ';' => {
                    self.skip(1);
                    return Some((Token::End, line));
                }
                '"' => {
                    let value = self.quoted();
                    return Some((Token::Quoted(value), line));
                }
                _ => {
                    let end =
                        rest.find(|c: char| c.is_whitespace() || "{};\"".contains(c)).unwrap_or(rest.len());
                    let word = rest.get(..end).unwrap_or_default().to_owned();
                    self.skip(end.max(1));
                    return Some((Token::Word(word), line));
                }
            }
        }
    }

    /// A value in quotes; a backslash keeps what follows it.
    fn quoted(&mut self) -> String {
        let mut value = String::new();
        let mut escaped = false;
        let mut length = 1;
        for character in self.rest().chars().skip(1) {
            length += character.len_utf8();
            match character {
                '"' if !escaped => break,
                '\\' if !escaped => {
                    escaped = true;
                    continue;
                }
                _ => value.push(character),
            }
            escaped = false;
        }
        self.skip(length);
        value
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Vec<(String, String, usize)> {
        directives(text).into_iter().map(|found| (found.name, found.value, found.line)).collect()
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
            one("DPkg::Post-Invoke", "sh -c \"x\"")
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

    #[test]
    fn only_the_configuration_directory_is_aptss() {
        assert!(is_configuration(b"/etc/apt/apt.conf") && is_configuration(b"/etc/apt/apt.conf.d/99x"));
        assert!(!is_configuration(b"/etc/apt/apt.conf.d/") && !is_configuration(b"/etc/apt/sources.list"));
    }

    proptest! {
        #[test]
        fn whatever_comes_ends(text: String) {
            prop_assert!(directives(&text).len() <= DIRECTIVES_MAX);
        }

        #[test]
        fn braces_and_quotes_in_any_order_end(text in "[{};:\"\\\\a\n/*# ]{0,200}") {
            prop_assert!(directives(&text).len() <= DIRECTIVES_MAX);
        }
    }
}
