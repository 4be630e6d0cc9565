//! What is not run, and how that is said.

use super::{live, rows};
use crate::osquery::Error;

fn error(sql: &str) -> Error {
    live(sql).expect_err(sql)
}

#[test]
fn a_missing_limit_is_named() {
    for sql in
        ["SELECT * FROM file", "SELECT * FROM file WHERE filename LIKE '%.timer'", "SELECT md5 FROM hash"]
    {
        let Error::Failed(text) = error(sql) else { panic!("{sql}") };
        assert!(text.contains("needs a limit on path or directory"), "{text}");
    }
    // LIKE of an unknown value, as a join would give it, is none either; a join on = is one.
    assert!(
        live("SELECT h.md5 FROM file f JOIN hash h ON f.path = h.path WHERE f.path = '/etc/passwd'").is_ok()
    );
}

#[test]
fn nothing_is_changed() {
    for sql in [
        "CREATE TABLE x(a)",
        "CREATE TEMP TABLE x AS SELECT 1",
        "ATTACH '/tmp/x.db' AS x",
        "PRAGMA temp_store",
        "SELECT * FROM pragma_database_list",
        "INSERT INTO users(uid) VALUES (0)",
        "DELETE FROM users",
        "DROP TABLE users",
        "VACUUM INTO '/tmp/x.db'",
        "BEGIN",
        "ANALYZE",
        "CREATE VIRTUAL TABLE temp.x USING fts5(a)",
    ] {
        assert!(matches!(error(sql), Error::Refused(_) | Error::Invalid { .. } | Error::Failed(_)), "{sql}");
    }
    assert!(matches!(
        error("SELECT load_extension('/tmp/x.so')"),
        Error::Failed(_) | Error::Refused(_) | Error::Invalid { .. }
    ));
    assert!(!std::path::Path::new("/tmp/x.db").exists());
}

#[test]
fn one_statement_is_run_and_what_may_follow_is_nothing() {
    assert_eq!(rows(&live("SELECT 1; -- the end\n /* really */ ;").unwrap()), ["1"]);
    assert!(matches!(error("SELECT 1; SELECT 2"), Error::Refused(_)));
    assert!(matches!(error("  -- nothing\n"), Error::Refused(_)));
    assert!(matches!(error("SELECT ?"), Error::Refused(_)));
}

#[test]
fn a_syntax_error_has_its_place() {
    let sql = "SELECT\n    f.filename,\n    f.ctime AS changed time\nFROM file f";
    assert_eq!(
        error(sql),
        Error::Invalid { line: 3, column: 24, cause: "near \"time\": syntax error".into() }
    );
    let Error::Invalid { line: 1, column: 8, cause } = error("SELECT absent FROM users") else { panic!() };
    assert_eq!(cause, "no such column: absent");
    let missing = error("SELECT * FROM user_group");
    assert_eq!(missing, Error::Failed("there is no table user_group here; there is user_groups".into()));
    let events = error("SELECT * FROM process_events");
    assert!(
        matches!(&events, Error::Failed(text) if text.contains("process_events is not supported")),
        "{events}"
    );
    let other = error("SELECT * FROM curl");
    assert_eq!(other, Error::Failed("the table curl of osquery is not supported here".into()));
    assert!(matches!(error("SELECT '\0"), Error::Invalid { .. } | Error::Failed(_) | Error::Refused(_)));
}

#[test]
fn memory_is_bounded() {
    let big = "SELECT length(hex(zeroblob(1000000000)))";
    assert!(matches!(error(big), Error::Failed(_)), "{big}");
    let grown = "WITH RECURSIVE n(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM n) SELECT count(*) FROM n";
    assert!(matches!(error(grown), Error::Failed(_)), "{grown}");
}

#[test]
fn double_quotes_around_text_are_text() {
    assert_eq!(rows(&live("SELECT username FROM users WHERE username = \"root\"").unwrap()), ["root"]);
}

#[test]
fn functions_of_osquery_are_there() {
    let sql = "SELECT split('a:b;c', ':;', 2), md5('abc'), in_cidr_block('10.0.0.0/8', '10.1.2.3'), \
    inet_aton('0.0.1.0')";
    assert_eq!(rows(&live(sql).unwrap()), ["c|900150983cd24fb0d6963f7d28e17f72|1|256"]);
}

#[test]
fn regular_expressions_are_those_of_osquery() {
    let sql = "SELECT regex_match('sh -c id', '^(\\S+) -c (.+)$', 2), regex_match('abc', 'b', 0), \
        regex_match('abc', 'x', 0), regex_match('abc', 'b', 1), regex_match(NULL, 'b', 0), \
        regex_split('a1b22c', '[0-9]+', 2), regex_split('abc', '\\.', 1)";
    assert_eq!(rows(&live(sql).unwrap()), ["id|b|null|null|null|c|null"]);
    let per_row = "SELECT DISTINCT regex_match(username, '^r(.*)t$', 1) FROM users WHERE uid = 0 AND gid = 0";
    assert!(rows(&live(per_row).unwrap()).contains(&"oo".to_owned()));
    for (pattern, cause) in [("(", "unclosed group"), ("(?=a)b", "look-around"), ("(a)\\1", "backreference")]
    {
        let Error::Failed(text) = error(&format!("SELECT regex_match('ab', '{pattern}', 0)")) else {
            panic!()
        };
        assert!(text.contains(cause) && text.contains(pattern), "{text}");
    }
}

#[test]
fn base64_and_numbers_are_those_of_osquery() {
    let sql = "SELECT to_base64('hi'), from_base64('aGk='), conditional_to_base64('a b'), \
        conditional_to_base64(char(10)), from_base64('%')";
    assert_eq!(rows(&live(sql).unwrap()), ["aGk=|hi|a b|Cg==|"]);
    let sql = "SELECT sqrt('16'), log(exp(2)), log10(1000), power(2, 10), ceil(1.2), floor(-1.2), round(pi(), 2), \
        degrees(radians(90)), sqrt(NULL), ceil(7)";
    assert_eq!(rows(&live(sql).unwrap()), ["4.0|2.0|3.0|1024.0|2|-2|3.14|90.0|null|7"]);
    assert!(matches!(error("SELECT sqrt(-1)"), Error::Failed(text) if text.contains("out of range")));
}
