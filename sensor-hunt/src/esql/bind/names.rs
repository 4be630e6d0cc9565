//! Which columns are visible: `keep`, `drop`, `rename`.

use sensor_eql::Diagnostic;
use sensor_eql::pattern::Wildcard;

use super::{Binder, Bound, Entry};
use crate::esql::ast::Name;

/// How much a pattern says; where several match a column, the most exact one places it.
fn precision(pattern: &str) -> u8 {
    match pattern {
        "*" => 0,
        pattern if pattern.contains('*') => 1,
        _ => 2,
    }
}

impl Binder {
    fn matching(&self, pattern: &Name) -> Bound<Vec<usize>> {
        if precision(&pattern.text) == 2 {
            let found = self.scope.iter().position(|entry| entry.name == pattern.text);
            return found.map(|at| vec![at]).ok_or_else(|| self.unknown(&pattern.text, pattern.span));
        }
        let wildcard = Wildcard::new(&pattern.text.replace('?', "\\?"));
        let all = self.scope.iter().enumerate();
        let found: Vec<usize> =
            all.filter(|(_, entry)| wildcard.matches(entry.name.as_bytes())).map(|(at, _)| at).collect();
        if found.is_empty() {
            let text = format!("No matches found for pattern [{}]", pattern.text);
            return Err(Diagnostic::error(pattern.span, text));
        }
        Ok(found)
    }

    pub(super) fn keep(&mut self, patterns: &[Name]) -> Bound<()> {
        let mut winners: Vec<Option<(u8, usize)>> = vec![None; self.scope.len()];
        for (position, pattern) in patterns.iter().enumerate() {
            let rank = (precision(&pattern.text), position);
            for at in self.matching(pattern)? {
                if let Some(winner) = winners.get_mut(at) {
                    *winner = (*winner).max(Some(rank));
                }
            }
        }
        let mut kept: Vec<(usize, Entry)> = std::mem::take(&mut self.scope)
            .into_iter()
            .zip(winners)
            .filter_map(|(entry, winner)| winner.map(|(_, position)| (position, entry)))
            .collect();
        kept.sort_by_key(|(position, _)| *position);
        self.scope = kept.into_iter().map(|(_, entry)| entry).collect();
        Ok(())
    }

    pub(super) fn drop(&mut self, patterns: &[Name]) -> Bound<()> {
        let mut gone = Vec::new();
        for pattern in patterns {
            gone.extend(self.matching(pattern)?);
        }
        let mut at = 0;
        self.scope.retain(|_| {
            at += 1;
            !gone.contains(&(at - 1))
        });
        Ok(())
    }

    pub(super) fn rename(&mut self, pairs: &[(Name, Name)]) -> Bound<()> {
        for (old, new) in pairs {
            if !self.scope.iter().any(|entry| entry.name == old.text) {
                return Err(self.unknown(&old.text, old.span));
            }
            if old.text != new.text {
                self.scope.retain(|entry| entry.name != new.text);
            }
            if let Some(entry) = self.scope.iter_mut().find(|entry| entry.name == old.text) {
                entry.name.clone_from(&new.text);
            }
        }
        Ok(())
    }
}
