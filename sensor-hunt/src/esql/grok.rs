//! `grok`: a regular expression with named pieces, in linear time.

use regex_automata::meta::Regex;
use sensor_eql::Diagnostic;
use sensor_eql::diag::nearest;

use super::ast::Name;
use super::functions::convert;
use super::outcome::Type;
use super::value::Val;

/// How deep pieces may be made of pieces.
const DEPTH_MAX: usize = 12;
const COMPILED_BYTES_MAX: usize = 8 << 20;

/// Pieces by name. Expressions of our own for what the names are understood to mean.
const PIECES: [(&str, &str); 58] = [
    ("ALNUM", "[A-Za-z0-9]"),
    ("BASE10NUM", "[+-]?(?:[0-9]+(?:\\.[0-9]+)?|\\.[0-9]+)"),
    ("BASE16NUM", "[+-]?(?:0x)?[0-9A-Fa-f]+"),
    ("BOOLEAN", "(?i:true|false)"),
    ("CISCOMAC", "(?:[0-9A-Fa-f]{4}\\.){2}[0-9A-Fa-f]{4}"),
    ("COMMONMAC", "(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}"),
    ("DATA", ".*?"),
    ("DATE_EU", "%{MONTHDAY}[./-]%{MONTHNUM}[./-]%{YEAR}"),
    ("DATE_US", "%{MONTHNUM}[/-]%{MONTHDAY}[/-]%{YEAR}"),
    (
        "DAY",
        "(?:Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?)",
    ),
    ("EMAILADDRESS", "%{EMAILLOCALPART}@%{HOSTNAME}"),
    ("EMAILLOCALPART", "[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+"),
    ("GREEDYDATA", ".*"),
    ("HOSTNAME", "\\b[0-9A-Za-z][0-9A-Za-z-]{0,62}(?:\\.[0-9A-Za-z][0-9A-Za-z-]{0,62})*\\.?"),
    ("HOSTPORT", "%{IPORHOST}:%{POSINT}"),
    ("HOUR", "(?:2[0-3]|[01]?[0-9])"),
    ("HTTPDATE", "%{MONTHDAY}/%{MONTH}/%{YEAR}:%{TIME} %{INT}"),
    ("INT", "[+-]?[0-9]+"),
    ("IP", "(?:%{IPV6}|%{IPV4})"),
    ("IPORHOST", "(?:%{IP}|%{HOSTNAME})"),
    (
        "IPV4",
        "(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
    ),
    (
        "IPV6",
        "(?:(?:[0-9A-Fa-f]{1,4}:){1,7}(?::|(?::[0-9A-Fa-f]{1,4}){1,7}|[0-9A-Fa-f]{1,4})|::(?:[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6})?)(?:%[0-9A-Za-z]+)?",
    ),
    ("ISO8601_TIMEZONE", "(?:Z|[+-]%{HOUR}(?::?%{MINUTE}))"),
    (
        "LOGLEVEL",
        "(?i:alert|trace|debug|notice|info(?:rmation)?|warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal|severe|emerg(?:ency)?)",
    ),
    ("MAC", "(?:%{CISCOMAC}|%{WINDOWSMAC}|%{COMMONMAC})"),
    ("MINUTE", "[0-5][0-9]"),
    (
        "MONTH",
        "\\b(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:tember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\\b",
    ),
    ("MONTHDAY", "(?:3[01]|[12][0-9]|0?[1-9])"),
    ("MONTHNUM", "(?:1[0-2]|0?[1-9])"),
    ("NONNEGINT", "\\b[0-9]+\\b"),
    ("NOTSPACE", "\\S+"),
    ("NUMBER", "%{BASE10NUM}"),
    ("PATH", "(?:%{UNIXPATH}|%{WINPATH})"),
    ("POSINT", "\\b[1-9][0-9]*\\b"),
    ("PROG", "[\\x21-\\x5a\\x5c\\x5e-\\x7e]+"),
    ("QS", "%{QUOTEDSTRING}"),
    ("QUOTEDSTRING", "(?:\"(?:\\\\.|[^\\\\\"])*\"|'(?:\\\\.|[^\\\\'])*')"),
    ("SECOND", "(?:60|[0-5]?[0-9])(?:[:.,][0-9]+)?"),
    ("SPACE", "\\s*"),
    ("SYSLOGTIMESTAMP", "%{MONTH} +%{MONTHDAY} %{TIME}"),
    ("TIME", "%{HOUR}:%{MINUTE}(?::%{SECOND})?"),
    (
        "TIMESTAMP_ISO8601",
        "%{YEAR}-%{MONTHNUM}-%{MONTHDAY}[T ]%{HOUR}:?%{MINUTE}(?::?%{SECOND})?%{ISO8601_TIMEZONE}?",
    ),
    ("TTY", "/dev/(?:pts|tty[pq])?[0-9A-Za-z]*"),
    ("TZ", "(?:[A-Z]{3}|[A-Z]{4})"),
    ("UNIXPATH", "(?:/[\\w_%!$@:.,+~-]*)+"),
    ("URI", "%{URIPROTO}://(?:%{USER}(?::[^@]*)?@)?(?:%{URIHOST})?(?:%{URIPATHPARAM})?"),
    ("URIHOST", "%{IPORHOST}(?::%{POSINT})?"),
    ("URIPARAM", "\\?[A-Za-z0-9$.+!*'|(){},~@#%&/=:;_?\\[\\]<>-]*"),
    ("URIPATH", "(?:/[A-Za-z0-9$.+!*'(){},~:;=@#%&_-]*)+"),
    ("URIPATHPARAM", "%{URIPATH}(?:%{URIPARAM})?"),
    ("URIPROTO", "[A-Za-z]+(?:\\+[A-Za-z+]+)?"),
    ("USER", "%{USERNAME}"),
    ("USERNAME", "[a-zA-Z0-9._-]+"),
    ("UUID", "[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"),
    ("WINDOWSMAC", "(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2}"),
    ("WINPATH", "(?:[A-Za-z]+:|\\\\)(?:\\\\[^\\\\?*]*)+"),
    ("WORD", "\\b\\w+\\b"),
    ("YEAR", "(?:\\d\\d){1,2}"),
];

