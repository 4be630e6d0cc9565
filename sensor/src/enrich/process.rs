//! Keeping the process table right: which process a record is about, and what it runs.

use std::sync::Arc;

use sensor_common::wire::{ExecRecord, ExitRecord, ForkRecord, TaskFacts, record_flags};
use sensor_ecs::{
    Arguments, Degradation, EntryMeta, EntryType, Executable, Image, Process, Scalar, Tty, entity_id,
};

use crate::decode::{Exec, WirePath};

use super::accounts::{CapabilitySets, Of};
use super::hashes::{Ran, Version};
use super::procfs::{self, ProcFacts, absolute};
use super::table::{Entry, Ids, Key, Links, Proof};
use super::{Enricher, environment, leaders};

/// How an entry and a record's proof go together.
enum Agreement {
    /// The entry describes what runs.
    Same,
    /// The same process, but an exec was missed.
    OtherImage,
    /// Another process that started within the same tick.
    OtherProcess,
}

pub(super) const fn ids_of(task: &TaskFacts) -> Ids {
    Ids { uid: task.uid, gid: task.gid, euid: task.euid, egid: task.egid, suid: task.suid, sgid: task.sgid }
}

const fn parent_of(task: &TaskFacts) -> Option<Key> {
    if task.ppid == 0 { None } else { Some(Key::new(task.ppid, task.parent_start_boottime_ns)) }
}

const fn proof_of(task: &TaskFacts) -> Proof {
    Proof { exec_id: Some(task.self_exec_id), exe_inode: Some(task.exe_inode) }
}

/// Compares, and lets an entry from `/proc` take over the record's proof once they agree.
fn compare(entry: &mut Entry, task: &TaskFacts) -> Agreement {
    if entry.start_ns.is_some_and(|start_ns| start_ns != task.start_boottime_ns) {
        return Agreement::OtherProcess;
    }
    match entry.proof.exec_id {
        // The executable is not compared: PR_SET_MM_EXE_FILE changes it without an exec.
        Some(exec_id) if exec_id == task.self_exec_id => Agreement::Same,
        Some(_) => Agreement::OtherImage,
        // Kernel threads have no executable, and no exec that could be missed.
        None if task.exe_inode == 0 || entry.proof.exe_inode == Some(task.exe_inode) => {
            entry.start_ns = Some(task.start_boottime_ns);
            entry.proof = proof_of(task);
            Agreement::Same
        }
        None => Agreement::OtherImage,
    }
}

fn is_current(entry: &Entry, task: &TaskFacts) -> bool {
    entry.links.parent == parent_of(task)
        && entry.pgid == task.pgid
        && entry.sid == task.sid
        && entry.ids == ids_of(task)
        && (entry.cgroup_id == task.cgroup_id || task.cgroup_id == 0)
}

impl Enricher {
    /// The process that did it, described as it was when it did.
    pub(super) fn locate(&mut self, task: &TaskFacts, boot_ns: u64) -> Key {
        let key = Key::new(task.tgid, task.start_boottime_ns);
        match self.table.get_hidden_mut(key) {
            None => self.discover(key, Some(task), boot_ns),
            Some(entry) => match compare(entry, task) {
                Agreement::Same => {
                    if is_current(entry, task) {
                        entry.seen_ns = entry.seen_ns.max(boot_ns);
                        return key;
                    }
                }
                Agreement::OtherImage => self.repair(key, task),
                Agreement::OtherProcess => self.discover(key, Some(task), boot_ns),
            },
        }
        self.follow(key, task, boot_ns);
        key
    }

    /// A process that no record has told of: from `/proc` if it is still there, else by its identity alone.
    fn discover(&mut self, key: Key, task: Option<&TaskFacts>, boot_ns: u64) {
        let mut entry = match self.look_up(key) {
            Some(facts) => {
                let mut entry = self.entry_from_proc(key, &facts);
                entry.process.degrade(Degradation::FromProc);
                entry
            }
            None => {
                let mut entry = Entry::new(self.new_process(key));
                entry.process.degrade(Degradation::StartUnseen);
                entry.image_lost = true;
                entry
            }
        };
        if let Some(task) = task {
            self.check_image(&mut entry, task);
        }
        self.stats.discovered += 1;
        self.table.insert(key, entry, boot_ns);
        let parent = self.table.get(key).and_then(|entry| entry.links.parent);
        if let Some(parent) = parent {
            let ancestry = self.table.ancestry_below(parent);
            self.table.set_ancestry(key, ancestry);
        }
        self.find_entry(key, false);
    }

