//! Shapes of queries that public rules for Linux have: each loads, against ECS as this sensor knows it.

use sensor_ecs::Ecs;
use sensor_eql::{Kind, Origin, RuleSet, RuleSource};

const EVENT: [&str; 24] = [
    r#"process where host.os.type == "linux" and event.type == "start" and event.action in ("exec", "exec_event", "ProcessRollup2") and process.name : ("nc", "ncat") and process.args : "-*l*""#,
    r#"process where event.type in ("start", "process_started") and process.args : "BEGIN {system(*)}""#,
    r#"file where event.action in ("creation", "rename") and file.extension : "?*" and not file.path like~ ("/proc/*", "*/.git/*")"#,
    r#"process where process.command_line regex ".*[ ]{20,}.*" or
       /* three runs of blanks */
       process.command_line regex "([^ ]+[ ]{3,}[^ ]*){3,}.*""#,
    r#"process where length(process.command_line) > 500 and stringContains~(process.command_line, "base64")"#,
    r#"process where process.args_count >= 4 and process.args_count != 6 and not process.args == "--version""#,
    r#"process where process.parent.executable != null and ?process.working_directory == null and process.Ext.trusted == true"#,
    r#"process where ?process.parent.thread.capabilities.effective like ("CAP_SETUID", "CAP_SYS_*") and user.id != "0""#,
    r#"file where file.path regex~ """/home/[^/]+/\.(ssh|gnupg)/.*""" and endsWith~(file.name, ".pub")"#,
    r#"process where process.executable regex~ """(/tmp|/var/tmp|/dev/shm)/[a-z0-9]{8,}(\.sh)?""""#,
    r#"process where cidrmatch(process.entry_leader.entry_meta.source.ip, "10.0.0.0/8", "::1", "192.168.0.0/16")"#,
    r#"any where event.category in ("file", "process") and event.dataset == "endpoint.events.file""#,
    r#"process where process.name == "su" and (process.args == "-" or process.args == "-l") and not (process.parent.name in~ ("cron", "CROND") or user.name == null)"#,
    r#"file where indexOf(file.path, "..") != null or substring(file.name, 0, 1) == ".""#,
    r#"process where concat(process.name, ":", process.parent.name) in ("sh:httpd", "bash:nginx")"#,
    r#"process where process.parent.args_count - process.args_count > 2 and process.args_count % 2 == 0"#,
    r#"process where wildcard~(process.command_line, "*/DEV/TCP/*", "*/dev/udp/*")"#,
    r#"process where between(process.command_line, "-u ", " ") == "root" and startsWith(process.executable, "/usr/")"#,
    r#"process where `process`.`name` == "awk" and true == process.interactive"#,
    r#"network where destination.port in (4444, 5555) and not cidrMatch(destination.ip, "127.0.0.0/8")"#,
    r#"registry where registry.path : "HKLM\\*""#,
    r#"process where process.command_line : """*\\x*\\x*""" and process.args : "\u{2d}c""#,
    r#"configuration where event.dataset == "auditd_manager.auditd" and auditd.data.syscall in ("init_module", "finit_module")"#,
    r#"process where process.name : "*sh" and (event.outcome == "success" or not event.outcome == "failure") | head 10"#,
];

const SEQUENCE: [&str; 12] = [
    r#"sequence by process.entity_id, host.id with maxspan=1s [file where event.action == "rename" and file.extension : "?*"] with runs=25"#,
    r#"sequence by host.id, source.ip, user.name with maxspan=15s [authentication where event.outcome == "failure"] with runs=10 [authentication where event.outcome == "success"]"#,
    r#"sequence by host.id with maxspan=3s [process where event.type == "start" and process.name == "curl"] by process.entity_id [file where event.type != "deletion"] by process.entity_id"#,
    r#"sequence with maxspan=1m [process where process.name == "a"] [process where process.name == "b"]"#,
    r#"sequence by ?process.entity_id, ?container.id with maxspan=5m [any where event.action == "exec"] [any where event.action == "fork"]"#,
    r#"sequence by process.pid [process where true] [process where event.type == "end"] until [process where process.exit_code == 0]"#,
    r#"sequence by host.id with maxspan=10s [process where process.name == "useradd"] ![process where process.name == "passwd"] [file where file.path == "/etc/shadow"]"#,
    r#"sequence by process.parent.entity_id with maxspan=1h [process where event.action == "exec"] [process where event.action == "uid_change" and user.id == "0"] | tail 1"#,
    r#"sample by host.id [process where process.name == "scp"] [file where file.path : "/etc/*"]"#,
    r#"sample by host.id, user.id [any where event.category == "process"] [any where event.category == "file"] [any where event.category == "network"]"#,
    r#"sequence by host.id with maxspan=2d [file where file.name : "*.so"] by file.path [process where true] by process.executable [network where true] by process.executable"#,
    r#"sequence [process where process.name == "x" and process.args : ("-i", "-l")] [process where process.name != "x" and not process.parent.name == "y"]"#,
];

