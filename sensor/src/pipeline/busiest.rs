//! Who is busiest: programs and directories, counted only while somebody watches.

use std::collections::BTreeMap;

use sensor_ecs::{Event, Record as _, Value, field};

use super::vitals::Ranking;
use crate::shown::shown;

/// Names that are counted in a second; later ones are not.
const NAMES_MAX: usize = 1024;
/// Names that are told.
const TOLD_MAX: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Busiest {
    programs: BTreeMap<Box<[u8]>, u64>,
    directories: BTreeMap<Box<[u8]>, u64>,
}

impl Busiest {
    pub(super) fn note(&mut self, event: &Event<'_>) {
        if let Value::Keyword(program) = event.value(field::PROCESS_EXECUTABLE) {
            count(&mut self.programs, program);
        }
        if let Value::Keyword(path) = event.value(field::FILE_PATH) {
            let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            count(&mut self.directories, path.get(..end.max(1)).unwrap_or(path));
        }
    }

    /// Programs and directories since the last time, busiest first.
    pub(super) fn take(&mut self) -> (Ranking, Ranking) {
        (told(std::mem::take(&mut self.programs)), told(std::mem::take(&mut self.directories)))
    }
}

fn count(names: &mut BTreeMap<Box<[u8]>, u64>, name: &[u8]) {
    let is_full = names.len() >= NAMES_MAX;
    match names.get_mut(name) {
        Some(count) => *count += 1,
        None if is_full => {}
        None => {
            names.insert(name.into(), 1);
        }
    }
}

fn told(names: BTreeMap<Box<[u8]>, u64>) -> Ranking {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    names.truncate(TOLD_MAX);
    names.into_iter().map(|(name, count)| (shown(&name), count)).collect()
}
