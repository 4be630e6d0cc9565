//! One process as `/proc` shows it. Everything is bounded, and nothing is believed across a reuse of the pid.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use sensor_common::limits::ARGV_BYTES_MAX;
use sensor_ecs::Tty;

use crate::decode::base_name;

use super::environment;
use super::table::Ids;

/// Bytes of `environ` that are searched.
const ENVIRON_BYTES_MAX: usize = 128 * 1024;
/// Bytes of the small text files.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a script that are looked at for its interpreter.
const SHEBANG_BYTES_MAX: usize = 256;
/// `PF_KTHREAD` in the flags of `stat`.
const KTHREAD: u64 = 0x0020_0000;

/// The executable of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcExe {
    /// As the process sees it.
    pub(crate) path: Vec<u8>,
    /// Its inode number, to compare with what records say.
    pub(crate) inode: Option<u64>,
    /// No link left.
    pub(crate) unlinked: bool,
}

/// What `/proc/PID` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcFacts {
    pub(crate) pid: u32,
    pub(crate) ppid: u32,
    pub(crate) pgid: u32,
    pub(crate) sid: u32,
    /// Start time in units of 10 ms since boot.
    pub(crate) start_ticks: u64,
    pub(crate) is_kernel_thread: bool,
    pub(crate) tty: Option<Tty>,
    pub(crate) ids: Ids,
    pub(crate) groups: Vec<u32>,
    pub(crate) cap_effective: u64,
    pub(crate) cap_permitted: u64,
    pub(crate) exe: Option<ProcExe>,
    /// The script that the executable was started for.
    pub(crate) script: Option<Vec<u8>>,
    /// Arguments, each ended by a NUL.
    pub(crate) cmdline: Vec<u8>,
    pub(crate) cmdline_truncated: bool,
    pub(crate) cwd: Option<Vec<u8>>,
    pub(crate) cgroup: Option<Vec<u8>>,
    /// Allow-listed `NAME=value`.
    pub(crate) environment: Vec<Vec<u8>>,
    /// Client address of the ssh session that the environment tells of.
    pub(crate) ssh_source: Option<Vec<u8>>,
}

/// Fields of `stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stat {
    comm: Vec<u8>,
    ppid: u32,
    pgid: u32,
    sid: u32,
    tty: Option<Tty>,
    flags: u64,
    start_ticks: u64,
}

/// The process, or `None` if it is gone or was replaced while it was read.
pub(crate) fn read_process(proc_root: &Path, pid: u32) -> Option<ProcFacts> {
    let dir = proc_root.join(pid.to_string());
    let stat = parse_stat(&read_bounded(&dir.join("stat"), TEXT_BYTES_MAX)?)?;
    let mut facts = read_image(&dir)?;
    // An exec between two of the reads mixes two images.
    let exe_after = read_exe(&dir);
    if exe_after != facts.exe {
        facts = read_image(&dir)?;
    }
    parse_status(&read_bounded(&dir.join("status"), TEXT_BYTES_MAX)?, &mut facts);
    facts.cgroup = read_bounded(&dir.join("cgroup"), TEXT_BYTES_MAX).and_then(|text| parse_cgroup(&text));
    let again = parse_stat(&read_bounded(&dir.join("stat"), TEXT_BYTES_MAX)?)?;
    if again.start_ticks != stat.start_ticks {
        return None;
    }
    facts.script = script_of(&dir, &again, &facts);
    Some(ProcFacts {
        pid,
        ppid: again.ppid,
        pgid: again.pgid,
        sid: again.sid,
        start_ticks: stat.start_ticks,
        is_kernel_thread: again.flags & KTHREAD != 0,
        tty: again.tty,
        ..facts
    })
}

/// The pids that exist now.
pub(crate) fn pids(proc_root: &Path) -> std::io::Result<Vec<u32>> {
    let mut pids: Vec<u32> = std::fs::read_dir(proc_root)?
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    Ok(pids)
}

/// The cgroup of a process that has moved.
pub(crate) fn read_cgroup(proc_root: &Path, pid: u32) -> Option<Vec<u8>> {
    parse_cgroup(&read_bounded(&proc_root.join(pid.to_string()).join("cgroup"), TEXT_BYTES_MAX)?)
}

