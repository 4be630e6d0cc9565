//! The processes that were there before the sensor.

use sensor_ecs::EntryType;

use super::Enricher;
use super::procfs::ProcFacts;
use super::table::{Key, Links};

impl Enricher {
    /// Processes that were there before us, oldest first so that parents come before their children.
    pub(crate) fn seed(&mut self, mut found: Vec<ProcFacts>, boot_ns: u64) -> Vec<Key> {
        found.sort_unstable_by_key(|facts| (facts.start_ticks, facts.pid));
        let mut keys = Vec::with_capacity(found.len());
        for facts in &found {
            let key = Key::at_ticks(facts.pid, facts.start_ticks);
            let entry = self.entry_from_proc(key, facts);
            self.table.insert(key, entry, boot_ns);
            keys.push(key);
        }
        // Leaders and parents can be younger than their members, so links are made once all are there.
        for (facts, &key) in found.iter().zip(&keys) {
            let links = Links {
                parent: self.table.latest(facts.ppid),
                group: self.leader(facts.pgid, key),
                session: self.leader(facts.sid, key),
                ..Links::default()
            };
            self.table.set_links(key, links);
        }
        for (facts, &key) in found.iter().zip(&keys) {
            if let Some(parent) = self.table.get(key).and_then(|entry| entry.links.parent) {
                let ancestry = self.table.ancestry_below(parent);
                self.table.set_ancestry(key, ancestry);
            }
            self.find_entry(key, false);
            if let Some(entry) = self.table.get_mut(key)
                && let Some(meta) = &mut entry.process.entry_meta
                && meta.entry_type == EntryType::Sshd
            {
                meta.source_ip = facts.ssh_source.as_deref().map(Into::into);
            }
        }
        keys
    }
}
