//! `file`: what there is at paths and in directories.
//!
//! As in osquery: `path` may be given by `=`, IN or LIKE, `directory` by the same; the values describe what a symbolic
//! link leads to, or the link itself where that is missing; a directory that a pattern finds ends in a slash and is
//! named "."; `btime` is 0.

use rustix::fs::FileType;

use crate::osquery::cell::{Cell, Row, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::glob::Walk;
use crate::osquery::host::kind_of;
use crate::osquery::table::{Column, Op, Query, Rows, Table, bigint, hidden, integer, text};

const PATH: usize = 0;
const DIRECTORY: usize = 1;

const COLUMNS: &[Column] = &[
    text("path"),
    text("directory"),
    text("filename"),
    bigint("inode"),
    bigint("uid"),
    bigint("gid"),
    text("mode"),
    bigint("device"),
    bigint("size"),
    integer("block_size"),
    bigint("atime"),
    bigint("mtime"),
    bigint("ctime"),
    bigint("btime"),
    integer("hard_links"),
    integer("symlink"),
    text("type"),
    text("symlink_target_path"),
    hidden(text("attributes")),
    hidden(text("volume_serial")),
    hidden(text("file_id")),
    hidden(text("file_version")),
    hidden(text("product_version")),
    hidden(text("original_filename")),
    hidden(text("shortcut_target_path")),
    hidden(text("shortcut_target_type")),
    hidden(text("shortcut_target_location")),
    hidden(text("shortcut_start_in")),
    hidden(text("shortcut_run")),
    hidden(text("shortcut_comment")),
    hidden(text("bsd_flags")),
    hidden(integer("pid_with_namespace")),
    hidden(text("mount_namespace_id")),
];

pub(super) const FILE: Table = Table {
    name: "file",
    columns: COLUMNS,
    key: &["path", "directory"],
    index: &[],
    required: &["path", "directory"],
    rows,
};

fn rows(context: &Context, query: &Query) -> Result<Rows, Trouble> {
    let mut sources: Vec<Rows> = Vec::new();
    let directories: Vec<Vec<u8>> =
        query.equal(DIRECTORY).filter_map(Cell::text).map(<[u8]>::to_vec).collect();
    for path in query.equal(PATH).filter_map(Cell::text) {
        note_pattern(context, "path", path);
        let (context, path) = (context.clone(), path.to_vec());
        sources.push(Box::new(
            std::iter::once_with(move || Ok(of_path(&context, path))).filter_map(Result::transpose),
        ));
    }
    for pattern in query.of(PATH, Op::Like).filter_map(Cell::text) {
        note_hidden(context, pattern);
        let (walk, context) = (Walk::new(context, pattern)?, context.clone());
        sources.push(Box::new(
            walk.filter_map(move |path| path.map(|path| of_path(&context, path)).transpose()),
        ));
    }
    // What is found in one of the directories below is found there.
    let skipped = directories.clone();
    let by_path = sources.into_iter().flatten().filter(move |row| {
        let directory = row.as_ref().ok().and_then(|row| row.get(DIRECTORY)).and_then(Cell::text);
        directory.is_none_or(|directory| !skipped.iter().any(|skipped| skipped == directory))
    });
    let (fixed, patterned) = (context.clone(), context.clone());
    for directory in &directories {
        note_pattern(context, "directory", directory);
    }
    let mut walks = Vec::new();
    for pattern in query.of(DIRECTORY, Op::Like).filter_map(Cell::text) {
        note_hidden(context, pattern);
        walks.push(Walk::new(context, pattern)?);
    }
    let by_directory = directories.into_iter().flat_map(move |directory| in_directory(&fixed, &directory));
    let by_pattern = walks.into_iter().flatten().flat_map(move |found| match found {
        // Only a directory ends in a slash.
        Ok(directory) if directory.ends_with(b"/") => in_directory(&patterned, &directory),
        Ok(_) => Box::new(std::iter::empty()),
        Err(trouble) => Box::new(std::iter::once(Err(trouble))),
    });
    let mut once = query.once(DIRECTORY);
    let text = |row: &Row, index| row.get(index).and_then(Cell::text).unwrap_or_default().to_vec();
    let rows = by_path.chain(by_directory).chain(by_pattern);
    Ok(Box::new(rows.filter(move |row| match row {
        Ok(row) => once(&text(row, PATH), &text(row, DIRECTORY)),
        Err(_) => true,
    })))
}

/// `=` with a `%` was almost certainly meant as LIKE.
fn note_pattern(context: &Context, column: &str, value: &[u8]) {
    if value.contains(&b'%') && !context.host().exists(value) {
        let value = value.escape_ascii();
        context.warn(format!(
            "{column} = '{value}' can match only a file of that very name; LIKE takes % as a pattern"
        ));
    }
}

fn note_hidden(context: &Context, pattern: &[u8]) {
    if pattern.contains(&b'%') && !context.options().hidden {
        context.note_hidden();
    }
}

/// The parent and the name, as a path library sees them: a path that ends in a slash ends in ".".
fn take_apart(path: &[u8]) -> (&[u8], &[u8]) {
    let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else { return (b"", path) };
    let name = path.get(slash + 1..).unwrap_or_default();
    let parent = path.get(..slash).unwrap_or_default();
    let parent =
        parent.get(..parent.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1)).unwrap_or(parent);
    match (parent.is_empty(), name.is_empty()) {
        (true, true) => (b"", b"/"),
        (true, false) => (b"/", name),
        (false, true) => (parent, b"."),
        (false, false) => (parent, name),
    }
}

