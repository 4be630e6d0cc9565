//! Stores made of a few events.

use std::path::Path;

use sensor_ecs::{Document, OpenSchema};
use sensor_store::{Encoder, Log, LogOptions, Options, Store, Writer};

/// 2026-01-10T00:00:00Z
pub(crate) const NOW_MS: i64 = 1_768_003_200_000;

/// A store of sealed files.
pub(crate) fn sealed(root: &Path, events: &str) -> Store {
    let (mut writer, _) = Writer::open(root, Options::default()).unwrap();
    let report = writer.import(&mut events.as_bytes(), &mut |_| true).unwrap();
    assert_eq!(report.refused, 0, "{:?}", report.problems);
    writer.close(0).unwrap();
    Store::open(root).unwrap()
}

/// A store with everything in its log.
pub(crate) fn unsealed(root: &Path, events: &str) -> Store {
    let mut log = Log::open(root, LogOptions::default()).unwrap();
    let records = OpenSchema::new();
    let encoder = Encoder::new(&records);
    let mut document = Document::new();
    for line in events.lines().filter(|line| !line.trim().is_empty()) {
        document.parse(line.as_bytes(), &records).unwrap();
        let mut rows = Vec::new();
        encoder.append(&document, &mut rows).unwrap();
        log.commit(&rows, 1, 0).unwrap();
    }
    drop(log);
    Store::open(root).unwrap()
}