/// The parts that an exec replaces.
fn read_image(dir: &Path) -> Option<ProcFacts> {
    let mut facts = ProcFacts { exe: read_exe(dir), ..ProcFacts::default() };
    let mut cmdline = read_bounded(&dir.join("cmdline"), ARGV_BYTES_MAX + 1)?;
    facts.cmdline_truncated = cmdline.len() > ARGV_BYTES_MAX;
    cmdline.truncate(ARGV_BYTES_MAX);
    facts.cmdline = cmdline;
    let environ = read_bounded(&dir.join("environ"), ENVIRON_BYTES_MAX).unwrap_or_default();
    facts.environment = environment::allowed(&environ).map(<[u8]>::to_vec).collect();
    facts.ssh_source =
        environment::value(&environ, b"SSH_CONNECTION").and_then(first_word).map(<[u8]>::to_vec);
    let root = read_link(&dir.join("root"));
    facts.cwd = read_link(&dir.join("cwd")).map(|cwd| below_root(cwd, root.as_deref()));
    Some(facts)
}

fn read_exe(dir: &Path) -> Option<ProcExe> {
    let link = dir.join("exe");
    let mut path = read_link(&link)?;
    // Cached attributes only: the executable may lie on a file system whose server does not answer.
    let stat = statx(CWD, &link, AtFlags::STATX_DONT_SYNC, StatxFlags::INO | StatxFlags::NLINK).ok();
    let unlinked = stat.as_ref().is_some_and(|stat| stat.stx_nlink == 0);
    if unlinked && let Some(shorter) = path.strip_suffix(b" (deleted)") {
        path = shorter.to_vec();
    }
    let root = read_link(&dir.join("root"));
    Some(ProcExe { path: below_root(path, root.as_deref()), inode: stat.map(|stat| stat.stx_ino), unlinked })
}

/// Links of `/proc` are given from our root; records give them from the process's.
fn below_root(path: Vec<u8>, root: Option<&[u8]>) -> Vec<u8> {
    let Some(root) = root.filter(|root| *root != b"/") else { return path };
    match path.strip_prefix(root) {
        Some([]) => b"/".to_vec(),
        Some(below) if below.starts_with(b"/") => below.to_vec(),
        _ => path,
    }
}

/// The script a process was started as. The kernel names the task after the script and puts its path behind the
/// interpreter's arguments; both can be forged later, so the script must also name the running interpreter.
fn script_of(dir: &Path, stat: &Stat, facts: &ProcFacts) -> Option<Vec<u8>> {
    let exe = facts.exe.as_ref()?;
    let is_named = |arg: &&[u8]| base_name(arg).is_some_and(|name| comm_matches(&stat.comm, name));
    if base_name(&exe.path).is_some_and(|name| comm_matches(&stat.comm, name)) {
        return None;
    }
    // `#!/bin/sh` puts the path second, `#!/bin/sh -e` third.
    let arg = facts.cmdline.split(|&byte| byte == 0).skip(1).take(2).find(is_named)?;
    let path = absolute(arg, facts.cwd.as_deref()?);
    let root = dir.join("root");
    let interpreter = shebang_interpreter(&read_regular(&join_below(&root, &path), SHEBANG_BYTES_MAX)?)?;
    let named =
        statx(CWD, join_below(&root, &interpreter), AtFlags::STATX_DONT_SYNC, StatxFlags::INO).ok()?;
    (Some(named.stx_ino) == exe.inode).then_some(path)
}

/// `comm` holds the first 15 bytes of a name.
fn comm_matches(comm: &[u8], name: &[u8]) -> bool {
    name.get(..15).unwrap_or(name) == comm
}

fn shebang_interpreter(head: &[u8]) -> Option<Vec<u8>> {
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    first_word(line).map(<[u8]>::to_vec)
}

fn first_word(text: &[u8]) -> Option<&[u8]> {
    text.split(|byte| matches!(byte, b' ' | b'\t')).find(|word| !word.is_empty())
}

