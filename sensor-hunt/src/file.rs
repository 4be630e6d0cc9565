//! Hunt files: Elastic's TOML format, `[hunt]` with several queries in one or two languages.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::Deserialize;

/// A hunt, as it was published.
#[derive(Clone, Debug, Default)]
pub struct Hunt {
    /// The file it was read from; none for a query of the command line.
    pub path: Option<PathBuf>,
    /// Its name.
    pub name: String,
    /// Its id.
    pub uuid: Option<String>,
    /// Who wrote it.
    pub author: Option<String>,
    /// What it looks for.
    pub description: Option<String>,
    /// Under which licence.
    pub license: Option<String>,
    /// What to do with the rows.
    pub notes: Vec<String>,
    /// Ids of MITRE ATT&CK techniques.
    pub mitre: Vec<String>,
    /// Its queries, in the order of the file.
    pub queries: Vec<HuntQuery>,
}

/// A query of a hunt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HuntQuery {
    /// What it is written in.
    pub language: Language,
    /// Its text, without the white space and the stray first line around it.
    pub text: String,
}

/// What a query is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Over stored events.
    Esql,
    /// osquery's SQL over the live host.
    Sql,
    /// Neither; said when it is to be run.
    Unknown,
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Esql => "ES|QL",
            Self::Sql => "SQL",
            Self::Unknown => "unknown language",
        })
    }
}

/// Why a file is no hunt.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct FileError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub cause: String,
}

#[derive(Deserialize)]
struct Document {
    hunt: Option<Body>,
    rule: Option<Rule>,
}

/// A detection rule, of which those in ES|QL can be asked as a hunt.
#[derive(Deserialize)]
struct Rule {
    name: Option<String>,
    #[serde(rename = "rule_id")]
    uuid: Option<String>,
    description: Option<String>,
    license: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    query: Option<String>,
}

/// Published both as a text and as a list of texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    All(Vec<String>),
}

impl Texts {
    fn all(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::All(texts) => texts,
        }
    }
}

#[derive(Deserialize)]
struct Body {
    name: Option<String>,
    uuid: Option<String>,
    author: Option<Texts>,
    description: Option<String>,
    license: Option<String>,
    notes: Option<Texts>,
    mitre: Option<Texts>,
    #[serde(default)]
    query: Vec<String>,
}

/// A hunt file is text for people; no published one is larger than 20 kB.
const FILE_BYTES_MAX: u64 = 4 << 20;
const FILES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 32;

impl Hunt {
    /// Reads one file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is not TOML, or is no hunt.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let error = |cause: String| FileError { path: path.to_owned(), cause };
        let text = read_text(path).map_err(|cause| error(cause.to_string()))?;
        let language = match extension(path) {
            Some("esql") => Some(Language::Esql),
            Some("sql") => Some(Language::Sql),
            _ => None,
        };
        if let Some(language) = language {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(Self { path: Some(path.to_owned()), name, ..Self::of_query(&text, Some(language)) });
        }
        Self::parse(&text).map(|hunt| Self { path: Some(path.to_owned()), ..hunt }).map_err(error)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// As [`Hunt::read`].
    pub fn parse(text: &str) -> Result<Self, String> {
        let document: Document = toml::from_str(text).map_err(|cause| {
            let at = cause.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("line {line}, column {column}: {}", cause.message())
        })?;
        let body = match (document.hunt, document.rule) {
            (Some(body), _) => body,
            (None, Some(rule)) => return rule.hunt(),
            (None, None) => return Err(NO_HUNT.into()),
        };
        if body.query.is_empty() {
            return Err("the hunt has no query".into());
        }
        Ok(Self {
            path: None,
            name: body.name.unwrap_or_else(|| "unnamed hunt".into()),
            uuid: body.uuid,
            author: body.author.map(|author| author.all().join(", ")),
            description: body.description,
            license: body.license,
            notes: body.notes.map(Texts::all).unwrap_or_default(),
            mitre: body.mitre.map(Texts::all).unwrap_or_default(),
            queries: body.query.iter().map(|text| HuntQuery::new(text, None)).collect(),
        })
    }

    /// A hunt of one query.
    #[must_use]
    pub fn of_query(text: &str, language: Option<Language>) -> Self {
        Self { name: "query".into(), queries: vec![HuntQuery::new(text, language)], ..Self::default() }
    }

    /// Whether a path ends as that of a hunt file does.
    #[must_use]
    pub fn is_named_as_one(path: &Path) -> bool {
        matches!(extension(path), Some("toml" | "esql" | "sql"))
    }

    /// Whether a folder holds hunt files, or folders that do.
    #[must_use]
    pub fn is_folder_of_some(path: &Path) -> bool {
        let mut files = Vec::new();
        path.is_dir() && collect(path, 0, &mut files).is_ok() && !files.is_empty()
    }

    /// Reads a file, or every hunt file below a folder in the order of their paths. Symbolic links to folders are not
    /// followed.
    #[must_use]
    pub fn load(path: &Path) -> Vec<Result<Self, FileError>> {
        let mut files = Vec::new();
        if path.is_dir() {
            if let Err(error) = collect(path, 0, &mut files) {
                return vec![Err(error)];
            }
            files.sort();
            if files.is_empty() {
                return vec![Err(FileError {
                    path: path.to_owned(),
                    cause: "no .toml, .esql or .sql file in this folder".into(),
                })];
            }
        } else {
            files.push(path.to_owned());
        }
        files.iter().map(|file| Self::read(file)).collect()
    }
}

