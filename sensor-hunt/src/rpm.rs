//! The rpm database: an SQLite file whose rows are binary headers.
//!
//! ```text
//! header   count u32, bytes u32, entries, data        (big-endian)
//! entry    tag i32, type i32, offset into data i32, count u32
//! ```
//!
//! Whoever is root in a container writes what he likes into its database: nothing in it is trusted, neither SQLite's
//! schema nor a length in a header. Missed: the formats before SQLite (Berkeley DB, ndb), and what is still in the
//! write-ahead log of a running transaction.

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;

use rusqlite::limits::Limit;
use rusqlite::{Connection, MAIN_DB};

const SHA1_HEADER: u32 = 269;
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const INSTALL_TIME: u32 = 1008;
const SIZE: u32 = 1009;
const VENDOR: u32 = 1011;
const GROUP: u32 = 1016;
const ARCH: u32 = 1022;
const FILE_SIZES: u32 = 1028;
const FILE_MODES: u32 = 1030;
const FILE_USERS: u32 = 1039;
const FILE_GROUPS: u32 = 1040;
const SOURCE: u32 = 1044;
const FILE_DIGESTS: u32 = 1035;
const DIRECTORY_INDEXES: u32 = 1116;
const BASE_NAMES: u32 = 1117;
const DIRECTORY_NAMES: u32 = 1118;
const DIGEST_ALGORITHM: u32 = 5011;

const INT16: u32 = 3;
const INT32: u32 = 4;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;
const I18N_STRING: u32 = 9;
const ENTRY_BYTES: usize = 16;

/// A header of a package of the largest kind, a kernel's sources say, has some 20 MB.
const HEADER_BYTES_MAX: i32 = 64 << 20;
/// Of a large system, some 300 MB.
const DATABASE_BYTES_MAX: usize = 512 << 20;
/// Of the file's own header, and where it says how changes are journalled.
const START_BYTES: usize = 100;
const JOURNAL_VERSIONS: Range<usize> = 18..20;
/// Packages that may have files in one directory.
const PACKAGES_MAX: usize = 4096;
const FILES_MAX: usize = 65_536;

/// A file that a package brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageFile {
    /// Without its directory.
    pub name: Vec<u8>,
    /// `name-version-release.architecture`
    pub package: String,
    /// `md5`, `sha256`, ...; with `digest`, absent for what has no content.
    pub algorithm: Option<&'static str>,
    /// Lower-case hexadecimal.
    pub digest: String,
}

/// A package as the database describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Package {
    pub name: String,
    pub version: String,
    pub release: String,
    pub source: String,
    pub size: Option<u32>,
    pub sha1: String,
    pub arch: String,
    pub epoch: Option<u32>,
    pub install_time: Option<u32>,
    pub vendor: String,
    pub group: String,
    pub files: Vec<OwnedFile>,
}

/// A file of a package, as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnedFile {
    pub path: Vec<u8>,
    pub user: Vec<u8>,
    pub group: Vec<u8>,
    pub mode: u16,
    pub size: Option<u32>,
    pub digest: Vec<u8>,
}

/// Opens the database. It is read into memory: SQLite would follow the name behind an open file, which is that of
/// another file where the one is in a container.
fn open(mut database: File) -> Result<Connection, String> {
    let failed = |cause: rusqlite::Error| format!("the rpm database: {cause}");
    let unread = |cause: io::Error| format!("the rpm database: {cause}");
    let size = database.metadata().map_err(unread)?.len();
    let size = usize::try_from(size).ok().filter(|size| *size <= DATABASE_BYTES_MAX);
    let size = size.ok_or("the rpm database is too large")?;
    let mut start = [0; START_BYTES];
    database.read_exact(&mut start).map_err(unread)?;
    // In memory there is no write-ahead log.
    start[JOURNAL_VERSIONS].fill(1);
    let mut connection = Connection::open_in_memory().map_err(failed)?;
    connection.deserialize_read_exact(MAIN_DB, start.chain(database), size, true).map_err(failed)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, HEADER_BYTES_MAX).map_err(failed)?;
    connection.pragma_update(None, "trusted_schema", false).map_err(failed)?;
    Ok(connection)
}