const KQL: [&str; 16] = [
    "event.category:process and host.os.type:linux and event.type:(start or process_started) and process.name:(nc or ncat or netcat)",
    "process.executable:(./* or /etc/cron.*/* or /home/*/.* or /tmp/.mount*) and process.name:* and not process.name:(ansible* or filebeat)",
    "not source.ip:(10.0.0.0/8 or 127.0.0.1) and destination.ip:(\"::1\" or \"FE80::/10\")",
    "event.action:(\"exec\" or exec_event) and process.args:(-c and *base64*) and not process.parent.executable:(\"/usr/bin/a b\" or /opt/*)",
    "file.path:/etc/* AND NOT process.name:(dpkg OR rpm)",
    "process.parent.pid >= 1 and process.args_count < 3 and process.Ext.trusted:true",
    "file.extension:(so or \"so.1\") or (file.name:.* and not file.name:(.cache or .git*))",
    "process.command_line:*\\:\\:* or process.command_line:*\\(\\)*",
    "event.category:file and event.action:\"opened-file\" and file.path:\"/proc/modules\"",
    "not (process.name:(a or b) or user.name:root) and container.id:*",
    "process.args:(\"--socket\" or -s* or *\\*) and user.id:0",
    "(process.name:sudo and process.args:-*s) or process.name:(su and not sudo)",
    "event.category: process and\n  process.name : (\n    insmod or modprobe or\n    kmod\n  )",
    "process.parent.name:\"\" or process.name:\"a\\\"b\"",
    "event.dataset:(endpoint.events.* or auditd_manager.auditd) and event.type:start",
    "process.title:(\"[kworker*\" or [kthread*)",
];

fn file(number: usize, kind: &str, language: &str, query: &str, more: &str) -> RuleSource {
    let text = format!(
        "[metadata]\nmaturity = \"production\"\n\n[transform]\n[[transform.osquery]]\nlabel = \"l\"\nquery = \"SELECT 1\"\n\n\
         [rule]\nauthor = [\"a\"]\nname = \"n\"\nrule_id = \"{kind}-{number}\"\ntype = \"{kind}\"\nlanguage = \"{language}\"\n\
         severity = \"low\"\nrisk_score = 21\nfrom = \"now-9m\"\nbuilding_block_type = \"default\"\nquery = '''\n{query}\n'''\n\n\
         [rule.alert_suppression]\ngroup_by = [\"host.id\"]\n\n{more}"
    );
    RuleSource { origin: Origin::User, path: format!("{kind}-{number}.toml"), text }
}

fn files(kind: &str, language: &str, queries: &[&str], more: &str) -> Vec<RuleSource> {
    queries.iter().enumerate().map(|(i, query)| file(i, kind, language, query, more)).collect()
}

#[test]
fn every_shape_loads() {
    const NEW_TERMS: &str = "[rule.new_terms]\nfield = \"new_terms_fields\"\nvalue = [\"host.id\", \"process.executable\"]\n\
         [[rule.new_terms.history_window_start]]\nfield = \"history_window_start\"\nvalue = \"now-10d\"\n";
    const THRESHOLD: &str = "[rule.threshold]\nfield = [\"host.id\", \"process.name\"]\nvalue = 10\n\
         [[rule.threshold.cardinality]]\nfield = \"file.path\"\nvalue = 5\n";
    const THRESHOLD_OF_ALL: &str = "[rule.threshold]\nfield = []\nvalue = 1\n";
    for (sources, kinds) in [
        (files("eql", "eql", &EVENT, ""), &[Kind::Event][..]),
        (files("eql", "eql", &SEQUENCE, ""), &[Kind::Sequence, Kind::Sample]),
        (files("query", "kuery", &KQL, ""), &[Kind::Event]),
        (files("new_terms", "kuery", &KQL, NEW_TERMS), &[Kind::NewTerms]),
        (files("threshold", "kuery", &KQL, THRESHOLD), &[Kind::Threshold]),
        (files("threshold", "kuery", &KQL, THRESHOLD_OF_ALL), &[Kind::Threshold]),
    ] {
        let count = sources.len();
        let set = RuleSet::load(sources, &Ecs);
        let errors: Vec<String> = set.errors().iter().map(ToString::to_string).collect();
        assert!(errors.is_empty(), "{}", errors.join("\n"));
        assert_eq!((set.rules().len(), set.listed().len()), (count, 0));
        assert!(set.rules().iter().all(|rule| kinds.contains(&rule.compiled.kind())));
    }
}
