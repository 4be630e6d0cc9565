//! What the records must say, from `/proc` and from what was done.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;

use sensor_common::wire::TaskFacts;

use super::act::Acts;
use crate::decode::{Exec, File};

/// `start_boottime` in ticks of `/proc`.
const TICK_NS: u64 = 10_000_000;
/// The initial namespace of process ids, in which records count.
const INITIAL_PID_NS: u32 = 0xeffffffc;

/// A field that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) field: &'static str,
    pub(super) expected: String,
    pub(super) seen: String,
}

/// Notes `field` if it differs.
fn equal<T: PartialEq + Display>(field: &'static str, seen: T, expected: T, wrong: &mut Vec<Mismatch>) {
    if seen != expected {
        wrong.push(Mismatch { field, expected: expected.to_string(), seen: seen.to_string() });
    }
}

/// The same for bytes.
pub(super) fn bytes(field: &'static str, seen: &[u8], expected: &[u8], wrong: &mut Vec<Mismatch>) {
    if seen != expected {
        let show = |bytes: &[u8]| format!("{:?}", String::from_utf8_lossy(bytes));
        wrong.push(Mismatch { field, expected: show(expected), seen: show(seen) });
    }
}

/// The record's time lies between the beginning and the end of what was done.
pub(super) fn moment(seen_ns: u64, (from_ns, to_ns): &(u64, u64), wrong: &mut Vec<Mismatch>) {
    if !(*from_ns..=*to_ns).contains(&seen_ns) {
        let expected = format!("{from_ns} to {to_ns}");
        wrong.push(Mismatch { field: "boot time", expected, seen: seen_ns.to_string() });
    }
}

/// What `/proc` says of a process. What it cannot say is not compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    pub(super) tgid: u32,
    tid: u32,
    ppid: u32,
    pgid: u32,
    sid: u32,
    /// Whether we count process ids as records do.
    same_pids: bool,
    start_ticks: Option<u64>,
    /// Real, effective, saved.
    uids: [u32; 3],
    gids: [u32; 3],
    loginuid: Option<u32>,
    mnt_ns: Option<u32>,
    pid_ns: Option<u32>,
    comm: Option<Vec<u8>>,
    exe_inode: Option<u64>,
}

impl Process {
    /// The calling thread.
    pub(super) fn of_this_thread() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/thread-self/status")?;
        let stat = fs::read_to_string("/proc/self/stat")?;
        // The name, in parentheses, can hold anything; the third field follows it.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let number = |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok());
        let id = |n: usize| number(n).and_then(|id| u32::try_from(id).ok()).unwrap_or_default();
        let pid_ns = namespace("pid");
        Ok(Self {
            tgid: std::process::id(),
            tid: u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap_or_default(),
            ppid: id(1),
            pgid: id(2),
            sid: id(3),
            same_pids: pid_ns == Some(INITIAL_PID_NS),
            // In a time namespace of its own /proc counts from another beginning.
            start_ticks: number(19).filter(|_| !has_time_offset()),
            uids: three(&status, "Uid:"),
            gids: three(&status, "Gid:"),
            loginuid: fs::read_to_string("/proc/self/loginuid")
                .ok()
                .and_then(|text| text.trim().parse().ok()),
            mnt_ns: namespace("mnt"),
            pid_ns,
            comm: fs::read("/proc/thread-self/comm").ok().map(|mut comm| {
                comm.pop();
                comm
            }),
            exe_inode: exe_inode(),
        })
    }

    /// A child that has just executed the same file.
    pub(super) fn as_child(&self, pid: Option<u32>) -> Self {
        let pid = pid.unwrap_or_default();
        Self { tgid: pid, tid: pid, ppid: self.tgid, start_ticks: None, comm: None, ..self.clone() }
    }

    /// Where the record's process is another.
    pub(super) fn compare(&self, seen: &TaskFacts) -> Vec<Mismatch> {
        let mut wrong = Vec::new();
        if self.same_pids {
            for (field, seen, expected) in [
                ("tgid", seen.tgid, self.tgid),
                ("tid", seen.tid, self.tid),
                ("ppid", seen.ppid, self.ppid),
                ("process group", seen.pgid, self.pgid),
                ("session", seen.sid, self.sid),
            ] {
                equal(field, seen, expected, &mut wrong);
            }
        }
        let [uid, euid, suid] = self.uids;
        let [gid, egid, sgid] = self.gids;
        for (field, seen, expected) in [
            ("uid", seen.uid, uid),
            ("euid", seen.euid, euid),
            ("suid", seen.suid, suid),
            ("gid", seen.gid, gid),
            ("egid", seen.egid, egid),
            ("sgid", seen.sgid, sgid),
        ] {
            equal(field, seen, expected, &mut wrong);
        }
        let optional = [
            ("start time", Some(seen.start_boottime_ns / TICK_NS), self.start_ticks),
            ("loginuid", Some(u64::from(seen.loginuid)), self.loginuid.map(u64::from)),
            ("mount namespace", Some(u64::from(seen.mnt_ns)), self.mnt_ns.map(u64::from)),
            ("pid namespace", Some(u64::from(seen.pid_ns)), self.pid_ns.map(u64::from)),
            ("inode of the executable", Some(seen.exe_inode), self.exe_inode),
        ];
        for (field, seen, expected) in optional {
            if let (Some(seen), Some(expected)) = (seen, expected) {
                equal(field, seen, expected, &mut wrong);
            }
        }
        if let Some(comm) = &self.comm {
            let seen = seen.comm.split(|&byte| byte == 0).next().unwrap_or_default();
            bytes("comm", seen, comm, &mut wrong);
        }
        wrong
    }
}

