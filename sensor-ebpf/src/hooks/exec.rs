//! A process runs a new image.
//!
//! ```c
//! int security_bprm_check(struct linux_binprm *bprm);
//! TP_PROTO(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)   // sched_process_exec
//! ```
//!
//! The tracepoint fires when the exec can no longer fail, with the new mm and credentials in place. For a
//! `#!` script, and for what binfmt_misc interprets, `bprm->file` is the interpreter by then, so the path of what
//! the caller named is taken earlier, when the kernel has read its first bytes: a record of its own, which the
//! exec record of the same thread follows. An attempt that fails in between leaves a script record without one.
//!
//! Misses: argv that was swapped out again before the tracepoint (flagged as unreadable); an ELF image that
//! binfmt_misc interprets (another architecture's) has no script record, its exec record keeps `bprm->filename`.

use core::marker::PhantomData;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str, bpf_probe_read_user};
use sensor_common::{
    limits::{CGROUP_BYTES_MAX, GROUPS_MAX},
    wire::{ExecRecord, RecordKind, ScriptRecord, Span, path_flags, record_flags},
};

use super::file::time_ns;
use crate::{
    context::{Access, Context as _, Typed, at_function, at_tracepoint, optional},
    emit::{self, Fill},
    intents,
    kernel::{Ptr, load, offset, probe, probe_ptr},
    path::{self, Start},
    slot::{Class, Huge, Large, Medium, Slot, Small},
    task,
};

/// First bytes of an image that needs no interpreter of binfmt_script or binfmt_misc.
const ELF_MAGIC: [u8; 4] = *b"\x7fELF";

at_function!("security_bprm_check", bprm_check, bprm_check_kprobe, |A, ctx| checked::<A>(ctx.argument(0)));

/// An image is about to be run, or one of its interpreters.
#[inline(always)]
fn checked<A: Access>(bprm: Ptr) {
    // SAFETY: loads through an argument.
    unsafe {
        // Once for each image in a chain of interpreters; the caller named the first.
        if A::load::<u64>(bprm, offset!(binprm_filename)) != A::load::<u64>(bprm, offset!(binprm_interp)) {
            return;
        }
        let elf = ELF_MAGIC
            .iter()
            .enumerate()
            .all(|(n, byte)| A::load::<u8>(bprm, offset!(binprm_buf) + n) == *byte);
        if elf {
            return;
        }
        Script { start: file_start::<A>(A::load(bprm, offset!(binprm_file))) }.emit();
    }
}

/// # Safety
/// `file` must be a `struct file` that came from an argument.
#[inline(always)]
unsafe fn file_start<A: Access>(file: Ptr) -> Start {
    // SAFETY: the caller's promise.
    unsafe {
        Start {
            dentry: A::load(file, offset!(file_path) + offset!(path_dentry)),
            vfsmount: A::load(file, offset!(file_path) + offset!(path_mnt)),
        }
    }
}

struct Script {
    start: Start,
}

const SCRIPT_FIXED: usize = size_of::<ScriptRecord>();

impl Script {
    #[inline(always)]
    fn emit(&mut self) {
        let seq = emit::next_seq(Self::KIND);
        if !emit::try_emit::<Self, Small>(self, seq) {
            emit::emit::<Self, Large>(self, seq);
        }
    }
}

impl Fill for Script {
    const KIND: RecordKind = RecordKind::ExecScript;

    #[inline(always)]
    fn fill<C: Class>(&mut self, slot: &Slot<C>, seq: u64) -> bool {
        let record = slot.base.cast::<ScriptRecord>();
        let inode = probe_ptr(self.start.dentry as Ptr, offset!(dentry_inode));
        // SAFETY: every slot is larger than the fixed part.
        unsafe {
            emit::fill_header(&raw mut (*record).header, Self::KIND, seq);
            (*record).inode = probe(inode, offset!(inode_ino));
            (*record).dev = probe(probe_ptr(inode, offset!(inode_sb)), offset!(super_block_dev));
            (*record).mode = u32::from(probe::<u16>(inode, offset!(inode_mode)));
            let end = slot.copy_path(SCRIPT_FIXED, &self.start, &raw mut (*record).path);
            (*record).header.len = end as u32;
            (*record).path.flags & path_flags::TRUNCATED == 0
        }
    }
}

