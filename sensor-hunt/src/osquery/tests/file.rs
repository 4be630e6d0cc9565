//! `file` and `hash`.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::time::Duration;

use super::{below, live, rows, sorted, tree, truth};
use crate::osquery::{Cell, Options, run};

fn etc() -> tempfile::TempDir {
    tree(&[
        ("etc/cron.d/a", "1"),
        ("etc/cron.d/.evil", "2"),
        ("etc/cron.d/sub/deep", "3"),
        ("etc/cron.d/sub/.hid/x", "4"),
        ("etc/CRON.D/b", "5"),
        ("etc/passwd", "root:x:0:0:r:/root:/bin/sh\nann:x:7:8::/home/ann:/bin/sh\n"),
        ("etc/group", "root:x:0:\nstaff:x:8:ann\n"),
    ])
}

#[test]
fn one_percent_is_one_level_without_dot_files() {
    let root = etc();
    let answer =
        below(root.path(), "SELECT path, filename, directory FROM file WHERE path LIKE '/etc/cron.d/%'");
    assert_eq!(sorted(&answer), ["/etc/cron.d/a|a|/etc/cron.d", "/etc/cron.d/sub/|.|/etc/cron.d/sub"]);
    assert!(answer.warnings.iter().any(|it| it.contains("--hidden")), "{:?}", answer.warnings);

    let options = Options { root: Some(root.path().into()), hidden: true, ..Options::default() };
    let answer = run("SELECT path FROM file WHERE path LIKE '/etc/cron.d/%'", &options).unwrap();
    assert_eq!(sorted(&answer), ["/etc/cron.d/.evil", "/etc/cron.d/a", "/etc/cron.d/sub/"]);
    assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
}

#[test]
fn a_directory_lists_dot_files_and_keeps_its_spelling() {
    let root = etc();
    let answer = below(root.path(), "SELECT path, directory FROM file WHERE directory = '/etc/cron.d/'");
    assert_eq!(
        sorted(&answer),
        ["/etc/cron.d/.evil|/etc/cron.d/", "/etc/cron.d/a|/etc/cron.d/", "/etc/cron.d/sub|/etc/cron.d/"]
    );
    let both = "SELECT path FROM file WHERE directory = '/etc/cron.d' AND path LIKE '/etc/cron.d/%'";
    assert_eq!(sorted(&below(root.path(), both)), ["/etc/cron.d/.evil", "/etc/cron.d/a", "/etc/cron.d/sub"]);
    let none = below(root.path(), "SELECT path FROM file WHERE directory IN ('/nowhere', '/etc/passwd')");
    assert!(none.rows.is_empty() && none.warnings.is_empty(), "{none:?}");
    let like = "SELECT path FROM file WHERE directory LIKE '/etc/cron%/'";
    assert_eq!(sorted(&below(root.path(), like)), ["/etc/cron.d/.evil", "/etc/cron.d/a", "/etc/cron.d/sub"]);
}

#[test]
fn two_percents_at_the_end_descend_and_elsewhere_do_not() {
    let root = etc();
    let answer = below(root.path(), "SELECT path FROM file WHERE path LIKE '/etc/cron.d/%%'");
    assert_eq!(sorted(&answer), ["/etc/cron.d/a", "/etc/cron.d/sub/", "/etc/cron.d/sub/deep"]);
    let middle = below(root.path(), "SELECT path FROM file WHERE path LIKE '/%%/deep'");
    assert!(middle.rows.is_empty(), "{middle:?}");
    let middle = below(root.path(), "SELECT path FROM file WHERE path LIKE '/%%/cron.d/%%'");
    assert_eq!(sorted(&middle), ["/etc/cron.d/a", "/etc/cron.d/sub/", "/etc/cron.d/sub/deep"]);
}

#[test]
fn case_counts_though_like_alone_would_not() {
    let root = etc();
    assert_eq!(rows(&below(root.path(), "SELECT path FROM file WHERE path LIKE '/etc/cron.d/B'")), [""; 0]);
    assert_eq!(
        rows(&below(root.path(), "SELECT path FROM file WHERE path LIKE '/etc/CRON.D/%'")),
        ["/etc/CRON.D/b"]
    );
}