/// Gives each package to `take`, with its files if `files` is set.
pub(crate) fn packages(
    database: File,
    files: bool,
    take: &mut dyn FnMut(Package) -> bool,
) -> Result<(), String> {
    let failed = |cause: rusqlite::Error| format!("the rpm database: {cause}");
    let connection = open(database)?;
    let mut query = connection.prepare("SELECT blob FROM Packages ORDER BY hnum").map_err(failed)?;
    let mut rows = query.query(()).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let blob = row.get_ref(0).map_err(failed)?.as_blob().map_err(|cause| cause.to_string())?;
        let header = Header::parse(blob).ok_or("the rpm database: a header is broken")?;
        if !take(header.package(files)) {
            break;
        }
    }
    Ok(())
}

/// What packages brought directly into a directory, which is written without a slash at its end.
///
/// # Errors
///
/// When the file is no database of rpm's.
pub fn files_in(database: File, directory: &[u8]) -> Result<Vec<PackageFile>, String> {
    let failed = |cause: rusqlite::Error| format!("the rpm database: {cause}");
    let connection = open(database)?;
    let wanted = [directory, b"/"].concat();
    let mut query = connection
        .prepare(
            "SELECT blob FROM Packages WHERE hnum IN \
             (SELECT hnum FROM Dirnames WHERE key = CAST(?1 AS TEXT)) LIMIT ?2",
        )
        .map_err(failed)?;
    let limit = i64::try_from(PACKAGES_MAX).unwrap_or(i64::MAX);
    let mut rows = query.query((&wanted, limit)).map_err(failed)?;
    let mut files = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let blob = row.get_ref(0).map_err(failed)?.as_blob().map_err(|cause| cause.to_string())?;
        let header = Header::parse(blob).ok_or("the rpm database: a header is broken")?;
        header.files_in(&wanted, &mut files);
        if files.len() > FILES_MAX {
            return Err("the rpm database has too many files there".to_owned());
        }
    }
    Ok(files)
}

struct Header<'b> {
    entries: &'b [u8],
    data: &'b [u8],
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn length(number: u32) -> Option<usize> {
    usize::try_from(number).ok()
}

impl<'b> Header<'b> {
    fn parse(blob: &'b [u8]) -> Option<Self> {
        let entries_bytes = length(number(blob, 0)?)?.checked_mul(ENTRY_BYTES)?;
        let (entries, data) = blob.get(8..)?.split_at_checked(entries_bytes)?;
        Some(Self { entries, data: data.get(..length(number(blob, 4)?)?)? })
    }

    /// Where the values of a tag begin, and how many there are.
    fn find(&self, tag: u32, kind: u32) -> Option<(&'b [u8], usize)> {
        let is_it = |entry: &&[u8]| number(entry, 0) == Some(tag) && number(entry, 4) == Some(kind);
        let entry = self.entries.chunks_exact(ENTRY_BYTES).find(is_it)?;
        Some((self.data.get(length(number(entry, 8)?)?..)?, length(number(entry, 12)?)?))
    }