at_tracepoint!("sched_process_exec", process_exec, process_exec_raw, |A, ctx| {
    executed::<A>(ctx.argument(1), ctx.argument(2))
});

/// The running task has become the image of `bprm`.
#[inline(always)]
fn executed<A: Access>(old_tid: u32, bprm: Ptr) {
    let task = task::current();
    // SAFETY: loads through an argument, and through the current task, which is typed.
    unsafe {
        let tgid: u32 = load(task, offset!(task_tgid));
        if old_tid != tgid {
            // A thread that was not the leader has become it: nothing will end under its old id.
            intents::forget_all(u64::from(tgid) << 32 | u64::from(old_tid));
        }
        let mm: Ptr = load(task, offset!(task_mm));
        let fs: Ptr = load(task, offset!(task_fs));
        let file: Ptr = A::load(bprm, offset!(binprm_file));
        let exe = file_start::<A>(file);
        let dentry: Ptr = A::load(file, offset!(file_path) + offset!(path_dentry));
        let cwd = Start {
            dentry: load(fs, offset!(fs_pwd) + offset!(path_dentry)),
            vfsmount: load(fs, offset!(fs_pwd) + offset!(path_mnt)),
        };
        Exec::<A> {
            bprm,
            old_tid,
            inode: A::load(dentry, offset!(dentry_inode)),
            exe,
            cwd,
            arg_start: load(mm, offset!(mm_arg_start)),
            arg_end: load(mm, offset!(mm_arg_end)),
            env_start: load(mm, offset!(mm_env_start)),
            env_end: load(mm, offset!(mm_env_end)),
            access: PhantomData,
        }
        .emit();
    }
}

/// `A` reaches the program and its inode.
struct Exec<A> {
    bprm: Ptr,
    old_tid: u32,
    inode: Ptr,
    exe: Start,
    cwd: Start,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    access: PhantomData<A>,
}

const FIXED: usize = size_of::<ExecRecord>();
/// Room for the paths of the executable and the directory when every other string takes all it may.
const fn path_room<C: Class>() -> usize {
    C::NAME_LIMIT - FIXED - CGROUP_BYTES_MAX - (C::ARGV_MASK + 1) - 2 * C::STRING_MAX
}

impl<A: Access> Exec<A> {
    #[inline(always)]
    fn emit(&mut self) {
        let seq = emit::next_seq(Self::KIND);
        let exe = path::measure(&self.exe);
        let cwd = path::measure(&self.cwd);
        let paths = exe + cwd;
        let argv = self.arg_end.wrapping_sub(self.arg_start) as usize;
        let envp = self.env_end.wrapping_sub(self.env_start) as usize;
        // `filename` is nearly always about as long as the resolved path. Where it is longer it is cut: only a
        // fallback reads it.
        if argv <= Medium::ARGV_MASK
            && envp <= Medium::ENVP_MASK
            && paths <= path_room::<Medium>()
            && exe < Medium::STRING_MAX
        {
            emit::emit::<Self, Medium>(self, seq);
        } else if argv <= Large::ARGV_MASK && paths <= path_room::<Large>() && exe < Large::STRING_MAX {
            emit::emit::<Self, Large>(self, seq);
        } else {
            emit::emit::<Self, Huge>(self, seq);
        }
    }
}

impl<A: Access> Fill for Exec<A> {
    const KIND: RecordKind = RecordKind::Exec;

