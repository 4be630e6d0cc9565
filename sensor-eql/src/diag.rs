//! What is wrong with a query or a rule file, where, why, and what would fix it.

use std::borrow::Cow;
use std::fmt;

/// A byte range of the text that was parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// A range from byte offsets; texts over 4 GiB are clamped, they are refused long before.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        let clamp = |n| u32::try_from(n).unwrap_or(u32::MAX);
        Self { start: clamp(start), end: clamp(end) }
    }

    /// The smallest range that covers both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The rule runs, but probably not as its author thinks.
    Warning,
    /// The rule cannot run.
    Error,
}

/// One finding, positioned in the text it was made on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Where in the parsed text.
    pub span: Span,
    /// What is wrong, in one line.
    pub message: String,
    /// Why it is wrong; printed at the caret.
    pub cause: Option<String>,
    /// The likely fix.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error.
    #[must_use]
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, span, message: message.into(), cause: None, help: None }
    }

    /// A warning.
    #[must_use]
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds the likely fix.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// All findings on one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Whether any of them is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// Every finding as text, positioned in `source`.
    #[must_use]
    pub fn render(&self, source: &SourceFile<'_>) -> String {
        self.0.iter().map(|d| source.locate(d).to_string()).collect::<Vec<_>>().join("\n")
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{}", d.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// How offsets in a parsed text map to offsets in the file it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OffsetMap {
    /// The parsed text is the file.
    #[default]
    Identity,
    /// Pairs (offset in the parsed text, offset in the file), sorted; in between, both advance alike.
    Points(Vec<(u32, u32)>),
}

impl OffsetMap {
    fn to_file(&self, offset: u32) -> usize {
        let mapped = match self {
            Self::Identity => offset,
            Self::Points(points) => {
                let at = points.partition_point(|(from, _)| *from <= offset);
                let (from, to) = at.checked_sub(1).and_then(|i| points.get(i)).copied().unwrap_or((0, 0));
                to.saturating_add(offset.saturating_sub(from))
            }
        };
        usize::try_from(mapped).unwrap_or(usize::MAX)
    }
}

/// The file that findings are shown in.
#[derive(Clone, Debug)]
pub struct SourceFile<'a> {
    /// Name as the user knows it.
    pub name: &'a str,
    /// Its whole text.
    pub text: &'a str,
    /// Where the parsed text lies in it.
    pub map: OffsetMap,
}

impl<'a> SourceFile<'a> {
    /// A file that was parsed as it is.
    #[must_use]
    pub fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, text, map: OffsetMap::Identity }
    }

    /// Resolves a finding to file, line and column, with the source line copied out.
    #[must_use]
    pub fn locate(&self, diagnostic: &Diagnostic) -> Located {
        let clamp = |offset: usize| {
            let mut at = offset.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = clamp(self.map.to_file(diagnostic.span.start));
        let last = diagnostic.span.end.max(diagnostic.span.start + 1) - 1;
        let end = clamp(self.map.to_file(last).saturating_add(1)).max(start);
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let rest = self.text.get(line_start..).unwrap_or_default();
        let line_text = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let column = self.text.get(line_start..start).unwrap_or_default().chars().count() + 1;
        let shown_end = end.min(line_start + line_text.len()).max(start);
        let width = self.text.get(start..shown_end).unwrap_or_default().chars().count().max(1);
        Located {
            file: self.name.to_owned(),
            line: before.matches('\n').count() + 1,
            column,
            width,
            source_line: line_text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
            diagnostic: diagnostic.clone(),
        }
    }
}

