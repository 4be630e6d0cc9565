//! The processes that were there before the sensor.

use std::sync::Arc;

use sensor_common::wire::TaskFacts;
use sensor_ecs::{EntryType, Executable, Image};

use super::Enricher;
use super::hashes::Ran;
use super::procfs::ProcFacts;
use super::table::{Key, Links};

/// What cannot be hashed is not asked for at every fork.
const HASH_ASKED_EVERY_NS: u64 = 1_000_000_000;

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
    /// Hashes what a process runs that was there before the sensor, when it begins to start others: most never do.
    pub(super) fn hash_what_was_there(&mut self, key: Key, task: &TaskFacts, boot_ns: u64) {
        let Some(entry) = self.table.get_hidden_mut(key) else { return };
        if entry.process.image.sha256.is_some() || boot_ns < entry.hash_asked_ns + HASH_ASKED_EVERY_NS {
            return;
        }
        entry.hash_asked_ns = boot_ns;
        let path = entry.process.image.executable.as_ref().map(Executable::path);
        let ran = Ran { pid: task.tgid, dev: task.exe_dev, inode: task.exe_inode, path, version: None };
        let Some(sha256) = self.hashes.of_named_executable(ran) else { return };
        let image = Image { sha256: Some(sha256), ..(*entry.process.image).clone() };
        self.table.set_image(key, Arc::new(image));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::super::boot_ns_now;
    use super::super::procfs::read_process;
    use super::super::tests::Bench;
    use crate::decode::synth;

    const SECOND: u64 = 1_000_000_000;

    /// A process directory as `/proc` has it. The executable is a link to a real file, for its inode.
    pub(in crate::enrich) fn fake_process(
        proc_root: &Path,
        pid: u32,
        ppid: u32,
        start_ticks: u64,
        exe: &Path,
        cmdline: &str,
    ) -> u64 {
        let dir = proc_root.join(pid.to_string());
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(exe, "image").unwrap();
        let comm = exe.file_name().unwrap().to_str().unwrap();
        let stat = format!(
            "{pid} ({comm}) S {ppid} {pid} {pid} 34817 {pid} 4194304 0 0 0 0 0 0 0 0 20 0 1 0 {start_ticks} 0\n"
        );
        std::fs::write(dir.join("stat"), stat).unwrap();
        std::fs::write(dir.join("status"), "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n").unwrap();
        std::fs::write(dir.join("cmdline"), cmdline.replace(' ', "\0") + "\0").unwrap();
        std::fs::write(dir.join("cgroup"), "0::/init.scope\n").unwrap();
        symlink(exe, dir.join("exe")).unwrap();
        symlink("/root", dir.join("cwd")).unwrap();
        symlink("/", dir.join("root")).unwrap();
        std::fs::metadata(exe).unwrap().ino()
    }

    #[test]
    fn what_was_there_is_hashed_when_it_forks() {
        let mut bench = Bench::new();
        let exe = bench.proc_root().with_file_name("daemon");
        let inode = fake_process(&bench.proc_root(), 500, 1, 900, &exe, "/daemon");
        let dev = std::fs::metadata(&exe).unwrap().dev();
        let mut facts = read_process(&bench.proc_root(), 500).unwrap();
        // As below the root that the host's is here.
        facts.exe.as_mut().unwrap().path = b"/daemon".to_vec();
        bench.enricher.seed(vec![facts], boot_ns_now());
        let mut daemon = synth::after_exec(&synth::task(500, 9 * SECOND), 7);
        daemon.exe_inode = inode;
        daemon.exe_dev = rustix::fs::major(dev) << 20 | rustix::fs::minor(dev);
        let begun = Instant::now();
        let mut seconds = 10..;
        let hash = loop {
            let now = seconds.next().unwrap() * SECOND;
            let child = synth::child_of(&daemon, 501, now);
            let seen = bench.see(&synth::fork(&daemon, &child, now));
            seen.is(&[("process.executable", "/daemon")]);
            if let Some(hash) = seen.get("process.hash.sha256") {
                break hash.to_owned();
            }
            assert!(begun.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(5));
        };
        // Of `image`.
        assert_eq!(hash, "6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d");
    }
}
