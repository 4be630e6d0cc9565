//! Elastic's published Linux hunts: every SQL query runs, or is one of those that cannot.

use std::path::PathBuf;
use std::time::Duration;

use crate::osquery::{Error, Options, run};

/// File, index of the query, and why it does not run.
const INVALID: &[(&str, usize, &str)] = &[
    ("persistence_via_git_hook_pager.toml", 2, "syntax error"),
    ("persistence_via_systemd_timers.toml", 3, "syntax error"),
    ("persistence_via_udev.toml", 2, "syntax error"),
];

#[test]
fn every_sql_query_runs_or_is_invalid_as_published() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/corpus/hunts");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: {} is not here", folder.display());
        return;
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let options = Options { time_max: Duration::from_secs(60), ..Options::default() };
    let (mut ran, mut invalid) = (0, Vec::new());
    for path in paths {
        let file: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        for (index, query) in file["hunt"]["query"].as_array().unwrap().iter().enumerate() {
            let text = query.as_str().unwrap().trim();
            let text = text.strip_prefix("sql\n").unwrap_or(text);
            if text.to_ascii_lowercase().starts_with("from ") {
                continue;
            }
            match run(text, &options) {
                Ok(answer) => {
                    ran += 1;
                    // The hunt for set-id files reads the whole disk, however large it is.
                    let whole_disk = text.contains("\"/%%\"");
                    assert!(
                        answer.incomplete.is_none() || whole_disk,
                        "{name} {index}: {:?}",
                        answer.incomplete
                    );
                    println!("{name} {index}: {} rows, {:?}", answer.rows.len(), answer.warnings);
                }
                Err(Error::Invalid { cause, .. }) => invalid.push((name.clone(), index, cause)),
                Err(other) => panic!("{name} {index}: {other}"),
            }
        }
    }
    println!("{ran} ran");
    assert!(ran >= 25, "{ran}");
    for (name, index, cause) in &invalid {
        assert!(
            INVALID.iter().any(|(file, at, why)| file == name && at == index && cause.contains(why)),
            "{name} {index}: {cause}"
        );
    }
    assert_eq!(invalid.len(), INVALID.len());
}
