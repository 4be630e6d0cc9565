//! `apt_sources`, `yum_sources`, `deb_packages`.

use super::text::{base_name, below, join, number, split_once, trim, words};
use crate::osquery::accounts::lines;
use crate::osquery::cell::{Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, bigint, hidden, integer, text};

pub(super) const APT_SOURCES: Table = Table::plain(
    "apt_sources",
    &[
        text("name"),
        text("source"),
        text("base_uri"),
        text("release"),
        text("version"),
        text("maintainer"),
        text("components"),
        text("architectures"),
        hidden(integer("pid_with_namespace")),
    ],
    apt_sources,
);

/// osquery leaves out a source whose lists were never fetched. One that was just added is what a hunt is for, so it is
/// listed, with what only the fetched lists would tell absent.
fn apt_sources(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let mut rows = Vec::new();
    let mut files = vec![b"/etc/apt/sources.list".to_vec()];
    files.extend(context.files_in(b"/etc/apt/sources.list.d"));
    for file in files {
        let name = base_name(&file);
        let (one_line, deb822) = (name.ends_with(b".list"), name.ends_with(b".sources"));
        // apt itself reads no other names.
        if name.starts_with(b".") || !one_line && !deb822 {
            continue;
        }
        let bytes = context.config(&file).unwrap_or_default();
        let sources = if one_line {
            lines(&bytes).filter_map(one_line_source).collect()
        } else {
            deb822_sources(&bytes)
        };
        rows.extend(sources.into_iter().map(|(uri, suite)| apt_row(context, &file, &uri, &suite)));
    }
    all(rows)
}

type Source = (Vec<u8>, Vec<u8>);

fn uri(text: &[u8]) -> Option<&[u8]> {
    text.windows(3).any(|it| it == b"://").then_some(())?;
    let end = text.iter().rposition(|byte| *byte != b'/')?;
    text.get(..=end)
}

/// `deb [ options ] uri suite component...`
fn one_line_source(line: &[u8]) -> Option<Source> {
    let line = line.split(|byte| *byte == b'#').next()?;
    let mut parts = words(line);
    if parts.next()? != b"deb" {
        return None;
    }
    let mut next = parts.next()?;
    if next.starts_with(b"[") {
        while !next.contains(&b']') {
            next = parts.next()?;
        }
        next = parts.next()?;
    }
    Some((uri(next)?.to_vec(), parts.next()?.to_vec()))
}

fn deb822_sources(bytes: &[u8]) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stanza: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for line in lines(bytes).chain([b"".as_slice()]) {
        if line.starts_with(b"#") {
            continue;
        }
        if trim(line).is_empty() {
            let of = |name: &[u8]| {
                stanza
                    .iter()
                    .find(|(key, _)| key == name)
                    .map(|(_, value)| value.as_slice())
                    .unwrap_or_default()
            };
            let binary = words(of(b"types")).any(|kind| kind == b"deb");
            let enabled =
                !matches!(of(b"enabled").to_ascii_lowercase().as_slice(), b"no" | b"false" | b"off" | b"0");
            if binary && enabled {
                for uri in words(of(b"uris")).filter_map(uri) {
                    sources.extend(words(of(b"suites")).map(|suite| (uri.to_vec(), suite.to_vec())));
                }
            }
            stanza.clear();
        } else if line.starts_with(b" ") || line.starts_with(b"\t") {
            if let Some((_, value)) = stanza.last_mut() {
                value.push(b' ');
                value.extend_from_slice(trim(line));
            }
        } else if let Some((key, value)) = split_once(line, b':') {
            stanza.push((trim(key).to_ascii_lowercase(), trim(value).to_vec()));
        }
    }
    sources
}

fn apt_row(context: &Context, file: &[u8], uri: &[u8], suite: &[u8]) -> Row {
    let host = uri.windows(3).position(|it| it == b"://").and_then(|at| uri.get(at + 3..)).unwrap_or(uri);
    // The name of the fetched list: "/" becomes "_".
    let flat = suite.iter().all(|byte| *byte != b'/');
    let middle: &[u8] = if flat { b"/dists/" } else { b"/" };
    let stem: Vec<u8> = [host, middle, suite.strip_suffix(b"/").unwrap_or(suite)].concat();
    let stem: Vec<u8> = stem.iter().map(|byte| if *byte == b'/' { b'_' } else { *byte }).collect();
    let release = [b"_InRelease".as_slice(), b"_Release"]
        .iter()
        .find_map(|end| context.config(&below(b"/var/lib/apt/lists", &[stem.as_slice(), end].concat())));
    let of = |name: &[u8]| {
        lines(release.as_deref()?)
            .take_while(|line| *line != b"-----BEGIN PGP SIGNATURE-----")
            .find_map(|line| split_once(line, b':').filter(|(key, _)| *key == name))
            .map(|(_, value)| trim(value).to_vec())
    };
    row![
        [host, b" ", suite].concat(),
        file,
        uri,
        of(b"Codename"),
        of(b"Version"),
        of(b"Origin"),
        of(b"Components"),
        of(b"Architectures"),
    ]
}