    #[inline(always)]
    fn fill<C: Class>(&mut self, slot: &Slot<C>, seq: u64) -> bool {
        let record = slot.base.cast::<ExecRecord>();
        let (bprm, inode) = (self.bprm, self.inode);
        let task = task::current();
        // SAFETY: every slot is larger than the fixed part; loads are typed, or go through helpers.
        unsafe {
            emit::fill_header(&raw mut (*record).header, Self::KIND, seq);
            let mut flags = 0;
            let cred: Ptr = load(task, offset!(task_cred));
            (*record).cap_effective = load(cred, offset!(cred_cap_effective));
            (*record).cap_permitted = load(cred, offset!(cred_cap_permitted));
            (*record).argv_bytes = self.arg_end.wrapping_sub(self.arg_start);
            (*record).argc = A::load(bprm, offset!(binprm_argc));
            (*record).old_tid = self.old_tid;
            (*record).pid_in_ns = task::pid_in_namespace(task);
            let (major, minor) = tty(task);
            (*record).tty_major = major;
            (*record).tty_minor = minor;
            (*record).exe_size = A::load(inode, offset!(inode_size));
            (*record).exe_mtime_ns = time_ns::<A>(inode, offset!(inode_mtime_sec), offset!(inode_mtime_nsec));
            (*record).exe_ctime_ns = time_ns::<A>(inode, offset!(inode_ctime_sec), offset!(inode_ctime_nsec));
            (*record).reserved = 0;
            // The name that was executed can be gone while the file has others; a memfd never had one.
            let unhashed = probe::<u64>(self.exe.dentry as Ptr, offset!(dentry_hash_pprev)) == 0;
            if unhashed || A::load::<u32>(inode, offset!(inode_nlink)) == 0 {
                flags |= record_flags::EXE_UNLINKED;
            }

            let mut at = slot.copy_path(FIXED, &self.exe, &raw mut (*record).exe);
            at = slot.copy_path(at, &self.cwd, &raw mut (*record).cwd);
            let cwd = self.cwd.dentry as Ptr;
            if probe::<u64>(cwd, offset!(dentry_hash_pprev)) == 0
                && probe_ptr(cwd, offset!(dentry_parent)) != cwd
            {
                (*record).cwd.flags |= path_flags::UNLINKED;
            }
            at = slot.copy_cgroup(at, &raw mut (*record).cgroup, &mut flags);
            let argv = Strings { from: self.arg_start, to: self.arg_end, mask: C::ARGV_MASK };
            at = match argv.copy(slot, at, &raw mut (*record).argv) {
                Ok(end) => end,
                Err(Cut::Short(end)) => {
                    flags |= record_flags::ARGV_TRUNCATED;
                    end
                }
                Err(Cut::Unreadable) => {
                    flags |= record_flags::ARGV_UNREADABLE;
                    at
                }
            };
            let filename = A::load::<u64>(bprm, offset!(binprm_filename)) as Ptr;
            let interp = A::load::<u64>(bprm, offset!(binprm_interp)) as Ptr;
            at = copy_string(slot, at, filename, &raw mut (*record).filename, &mut flags);
            if filename == interp {
                (*record).interp = Span { offset: 0, len: 0 };
            } else {
                flags |= record_flags::SCRIPT;
                at = copy_string(slot, at, interp, &raw mut (*record).interp, &mut 0);
            }
            // Last, and in what room is left: nothing else may suffer from it.
            let envp = Strings { from: self.env_start, to: self.env_end, mask: C::ENVP_MASK };
            at = match envp.copy(slot, at, &raw mut (*record).envp) {
                Ok(end) => end,
                Err(cut) => {
                    flags |= record_flags::ENVP_TRUNCATED;
                    if let Cut::Short(end) = cut { end } else { at }
                }
            };
            at = copy_groups(
                slot,
                at,
                load(cred, offset!(cred_group_info)),
                &raw mut (*record).groups,
                &mut flags,
            );
            (*record).header.flags = flags;
            (*record).header.len = at as u32;
        }
        true
    }
}

/// Strings of the new image, each ended by a NUL, one behind the other.
struct Strings {
    from: u64,
    to: u64,
    /// The most that may be copied; one less than a power of two.
    mask: usize,
}