/// A finding that needs no text any more: it knows its file, line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// File name as given.
    pub file: String,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// Characters under the caret.
    pub width: usize,
    /// The line, control characters blanked so that a hostile file cannot drive the terminal.
    pub source_line: String,
    /// The finding itself.
    pub diagnostic: Diagnostic,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = &self.diagnostic;
        let kind = match d.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(f, "{kind}: {}", printable(&d.message))?;
        writeln!(f, "{gutter}--> {}:{}:{}", printable(&self.file), self.line, self.column)?;
        writeln!(f, "{gutter} |")?;
        // Of a line that is longer than any screen, what surrounds the place.
        let skipped = self.column.saturating_sub(SHOWN_COLUMNS_MAX / 2);
        let skipped = if self.source_line.chars().count() > SHOWN_COLUMNS_MAX { skipped } else { 0 };
        let shown: String = self.source_line.chars().skip(skipped).take(SHOWN_COLUMNS_MAX).collect();
        writeln!(f, "{number} | {shown}")?;
        let indent = self.column.saturating_sub(1 + skipped);
        let carets = "^".repeat(self.width.min(SHOWN_COLUMNS_MAX.saturating_sub(indent)).max(1));
        write!(f, "{gutter} | {}{carets}", " ".repeat(indent))?;
        if let Some(cause) = &d.cause {
            write!(f, " {}", printable(cause))?;
        }
        writeln!(f)?;
        if let Some(help) = &d.help {
            writeln!(f, "{gutter} = help: {}", printable(help))?;
        }
        Ok(())
    }
}

/// Columns of a source line that a diagnostic prints.
const SHOWN_COLUMNS_MAX: usize = 200;

/// Text from a file or a file's name, with control characters escaped: it can neither drive a terminal nor pass for
/// another line.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| -> String { if c.is_control() { c.escape_default().collect() } else { c.into() } };
    Cow::Owned(text.chars().map(escape).collect())
}

/// The candidate closest to `wanted`, if one is close enough to be a likely typing error.
#[must_use]
pub fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (wanted.chars().count() / 3).clamp(1, 6);
    candidates.map(|c| (distance(wanted, c, limit), c)).filter(|(d, _)| *d <= limit).min().map(|(_, c)| c)
}

/// Edit distance, counting a swap of neighbours as one; gives up above `limit`.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.to_ascii_lowercase().chars().collect(), b.to_ascii_lowercase().chars().collect());
    if a.len().abs_diff(b.len()) > limit {
        return usize::MAX;
    }
    let mut older: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let at = |row: &[usize], k: usize| row.get(k).copied().unwrap_or(usize::MAX - 1);
            let mut best = at(&previous, j) + usize::from(ca != cb);
            best = best.min(at(&previous, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && Some(ca) == b.get(j - 1) && a.get(i - 1) == Some(cb);
            if swapped {
                best = best.min(at(&older, j - 1) + 1);
            }
            row.push(best);
        }
        older = std::mem::replace(&mut previous, row);
    }
    previous.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_shown_around_the_place() {
        let text = format!("{}!{}", "a".repeat(5_000), "b".repeat(5_000));
        let shown = SourceFile::new("long\n.toml", &text)
            .locate(&Diagnostic::error(Span::new(5_000, 5_001), "here"))
            .to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1], " --> long\\n.toml:1:5001");
        let caret = lines[4].find('^').unwrap();
        assert_eq!(lines[3].as_bytes()[caret], b'!', "{shown}");
        assert!(shown.len() < 700, "{} bytes", shown.len());
    }

    #[test]
    fn caret_points_at_the_span() {
        let text = "first\nprocess where foo(x)\n";
        let source = SourceFile::new("r.eql", text);
        let at = text.find("foo").unwrap();
        let d = Diagnostic::error(Span::new(at, at + 3), "unknown function").because("no such").help("bar");
        let shown = source.locate(&d).to_string();
        assert!(shown.contains("r.eql:2:15"), "{shown}");
        assert!(shown.contains("2 | process where foo(x)\n  |               ^^^ no such"), "{shown}");
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let source = SourceFile::new("r", "a\u{1b}[31m b");
        assert!(!source.locate(&Diagnostic::error(Span::new(0, 1), "m")).to_string().contains('\u{1b}'));
    }

    #[test]
    fn nearest_offers_typing_errors_only() {
        let names = ["process.name", "process.executable", "file.path"];
        assert_eq!(nearest("process.nmae", names.into_iter()), Some("process.name"));
        assert_eq!(nearest("zebra", names.into_iter()), None);
    }
}
