//! The only walker of dentries: measures a path, then writes its components into a slot.
//!
//! A walk goes from the leaf to the root of the mount namespace, across mount points, and notes where it
//! passed the task's own root; then, for a file below a bind mount, from the root of that mount to the root of the
//! file system. It takes no lock and reads only through helpers that cannot fault. What is renamed or mounted
//! meanwhile is told by the kernel's own sequence counters, where the loader knows their address: the walk is
//! repeated, and marked when it never ran undisturbed. Without them only a component that moves while it is read is
//! marked.

use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use sensor_common::{
    limits::{CGROUP_BYTES_MAX, CGROUP_DEPTH_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX},
    wire::{PathRef, Span, path_flags},
};

use crate::{
    context::Typed,
    kernel::{LOCKS, Ptr, forget, load, offset, probe, probe_ptr},
    slot::Class,
    task,
};

/// Steps of one walk: every component, and the mounts it may cross.
const STEPS_MAX: u32 = PATH_DEPTH_MAX as u32 + 64;
/// Walks for one path: the first, and repetitions after it was disturbed.
const ATTEMPTS_MAX: u64 = 4;

/// Where a walk begins, and the root that ends the task's view.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Start {
    pub dentry: u64,
    pub vfsmount: u64,
    pub root_dentry: u64,
    pub root_vfsmount: u64,
    /// The task's mount namespace: a walk that ends elsewhere has not reached a root that means anything to it.
    pub mnt_ns: u64,
    /// A name below `dentry` that is in no dentry any more; `name_len` is zero when there is none.
    pub name: u64,
    pub name_len: u64,
}

impl Start {
    /// A walk in the view of `task`.
    ///
    /// # Safety
    /// `task` must be a typed `task_struct` pointer.
    #[inline(always)]
    pub unsafe fn new(dentry: u64, vfsmount: u64, task: Ptr) -> Self {
        // SAFETY: typed loads.
        unsafe {
            let fs: Ptr = load(task, offset!(task_fs));
            Self {
                dentry,
                vfsmount,
                root_dentry: load(fs, offset!(fs_root) + offset!(path_dentry)),
                root_vfsmount: load(fs, offset!(fs_root) + offset!(path_mnt)),
                mnt_ns: load(load::<u64>(task, offset!(task_nsproxy)) as Ptr, offset!(nsproxy_mnt_ns)),
                name: 0,
                name_len: 0,
            }
        }
    }
}

/// State of a walk, shared with the loop's callback.
#[repr(C)]
struct Walk {
    dentry: u64,
    mount: u64,
    mount_root: u64,
    root_dentry: u64,
    root_mount: u64,
    mnt_ns: u64,
    /// No component may begin behind it: a path cannot take the room of what follows it.
    path_end: u64,
    /// Bytes so far, or the offset in the slot that the next component goes to.
    at: u64,
    /// `at` where the task's root was passed.
    root_at: u64,
    /// The root of the mount that the walk began in, and `at` when it got there; zero before.
    leaf_root: u64,
    mount_at: u64,
    /// `at` when it had reached the root of the namespace and went on from `leaf_root`; zero before.
    above_at: u64,
    is_above: u64,
    flags: u64,
    /// The lengths of all names, or-ed.
    name_bits: u64,
    out: *mut u8,
    limit: u64,
    name_mask: u64,
    /// [`Start::name`], until it is written.
    name: u64,
    name_len: u64,
}

/// What a path will need.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Measure {
    pub bytes: usize,
    /// The lengths of all names, or-ed: no name is longer.
    pub name_bits: usize,
}

#[inline(always)]
fn begin(start: &Start) -> Walk {
    let mount = (start.vfsmount as usize).wrapping_sub(offset!(mount_vfsmount)) as u64;
    let root_mount = (start.root_vfsmount as usize).wrapping_sub(offset!(mount_vfsmount)) as u64;
    Walk {
        dentry: start.dentry,
        mount,
        mount_root: probe_ptr(start.vfsmount as Ptr, offset!(vfsmount_root)) as u64,
        root_dentry: start.root_dentry,
        root_mount,
        mnt_ns: start.mnt_ns,
        path_end: 0,
        at: 0,
        root_at: 0,
        // The verifier of 6.1 checks a callback once, from the first state: a branch on what the callback itself
        // sets would be dead to it, and be removed.
        leaf_root: forget(0),
        mount_at: forget(0),
        above_at: forget(0),
        is_above: forget(0),
        flags: forget(0),
        name_bits: 0,
        out: core::ptr::null_mut(),
        limit: 0,
        name_mask: 0,
        name: 0,
        name_len: 0,
    }
}