#[derive(Clone, Debug, PartialEq)]
struct Field {
    name: String,
    ty: Type,
    /// The groups of the expressions that fill it: which expression, which group.
    groups: Vec<(usize, usize)>,
}

/// Compiled expressions; the first that matches fills the columns.
#[derive(Clone, Debug)]
pub(super) struct Grok {
    regexes: Vec<Regex>,
    fields: Vec<Field>,
}

struct Translation<'a> {
    out: String,
    /// Within `[...]`.
    in_class: bool,
    /// Groups so far, the whole match included.
    groups: usize,
    index: usize,
    fields: &'a mut Vec<Field>,
}

fn type_named(word: &str) -> Result<Type, String> {
    match word {
        "string" => Ok(Type::Keyword),
        "int" => Ok(Type::Integer),
        "long" => Ok(Type::Long),
        "float" | "double" => Ok(Type::Double),
        "boolean" => Ok(Type::Boolean),
        other => Err(format!("there is no conversion to `{other}`")),
    }
}

impl Translation<'_> {
    fn expand(&mut self, text: &str, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err("pieces are made of each other too deeply".to_owned());
        }
        let mut rest = text;
        while let Some(start) = rest.find("%{") {
            self.plain(rest.get(..start).unwrap_or_default())?;
            let after = rest.get(start + 2..).unwrap_or_default();
            let (inner, tail) = after.split_once('}').ok_or("`%{` is never closed")?;
            self.piece(inner, depth)?;
            rest = tail;
        }
        self.plain(rest)
    }

    /// Groups of the expression itself are counted, so that ours keep their numbers; one with a name, `(?<name>...)`, is
    /// a column.
    fn plain(&mut self, text: &str) -> Result<(), String> {
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            self.out.push(c);
            match c {
                '\\' => self.out.extend(rest.next()),
                '[' => self.in_class = true,
                ']' => self.in_class = false,
                '(' if !self.in_class => {
                    let after = rest.as_str();
                    let named = after.strip_prefix("?<").or_else(|| after.strip_prefix("?P<"));
                    if let Some((name, inner)) = named.and_then(|named| named.split_once('>'))
                        && !name.starts_with(['=', '!'])
                    {
                        self.column(name, Type::Keyword)?;
                        rest = inner.chars();
                    } else if !after.starts_with('?') {
                        self.groups += 1;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The next group fills this column.
    fn column(&mut self, name: &str, ty: Type) -> Result<(), String> {
        let group = (self.index, self.groups);
        self.groups += 1;
        match self.fields.iter_mut().find(|known| known.name == name) {
            Some(known) if known.ty == ty => known.groups.push(group),
            Some(_) => return Err(format!("`{name}` is given two types")),
            None => self.fields.push(Field { name: name.to_owned(), ty, groups: vec![group] }),
        }
        Ok(())
    }

    fn piece(&mut self, inner: &str, depth: usize) -> Result<(), String> {
        let mut parts = inner.splitn(3, ':');
        let name = parts.next().unwrap_or_default();
        let (field, ty) = (parts.next(), parts.next());
        let Some((_, pattern)) = PIECES.iter().find(|(known, _)| *known == name) else {
            let close = nearest(name, PIECES.iter().map(|(known, _)| *known));
            let help = close.map_or(String::new(), |close| format!("; did you mean `{close}`?"));
            return Err(format!("there is no piece `{name}`{help}"));
        };
        let Some(field) = field.filter(|field| !field.is_empty()) else {
            self.out.push_str("(?:");
            self.expand(pattern, depth + 1)?;
            self.out.push(')');
            return Ok(());
        };
        self.column(field, type_named(ty.unwrap_or("string"))?)?;
        self.out.push('(');
        self.expand(pattern, depth + 1)?;
        self.out.push(')');
        Ok(())
    }
}

impl Grok {
    /// Compiles the expressions.
    pub(super) fn new(patterns: &[Name]) -> Result<Self, Diagnostic> {
        let mut grok = Self { regexes: Vec::new(), fields: Vec::new() };
        for (index, pattern) in patterns.iter().enumerate() {
            let wrong = |cause: String| {
                Diagnostic::error(pattern.span, "the pattern is wrong or not supported").because(cause)
            };
            let fields = &mut grok.fields;
            let mut translation =
                Translation { out: String::new(), in_class: false, groups: 1, index, fields };
            translation.expand(&pattern.text, 0).map_err(wrong)?;
            let config = Regex::config().nfa_size_limit(Some(COMPILED_BYTES_MAX));
            let regex = Regex::builder().configure(config).build(&translation.out).map_err(|cause| {
                let text = cause.syntax_error().map_or_else(|| cause.to_string(), ToString::to_string);
                wrong(text.lines().last().unwrap_or_default().to_owned())
            })?;
            grok.regexes.push(regex);
        }
        Ok(grok)
    }

    /// The columns that it makes.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, Type)> {
        self.fields.iter().map(|field| (field.name.as_str(), field.ty))
    }

    /// One value for each column, null where nothing matched.
    pub(super) fn run(&self, text: &str) -> Vec<Val<'static>> {
        for (index, regex) in self.regexes.iter().enumerate() {
            let mut captures = regex.create_captures();
            regex.captures(text, &mut captures);
            if captures.is_match() {
                return self.fields.iter().map(|field| field.value(index, &captures, text)).collect();
            }
        }
        vec![Val::Null; self.fields.len()]
    }
}

impl Field {
    fn value(
        &self,
        index: usize,
        captures: &regex_automata::util::captures::Captures,
        text: &str,
    ) -> Val<'static> {
        let groups = self.groups.iter().filter(|(of, _)| *of == index);
        let found = groups.filter_map(|(_, group)| text.get(captures.get_group(*group)?.range()));
        let values = found.filter_map(|text| convert(Val::text(text.to_owned()), self.ty).ok());
        Val::from_items(values.collect())
    }
}

#[cfg(test)]
mod tests {
    use sensor_eql::Span;

    use super::*;

    #[test]
    fn every_piece_compiles() {
        for (name, _) in PIECES {
            let pattern = Name { text: format!("%{{{name}:x}}"), span: Span::new(0, 1) };
            Grok::new(&[pattern]).unwrap();
        }
    }
}