fn of_path(context: &Context, path: Vec<u8>) -> Option<Row> {
    let (directory, name) = take_apart(&path);
    let (directory, name) = (directory.to_vec(), name.to_vec());
    describe(context, path, directory, name)
}

fn in_directory(context: &Context, directory: &[u8]) -> Box<dyn Iterator<Item = Result<Row, Trouble>>> {
    let entries = match context.host().list(directory) {
        Ok((entries, _)) => entries,
        Err(cause) => {
            let expected = [std::io::ErrorKind::NotFound, std::io::ErrorKind::NotADirectory];
            if !expected.contains(&cause.kind()) {
                context.warn(format!("{}: {cause}", directory.escape_ascii()));
            }
            Vec::new()
        }
    };
    let (context, directory) = (context.clone(), directory.to_vec());
    Box::new(entries.into_iter().filter_map(move |entry| {
        let path = super::text::below(&directory, &entry.name);
        describe(&context, path, directory.clone(), entry.name).map(Ok)
    }))
}

fn describe(context: &Context, path: Vec<u8>, directory: Vec<u8>, name: Vec<u8>) -> Option<Row> {
    let host = context.host();
    let link = host.lstat(&path).ok()?;
    let is_link = kind_of(&link) == FileType::Symlink;
    let target = if is_link { host.stat(&path).ok() } else { None };
    let kind = match (&target, is_link) {
        // A link that leads nowhere.
        (None, true) => "unknown",
        (target, _) => match kind_of(target.as_ref().unwrap_or(&link)) {
            FileType::RegularFile => "regular",
            FileType::Directory => "directory",
            FileType::Symlink => "symlink",
            FileType::BlockDevice => "block",
            FileType::CharacterDevice => "character",
            FileType::Fifo => "fifo",
            FileType::Socket => "socket",
            FileType::Unknown => "unknown",
        },
    };
    let birth = if context.options().birth_time { host.birth(&path) } else { Some(0) };
    let leads_to = if is_link { host.read_link(&path).ok() } else { None };
    let it = target.as_ref().unwrap_or(&link);
    Some(row![
        path,
        directory,
        name,
        it.st_ino,
        it.st_uid,
        it.st_gid,
        format!("{:04o}", it.st_mode & 0o7777),
        it.st_rdev,
        it.st_size,
        it.st_blksize,
        it.st_atime,
        it.st_mtime,
        it.st_ctime,
        birth,
        it.st_nlink,
        is_link,
        kind,
        leads_to.unwrap_or_default(),
    ])
}

#[cfg(test)]
mod tests {
    use super::take_apart;

    #[test]
    fn a_path_has_a_parent_and_a_name() {
        let parts = |path: &str| {
            let (parent, name) = take_apart(path.as_bytes());
            (String::from_utf8_lossy(parent).into_owned(), String::from_utf8_lossy(name).into_owned())
        };
        let of = |parent: &str, name: &str| (parent.to_owned(), name.to_owned());
        assert_eq!(parts("/etc/passwd"), of("/etc", "passwd"));
        assert_eq!(parts("/etc/"), of("/etc", "."));
        assert_eq!(parts("/etc"), of("/", "etc"));
        assert_eq!(parts("/"), of("", "/"));
        assert_eq!(parts("/etc//x"), of("/etc", "x"));
        assert_eq!(parts("x"), of("", "x"));
    }
}