/// What one step found.
enum Step {
    /// `dentry` has a name below `parent`.
    Name { parent: u64 },
    /// Moved to the parent mount.
    Crossed,
    /// Nothing above.
    End,
}

/// The part of a step that measuring and copying share.
#[inline(always)]
fn step(walk: &mut Walk) -> Step {
    if walk.is_above != 0 {
        let parent = probe_ptr(walk.dentry as Ptr, offset!(dentry_parent)) as u64;
        if parent != walk.dentry && parent != 0 {
            return Step::Name { parent };
        }
        walk.flags |= u64::from(if parent == 0 { path_flags::TORN } else { path_flags::REACHED_FS_ROOT });
        return Step::End;
    }
    if walk.dentry == walk.root_dentry
        && walk.mount == walk.root_mount
        && walk.flags & u64::from(path_flags::REACHED_TASK_ROOT) == 0
    {
        walk.flags |= u64::from(path_flags::REACHED_TASK_ROOT);
        walk.root_at = walk.at;
    }
    if walk.dentry == walk.mount_root {
        if walk.leaf_root == 0 {
            walk.leaf_root = walk.dentry;
            walk.mount_at = walk.at;
        }
        let parent_mount = probe_ptr(walk.mount as Ptr, offset!(mount_parent)) as u64;
        if parent_mount == walk.mount {
            // A detached mount has no parent either, nor has one of another namespace that was reached by a
            // descriptor.
            let mnt_ns = probe_ptr(walk.mount as Ptr, offset!(mount_mnt_ns)) as u64;
            let is_ours = mnt_ns != 0 && mnt_ns == walk.mnt_ns;
            walk.flags |= u64::from(if is_ours { path_flags::REACHED_NS_ROOT } else { path_flags::NO_MOUNT });
            walk.above_at = walk.at;
            walk.is_above = 1;
            walk.dentry = walk.leaf_root;
            return Step::Crossed;
        }
        walk.dentry = probe_ptr(walk.mount as Ptr, offset!(mount_mountpoint)) as u64;
        walk.mount = parent_mount;
        walk.mount_root =
            probe_ptr(parent_mount as Ptr, offset!(mount_vfsmount) + offset!(vfsmount_root)) as u64;
        return Step::Crossed;
    }
    let parent = probe_ptr(walk.dentry as Ptr, offset!(dentry_parent)) as u64;
    if parent == walk.dentry {
        if walk.flags & u64::from(path_flags::NO_MOUNT) != 0 {
            return Step::End;
        }
        // A root that is not the root of this mount: a file that was never in a directory (memfd), whose name
        // is all there is; or a directory outside of the mount that it was reached through.
        walk.flags |= u64::from(path_flags::NO_MOUNT);
        if probe::<u8>(probe_ptr(walk.dentry as Ptr, offset!(dentry_name_ptr)), 0) == b'/' {
            if walk.leaf_root == 0 {
                walk.mount_at = walk.at;
                walk.flags |= u64::from(path_flags::REACHED_FS_ROOT);
            }
            return Step::End;
        }
        return Step::Name { parent };
    }
    if parent == 0 {
        walk.flags |= u64::from(path_flags::TORN);
        return Step::End;
    }
    Step::Name { parent }
}

unsafe extern "C" fn measure_step(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: the loop hands back the context that `measure` passed.
    let walk = unsafe { &mut *walk };
    if walk.at > PATH_BYTES_MAX as u64 {
        return 1;
    }
    match step(walk) {
        Step::End => 1,
        Step::Crossed => 0,
        Step::Name { parent } => {
            let len =
                u64::from(probe::<u32>(walk.dentry as Ptr, offset!(dentry_name_len))) & NAME_BYTES_MAX as u64;
            walk.at += len + 1;
            // Or-ed rather than compared: what chooses a slot is only the highest bit.
            walk.name_bits |= len;
            walk.dentry = parent;
            0
        }
    }
}