/// One answer for each term of an OR, put together by row id: none may be lost and none counted twice.
#[test]
fn an_or_of_patterns_loses_and_doubles_nothing() {
    let root = tree(&[]);
    for directory in ["a", "b", "c"] {
        std::fs::create_dir(root.path().join(directory)).unwrap();
        for name in 0..50 {
            std::fs::write(root.path().join(directory).join(format!("f{name}")), "").unwrap();
        }
    }
    let sql = "SELECT path FROM file WHERE path LIKE '/a/%' OR path LIKE '/b/%' OR path LIKE '/a/f1%' \
               OR path = '/c/f7' OR directory = '/c' OR path IN ('/a/f0', '/b/f0')";
    let answer = below(root.path(), sql);
    let found: BTreeSet<_> = rows(&answer).into_iter().collect();
    assert_eq!((answer.rows.len(), found.len()), (150, 150));
}

#[test]
fn what_two_constraints_find_is_one_row() {
    let root = etc();
    for table in ["file", "hash"] {
        for (condition, expected) in [
            ("path LIKE '/etc/pass%' AND path LIKE '/etc/%'", vec!["/etc/passwd"]),
            ("path = '/etc/passwd' AND path LIKE '/etc/%'", vec!["/etc/passwd"]),
            ("path LIKE '/etc/pass%' AND directory LIKE '/etc%'", vec!["/etc/passwd"]),
            ("path LIKE '/etc/pass%' AND directory LIKE '/%tc/'", vec!["/etc/passwd"]),
            ("path LIKE '/etc/pass%' AND directory LIKE '/%tc'", vec!["/etc/passwd"]),
            ("path LIKE '/etc/cron.d/a%' AND directory LIKE '/etc/%'", vec!["/etc/cron.d/a"]),
            (
                "directory LIKE '/etc/cron%' AND directory LIKE '/etc/%/' AND path LIKE '%/a'",
                vec!["/etc/cron.d/a"],
            ),
        ] {
            let answer = below(root.path(), &format!("SELECT path FROM {table} WHERE {condition}"));
            assert_eq!(sorted(&answer), expected, "{table}: {condition}");
            let wrong = answer.warnings.iter().any(|it| it.contains("nothing can match"));
            assert!(!wrong, "{table}: {condition}: {:?}", answer.warnings);
        }
    }
}

/// Where to look is said beside a pattern that has no beginning.
#[test]
fn a_pattern_without_a_root_narrows_what_others_find() {
    let root = etc();
    for table in ["file", "hash"] {
        for (condition, expected) in [
            ("directory = '/etc' AND path LIKE '%wd'", vec!["/etc/passwd"]),
            ("path LIKE '%wd' AND directory = '/etc'", vec!["/etc/passwd"]),
            (
                "(path LIKE '/etc/%' OR path LIKE '/etc/cron.d/%') AND path LIKE '%a%'",
                vec!["/etc/cron.d/a", "/etc/passwd"],
            ),
            (
                "(path = '/etc/passwd' OR directory = '/etc/cron.d') AND path LIKE '%passwd'",
                vec!["/etc/passwd"],
            ),
            ("path LIKE '/etc/%' AND path LIKE '%passwd' AND directory LIKE '%tc'", vec!["/etc/passwd"]),
        ] {
            let sql = format!("SELECT path FROM {table} WHERE {condition} AND path NOT LIKE '%/'");
            let answer = below(root.path(), &sql);
            assert_eq!(sorted(&answer), expected, "{sql}");
            let wrong = answer.warnings.iter().any(|it| it.contains("nothing can match"));
            assert!(!wrong, "{sql}: {:?}", answer.warnings);
        }
    }
    let joined = "WITH wanted(pattern) AS (VALUES ('%wd'), ('/etc/gr%')) \
                  SELECT path FROM wanted JOIN file ON path LIKE pattern AND directory = '/etc'";
    assert_eq!(sorted(&below(root.path(), joined)), ["/etc/group", "/etc/passwd"]);
    let alone = below(root.path(), "SELECT path FROM file WHERE path LIKE '%passwd'");
    assert!(alone.rows.is_empty() && alone.warnings.iter().any(|it| it.contains("nothing can match")));
}

