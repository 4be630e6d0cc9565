//! The executable: what it prints, and its exit status.

use std::path::Path;
use std::process::{Command, Output};

fn sensor(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sensor-hunt")).args(args).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_query_of_the_live_host_is_answered_in_each_format() {
    let query = "SELECT uid, username, NULL AS absent FROM users WHERE uid = 0 AND username = 'root'";
    let table = sensor(&["hunt", "-q", query]);
    assert_eq!(table.status.code(), Some(0));
    assert!(out(&table).contains("root") && out(&table).contains("1 row · "), "{}", out(&table));
    assert_eq!(out(&sensor(&["hunt", "-q", query, "--format", "csv"])), "uid,username,absent\r\n0,root,\r\n");
    let json: serde_json::Value =
        serde_json::from_str(&out(&sensor(&["hunt", "-q", query, "--format", "json"]))).unwrap();
    assert_eq!(json["hunts"][0]["queries"][0]["values"], serde_json::json!([[0, "root", null]]));
    let lines = out(&sensor(&["hunt", "-q", query, "--format", "ndjson"]));
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["row"]["username"], "root");
    assert!(lines.lines().nth(1).unwrap().contains("\"status\":\"ran\""), "{lines}");
}

#[test]
fn a_row_needs_no_store() {
    let done = sensor(&["hunt", "-q", "row a = [\"-c\", \"\"], b = \"\", c = null", "--format", "csv"]);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(out(&done), "a,b,c\r\n\"[\"\"-c\"\",\"\"\"\"]\",\"\",\r\n");
}

#[test]
fn an_import_says_what_it_changes_and_why_it_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let events = r#"{"@timestamp":"2026-01-02T03:04:05Z","event":{"category":["file"],"action":["a","b","c"]},"file":{"name":"f"}}
{"@timestamp":"2026-01-02T03:04:06Z","event":{"category":"process","action":"exec"},"process":{"name":["p","q"]}}
{"@timestamp":"2026-01-02T03:04:07Z","event":{"category":["network"],"dataset":"mine"},"destination":{"ip":["10.0.0.1"]}}
{"@timestamp":"2500-01-01T00:00:00Z"}
{"@timestamp":"yesterday"}
{"@timestamp":["2026-01-02T03:04:05Z"]}
{"event":{}}
"#;
    std::fs::write(at("e.ndjson"), events).unwrap();
    let done = sensor(&["store", "import", &at("e.ndjson"), "--store", &at("store")]);
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(3), "{said}");
    for part in [
        "3 values left out of fields that keep their first: event.action (2), process.name (1)\n",
        "2 events without data_stream.dataset and event.dataset stored as event.category says\n",
        "e.ndjson:4: its @timestamp is out of range",
        "e.ndjson:5: its @timestamp is no date",
        "e.ndjson:6: its @timestamp is a list",
        "e.ndjson:7: it has no @timestamp",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let query =
        "from logs-endpoint.events.*, logs-mine-* metadata _index | keep _index, event.action | sort _index";
    let rows = out(&sensor(&["hunt", "-q", query, "--store", &at("store"), "--format", "csv"]));
    let expected =
        ["endpoint.events.file-default,a", "endpoint.events.process-default,exec", "mine-default,"];
    let expected: String = expected.iter().map(|line| format!("logs-{line}\r\n")).collect();
    assert_eq!(rows, format!("_index,event.action\r\n{expected}"));
}

