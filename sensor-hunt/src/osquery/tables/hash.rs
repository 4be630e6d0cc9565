//! `hash`: digests of the contents of regular files. Only those that a query asks for are computed.

use std::io::Read as _;

use sha2::Digest as _;

use super::text::below;
use crate::osquery::cell::{Cell, Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::functions::hex;
use crate::osquery::glob::Walk;
use crate::osquery::table::{Column, Op, Query, Rows, Table, hidden, integer, text};

const PATH: usize = 0;
const DIRECTORY: usize = 1;
const MD5: usize = 2;
const SHA1: usize = 3;
const SHA256: usize = 4;

const COLUMNS: &[Column] = &[
    text("path"),
    text("directory"),
    text("md5"),
    text("sha1"),
    text("sha256"),
    hidden(integer("pid_with_namespace")),
    hidden(text("mount_namespace_id")),
];

pub(super) const HASH: Table = Table {
    name: "hash",
    columns: COLUMNS,
    key: &["path", "directory"],
    index: &[],
    required: &["path", "directory"],
    rows,
};

fn rows(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    let wanted = [query.wants(MD5), query.wants(SHA1), query.wants(SHA256)];
    let directories: Vec<Vec<u8>> =
        query.equal(DIRECTORY).filter_map(Cell::text).map(<[u8]>::to_vec).collect();
    let mut patterns = Vec::new();
    for pattern in query.of(PATH, Op::Like).filter_map(Cell::text) {
        patterns.push(Walk::new(context, pattern)?);
    }
    let paths: Vec<Result<Vec<u8>, Trouble>> =
        query.equal(PATH).filter_map(Cell::text).map(|path| Ok(path.to_vec())).collect();
    let parent = |path: &[u8]| {
        path.iter().rposition(|it| *it == b'/').map(|at| path.get(..at).unwrap_or(path).to_vec())
    };
    let skipped = directories.clone();
    let by_path =
        paths.into_iter().chain(patterns.into_iter().flatten()).filter_map(move |path| match path {
            Ok(path) => {
                let directory = parent(&path).map(|it| if it.is_empty() { b"/".to_vec() } else { it })?;
                (!skipped.contains(&directory)).then_some(Ok((path, directory)))
            }
            Err(trouble) => Some(Err(trouble)),
        });
    let mut walks = Vec::new();
    for pattern in query.of(DIRECTORY, Op::Like).filter_map(Cell::text) {
        walks.push(Walk::new(context, pattern)?);
    }
    let found =
        walks.into_iter().flatten().filter(|it| it.as_ref().map_or(true, |path| path.ends_with(b"/")));
    let lister = context.clone();
    let by_directory = directories.into_iter().map(Ok).chain(found).flat_map(move |directory| {
        let listed: Vec<_> = match directory {
            Ok(directory) => lister
                .host()
                .list(&directory)
                .map(|(entries, _)| entries)
                .unwrap_or_default()
                .into_iter()
                .map(|entry| Ok((below(&directory, &entry.name), directory.clone())))
                .collect(),
            Err(trouble) => vec![Err(trouble)],
        };
        listed
    });
    let (context, mut once) = (context.clone(), query.once(DIRECTORY));
    Ok(Box::new(by_path.chain(by_directory).filter_map(move |found| match found {
        Ok((path, directory)) if !once(&path, &directory) => None,
        Ok((path, directory)) => of_file(&context, path, directory, wanted).transpose(),
        Err(trouble) => Some(Err(trouble)),
    })))
}

fn of_file(
    context: &Context,
    path: Vec<u8>,
    directory: Vec<u8>,
    [md5, sha1, sha256]: [bool; 3],
) -> Result<Option<Row>, Trouble> {
    let Ok(mut file) = context.host().open_regular(&path) else { return Ok(None) };
    let mut digests = (md5.then(md5::Md5::new), sha1.then(sha1::Sha1::new), sha256.then(sha2::Sha256::new));
    let mut buffer = vec![0; 128 << 10];
    let wanted = md5 || sha1 || sha256;
    loop {
        if !wanted {
            break;
        }
        let part = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(cause) => {
                context.warn(format!("{} could not be hashed: {cause}", path.escape_ascii()));
                return Ok(None);
            }
        };
        context.hash(part.len() as u64)?;
        if let Some(digest) = &mut digests.0 {
            digest.update(part);
        }
        if let Some(digest) = &mut digests.1 {
            digest.update(part);
        }
        if let Some(digest) = &mut digests.2 {
            digest.update(part);
        }
    }
    Ok(Some(row![
        path,
        directory,
        digests.0.map(|it| hex(&it.finalize())),
        digests.1.map(|it| hex(&it.finalize())),
        digests.2.map(|it| hex(&it.finalize())),
    ]))
}