unsafe extern "C" fn copy_step(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: the loop hands back the context that `copy` passed.
    let walk = unsafe { &mut *walk };
    // One read, one check, and the value that was checked is the one that is used.
    let at = walk.at;
    if at > walk.limit || at > walk.path_end {
        walk.flags |= u64::from(path_flags::TRUNCATED);
        return 1;
    }
    let pending = walk.name_len;
    let (name, len) = if pending != 0 {
        walk.name_len = 0;
        (walk.name, pending)
    } else {
        match step(walk) {
            Step::End => return 1,
            Step::Crossed => return 0,
            Step::Name { parent } => {
                let dentry = walk.dentry as Ptr;
                walk.dentry = parent;
                let name = probe_ptr(dentry, offset!(dentry_name_ptr)) as u64;
                let len = u64::from(probe::<u32>(dentry, offset!(dentry_name_len)));
                if probe_ptr(dentry, offset!(dentry_parent)) as u64 != parent {
                    walk.flags |= u64::from(path_flags::TORN);
                }
                (name, len)
            }
        }
    };
    let mut len = len;
    if len > walk.name_mask {
        // Renamed to something longer since it was measured.
        walk.flags |= u64::from(path_flags::TORN);
        len = walk.name_mask;
    }
    // The compiler knows it is bounded and would leave this out; the verifier of 6.1 does not.
    let len = core::hint::black_box(len) & walk.name_mask;
    // SAFETY: the limit leaves room for the longest name and its NUL.
    let failed = unsafe {
        let to = walk.out.add(at as usize);
        let failed = bpf_probe_read_kernel(to.cast(), len as u32, (name as Ptr).cast()) != 0;
        to.add(len as usize).write(0);
        failed
    };
    if failed || len == 0 {
        // Nothing is known of this component: it is left out.
        walk.flags |= u64::from(path_flags::TORN);
        return 0;
    }
    walk.at = at + len + 1;
    0
}

/// Walks once to learn what the path will need.
#[inline(always)]
pub fn measure(start: &Start) -> Measure {
    let packed = measure_path(start);
    Measure { bytes: (packed & 0xffff) as usize, name_bits: (packed >> 16) as usize }
}

/// Global, so that the verifier checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn measure_path(start: *const Start) -> u64 {
    if start.is_null() {
        return 0;
    }
    // SAFETY: not null, of its type's size.
    let start = unsafe { &*start };
    let mut walk = begin(start);
    let pending = start.name_len & NAME_BYTES_MAX as u64;
    walk.at = forget(if pending == 0 { 0 } else { pending + 1 });
    walk.name_bits = forget(pending);
    // SAFETY: the callback gets the walk it expects, which outlives the call.
    unsafe {
        bpf_loop(STEPS_MAX, measure_step as *mut core::ffi::c_void, (&raw mut walk).cast(), 0);
    }
    walk.at | walk.name_bits << 16
}

/// Counts the renames and mounts of the whole system; odd in the middle of one.
#[inline(always)]
fn sequence() -> u64 {
    let read = |lock: &u64| {
        // SAFETY: reads a u64 through a reference; the loader may have put an address there.
        let address = unsafe { core::ptr::read_volatile(lock) };
        if address == 0 { 0 } else { u64::from(probe::<u32>(address as Ptr, 0)) }
    };
    read(&LOCKS[0]) | read(&LOCKS[1]) << 32
}