#[test]
fn an_index_that_cannot_be_is_told_and_so_is_a_log_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let event = r#"{"@timestamp":"2026-01-02T03:04:05Z","event":{"category":["file"]}}"#;
    std::fs::write(at("e.ndjson"), event).unwrap();
    assert_eq!(sensor(&["store", "import", &at("e.ndjson"), "--store", &at("store")]).status.code(), Some(0));
    let ask = |query: &str| {
        let done = sensor(&["hunt", "-q", query, "--store", &at("store")]);
        (done.status.code(), out(&done))
    };
    for (query, index, place) in [
        ("from nosuch-*", "Unknown index [nosuch-*]", "query:1:6"),
        ("from nosuch, -logs-*, more", "Unknown index [nosuch,more]", "query:1:6"),
    ] {
        let (status, said) = ask(query);
        assert!(status == Some(1) && said.contains(index) && said.contains(place), "{query}: {said}");
    }
    for (query, rows, note) in [
        ("from nosuch-*, logs-endpoint.events.*", "1 row ", "no index is called `nosuch-*`"),
        (
            "from logs-endpoint.events.process-*",
            "0 rows ",
            "no stored events belong to logs-endpoint.events.process-*",
        ),
        ("from auditbeat-*", "0 rows ", "no stored events belong to auditbeat-*"),
        ("from logs-system.auth-*", "0 rows ", "others must be imported"),
    ] {
        let (status, said) = ask(query);
        assert!(status == Some(0) && said.contains(rows) && said.contains(note), "{query}: {said}");
    }
    std::fs::create_dir_all(at("store/wal")).unwrap();
    std::fs::write(at("store/wal/000000000099.wal"), "garbage".repeat(100)).unwrap();
    let told = "000000000099.wal: damaged, nothing of it can be read";
    let (status, said) = ask("from logs-*");
    assert!(status == Some(0) && said.contains(told), "{said}");
    assert!(out(&sensor(&["store", "stat", &at("store")])).contains(told));
    let exported = sensor(&["store", "export", &at("store")]);
    assert_eq!(exported.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&exported.stderr).contains(told));
}

#[test]
fn the_exit_status_tells_what_ran() {
    let folder = tempfile::tempdir().unwrap();
    let hunt = folder.path().join("h.toml");
    let status = |queries: &str, more: &[&str]| {
        std::fs::write(&hunt, format!("[hunt]\nname = 'h'\nquery = [{queries}]\n")).unwrap();
        let mut args = vec!["hunt", hunt.to_str().unwrap()];
        args.extend(more);
        sensor(&args).status.code()
    };
    assert_eq!(status("'select 1', 'sql\nselect 2'", &[]), Some(1), "a line end in a TOML text of one line");
    assert_eq!(status("'select 1', '''\nsql\nselect 2'''", &[]), Some(0));
    assert_eq!(status("'select 1', 'select from'", &[]), Some(3));
    assert_eq!(status("'select from'", &[]), Some(1));
    assert_eq!(status("'select 1', 'select from'", &["--only", "1"]), Some(0));
    assert_eq!(status("'select pid from processes'", &["--rows-max", "1"]), Some(4));
    assert_eq!(sensor(&["hunt", "/nowhere.toml"]).status.code(), Some(1));
    assert_eq!(sensor(&["hunt", "-q", "select 1", "--store", "/nowhere"]).status.code(), Some(1));
    assert_eq!(sensor(&["hunt"]).status.code(), Some(2));
}

