//! Ids that change without an exec.

use sensor_common::wire::{CredentialsRecord, TaskFacts};

use super::Enricher;
use super::accounts::{CapabilitySets, Of};
use super::process::ids_of;
use super::table::Key;

impl Enricher {
    /// Other user or group ids, and with them other capabilities.
    ///
    /// An exec of a set-user-id program changes the ids when it has counted itself already and its record is still to
    /// come: until then the process is what it was.
    pub(super) fn change_credentials(&mut self, record: &CredentialsRecord) -> Key {
        let boot_ns = record.header.boot_ns;
        let mut task: TaskFacts = record.header.task;
        let known = self.table.get(Key::new(task.tgid, task.start_boottime_ns));
        if let Some(exec_id) = known.and_then(|entry| entry.proof.exec_id)
            && exec_id.wrapping_add(1) == task.self_exec_id
        {
            task.self_exec_id = exec_id;
        }
        let key = self.locate(&task, boot_ns);
        let sets = CapabilitySets { effective: record.cap_effective, permitted: record.cap_permitted };
        let container = self.table.get(key).and_then(|entry| entry.process.container.as_ref());
        let of = Of { pid: key.pid(), container };
        let credentials = self.accounts.credentials(of, ids_of(&task), Some(sets), &[]);
        if let Some(entry) = self.table.get_mut(key) {
            entry.process.credentials = credentials;
        }
        key
    }
}