/// Why not all of them are there.
enum Cut {
    /// They end before their end.
    Short(usize),
    /// There are none.
    Unreadable,
}

impl Strings {
    #[inline(always)]
    fn copy<C: Class>(&self, slot: &Slot<C>, at: usize, span: *mut Span) -> Result<usize, Cut> {
        let total = self.to.wrapping_sub(self.from) as usize;
        let len = if total > self.mask { self.mask } else { total };
        // The compiler knows it is bounded and would leave this out; the verifier of 6.1 does not.
        let len = core::hint::black_box(len) & self.mask;
        // SAFETY: the verifier checks the destination; the source is user memory, which may be gone.
        unsafe {
            *span = Span { offset: 0, len: 0 };
            if at > C::SIZE - self.mask - 1 {
                return Err(Cut::Short(at));
            }
            if bpf_probe_read_user(slot.base.add(at).cast(), len as u32, self.from as *const _) != 0 {
                return Err(Cut::Unreadable);
            }
            *span = Span { offset: at as u16, len: len as u16 };
        }
        if total > self.mask { Err(Cut::Short(at + len)) } else { Ok(at + len) }
    }
}

/// Copies a NUL-ended kernel string, without its NUL.
#[inline(always)]
fn copy_string<C: Class>(slot: &Slot<C>, at: usize, from: Ptr, span: *mut Span, flags: &mut u16) -> usize {
    let room = C::STRING_MAX;
    // SAFETY: the verifier checks the destination and the span.
    unsafe {
        *span = Span { offset: 0, len: 0 };
        if at > C::SIZE - room {
            *flags |= record_flags::FILENAME_TRUNCATED;
            return at;
        }
        let read = bpf_probe_read_kernel_str(slot.base.add(at).cast(), room as u32, from.cast());
        if read <= 1 {
            return at;
        }
        if read as usize == room {
            *flags |= record_flags::FILENAME_TRUNCATED;
        }
        let len = (read as usize - 1) & (room - 1);
        *span = Span { offset: at as u16, len: len as u16 };
        at + len
    }
}

/// Copies the supplementary groups.
#[inline(always)]
fn copy_groups<C: Class>(slot: &Slot<C>, at: usize, info: Ptr, span: *mut Span, flags: &mut u16) -> usize {
    const BYTES: usize = GROUPS_MAX * size_of::<u32>();
    let count: u32 = probe(info, offset!(group_info_ngroups));
    if count as usize > GROUPS_MAX {
        *flags |= record_flags::GROUPS_TRUNCATED;
    }
    let len = core::hint::black_box((count as usize).min(GROUPS_MAX) * size_of::<u32>()) & (2 * BYTES - 1);
    // SAFETY: the verifier checks the destination and the span.
    unsafe {
        *span = Span { offset: 0, len: 0 };
        if at > C::SIZE - 2 * BYTES {
            *flags |= record_flags::GROUPS_TRUNCATED;
            return at;
        }
        let from = info.wrapping_add(offset!(group_info_gid));
        if bpf_probe_read_kernel(slot.base.add(at).cast(), len as u32, from.cast()) != 0 {
            return at;
        }
        *span = Span { offset: at as u16, len: len as u16 };
    }
    at + len
}

/// Major and minor number of the controlling terminal, zero without one.
///
/// # Safety
/// `task` must be a typed `task_struct` pointer.
#[inline(always)]
unsafe fn tty(task: Ptr) -> (u32, u32) {
    // SAFETY: typed loads.
    unsafe {
        let signal: Ptr = load(task, offset!(task_signal));
        let tty: Ptr = load(signal, offset!(signal_tty));
        let driver = optional::<Typed, u64>(tty, offset!(tty_driver)) as Ptr;
        let major: u32 = optional::<Typed, _>(driver, offset!(tty_driver_major));
        let first: u32 = optional::<Typed, _>(driver, offset!(tty_driver_minor_start));
        let index: u32 = optional::<Typed, _>(tty, offset!(tty_index));
        (major, first.wrapping_add(index))
    }
}