/// Writes the components at `from`, and what is known of them as a [`PathRef`] at `out`; returns where they end.
#[inline(always)]
pub fn copy<C: Class>(base: *mut u8, from: u64, start: &Start, out: u64) -> u64 {
    const ODD: u64 = 1 | 1 << 32;
    if out > (C::SIZE - size_of::<PathRef>()) as u64 {
        return from;
    }
    let mut walk = begin(start);
    // Counted from a known number: the verifier of 6.1 takes an unknown one for a loop without end.
    let mut attempt = 0;
    loop {
        let before = sequence();
        walk.dentry = start.dentry;
        walk.mount = (start.vfsmount as usize).wrapping_sub(offset!(mount_vfsmount)) as u64;
        walk.mount_root = probe_ptr(start.vfsmount as Ptr, offset!(vfsmount_root)) as u64;
        walk.out = base;
        walk.limit = C::NAME_LIMIT as u64;
        walk.name_mask = C::NAME_MASK as u64;
        walk.at = from;
        walk.path_end = from + PATH_BYTES_MAX as u64;
        walk.name = start.name;
        walk.name_len = start.name_len;
        walk.root_at = forget(0);
        walk.leaf_root = forget(0);
        walk.mount_at = forget(0);
        walk.is_above = forget(0);
        walk.flags = forget(0);
        // SAFETY: as in `measure_path`.
        let steps =
            unsafe { bpf_loop(STEPS_MAX, copy_step as *mut core::ffi::c_void, (&raw mut walk).cast(), 0) };
        if steps >= i64::from(STEPS_MAX) {
            walk.flags |= u64::from(path_flags::TRUNCATED);
        }
        let after = sequence();
        if before == after && after & ODD == 0 {
            break;
        }
        attempt += 1;
        if attempt >= ATTEMPTS_MAX {
            walk.flags |= u64::from(path_flags::TORN);
            break;
        }
    }
    let path_end = if walk.is_above != 0 { walk.above_at } else { walk.at };
    let has_root = walk.flags & u64::from(path_flags::REACHED_TASK_ROOT) != 0;
    let has_mount = walk.flags & u64::from(path_flags::REACHED_FS_ROOT) != 0;
    // SAFETY: within the slot, as checked above.
    unsafe {
        let out = base.add(out as usize).cast::<PathRef>();
        (*out).span = Span { offset: from as u16, len: path_end.wrapping_sub(from) as u16 };
        (*out).root_bytes = if has_root { walk.root_at.wrapping_sub(from) as u16 } else { 0 };
        (*out).flags = walk.flags as u16;
        (*out).above = Span { offset: path_end as u16, len: walk.at.wrapping_sub(path_end) as u16 };
        (*out).mount_bytes = if has_mount { walk.mount_at.wrapping_sub(from) as u16 } else { 0 };
        (*out).reserved = 0;
    }
    walk.at & 0xffff
}

/// State of a cgroup walk.
#[repr(C)]
struct CgroupWalk {
    node: u64,
    at: u64,
    out: *mut u8,
    limit: u64,
    truncated: u64,
}

/// Longest cgroup name, a directory's like any other.
const CGROUP_NAME_MASK: usize = NAME_BYTES_MAX;

unsafe extern "C" fn cgroup_step(_: u32, walk: *mut CgroupWalk) -> i64 {
    // SAFETY: the loop hands back the context that `copy_cgroup` passed.
    let walk = unsafe { &mut *walk };
    let parent = probe_ptr(walk.node as Ptr, offset!(kernfs_node_parent)) as u64;
    // The root of the hierarchy has no name.
    if parent == 0 {
        return 1;
    }
    let at = walk.at;
    if at > walk.limit {
        walk.truncated = 1;
        return 1;
    }
    let name = probe_ptr(walk.node as Ptr, offset!(kernfs_node_name));
    // SAFETY: `at` is at most `limit`, which leaves room for the longest name and its NUL.
    let read = unsafe {
        bpf_probe_read_kernel_str(walk.out.add(at as usize).cast(), CGROUP_NAME_MASK as u32 + 1, name.cast())
    };
    if read <= 0 {
        return 1;
    }
    walk.at = at + (read as u64 & 511);
    walk.node = parent;
    0
}

/// Writes the names from the current task's cgroup up to the root of the hierarchy, each ended by a NUL;
/// returns where they end, and above that whether any are missing.
#[inline(always)]
pub fn copy_cgroup<C: Class>(base: *mut u8, from: u64) -> u64 {
    if !crate::kernel::present(offset!(kernfs_node_name))
        || !crate::kernel::present(offset!(kernfs_node_parent))
    {
        return from;
    }
    let mut walk = CgroupWalk {
        // SAFETY: the current task is a typed pointer.
        node: unsafe { task::cgroup_node::<Typed>(task::current()) } as u64,
        at: from,
        out: base,
        limit: (C::SIZE - CGROUP_NAME_MASK - 1).min(from as usize + CGROUP_BYTES_MAX - CGROUP_NAME_MASK - 1)
            as u64,
        truncated: forget(0),
    };
    // SAFETY: the callback gets the walk it expects, which outlives the call.
    let steps = unsafe {
        bpf_loop(CGROUP_DEPTH_MAX as u32, cgroup_step as *mut core::ffi::c_void, (&raw mut walk).cast(), 0)
    };
    let truncated = walk.truncated != 0 || steps >= CGROUP_DEPTH_MAX as i64;
    (walk.at & 0xffff) | u64::from(truncated) << 16
}

const _: () = assert!(NAME_BYTES_MAX == 255);