const NO_HUNT: &str = "there is no [hunt] table, so this is no hunt";

impl Rule {
    fn hunt(self) -> Result<Hunt, String> {
        match (self.kind.as_deref(), self.query) {
            (Some("esql"), Some(query)) => Ok(Hunt {
                name: self.name.unwrap_or_else(|| "unnamed rule".into()),
                uuid: self.uuid,
                description: self.description,
                license: self.license,
                ..Hunt::of_query(&query, Some(Language::Esql))
            }),
            (Some("eql"), _) => Err(format!("{NO_HUNT} but an EQL rule: `sensor replay --rules` runs it")),
            _ => Err(NO_HUNT.into()),
        }
    }
}

fn extension(path: &Path) -> Option<&str> {
    path.extension().and_then(|it| it.to_str())
}

/// The text of a regular file. A FIFO or a device, which might never end, is not waited for.
fn read_text(path: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), FileError> {
    let error = |cause: String| FileError { path: folder.to_owned(), cause };
    if depth > DEPTH_MAX {
        return Err(error("too deep".into()));
    }
    for entry in std::fs::read_dir(folder).map_err(|cause| error(cause.to_string()))? {
        let entry = entry.map_err(|cause| error(cause.to_string()))?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(|cause| error(cause.to_string()))?);
        if kind.is_dir() {
            collect(&path, depth + 1, files)?;
        } else if Hunt::is_named_as_one(&path) {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(error(format!("more than {FILES_MAX} files")));
        }
    }
    Ok(())
}

impl HuntQuery {
    /// Some published queries begin with a line `sql`, whatever they are written in; exactly that is left out.
    #[must_use]
    pub fn new(text: &str, language: Option<Language>) -> Self {
        let text = text.trim();
        let text = text.strip_prefix("sql\n").or_else(|| text.strip_prefix("sql\r\n")).unwrap_or(text).trim();
        Self { language: language.unwrap_or_else(|| guess(text)), text: text.to_owned() }
    }
}

/// By the first word behind comments.
fn guess(text: &str) -> Language {
    let mut rest = text.trim_start();
    loop {
        let (end, skipped) = if rest.starts_with("--") || rest.starts_with("//") {
            (rest.find('\n'), 1)
        } else if rest.starts_with("/*") {
            (rest.find("*/"), 2)
        } else {
            break;
        };
        let Some(after) = end.and_then(|end| rest.get(end + skipped..)) else { return Language::Unknown };
        rest = after.trim_start();
    }
    let word = rest.split(|it: char| !it.is_ascii_alphabetic()).next().unwrap_or_default();
    match word.to_ascii_lowercase().as_str() {
        "from" | "row" | "show" => Language::Esql,
        "select" | "with" | "values" => Language::Sql,
        _ => Language::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{Hunt, HuntQuery, Language, guess};

    #[test]
    fn what_might_never_end_is_not_read() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().unwrap();
        mknodat(CWD, folder.path().join("a.toml"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("b.toml")).unwrap();
        std::fs::write(folder.path().join("c.toml"), vec![b'a'; (4 << 20) + 1]).unwrap();
        std::fs::write(folder.path().join("d.toml"), b"\xff").unwrap();
        let causes: Vec<String> =
            Hunt::load(folder.path()).into_iter().map(|hunt| hunt.unwrap_err().cause).collect();
        assert_eq!(
            causes,
            [
                "not a regular file",
                "not a regular file",
                "larger than 4194304 bytes",
                "stream did not contain valid UTF-8"
            ]
        );
    }

    #[test]
    fn the_language_is_that_of_the_first_word() {
        for (text, language) in [
            ("from logs-*", Language::Esql),
            ("// c\n/* d */ FROM logs-*", Language::Esql),
            ("-- c\nSelect 1", Language::Sql),
            ("WITH x AS (SELECT 1) SELECT * FROM x", Language::Sql),
            ("process where true", Language::Unknown),
            ("-- only", Language::Unknown),
            ("", Language::Unknown),
        ] {
            assert_eq!(guess(text), language, "{text}");
        }
    }

    #[test]
    fn only_the_stray_first_line_is_left_out() {
        assert_eq!(HuntQuery::new("\nsql\nSELECT 1;\n", None).text, "SELECT 1;");
        assert_eq!(HuntQuery::new("sql SELECT 1", None).text, "sql SELECT 1");
        assert_eq!(HuntQuery::new("sql\nfrom x", None).language, Language::Esql);
    }

    #[test]
    fn a_file_is_read_or_says_what_is_wrong() {
        let text = "[hunt]\nname = 'N'\nlanguage = ['ES|QL']\nmitre = ['T1']\nquery = ['from a', '''\nselect 1\n''']\n";
        let hunt = Hunt::parse(text).unwrap();
        assert_eq!((hunt.name.as_str(), hunt.queries.len()), ("N", 2));
        for (text, cause) in [
            ("[rule]\n", "no [hunt]"),
            ("[hunt]\nname='x'\n", "no query"),
            ("[hunt]\nquery = 'x'\n", "invalid type"),
            ("[hunt\n", "line 1"),
        ] {
            let error = Hunt::parse(text).unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
    }
}