    fn texts(&self, tag: u32, kind: u32) -> impl Iterator<Item = &'b [u8]> {
        let (bytes, count) = self.find(tag, kind).unwrap_or_default();
        // What follows the last NUL is no text.
        let whole = bytes.iter().rposition(|byte| *byte == 0).and_then(|end| bytes.get(..end));
        whole.into_iter().flat_map(|whole| whole.split(|byte| *byte == 0)).take(count)
    }

    fn text(&self, tag: u32) -> String {
        self.texts(tag, STRING)
            .next()
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .unwrap_or_default()
    }

    fn numbers(&self, tag: u32) -> impl Iterator<Item = u32> {
        let (bytes, count) = self.find(tag, INT32).unwrap_or_default();
        bytes.chunks_exact(4).take(count).filter_map(|bytes| number(bytes, 0))
    }

    fn number(&self, tag: u32) -> Option<u32> {
        self.numbers(tag).next()
    }

    fn package(&self, files: bool) -> Package {
        let group = self.texts(GROUP, I18N_STRING).next().unwrap_or_default();
        Package {
            name: self.text(NAME),
            version: self.text(VERSION),
            release: self.text(RELEASE),
            source: self.text(SOURCE),
            size: self.number(SIZE),
            sha1: self.text(SHA1_HEADER),
            arch: self.text(ARCH),
            epoch: self.number(EPOCH),
            install_time: self.number(INSTALL_TIME),
            vendor: self.text(VENDOR),
            group: String::from_utf8_lossy(group).into_owned(),
            files: if files { self.files() } else { Vec::new() },
        }
    }

    fn files(&self) -> Vec<OwnedFile> {
        let directories: Vec<&[u8]> = self.texts(DIRECTORY_NAMES, STRING_ARRAY).collect();
        let (modes, count) = self.find(FILE_MODES, INT16).unwrap_or_default();
        let mut modes =
            modes.chunks_exact(2).take(count).map(|two| u16::from_be_bytes(two.try_into().unwrap_or([0; 2])));
        let mut users = self.texts(FILE_USERS, STRING_ARRAY);
        let mut groups = self.texts(FILE_GROUPS, STRING_ARRAY);
        let mut digests = self.texts(FILE_DIGESTS, STRING_ARRAY);
        let mut sizes = self.numbers(FILE_SIZES);
        let names = self.texts(BASE_NAMES, STRING_ARRAY).zip(self.numbers(DIRECTORY_INDEXES));
        names
            .map(|(name, directory)| {
                let directory =
                    length(directory).and_then(|at| directories.get(at)).copied().unwrap_or_default();
                OwnedFile {
                    path: [directory, name].concat(),
                    user: users.next().unwrap_or_default().to_vec(),
                    group: groups.next().unwrap_or_default().to_vec(),
                    mode: modes.next().unwrap_or(0),
                    size: sizes.next(),
                    digest: digests.next().unwrap_or_default().to_vec(),
                }
            })
            .collect()
    }

    /// Adds the files directly below a directory, which ends in a slash.
    fn files_in(&self, directory: &[u8], files: &mut Vec<PackageFile>) {
        let wanted = self.texts(DIRECTORY_NAMES, STRING_ARRAY).position(|name| name == directory);
        let Some(wanted) = wanted.and_then(|index| u32::try_from(index).ok()) else { return };
        let package = [NAME, VERSION, RELEASE].map(|tag| self.text(tag)).join("-");
        let architecture = self.text(ARCH);
        let package = if architecture.is_empty() { package } else { format!("{package}.{architecture}") };
        // Where it is not said, as long ago.
        let algorithm = algorithm(self.numbers(DIGEST_ALGORITHM).next().unwrap_or(1));
        let mut digests = self.texts(FILE_DIGESTS, STRING_ARRAY);
        for (name, directory) in self.texts(BASE_NAMES, STRING_ARRAY).zip(self.numbers(DIRECTORY_INDEXES)) {
            let digest = String::from_utf8_lossy(digests.next().unwrap_or_default()).to_ascii_lowercase();
            if directory == wanted {
                let algorithm = algorithm.filter(|_| !digest.is_empty());
                files.push(PackageFile { name: name.to_vec(), package: package.clone(), algorithm, digest });
            }
        }
    }
}