#[test]
fn values_are_those_of_stat() {
    let root = etc();
    let file = root.path().join("etc/cron.d/a");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4755)).unwrap();
    let it = std::fs::metadata(&file).unwrap();
    let sql = "SELECT inode, uid, gid, mode, size, mtime, ctime, atime, btime, hard_links, symlink, type, block_size \
               FROM file WHERE path = '/etc/cron.d/a'";
    let expected = format!(
        "{}|{}|{}|4755|1|{}|{}|{}|0|1|0|regular|{}",
        it.ino(),
        it.uid(),
        it.gid(),
        it.mtime(),
        it.ctime(),
        it.atime(),
        it.blksize()
    );
    assert_eq!(rows(&below(root.path(), sql)), [expected]);
    let options = Options { root: Some(root.path().into()), birth_time: true, ..Options::default() };
    let answer = run("SELECT btime FROM file WHERE path = '/etc/cron.d/a'", &options).unwrap();
    let Cell::Int(birth) = answer.rows[0][0] else { panic!("{answer:?}") };
    assert!((it.ctime() - birth).abs() < 60, "{birth}");
}

#[test]
fn links_are_followed_within_the_root_and_only_there() {
    let root = etc();
    symlink("/etc/passwd", root.path().join("etc/abs")).unwrap();
    symlink("../../../../../../../../etc/hostname", root.path().join("etc/out")).unwrap();
    symlink("nowhere", root.path().join("etc/dangling")).unwrap();
    symlink("/etc/cron.d", root.path().join("etc/dir")).unwrap();
    let sql = "SELECT path, symlink, type, size, symlink_target_path FROM file WHERE directory = '/etc' \
    AND symlink = 1";
    let size = std::fs::metadata(root.path().join("etc/passwd")).unwrap().len();
    let lines = sorted(&below(root.path(), sql));
    assert!(lines.contains(&format!("/etc/abs|1|regular|{size}|/etc/passwd")), "{lines:?}");
    // An absolute link stays inside, and so does one that climbs; there is no such file here.
    assert!(
        lines.contains(&"/etc/out|1|unknown|36|../../../../../../../../etc/hostname".to_owned()),
        "{lines:?}"
    );
    assert!(lines.contains(&"/etc/dangling|1|unknown|7|nowhere".to_owned()), "{lines:?}");
    let through = below(root.path(), "SELECT path FROM file WHERE path LIKE '/etc/dir/%'");
    assert_eq!(sorted(&through), ["/etc/dir/a", "/etc/dir/sub/"]);
}

#[test]
fn a_circle_of_links_ends() {
    let root = tree(&[("a/b/f", "")]);
    symlink("/a", root.path().join("a/b/up")).unwrap();
    symlink("/a/b", root.path().join("a/side")).unwrap();
    for index in 0..20 {
        symlink("/a/b", root.path().join(format!("a/b/l{index}"))).unwrap();
    }
    let answer = below(root.path(), "SELECT path FROM file WHERE path LIKE '/%%'");
    let found = rows(&answer);
    assert!(found.contains(&"/a/b/f".to_owned()) && found.contains(&"/a/side/f".to_owned()), "{found:?}");
    assert!(found.contains(&"/a/b/up/".to_owned()) && answer.rows.len() < 100, "{}", answer.rows.len());
}