/// `path` against `cwd`, with `.` and `..` folded.
pub(crate) fn absolute(path: &[u8], cwd: &[u8]) -> Vec<u8> {
    let mut components: Vec<&[u8]> = Vec::new();
    let base: &[u8] = if path.starts_with(b"/") { b"" } else { cwd };
    for component in base.split(|&byte| byte == b'/').chain(path.split(|&byte| byte == b'/')) {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop();
            }
            name => components.push(name),
        }
    }
    let mut out = Vec::with_capacity(base.len() + path.len() + 1);
    for component in &components {
        out.push(b'/');
        out.extend_from_slice(component);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

fn join_below(root: &Path, absolute: &[u8]) -> PathBuf {
    let relative = absolute.strip_prefix(b"/").unwrap_or(absolute);
    root.join(std::ffi::OsStr::from_bytes(relative))
}

fn read_link(path: &Path) -> Option<Vec<u8>> {
    Some(std::fs::read_link(path).ok()?.as_os_str().as_bytes().to_vec())
}

fn read_bounded(path: &Path, bytes_max: usize) -> Option<Vec<u8>> {
    take(File::open(path).ok()?, bytes_max)
}

/// Reads a regular file; opening a pipe or a device that somebody put there must not block.
fn read_regular(path: &Path, bytes_max: usize) -> Option<Vec<u8>> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).ok()?;
    let file = File::options().read(true).custom_flags(flags).open(path).ok()?;
    file.metadata().ok()?.is_file().then(|| take(file, bytes_max)).flatten()
}

