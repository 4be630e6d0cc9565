//! What is removed: events that are too old, and the oldest where there are too many.

use crate::manifest::{Entry, Manifest};

/// Takes out of the manifest what has to go, and returns it.
pub(crate) fn expire(
    manifest: &mut Manifest,
    before_ns: Option<i64>,
    imported_too: bool,
    bytes_max: Option<u64>,
) -> Vec<Entry> {
    let mut gone = Vec::new();
    if let Some(before) = before_ns {
        let old = |entry: &Entry| entry.last_ns < before && (imported_too || !entry.imported);
        gone.extend(manifest.segments.extract_if(.., |entry| old(entry)));
    }
    if let Some(most) = bytes_max {
        let mut bytes: u64 = manifest.segments.iter().map(|entry| entry.bytes).sum();
        while bytes > most {
            let oldest =
                (0..manifest.segments.len()).min_by_key(|at| manifest.segments.get(*at).map(|e| e.last_ns));
            let Some(at) = oldest else { break };
            let entry = manifest.segments.remove(at);
            bytes -= entry.bytes.min(bytes);
            gone.push(entry);
        }
    }
    manifest.expired_rows += gone.iter().map(|entry| entry.rows).sum::<u64>();
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, last_ns: i64, bytes: u64, imported: bool) -> Entry {
        Entry {
            path: path.to_owned(),
            dataset: "d".to_owned(),
            day: 0,
            rows: 10,
            bytes,
            raw_bytes: bytes,
            first_ns: last_ns,
            last_ns,
            imported,
        }
    }

    #[test]
    fn age_spares_what_was_imported() {
        let segments = vec![entry("a", 5, 1, false), entry("b", 5, 1, true), entry("c", 15, 1, false)];
        let mut manifest = Manifest { segments, ..Manifest::default() };
        let gone = expire(&mut manifest, Some(10), false, None);
        assert_eq!(gone.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(manifest.expired_rows, 10);
        assert_eq!(expire(&mut manifest, Some(10), true, None).len(), 1);
    }

    #[test]
    fn bytes_remove_the_oldest_first() {
        let segments = vec![entry("a", 9, 40, false), entry("b", 5, 40, true), entry("c", 15, 40, false)];
        let mut manifest = Manifest { segments, ..Manifest::default() };
        let gone = expire(&mut manifest, None, false, Some(90));
        assert_eq!(gone.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(manifest.segments.len(), 2);
    }
}