    /// The exec that made this image was lost: what runs now comes from `/proc`, or is not known. Never the old image.
    fn repair(&mut self, key: Key, task: &TaskFacts) {
        let found = self.look_up(key);
        let mut fresh = match &found {
            Some(facts) => self.entry_from_proc(key, facts),
            None => Entry::new(self.new_process(key)),
        };
        self.check_image(&mut fresh, task);
        self.stats.repaired += 1;
        self.table.set_image(key, Arc::clone(&fresh.process.image));
        let Some(entry) = self.table.get_mut(key) else { return };
        entry.process.degrade(Degradation::RecordsLost);
        entry.process.degrade(if fresh.image_lost {
            Degradation::StartUnseen
        } else {
            Degradation::FromProc
        });
        if !fresh.image_lost {
            entry.process.working_directory = fresh.process.working_directory;
        }
        entry.image_lost = fresh.image_lost;
        entry.proof = fresh.proof;
        entry.start_ns = fresh.start_ns;
    }

    /// Keeps what `/proc` said only if the record proves that it is what ran.
    fn check_image(&mut self, entry: &mut Entry, task: &TaskFacts) {
        if task.exe_inode != 0 && entry.proof.exe_inode != Some(task.exe_inode) {
            entry.process.image = Arc::default();
            entry.process.degrade(Degradation::StartUnseen);
            entry.image_lost = true;
            self.stats.images_lost += 1;
        } else if task.exe_inode == 0 {
            entry.image_lost = false;
        }
        entry.proof = proof_of(task);
        entry.start_ns = Some(task.start_boottime_ns);
    }

    fn look_up(&mut self, key: Key) -> Option<ProcFacts> {
        self.lookup.read(&key.pid()).filter(|facts| facts.start_ticks == key.start_ticks())
    }

    fn new_process(&self, key: Key) -> Process {
        let id = entity_id(&self.agent.id, key.pid(), key.start_ticks(), self.boot_hash);
        Process { start_ns: Some(self.clock.wall_ns(key.start_ns())), ..Process::new(key.pid(), id) }
    }

    /// What `/proc` says, with links to those that are in the table.
    pub(super) fn entry_from_proc(&mut self, key: Key, facts: &ProcFacts) -> Entry {
        let process = self.new_process(key);
        let ids = facts.ids;
        let sets = CapabilitySets { effective: facts.cap_effective, permitted: facts.cap_permitted };
        let executable = facts.script.as_ref().or_else(|| facts.exe.as_ref().map(|exe| &exe.path));
        let image = Image {
            executable: executable.map(|path| Executable::new(path.as_slice())),
            arguments: Arguments::from_nul_terminated(&facts.cmdline, None, facts.cmdline_truncated),
            env_vars: facts.environment.iter().map(|text| Scalar::Keyword(text.clone().into())).collect(),
            ..Image::default()
        };
        let container = facts.cgroup.as_ref().and_then(|path| self.containers.learn(0, path));
        let of = Of { pid: key.pid(), container: container.as_ref() };
        let credentials = self.accounts.credentials(of, ids, Some(sets), &facts.groups);
        let mut entry = Entry::new(Process {
            image: Arc::new(image),
            credentials,
            working_directory: facts.cwd.as_deref().map(Into::into),
            tty: facts.tty,
            interactive: (!facts.is_kernel_thread)
                .then_some(facts.tty.is_some_and(|tty| leaders::is_interactive(tty.major))),
            container,
            ..process
        });
        if facts.exe.as_ref().is_some_and(|exe| exe.unlinked) {
            entry.process.degrade(Degradation::ExecutableUnlinked);
        }
        entry.ids = ids;
        entry.pgid = facts.pgid;
        entry.sid = facts.sid;
        entry.proof = Proof { exec_id: None, exe_inode: facts.exe.as_ref().and_then(|exe| exe.inode) };
        entry.links = Links {
            creator: None,
            parent: self.table.latest(facts.ppid),
            group: self.leader(facts.pgid, key),
            session: self.leader(facts.sid, key),
            entry: None,
        };
        entry
    }