fn take(file: File, bytes_max: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(u64::try_from(bytes_max).unwrap_or(u64::MAX)).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn parse_stat(text: &[u8]) -> Option<Stat> {
    // The name may hold blanks and brackets; only the last bracket ends it.
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let comm = text.get(open + 1..close)?.to_vec();
    let columns: Vec<&[u8]> = text.get(close + 2..)?.split(|byte| byte.is_ascii_whitespace()).collect();
    let column = |at: usize| columns.get(at).copied();
    // A negative device number is printed as such on some kernels.
    let tty_nr = number::<i64>(column(4)?)?;
    let tty_nr = u64::try_from(tty_nr).unwrap_or(0);
    let major = u32::try_from(tty_nr >> 8 & 0xfff).ok()?;
    let minor = u32::try_from(tty_nr & 0xff | tty_nr >> 12 & 0xf_ff00).ok()?;
    Some(Stat {
        comm,
        ppid: number(column(1)?)?,
        pgid: number(column(2)?).unwrap_or(0),
        sid: number(column(3)?).unwrap_or(0),
        tty: (tty_nr != 0).then_some(Tty { major, minor }),
        flags: number(column(6)?)?,
        start_ticks: number(column(19)?)?,
    })
}

fn parse_status(text: &[u8], facts: &mut ProcFacts) {
    for line in text.split(|&byte| byte == b'\n') {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (key, values) = line.split_at(colon);
        let words =
            || values.split(|byte| matches!(byte, b':' | b'\t' | b' ')).filter(|word| !word.is_empty());
        let id = |at: usize| words().nth(at).and_then(number::<u32>);
        let mask = || {
            let word = std::str::from_utf8(words().next()?).ok()?;
            u64::from_str_radix(word, 16).ok()
        };
        match key {
            b"Uid" => {
                let ids = &mut facts.ids;
                ids.uid = id(0).unwrap_or(ids.uid);
                ids.euid = id(1).unwrap_or(ids.uid);
                ids.suid = id(2).unwrap_or(ids.euid);
            }
            b"Gid" => {
                let ids = &mut facts.ids;
                ids.gid = id(0).unwrap_or(ids.gid);
                ids.egid = id(1).unwrap_or(ids.gid);
                ids.sgid = id(2).unwrap_or(ids.egid);
            }
            b"Groups" => facts.groups = words().filter_map(number).collect(),
            b"CapEff" => facts.cap_effective = mask().unwrap_or(0),
            b"CapPrm" => facts.cap_permitted = mask().unwrap_or(0),
            _ => {}
        }
    }
}

/// The unified hierarchy's line, unless it says nothing and the `pids` controller has one of its own.
fn parse_cgroup(text: &[u8]) -> Option<Vec<u8>> {
    let mut unified = None;
    for line in text.split(|&byte| byte == b'\n') {
        let mut columns = line.splitn(3, |&byte| byte == b':');
        let (Some(_), Some(controllers), Some(path)) = (columns.next(), columns.next(), columns.next())
        else {
            continue;
        };
        if controllers.is_empty() {
            unified = Some(path);
        } else if controllers.split(|&byte| byte == b',').any(|name| name == b"pids") {
            return Some(path.to_vec());
        }
    }
    unified.map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_read_whole() {
        let pid = std::process::id();
        let facts = read_process(Path::new("/proc"), pid).unwrap();
        let exe = facts.exe.as_ref().unwrap();
        assert_eq!(exe.path, std::env::current_exe().unwrap().as_os_str().as_bytes());
        assert_eq!(facts.cwd.unwrap(), std::env::current_dir().unwrap().as_os_str().as_bytes());
        assert!(facts.cmdline.ends_with(b"\0") && facts.start_ticks > 0 && !facts.is_kernel_thread);
        assert!(facts.script.is_none() && facts.cgroup.is_some());
        assert!(pids(Path::new("/proc")).unwrap().contains(&pid));
    }

    #[test]
    fn a_running_script_is_recognised_by_its_file() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("waits.sh");
        std::fs::write(&path, "#!/bin/sh -e\nread line\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = std::process::Command::new("./waits.sh")
            .current_dir(dir.path())
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // The parent runs on before the new image has its arguments.
        let facts = (0..1000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            read_process(Path::new("/proc"), child.id()).filter(|facts| facts.cmdline.contains(&b'.'))
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(facts.unwrap().script.unwrap(), path.as_os_str().as_bytes());
    }

    #[test]
    fn a_name_with_brackets_does_not_shift_the_columns() {
        let text = b"42 (a) b (c) S 1 40 39 34817 42 4194304 1 2 3 4 5 6 7 8 20 0 1 0 123456 1 1\n";
        let stat = parse_stat(text).unwrap();
        assert_eq!(stat.comm, b"a) b (c");
        assert_eq!((stat.ppid, stat.pgid, stat.sid, stat.start_ticks), (1, 40, 39, 123_456));
        assert_eq!(stat.tty, Some(Tty { major: 136, minor: 1 }));
        assert_eq!(parse_stat(b"42 (cut"), None);
    }

    #[test]
    fn status_gives_ids_groups_and_capabilities() {
        let mut facts = ProcFacts::default();
        parse_status(
            b"Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t1000\t4\t4\t4\nGroups:\t27 100 \nCapPrm:\t0000000000200001\n",
            &mut facts,
        );
        let ids = Ids { uid: 1000, euid: 0, suid: 0, gid: 1000, egid: 4, sgid: 4 };
        assert_eq!(facts.ids, ids);
        assert_eq!((facts.groups, facts.cap_permitted), (vec![27, 100], 0x20_0001));
    }

    #[test]
    fn the_pids_controller_wins_over_an_empty_unified_line() {
        assert_eq!(parse_cgroup(b"0::/a/b\n").unwrap(), b"/a/b");
        assert_eq!(parse_cgroup(b"4:cpu:/x\n3:pids:/docker/1\n0::/\n").unwrap(), b"/docker/1");
        assert_eq!(parse_cgroup(b""), None);
    }

    #[test]
    fn relative_paths_are_joined_and_folded() {
        for (path, cwd, expected) in [
            ("./x.sh", "/root", "/root/x.sh"),
            ("../b/./x", "/a/c", "/a/b/x"),
            ("/usr//bin/../x", "/root", "/usr/x"),
            ("..", "/", "/"),
        ] {
            assert_eq!(absolute(path.as_bytes(), cwd.as_bytes()), expected.as_bytes());
        }
    }

    #[test]
    fn paths_are_seen_from_the_process_root() {
        assert_eq!(below_root(b"/srv/x/bin/sh".to_vec(), Some(b"/srv/x")), b"/bin/sh");
        assert_eq!(below_root(b"/srv/xy/bin/sh".to_vec(), Some(b"/srv/x")), b"/srv/xy/bin/sh");
        assert_eq!(below_root(b"/srv/x".to_vec(), Some(b"/srv/x")), b"/");
        assert_eq!(below_root(b"/bin/sh".to_vec(), Some(b"/")), b"/bin/sh");
    }
}
