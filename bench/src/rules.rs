//! The rules: those that are shipped, the development corpus where there is one, and as many made up ones as wanted.

use std::path::{Path, PathBuf};

use sensor_eql::{Origin, RuleSource};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Sample data beside the repository, or where `SENSOR_TEST_DATA` says.
pub fn sample_data(part: &str) -> Option<PathBuf> {
    let data =
        std::env::var_os("SENSOR_TEST_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    Some(data.join(part)).filter(|path| path.exists())
}

fn add(dir: &Path, sources: &mut Vec<RuleSource>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            add(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "toml")
            && let Ok(text) = std::fs::read_to_string(&path)
        {
            sources.push(RuleSource { origin: Origin::User, path: path.display().to_string(), text });
        }
    }
}

fn tree(dir: &Path) -> Vec<RuleSource> {
    let mut sources = Vec::new();
    add(dir, &mut sources);
    sources
}

pub fn shipped() -> Vec<RuleSource> {
    tree(&root().join("rules"))
}

pub fn corpus() -> Option<Vec<RuleSource>> {
    sample_data("corpus/rules").map(|dir| tree(&dir))
}

/// Rules of the kinds that public ones are: which program under which parent with which arguments, which path.
pub fn made_up(count: usize) -> Vec<RuleSource> {
    (0..count)
        .map(|number| {
            let words = |kind: &str, count: usize| {
                let all: Vec<String> = (0..count).map(|i| format!("\"{kind}{number}x{i}\"")).collect();
                all.join(", ")
            };
            let shells = "\"bash\", \"dash\", \"sh\", \"zsh\", \"ksh\", \"fish\"";
            let query = match number % 4 {
                0 => format!(
                    "process where host.os.type == \"linux\" and event.type == \"start\" and event.action in \
                     (\"exec\", \"exec_event\") and process.name in ({}) and process.args : ({}, \"*--opt{number}*\") \
                     and not process.parent.executable in ({})",
                    words("tool", 6),
                    words("-a", 4),
                    words("/usr/bin/p", 8)
                ),
                1 => format!(
                    "file where host.os.type == \"linux\" and event.action in (\"creation\", \"rename\") and file.path : \
                     (\"/etc/service{number}.d/*\", \"/usr/lib/service{number}/*\", \"/home/*/.config/s{number}/*\") and \
                     not (process.name in (\"dpkg\", \"rpm\") or process.executable in ({}) or file.extension in \
                     (\"swp\", \"swpx\"))",
                    words("/usr/bin/q", 20)
                ),
                2 => format!(
                    "process where host.os.type == \"linux\" and event.type == \"start\" and event.action == \"exec\" and \
                     process.parent.name in ({}) and process.name in ({shells}) and process.command_line : \
                     (\"*curl*|*tool{number}*\", \"*/dev/tcp/*{number}*\")",
                    words("server", 5)
                ),
                _ => format!(
                    "sequence by process.entity_id with maxspan=5s [process where event.type == \"start\" and \
                     process.name == \"loader{number}\"] [file where event.action == \"creation\" and file.path : \
                     \"/tmp/drop{number}*\"]"
                ),
            };
            let text = format!(
                "[rule]\nname = \"n{number}\"\nrule_id = \"made-up-{number}\"\ntype = \"eql\"\nlanguage = \"eql\"\n\
                 severity = \"low\"\nrisk_score = 1\ndescription = \"d\"\nquery = '''\n{query}\n'''\n"
            );
            RuleSource { origin: Origin::User, path: format!("made-up-{number}.toml"), text }
        })
        .collect()
}