/// The inode number in `/proc/self/ns/NAME`.
fn namespace(name: &str) -> Option<u32> {
    let link = fs::read_link(Path::new("/proc/self/ns").join(name)).ok()?;
    link.to_str()?.strip_suffix(']')?.rsplit('[').next()?.parse().ok()
}

fn has_time_offset() -> bool {
    let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    offsets
        .lines()
        .filter_map(|line| line.strip_prefix("boottime"))
        .any(|rest| rest.split_whitespace().any(|number| number != "0"))
}

/// The inode that the kernel knows the executable by, where `stat` shows it.
fn exe_inode() -> Option<u64> {
    let file = fs::File::open("/proc/self/exe").ok()?;
    super::act::facts(&file).map(|facts| facts.inode).filter(|inode| *inode != 0)
}

/// Real, effective and saved id.
fn three(status: &str, name: &str) -> [u32; 3] {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let mut ids = line.split_whitespace().map_while(|id| id.parse().ok());
    [(); 3].map(|()| ids.next().unwrap_or_default())
}

/// The file and where it is.
pub(super) fn file(seen: &File<'_>, path: &[u8], expected: &[u8], acts: &Acts, wrong: &mut Vec<Mismatch>) {
    bytes("path", path, expected, wrong);
    if let Some(file) = &acts.file {
        equal("inode", seen.record.inode, file.inode, wrong);
        equal("device", seen.record.dev, file.dev, wrong);
        equal("mode", seen.record.mode, file.mode, wrong);
    }
}

/// The program, its arguments, its directory.
pub(super) fn exec(seen: &Exec<'_>, acts: &Acts, wrong: &mut Vec<Mismatch>) {
    let view = |path: &crate::decode::WirePath<'_>| {
        let mut out = Vec::new();
        path.write_task_view(&mut out);
        out
    };
    if let Some(executable) = &acts.executable {
        bytes("path", &view(&seen.exe), executable, wrong);
    }
    if let Some(cwd) = &acts.cwd {
        bytes("working directory", &view(&seen.cwd), cwd, wrong);
    }
    bytes("arguments", seen.argv, &acts.argv, wrong);
    if let Some(child) = acts.child {
        equal("pid in its namespace", seen.record.pid_in_ns, child, wrong);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A process and the facts that a right record has.
    pub(in crate::selftest) fn pair() -> (Process, TaskFacts) {
        let process = Process {
            tgid: 10,
            tid: 11,
            ppid: 9,
            pgid: 8,
            sid: 7,
            same_pids: true,
            start_ticks: Some(1234),
            uids: [1, 2, 3],
            gids: [4, 5, 6],
            loginuid: Some(1000),
            mnt_ns: Some(20),
            pid_ns: Some(21),
            comm: Some(b"sensor".to_vec()),
            exe_inode: Some(99),
        };
        let mut comm = [0; 16];
        comm[..6].copy_from_slice(b"sensor");
        let facts = TaskFacts {
            tgid: 10,
            tid: 11,
            ppid: 9,
            pgid: 8,
            sid: 7,
            start_boottime_ns: 1234 * TICK_NS + 5,
            uid: 1,
            euid: 2,
            suid: 3,
            gid: 4,
            egid: 5,
            sgid: 6,
            loginuid: 1000,
            mnt_ns: 20,
            pid_ns: 21,
            exe_inode: 99,
            comm,
            ..TaskFacts::default()
        };
        (process, facts)
    }

    #[test]
    fn a_right_record_passes() {
        let (process, facts) = pair();
        assert_eq!(process.compare(&facts), []);
    }

    #[test]
    fn each_wrong_field_is_named() {
        type Spoil = fn(&mut TaskFacts);
        let spoils: [(&str, Spoil); 17] = [
            ("tgid", |facts| facts.tgid += 1),
            ("tid", |facts| facts.tid += 1),
            ("ppid", |facts| facts.ppid = 0),
            ("process group", |facts| facts.pgid = 0),
            ("session", |facts| facts.sid = 0),
            ("uid", |facts| facts.uid = 0),
            ("euid", |facts| facts.euid = 0),
            ("suid", |facts| facts.suid = 0),
            ("gid", |facts| facts.gid = 0),
            ("egid", |facts| facts.egid = 0),
            ("sgid", |facts| facts.sgid = 0),
            ("start time", |facts| facts.start_boottime_ns += TICK_NS),
            ("loginuid", |facts| facts.loginuid = u32::MAX),
            ("mount namespace", |facts| facts.mnt_ns = 0),
            ("pid namespace", |facts| facts.pid_ns = 0),
            ("inode of the executable", |facts| facts.exe_inode = 0),
            ("comm", |facts| facts.comm[0] = b'x'),
        ];
        for (field, spoil) in spoils {
            let (process, mut facts) = pair();
            spoil(&mut facts);
            let wrong = process.compare(&facts);
            assert_eq!(wrong.iter().map(|wrong| wrong.field).collect::<Vec<_>>(), [field]);
        }
    }

    #[test]
    fn this_thread_is_described_by_proc() {
        let process = Process::of_this_thread().unwrap();
        assert_eq!(process.tgid, std::process::id());
        assert!(process.ppid != 0 && process.pgid != 0 && process.start_ticks.is_some());
        assert!(process.mnt_ns.is_some() && process.comm.is_some());
        assert_eq!(process.uids[0], rustix::process::getuid().as_raw());
    }

    #[test]
    fn a_record_from_another_time_is_noticed() {
        let mut wrong = Vec::new();
        moment(5, &(4, 6), &mut wrong);
        assert_eq!(wrong, []);
        moment(7, &(4, 6), &mut wrong);
        assert_eq!(wrong.len(), 1);
    }
}