    pub(super) fn leader(&self, pid: u32, own: Key) -> Option<Key> {
        if pid == own.pid() { Some(own) } else { self.table.latest(pid) }
    }

    /// Takes over what changes without a record of its own: parent, group, session, ids, cgroup.
    fn follow(&mut self, key: Key, task: &TaskFacts, boot_ns: u64) {
        let parent = parent_of(task);
        if let Some(parent) = parent
            && !self.table.contains(parent)
        {
            self.discover(parent, None, boot_ns);
        }
        let Some(entry) = self.table.get(key) else { return };
        let (old, ids_differ) = (entry.links, entry.ids != ids_of(task));
        let moved = entry.cgroup_id != task.cgroup_id && task.cgroup_id != 0;
        let links =
            Links { parent, group: self.leader(task.pgid, key), session: self.leader(task.sid, key), ..old };
        self.table.set_links(key, links);
        if old.parent != parent {
            let ancestry = parent.map(|parent| self.table.ancestry_below(parent)).unwrap_or_default();
            self.table.set_ancestry(key, ancestry);
        }
        // Capabilities changed with the ids, and no record says to what.
        let container = moved.then(|| self.container_of(key.pid(), task.cgroup_id));
        let Some(entry) = self.table.get(key) else { return };
        let credentials = ids_differ.then(|| {
            let container = container.as_ref().unwrap_or(&entry.process.container).as_ref();
            self.accounts.credentials(Of { pid: key.pid(), container }, ids_of(task), None, &[])
        });
        let Some(entry) = self.table.get_mut(key) else { return };
        if let Some(credentials) = credentials {
            entry.process.credentials = credentials;
            entry.ids = ids_of(task);
        }
        if let Some(container) = container {
            entry.process.container = container;
            entry.cgroup_id = task.cgroup_id;
        }
        entry.pgid = task.pgid;
        entry.sid = task.sid;
        entry.seen_ns = entry.seen_ns.max(boot_ns);
    }

    fn container_of(&mut self, pid: u32, cgroup_id: u64) -> Option<Arc<sensor_ecs::Container>> {
        match self.containers.known(cgroup_id) {
            Some(known) => known,
            None => {
                let path = procfs::read_cgroup(&self.proc_root, pid)?;
                self.containers.learn(cgroup_id, &path)
            }
        }
    }

    /// Finds out through whom the process's session entered the host. An exec may make it an entry itself.
    pub(super) fn find_entry(&mut self, key: Key, may_read_environment: bool) {
        let Some(entry) = self.table.get(key) else { return };
        let parent = entry.links.parent.and_then(|parent| self.table.get(parent));
        let is_kernel_thread = entry.proof.exe_inode.unwrap_or(0) == 0
            && !entry.image_lost
            && entry.process.image.executable.is_none();
        let own = leaders::entry_type(
            &entry.process,
            parent.map(|parent| &parent.process),
            entry.sid == key.pid(),
            is_kernel_thread,
        );
        let inherited = parent.and_then(|parent| parent.links.entry);
        let stays = entry.links.entry == Some(key);
        let links = match own {
            Some(_) => Links { entry: Some(key), ..entry.links },
            // Once an entry, always one: its later execs and parents do not move the door.
            None if stays => entry.links,
            None => Links { entry: inherited, ..entry.links },
        };
        let is_new = own.is_some() && entry.process.entry_meta.is_none();
        self.table.set_links(key, links);
        if let Some(entry_type) = own
            && is_new
        {
            let asks = may_read_environment && entry_type == EntryType::Sshd;
            let source_ip = asks.then(|| self.look_up(key)).flatten().and_then(|facts| facts.ssh_source);
            if let Some(entry) = self.table.get_mut(key) {
                entry.process.entry_meta =
                    Some(EntryMeta { entry_type, source_ip: source_ip.map(Into::into) });
            }
        }
    }