#[test]
fn special_files_and_odd_names_are_described_and_never_opened() {
    let root = etc();
    let fifo = root.path().join("etc/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"bad\xff\n\x1b[31m");
    std::fs::write(root.path().join("etc").join(odd), "x").unwrap();
    std::os::unix::net::UnixListener::bind(root.path().join("etc/sock")).unwrap();
    let sql = "SELECT f.filename, f.type, h.md5 FROM file f LEFT JOIN hash h ON f.path = h.path \
               WHERE f.directory = '/etc' AND f.type != 'directory'";
    let lines = sorted(&below(root.path(), sql));
    assert!(lines.contains(&"fifo|fifo|null".to_owned()), "{lines:?}");
    assert!(lines.contains(&"sock|socket|null".to_owned()), "{lines:?}");
    let md5 = "9dd4e461268c8034f5c8564e155c67a6";
    assert!(lines.contains(&format!("bad\\xff\\n\\x1b[31m|regular|{md5}")), "{lines:?}");
    // crontab would open what it finds.
    std::fs::remove_file(root.path().join("etc/cron.d/a")).unwrap();
    let in_cron = root.path().join("etc/cron.d/pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &in_cron, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    let answer = below(root.path(), "SELECT * FROM crontab");
    assert!(answer.rows.is_empty() && answer.warnings.iter().any(|it| it.contains("pipe")), "{answer:?}");
}

#[test]
fn hashes_are_those_of_the_contents() {
    let root = tree(&[("d/abc", "abc"), ("d/empty", "")]);
    let sql = "SELECT path, md5, sha1, sha256 FROM hash WHERE directory = '/d'";
    assert_eq!(
        sorted(&below(root.path(), sql)),
        [
            "/d/abc|900150983cd24fb0d6963f7d28e17f72|a9993e364706816aba3e25717850c26c9cd0d89d|\
             ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "/d/empty|d41d8cd98f00b204e9800998ecf8427e|da39a3ee5e6b4b0d3255bfef95601890afd80709|\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ]
    );
    assert_eq!(rows(&below(root.path(), "SELECT count(*) FROM hash WHERE path = '/d'")), ["0"]);
}

#[test]
fn owners_are_joined() {
    let root = etc();
    let uid = rustix::process::geteuid().as_raw();
    let sql = "SELECT u.username, g.groupname FROM file f LEFT JOIN users u ON f.uid = u.uid \
               LEFT JOIN groups g ON f.gid = g.gid WHERE f.path = '/etc/passwd'";
    if uid == 0 {
        assert_eq!(rows(&below(root.path(), sql)), ["root|root"]);
    } else {
        eprintln!("skipped: files of a test that is not run by root belong to somebody else");
    }
}

#[test]
fn budgets_end_a_walk_and_say_so() {
    let root = tree(&[]);
    for name in 0..2_000 {
        std::fs::write(root.path().join(format!("f{name}")), "").unwrap();
    }
    let base = Options { root: Some(root.path().into()), ..Options::default() };
    let looked =
        run("SELECT path FROM file WHERE path LIKE '/%'", &Options { looks_max: 100, ..base.clone() })
            .unwrap();
    assert!(looked.incomplete.is_some() && looked.rows.len() < 101, "{:?}", looked.incomplete);
    let few =
        run("SELECT path FROM file WHERE path LIKE '/%'", &Options { rows_max: 10, ..base.clone() }).unwrap();
    assert!(few.incomplete.is_some() && few.rows.len() == 10, "{:?}", few.incomplete);
    let all = run("SELECT path FROM file WHERE path LIKE '/%'", &Options { rows_max: 2_000, ..base.clone() })
        .unwrap();
    assert!(all.incomplete.is_none() && all.rows.len() == 2_000, "{:?}", all.incomplete);
    let late = Options { time_max: Duration::from_millis(200), ..base };
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let endless = run(endless, &late).unwrap();
    assert!(endless.incomplete.is_some() && endless.rows.is_empty(), "{endless:?}");
}

/// Every regular file, directory and link that `find` sees and a shell's `*` would.
#[test]
fn a_recursion_finds_what_find_finds() {
    let Some(found) =
        truth("find", &["/etc", "-xdev", "-mindepth", "1", "-not", "-path", "*/.*", "-type", "f"])
    else {
        return;
    };
    let answer =
        live("SELECT path FROM file WHERE path LIKE '/etc/%%' AND type = 'regular' AND symlink = 0").unwrap();
    let ours: BTreeSet<String> = rows(&answer).into_iter().collect();
    let missing: Vec<_> = found.lines().filter(|path| path.is_ascii() && !ours.contains(*path)).collect();
    assert!(missing.is_empty() && found.lines().count() > 10, "{missing:?}");
}

#[test]
fn a_recursion_stays_out_of_what_the_kernel_makes_up() {
    if !std::path::Path::new("/proc/self").exists() {
        eprintln!("skipped: /proc is not mounted");
        return;
    }
    let answer =
        live("SELECT path FROM file WHERE path LIKE '/pro%%' AND substr(path, 1, 5) = '/proc'").unwrap();
    assert_eq!(rows(&answer), ["/proc/"]);
    assert!(answer.warnings.iter().any(|it| it.contains("/proc")), "{:?}", answer.warnings);
    let asked = live("SELECT count(*) > 50 FROM file WHERE path LIKE '/proc/%'").unwrap();
    assert_eq!(rows(&asked), ["1"]);
}

#[test]
fn an_equality_with_a_percent_is_warned_of() {
    let root = etc();
    let answer = below(
        root.path(),
        "SELECT path FROM file WHERE path = '/boot/efi/%/grub.cfg' OR path = '/etc/passwd'",
    );
    assert_eq!(rows(&answer), ["/etc/passwd"]);
    assert!(answer.warnings.iter().any(|it| it.contains("LIKE takes %")), "{:?}", answer.warnings);
}