pub(super) const YUM_SOURCES: Table = Table::plain(
    "yum_sources",
    &[
        text("name"),
        text("baseurl"),
        text("mirrorlist"),
        text("enabled"),
        text("gpgcheck"),
        text("gpgkey"),
        hidden(integer("pid_with_namespace")),
    ],
    yum_sources,
);

fn yum_sources(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let mut rows = Vec::new();
    let mut directory = b"/etc/yum.repos.d".to_vec();
    for (section, options) in ini(&context.config(b"/etc/yum.conf").unwrap_or_default()) {
        if section == b"main" {
            if let Some((_, value)) = options.iter().find(|(key, _)| key == b"reposdir") {
                directory = value.clone();
            }
        } else {
            rows.push(yum_row(&options));
        }
    }
    for file in context.files_in(&directory) {
        if base_name(&file).ends_with(b".repo") {
            let sections = ini(&context.config(&file).unwrap_or_default());
            rows.extend(
                sections.iter().filter(|(name, _)| name != b"main").map(|(_, options)| yum_row(options)),
            );
        }
    }
    all(rows)
}

type Options = Vec<(Vec<u8>, Vec<u8>)>;

fn yum_row(options: &Options) -> Row {
    let of = |name: &[u8]| options.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    row![of(b"name"), of(b"baseurl"), of(b"mirrorlist"), of(b"enabled"), of(b"gpgcheck"), of(b"gpgkey")]
}

/// Sections of `key = value`; a line that begins with white space goes on with the value before it.
fn ini(bytes: &[u8]) -> Vec<(Vec<u8>, Options)> {
    let mut sections: Vec<(Vec<u8>, Options)> = Vec::new();
    for line in lines(bytes) {
        let continued = line.starts_with(b" ") || line.starts_with(b"\t");
        let text = trim(line);
        if text.is_empty() || text.starts_with(b"#") || text.starts_with(b";") {
            continue;
        }
        if let Some(name) = text.strip_prefix(b"[").and_then(|it| it.strip_suffix(b"]")) {
            sections.push((name.to_vec(), Vec::new()));
            continue;
        }
        let Some((_, options)) = sections.last_mut() else { continue };
        match (continued, options.last_mut(), split_once(text, b'=')) {
            (true, Some((_, value)), _) => {
                value.push(b' ');
                value.extend_from_slice(text);
            }
            (_, _, Some((key, value))) => options.push((trim(key).to_vec(), trim(value).to_vec())),
            _ => {}
        }
    }
    sections
}

pub(super) const DEB_PACKAGES: Table = Table::plain(
    "deb_packages",
    &[
        text("name"),
        text("version"),
        text("source"),
        bigint("size"),
        text("arch"),
        text("revision"),
        text("status"),
        text("maintainer"),
        text("section"),
        text("priority"),
        text("admindir"),
        hidden(integer("pid_with_namespace")),
        hidden(text("mount_namespace_id")),
    ],
    deb_packages,
);

const ADMIN: &[u8] = b"/var/lib/dpkg";
const STATUS_BYTES_MAX: u64 = 256 << 20;

fn deb_packages(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let bytes = match context.host().read(b"/var/lib/dpkg/status", STATUS_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(cause) => return Err(Trouble::failed(format_args!("/var/lib/dpkg/status: {cause}"))),
    };
    let mut rows = Vec::new();
    let mut stanza: Vec<(&[u8], &[u8])> = Vec::new();
    for line in lines(&bytes).chain([b"".as_slice()]) {
        if line.is_empty() {
            rows.extend(package(&stanza));
            stanza.clear();
        } else if !line.starts_with(b" ")
            && !line.starts_with(b"\t")
            && let Some((key, value)) = split_once(line, b':')
        {
            stanza.push((key, trim(value)));
        }
    }
    all(rows)
}

fn package(stanza: &[(&[u8], &[u8])]) -> Option<Row> {
    let of = |name: &[u8]| stanza.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let name = of(b"Package")?;
    let status = of(b"Status").unwrap_or_default();
    let version = of(b"Version").unwrap_or_default();
    let revision = version.iter().rposition(|byte| *byte == b'-').and_then(|at| version.get(at + 1..));
    Some(row![
        name,
        version,
        join(words(of(b"Source").unwrap_or_default()).take(1)),
        of(b"Installed-Size").and_then(number::<i64>),
        of(b"Architecture"),
        revision.unwrap_or_default(),
        status,
        of(b"Maintainer"),
        of(b"Section"),
        of(b"Priority"),
        ADMIN,
    ])
}