    /// A fork: the child is what its parent is.
    pub(super) fn fork(&mut self, fork: &ForkRecord) -> Key {
        let boot_ns = fork.header.boot_ns;
        let creator = self.locate(&fork.header.task, boot_ns);
        self.hash_what_was_there(creator, &fork.header.task, boot_ns);
        let task = &fork.child;
        let key = Key::new(task.tgid, task.start_boottime_ns);
        let identity = self.new_process(key);
        let mut entry = match self.table.get(creator) {
            Some(parent) => {
                let mut entry = Entry::new(Process {
                    pid: identity.pid,
                    entity_id: identity.entity_id,
                    start_ns: identity.start_ns,
                    end_ns: None,
                    exit_code: None,
                    entry_meta: None,
                    ..parent.process.clone()
                });
                entry.image_lost = parent.image_lost && task.exe_inode != 0;
                entry.ids = parent.ids;
                entry.cgroup_id = parent.cgroup_id;
                entry.links.entry = parent.links.entry;
                entry
            }
            None => Entry::new(identity),
        };
        entry.links.creator = Some(creator);
        entry.proof = proof_of(task);
        entry.start_ns = Some(task.start_boottime_ns);
        self.table.insert(key, entry, boot_ns);
        self.follow(key, task, boot_ns);
        key
    }

    /// An exec: the process goes on under another image. Hands back the one before.
    pub(super) fn exec(&mut self, exec: &Exec<'_>) -> (Key, Option<Arc<Image>>) {
        let header = &exec.record.header;
        let task = &header.task;
        let key = Key::new(task.tgid, task.start_boottime_ns);
        let known = self
            .table
            .get(key)
            .filter(|entry| entry.start_ns.is_none_or(|start_ns| start_ns == task.start_boottime_ns));
        // The image before is what our entry has only if no exec was lost in between.
        let previous = known
            .filter(|entry| {
                let follows = |exec_id: u32| exec_id.wrapping_add(1) == task.self_exec_id;
                !entry.image_lost && entry.proof.exec_id.is_some_and(follows)
            })
            .map(|entry| Arc::clone(&entry.process.image));
        if known.is_none() {
            let entry = Entry::new(self.new_process(key));
            self.table.insert(key, entry, header.boot_ns);
        }
        if let Some(entry) = self.table.get_mut(key) {
            // The record brings the cgroup's path, so it need not be looked up.
            entry.cgroup_id = task.cgroup_id;
        }
        self.follow(key, task, header.boot_ns);

        let cwd = written(&exec.cwd);
        let mut degraded = Vec::new();
        let mut image = self.image_of(exec, cwd.as_deref(), &mut degraded);
        // What runs for a script is its interpreter.
        if header.flags & record_flags::SCRIPT == 0 {
            let path = image.executable.as_ref().map(|executable| executable.path());
            let ExecRecord { exe_size, exe_mtime_ns, exe_ctime_ns, .. } = exec.record;
            let (dev, inode) = (task.exe_dev, task.exe_inode);
            let version = Version::told(dev, inode, exe_size, exe_mtime_ns, exe_ctime_ns);
            let ran = Ran { pid: task.tgid, dev, inode, path, version: Some(version) };
            image.sha256 = self.hashes.of_executable(&self.proc_root, ran);
        }
        self.table.set_image(key, Arc::new(image));
        let sets =
            CapabilitySets { effective: exec.record.cap_effective, permitted: exec.record.cap_permitted };
        let mut cgroup = Vec::new();
        exec.write_cgroup(&mut cgroup);
        let container = if exec.record.header.flags & record_flags::CGROUP_TRUNCATED != 0 {
            // What names the container may be what did not fit.
            Some(self.container_of(task.tgid, task.cgroup_id))
        } else {
            (!cgroup.is_empty()).then(|| self.containers.learn(task.cgroup_id, &cgroup))
        };
        let entry = self.table.get(key);
        let current = container.as_ref().or_else(|| entry.map(|entry| &entry.process.container));
        let of = Of { pid: key.pid(), container: current.and_then(Option::as_ref) };
        let credentials = self.accounts.credentials(of, ids_of(task), Some(sets), &exec.groups());
        let (major, minor) = (exec.record.tty_major, exec.record.tty_minor);
        if let Some(entry) = self.table.get_mut(key) {
            let process = &mut entry.process;
            process.working_directory = cwd.map(Into::into);
            process.tty = (major != 0).then_some(Tty { major, minor });
            process.interactive = Some(leaders::is_interactive(major));
            process.credentials = credentials;
            if let Some(container) = container {
                process.container = container;
            }
            process.degraded.clear();
            for why in degraded {
                process.degrade(why);
            }
            entry.ids = ids_of(task);
            entry.proof = proof_of(task);
            entry.start_ns = Some(task.start_boottime_ns);
            entry.image_lost = false;
            entry.hash_asked_ns = 0;
        }
        self.find_entry(key, true);
        (key, previous)
    }

