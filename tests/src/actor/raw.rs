//! System calls that the libraries wrap in others: the old forms of `open`, and io_uring.

#![expect(unsafe_code, reason = "system calls without a safe wrapper, and memory shared with the kernel")]

use std::ffi::{CStr, CString};
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

const MODE: libc::c_long = 0o644;

fn checked(result: libc::c_long) -> Result<libc::c_long> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

fn descriptor(result: libc::c_long) -> Result<OwnedFd> {
    let number = i32::try_from(checked(result)?).map_err(Error::other)?;
    // SAFETY: the kernel has just handed it out.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `open(path, O_CREAT)`, not `openat`.
pub(super) fn open(path: &CStr) -> Result<()> {
    // SAFETY: the path is a C string.
    descriptor(unsafe { libc::syscall(libc::SYS_open, path.as_ptr(), libc::O_CREAT | libc::O_WRONLY, MODE) })
        .map(drop)
}

/// `creat(path)`.
pub(super) fn creat(path: &CStr) -> Result<()> {
    // SAFETY: the path is a C string.
    descriptor(unsafe { libc::syscall(libc::SYS_creat, path.as_ptr(), MODE) }).map(drop)
}

/// What a ring can be asked to do with a name; the values are those of `enum io_uring_op`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    /// `openat(path, O_CREAT)`
    Open(&'a CStr),
    /// `renameat2(from, to, 0)`
    Rename(&'a CStr, &'a CStr),
    /// `unlinkat(path, 0)`
    Unlink(&'a CStr),
    /// `unlinkat(path, AT_REMOVEDIR)`
    Rmdir(&'a CStr),
    /// `mkdirat(path)`
    Mkdir(&'a CStr),
    /// `symlinkat(target, path)`
    Symlink(&'a CStr, &'a CStr),
    /// `linkat(from, to, 0)`
    Link(&'a CStr, &'a CStr),
}

/// `struct io_uring_sqe`
#[repr(C)]
#[derive(Default)]
struct Entry {
    opcode: u8,
    flags: u8,
    priority: u16,
    fd: i32,
    off: u64,
    addr: u64,
    len: u32,
    op_flags: u32,
    user_data: u64,
    rest: [u64; 3],
}

const AT_CWD: u32 = libc::AT_FDCWD as u32;
/// Has a worker thread do it, instead of trying at once in the caller's.
const IOSQE_ASYNC: u8 = 1 << 4;

impl Request<'_> {
    fn entry(self) -> Entry {
        let at = |path: &CStr| path.as_ptr() as u64;
        let base = Entry { flags: IOSQE_ASYNC, fd: libc::AT_FDCWD, ..Entry::default() };
        let two = |opcode, from, to| Entry { opcode, addr: at(from), off: at(to), len: AT_CWD, ..base };
        let one = |opcode, path, op_flags| Entry { opcode, addr: at(path), op_flags, ..base };
        match self {
            Self::Open(path) => {
                Entry { len: 0o644, ..one(18, path, (libc::O_CREAT | libc::O_WRONLY) as u32) }
            }
            Self::Rename(from, to) => two(35, from, to),
            Self::Unlink(path) => one(36, path, 0),
            Self::Rmdir(path) => one(36, path, libc::AT_REMOVEDIR as u32),
            Self::Mkdir(path) => Entry { len: 0o755, ..one(37, path, 0) },
            Self::Symlink(target, path) => Entry { len: 0, ..two(38, target, path) },
            Self::Link(from, to) => two(39, from, to),
        }
    }
}

const ENTRIES: u32 = 1;
const PAGE: usize = 4096;
/// Offsets in `struct io_uring_params`: `sq_off` and `cq_off`, eight and more words behind ten.
const PARAMS_WORDS: usize = 30;
const SQ_OFF: usize = 10;
const CQ_OFF: usize = 20;
const OFF_SQ_RING: i64 = 0;
const OFF_SQES: i64 = 0x1000_0000;
const ENTER_GETEVENTS: libc::c_uint = 1;
/// `struct io_uring_cqe`: user data, result, flags.
const CQE_BYTES: usize = 16;

/// A ring for one request at a time. Its memory stays mapped until the process ends.
pub(super) struct Ring {
    fd: OwnedFd,
    rings: *mut u8,
    entries: *mut Entry,
    sq: [usize; 4],
    cq: [usize; 2],
    cqes: usize,
}

impl Ring {
    /// Sets it up.
    pub(super) fn new() -> Result<Self> {
        let mut params = [0_u32; PARAMS_WORDS];
        // SAFETY: the parameters are as large as the kernel's structure, 120 bytes.
        let fd =
            descriptor(unsafe { libc::syscall(libc::SYS_io_uring_setup, ENTRIES, params.as_mut_ptr()) })?;
        let word = |at: usize| params.get(at).map_or(0, |word| *word as usize);
        let map = |offset| {
            // SAFETY: a new mapping, of a page that the kernel shares.
            let at = unsafe {
                libc::mmap(
                    ptr::null_mut(),
                    PAGE,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED | libc::MAP_POPULATE,
                    fd.as_raw_fd(),
                    offset,
                )
            };
            if at == libc::MAP_FAILED { Err(Error::last_os_error()) } else { Ok(at) }
        };
        // Both rings share one mapping since 5.4; with one entry they fit a page.
        let (rings, entries) = (map(OFF_SQ_RING)?.cast(), map(OFF_SQES)?.cast());
        Ok(Self {
            rings,
            entries,
            // head, tail, ring_mask, array
            sq: [word(SQ_OFF), word(SQ_OFF + 1), word(SQ_OFF + 2), word(SQ_OFF + 6)],
            cq: [word(CQ_OFF), word(CQ_OFF + 2)],
            cqes: word(CQ_OFF + 5),
            fd,
        })
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: the kernel says that a word is there, in the mapped page.
        unsafe { AtomicU32::from_ptr(self.rings.wrapping_add(offset).cast()) }
    }

    /// Does one request and waits for its end.
    pub(super) fn submit(&mut self, request: Request<'_>) -> Result<()> {
        let [_, tail, mask, array] = self.sq;
        let at = self.word(tail).load(Ordering::Relaxed);
        let slot = (at & self.word(mask).load(Ordering::Relaxed)) as usize;
        // SAFETY: the slot is one of the ring's, and nothing reads it before the tail moves.
        unsafe { self.entries.wrapping_add(slot).write(request.entry()) };
        self.word(array + slot * size_of::<u32>()).store(slot as u32, Ordering::Relaxed);
        self.word(tail).store(at.wrapping_add(1), Ordering::Release);
        // SAFETY: no memory is passed beside the rings and what the request points to, which outlives the call.
        checked(unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.fd.as_raw_fd(),
                1,
                1,
                ENTER_GETEVENTS,
                ptr::null::<u8>(),
                0,
            )
        })?;
        let [head, mask] = self.cq;
        let at = self.word(head).load(Ordering::Acquire);
        let slot = (at & self.word(mask).load(Ordering::Relaxed)) as usize;
        let result = self.word(self.cqes + slot * CQE_BYTES + 8).load(Ordering::Acquire).cast_signed();
        self.word(head).store(at.wrapping_add(1), Ordering::Release);
        if result < 0 { Err(Error::from_raw_os_error(-result)) } else { Ok(()) }
    }
}

/// Pointers to C strings, and the null that ends them.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// `execveat(fd, "", AT_EMPTY_PATH)`; only ever returns an error.
pub(super) fn fexecve(file: &OwnedFd, args: &[CString]) -> Error {
    let (args, env) = (pointers(args), [ptr::null()]);
    // SAFETY: both arrays hold C strings and end in a null.
    unsafe { libc::fexecve(file.as_raw_fd(), args.as_ptr(), env.as_ptr()) };
    Error::last_os_error()
}

/// `execve` without any argument, not even a name; only ever returns an error.
pub(super) fn exec_bare(path: &CStr) -> Error {
    let none = [ptr::null()];
    // SAFETY: the path is a C string, the arrays end in a null.
    unsafe { libc::execve(path.as_ptr(), none.as_ptr(), none.as_ptr()) };
    Error::last_os_error()
}

/// Ends the calling thread and nothing else.
pub(super) fn end_thread() {
    // SAFETY: it does not return, and what the thread owned stays.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

/// Takes these supplementary groups.
pub(super) fn set_groups(groups: &[libc::gid_t]) -> Result<()> {
    // SAFETY: the kernel reads as many numbers as there are.
    checked(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) }.into()).map(drop)
}

/// Has the kernel make a loop device, and with it the node in `/dev`.
pub(super) fn add_loop_device(control: &OwnedFd, number: u32) -> Result<()> {
    const LOOP_CTL_ADD: libc::c_ulong = 0x4c80;
    // SAFETY: the request takes a number.
    checked(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_ADD, libc::c_ulong::from(number)) }.into())
        .map(drop)
}