/// By its number in OpenPGP.
fn algorithm(number: u32) -> Option<&'static str> {
    match number {
        1 => Some("md5"),
        2 => Some("sha1"),
        8 => Some("sha256"),
        9 => Some("sha384"),
        10 => Some("sha512"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<u8> {
        texts.iter().flat_map(|text| [text.as_bytes(), b"\0"].concat()).collect()
    }

    fn numbers(numbers: &[u32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    fn header(entries: &[(u32, u32, u32, Vec<u8>)]) -> Vec<u8> {
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for (tag, kind, count, bytes) in entries {
            let offset = u32::try_from(data.len()).unwrap();
            index.extend(numbers(&[*tag, *kind, offset, *count]));
            data.extend(bytes);
        }
        let counts = [entries.len(), data.len()].map(|count| u32::try_from(count).unwrap());
        [numbers(&counts), index, data].concat()
    }

    fn demo() -> Vec<u8> {
        header(&[
            (NAME, STRING, 1, texts(&["demo"])),
            (VERSION, STRING, 1, texts(&["1.2"])),
            (RELEASE, STRING, 1, texts(&["3"])),
            (ARCH, STRING, 1, texts(&["noarch"])),
            (DIRECTORY_NAMES, STRING_ARRAY, 2, texts(&["/etc/yum.repos.d/", "/usr/bin/"])),
            (BASE_NAMES, STRING_ARRAY, 3, texts(&["demo.repo", "demo", "other.repo"])),
            (DIRECTORY_INDEXES, INT32, 3, numbers(&[0, 1, 0])),
            (FILE_DIGESTS, STRING_ARRAY, 3, texts(&["AB12", "cd34", ""])),
            (DIGEST_ALGORITHM, INT32, 1, numbers(&[8])),
        ])
    }

    fn found(blobs: &[Vec<u8>], directory: &str) -> Result<Vec<PackageFile>, String> {
        files_in(database(blobs), directory.as_bytes())
    }

    /// As rpm makes it, with a log.
    fn database(blobs: &[Vec<u8>]) -> File {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpmdb.sqlite");
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "journal_mode", "wal").unwrap();
        connection
            .execute_batch(
                "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL);
                 CREATE TABLE Dirnames (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL);",
            )
            .unwrap();
        for (hnum, blob) in (1_i64..).zip(blobs) {
            connection.execute("INSERT INTO Packages VALUES (?1, ?2)", (hnum, blob)).unwrap();
            connection.execute("INSERT INTO Dirnames VALUES ('/etc/yum.repos.d/', ?1, 0)", [hnum]).unwrap();
        }
        drop(connection);
        File::open(path).unwrap()
    }

    #[test]
    fn packages_are_listed_with_their_files() {
        let mut all = Vec::new();
        packages(database(&[demo(), demo()]), true, &mut |package| {
            all.push(package);
            true
        })
        .unwrap();
        let [first, second] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(first, second);
        let said = (first.name.as_str(), first.version.as_str(), first.release.as_str(), first.arch.as_str());
        assert_eq!((said, first.epoch, first.size), (("demo", "1.2", "3", "noarch"), None, None));
        let files: Vec<(&[u8], &[u8])> =
            first.files.iter().map(|file| (file.path.as_slice(), file.digest.as_slice())).collect();
        let expected: [(&[u8], &[u8]); 3] = [
            (b"/etc/yum.repos.d/demo.repo", b"AB12"),
            (b"/usr/bin/demo", b"cd34"),
            (b"/etc/yum.repos.d/other.repo", b""),
        ];
        assert_eq!(files, expected);
        let cut = demo().get(..20).unwrap().to_vec();
        assert!(packages(database(&[cut]), true, &mut |_| true).is_err());
    }

    #[test]
    fn files_of_a_directory_are_found_with_their_package_and_digest() {
        let file = |name: &str, algorithm, digest: &str| PackageFile {
            name: name.into(),
            package: "demo-1.2-3.noarch".to_owned(),
            algorithm,
            digest: digest.to_owned(),
        };
        let files = found(&[demo()], "/etc/yum.repos.d").unwrap();
        assert_eq!(files, [file("demo.repo", Some("sha256"), "ab12"), file("other.repo", None, "")]);
        assert_eq!(found(&[demo()], "/etc").unwrap(), []);
    }

    #[test]
    fn a_broken_header_is_told_and_nothing_else_happens() {
        let demo = demo();
        for cut in 0..demo.len() {
            let short = demo.get(..cut).unwrap().to_vec();
            assert!(found(&[short], "/etc/yum.repos.d").is_err(), "{cut}");
        }
        // Whatever a number says, it leads nowhere.
        for at in 0..demo.len().min(200) {
            for byte in [0x00, 0x7f, 0xff] {
                let mut odd = demo.clone();
                *odd.get_mut(at).unwrap() = byte;
                if let Some(header) = Header::parse(&odd) {
                    header.files_in(b"/etc/yum.repos.d/", &mut Vec::new());
                }
            }
        }
    }

    #[test]
    fn what_is_no_database_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpmdb.sqlite");
        std::fs::write(&path, "no database at all, but long enough to be taken for one").unwrap();
        let refused = || files_in(File::open(&path).unwrap(), b"/etc").unwrap_err();
        assert!(refused().starts_with("the rpm database: "));
        std::fs::write(&path, [b'x'; 4096]).unwrap();
        assert!(refused().starts_with("the rpm database: "));
    }
}
