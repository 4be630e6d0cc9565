//! Taking lines apart, as bytes.

/// The line without white space at its ends.
pub(super) fn trim(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

/// Words between white space.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// The words again, with one blank between them.
pub(super) fn join<'a>(words: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    words.collect::<Vec<_>>().join(&b' ')
}

/// What stands before and after the first `byte`.
pub(super) fn split_once(line: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|it| *it == byte)?;
    Some((line.get(..at)?, line.get(at + 1..)?))
}

/// A number, in decimal.
pub(super) fn number<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

/// Lines that are neither empty nor a comment, trimmed.
pub(super) fn settings(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    super::super::accounts::lines(bytes).map(trim).filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

/// `directory` and `name` with one slash between.
pub(super) fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if directory.ends_with(b"/") { b"" } else { b"/" };
    [directory, slash, name].concat()
}

/// What follows the last slash.
pub(super) fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}