    /// What an exec record says about the new image.
    fn image_of(&mut self, exec: &Exec<'_>, cwd: Option<&[u8]>, degraded: &mut Vec<Degradation>) -> Image {
        let flags = exec.record.header.flags;
        let mut note = |why, holds: bool| {
            if holds {
                degraded.push(why);
            }
        };
        note(Degradation::ArgumentsTruncated, flags & record_flags::ARGV_TRUNCATED != 0);
        note(Degradation::EnvironmentTruncated, flags & record_flags::ENVP_TRUNCATED != 0);
        note(Degradation::DirectoryIncomplete, exec.cwd.is_unlinked() || exec.cwd.doubts().next().is_some());
        note(Degradation::ArgumentsUnreadable, flags & record_flags::ARGV_UNREADABLE != 0);
        note(
            Degradation::ExecutableUnlinked,
            flags & record_flags::EXE_UNLINKED != 0 || exec.exe.is_unlinked(),
        );
        let pending = self.scripts.take(exec);
        let exe_elsewhere = self.mounts.elsewhere(&exec.exe, exec.record.header.task.exe_dev);
        let (path, names_elsewhere, is_doubtful) = if flags & record_flags::SCRIPT == 0 {
            (written(&exec.exe), exe_elsewhere, exec.exe.doubts().next().is_some())
        } else if let Some(script) = pending {
            (Some(script.path), script.elsewhere, script.is_doubtful)
        } else {
            // Best effort: what the caller wrote, unless it names a descriptor, or climbs through directories that need
            // not be where they seem to be.
            let plain = |name: &&[u8]| {
                flags & record_flags::FILENAME_TRUNCATED == 0
                    && !is_magic(name)
                    && !name.split(|&byte| byte == b'/').any(|part| part == b"..")
            };
            let named = exec.filename.filter(plain).map(|name| absolute(name, cwd.unwrap_or(b"/")));
            (named.or_else(|| written(&exec.exe)), exe_elsewhere, true)
        };
        note(Degradation::ExecutableIncomplete, is_doubtful);
        let truncated = flags & record_flags::ARGV_TRUNCATED != 0;
        Image {
            executable: path.map(Executable::new),
            elsewhere: names_elsewhere,
            arguments: Arguments::from_nul_terminated(
                exec.argv,
                Some(u64::from(exec.record.argc)),
                truncated,
            ),
            env_vars: environment::variables_of(exec.envp),
            ..Image::default()
        }
    }

    /// The end of a process; it stays in the table for its late records and its children. Nothing for one that is
    /// known: older kernels can tell of it twice.
    pub(super) fn exit(&mut self, exit: &ExitRecord) -> Option<Key> {
        let (task, boot_ns) = (&exit.header.task, exit.header.boot_ns);
        let known = self.table.get(Key::new(task.tgid, task.start_boottime_ns));
        if known.is_some_and(|old| old.has_ended() && old.start_ns == Some(task.start_boottime_ns)) {
            return None;
        }
        let key = self.locate(task, boot_ns);
        let end_ns = self.clock.wall_ns(boot_ns);
        if let Some(entry) = self.table.get_mut(key) {
            entry.process.end_ns = Some(end_ns);
            entry.process.exit_code = Some(exit_code(exit.exit_code));
        }
        self.table.end(key, boot_ns);
        self.scripts.forget(task.tgid);
        Some(key)
    }
}

/// The task's view of a path that is known.
fn written(path: &WirePath<'_>) -> Option<Vec<u8>> {
    path.is_known().then(|| {
        let mut out = Vec::new();
        path.write_task_view(&mut out);
        out
    })
}

/// Names that lead to whatever the process has open rather than to a file of that name.
fn is_magic(name: &[u8]) -> bool {
    name.starts_with(b"/dev/fd/") || name.starts_with(b"/proc/")
}

/// The wait status as shells show it.
fn exit_code(wait_status: u32) -> i64 {
    let signal = wait_status & 0x7f;
    i64::from(if signal == 0 { wait_status >> 8 & 0xff } else { 128 + signal })
}