#[test]
fn what_is_a_store_and_what_a_hunt_is_told_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (first, second) = (at("first"), at("second"));
    for (store, pid) in [(&first, 7), (&second, 8)] {
        let event = serde_json::json!({
            "@timestamp": "2026-01-02T03:04:05Z", "data_stream": {"dataset": "endpoint.events.process"},
            "process": {"pid": pid},
        });
        std::fs::write(at("e.ndjson"), format!("{event}\n")).unwrap();
        assert_eq!(sensor(&["store", "import", &at("e.ndjson"), "--store", store]).status.code(), Some(0));
    }
    std::fs::create_dir(at("hunts")).unwrap();
    let query = "from logs-endpoint.events.process-* | keep process.pid | sort process.pid";
    std::fs::write(
        at("hunts/h.toml"),
        format!("[hunt]\nname = 'h'\nauthor = ['a', 'b']\nquery = ['{query}']\n"),
    )
    .unwrap();
    std::fs::write(at("one.esql"), format!("// pids\n{query}\n")).unwrap();
    std::fs::write(at("one.sql"), "select 7 as \"process.pid\"").unwrap();
    let rule = format!("[rule]\nname = 'r'\ntype = 'esql'\nquery = '{query}'\n");
    std::fs::write(at("rule.toml"), rule).unwrap();
    let pids = |args: &[&str]| {
        let done = sensor(&[&["hunt", "--format", "csv"], args].concat());
        assert_eq!(done.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        out(&done)
    };
    let one = "process.pid\r\n7\r\n";
    for hunt in [at("hunts/h.toml"), at("hunts"), at("one.esql"), at("one.sql"), at("rule.toml")] {
        assert_eq!(pids(&[&hunt, "--store", &first]), one, "{hunt}");
        assert_eq!(pids(&["--store", &first, &hunt]), one, "{hunt}");
        assert_eq!(pids(&[&hunt, &first]), one, "{hunt}");
    }
    let both = "process.pid\r\n7\r\n8\r\n";
    assert_eq!(pids(&["--store", &first, &second, &at("hunts/h.toml")]), both);
    assert_eq!(pids(&["--store", &first, "--store", &second, "--only", "1", &at("hunts")]), both);
    assert_eq!(pids(&["--store", &first, "-q", query]), one);
    let says = |args: &[&str], status, text: &str| {
        let done = sensor(&[&["hunt"], args].concat());
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(status), "{args:?}: {said}");
        assert!(said.contains(text), "{args:?}: {said}");
    };
    says(&["--store", &first], 2, "a hunt is needed: name a file or a folder, or give a query with -q");
    says(&["--store", &first, &at("absent.toml")], 1, "absent.toml: No such file");
    says(&["--store", &at("absent"), &at("hunts")], 1, "absent");
    std::fs::write(at("rule.toml"), "[rule]\ntype = 'eql'\nquery = 'any where true'\n").unwrap();
    says(&[&at("rule.toml")], 1, "an EQL rule: `sensor replay --rules` runs it");
    says(&["from logs-*"], 1, "a query is asked with -q");
    says(&["-q", &at("one.esql")], 1, "leave -q out");
    let status = |args: &[&str]| sensor(&[&["store"], args].concat()).status.code();
    assert_eq!(out(&sensor(&["store", "stat", "--store", &first])), out(&sensor(&["store", "stat", &first])));
    assert_eq!(status(&["export", "--store", &first, &second]), Some(0));
    assert_eq!(status(&["import", &at("e.ndjson"), &first]), Some(1));
    std::fs::create_dir(at("empty")).unwrap();
    says(&[&at("empty")], 1, "no .toml, .esql or .sql file in this folder");
}

#[test]
fn the_shipped_hunt_runs_whole_over_an_imported_event() {
    let folder = tempfile::tempdir().unwrap();
    let (events, store, page) =
        (folder.path().join("e.ndjson"), folder.path().join("store"), folder.path().join("page.html"));
    let event = serde_json::json!({
        "@timestamp": "2026-01-02T03:04:05Z", "agent": {"id": "a"}, "host": {"os": {"type": "linux"}},
        "event": {"action": "creation", "category": ["file"], "type": ["creation"], "dataset": "endpoint.events.file"},
        "data_stream": {"dataset": "endpoint.events.file"}, "process": {"executable": "/tmp/x"},
        "file": {"name": "evil.postinst", "path": "/var/lib/dpkg/info/evil.postinst"},
    });
    std::fs::write(&events, format!("{event}\n")).unwrap();
    let (events, store, page) = (events.to_str().unwrap(), store.to_str().unwrap(), page.to_str().unwrap());
    assert_eq!(sensor(&["store", "import", events, "--store", store]).status.code(), Some(0));
    let hunts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hunts/linux");
    let now = ["--now", "2026-01-03", "--store", store, "--report", page, "--format", "json"];
    let done = sensor(&[&["hunt", hunts.to_str().unwrap()], now.as_slice()].concat());
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let json: serde_json::Value = serde_json::from_str(&out(&done)).unwrap();
    let queries = &json["hunts"][0]["queries"];
    assert_eq!(queries[0]["values"], serde_json::json!([[1, 1, "evil.postinst", "/tmp/x"]]));
    assert_eq!(queries[1]["rows"], 0);
    assert!(std::fs::read_to_string(page).unwrap().contains("evil.postinst"));
    let exported = out(&sensor(&["store", "export", store]));
    assert!(exported.contains("\"/var/lib/dpkg/info/evil.postinst\""), "{exported}");
    let files = Path::new(store).join("dataset=endpoint.events.file/day=2026-01-02");
    let file = std::fs::read_dir(files).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let done = sensor(&["hunt", "-q", "from logs-endpoint.events.file-*", "--store", store]);
    assert_eq!(done.status.code(), Some(4), "what is damaged is missing from the answer");
    assert!(out(&done).contains("INCOMPLETE: 1 events are in damaged files"), "{}", out(&done));
}
