//! The only walker of dentries: measures a path, then writes its components into a slot.
//!
//! A walk goes from the leaf to the root of the mount namespace, across mount points, and notes where it
//! passed the task's own root. It takes no lock; what a concurrent rename of a parent can do to it is marked
//! where it is seen and never reads outside of live kernel memory.

use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use sensor_common::{
    limits::{CGROUP_DEPTH_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX},
    wire::{PathRef, Span, path_flags},
};

use crate::{
    emit::Slot,
    kernel::{Ptr, forget, load, offset, probe, probe_ptr},
};

/// Steps of one walk: every component, and the mounts it may cross.
const STEPS_MAX: u32 = PATH_DEPTH_MAX as u32 + 64;

/// Where a walk begins, and the root that ends the task's view.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Start {
    pub dentry: u64,
    pub vfsmount: u64,
    pub root_dentry: u64,
    pub root_vfsmount: u64,
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
    /// Bytes so far, or the offset in the slot that the next component goes to.
    at: u64,
    /// `at` where the task's root was passed.
    root_at: u64,
    flags: u64,
    /// The lengths of all names, or-ed.
    longest: u64,
    out: *mut u8,
    limit: u64,
    name_mask: u64,
}

/// What a path will need.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Measure {
    pub bytes: usize,
    pub longest_name: usize,
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
        at: 0,
        root_at: 0,
        flags: 0,
        longest: 0,
        out: core::ptr::null_mut(),
        limit: 0,
        name_mask: 0,
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
    if walk.dentry == walk.root_dentry
        && walk.mount == walk.root_mount
        && walk.flags & u64::from(path_flags::REACHED_TASK_ROOT) == 0
    {
        walk.flags |= u64::from(path_flags::REACHED_TASK_ROOT);
        walk.root_at = walk.at;
    }
    if walk.dentry == walk.mount_root {
        let parent_mount = probe_ptr(walk.mount as Ptr, offset!(mount_parent)) as u64;
        if parent_mount == walk.mount {
            walk.flags |= u64::from(path_flags::REACHED_NS_ROOT);
            return Step::End;
        }
        walk.dentry = probe_ptr(walk.mount as Ptr, offset!(mount_mountpoint)) as u64;
        walk.mount = parent_mount;
        walk.mount_root = probe_ptr(parent_mount as Ptr, offset!(mount_vfsmount) + offset!(vfsmount_root)) as u64;
        return Step::Crossed;
    }
    let parent = probe_ptr(walk.dentry as Ptr, offset!(dentry_parent)) as u64;
    if parent == walk.dentry {
        // The root of a file system that is not the root of this mount: the mount is not the one that the
        // file was reached through, or it was torn away.
        walk.flags |= u64::from(path_flags::NO_MOUNT);
        return Step::End;
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
            let len = u64::from(probe::<u32>(walk.dentry as Ptr, offset!(dentry_name_len))) & NAME_BYTES_MAX as u64;
            walk.at += len + 1;
            // The bits of every length together: their highest is that of the longest, which is what chooses
            // a slot, and no branch is needed.
            walk.longest |= len;
            walk.dentry = parent;
            0
        }
    }
}

unsafe extern "C" fn copy_step(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: the loop hands back the context that `copy` passed.
    let walk = unsafe { &mut *walk };
    match step(walk) {
        Step::End => 1,
        Step::Crossed => 0,
        Step::Name { parent } => {
            let at = walk.at;
            if at > walk.limit {
                walk.flags |= u64::from(path_flags::TRUNCATED);
                return 1;
            }
            let len = u64::from(probe::<u32>(walk.dentry as Ptr, offset!(dentry_name_len)));
            if len > walk.name_mask {
                // Renamed to something longer since it was measured.
                walk.flags |= u64::from(path_flags::TORN);
            }
            let len = len & walk.name_mask;
            let name = probe_ptr(walk.dentry as Ptr, offset!(dentry_name_ptr));
            // SAFETY: `at` is at most `limit`, which leaves room for the longest name and its NUL.
            unsafe {
                let to = walk.out.add(at as usize);
                if bpf_probe_read_kernel(to.cast(), len as u32, name.cast()) != 0 {
                    walk.flags |= u64::from(path_flags::TORN);
                }
                to.add(len as usize).write(0);
            }
            walk.at = at + len + 1;
            walk.dentry = parent;
            0
        }
    }
}

/// Walks once to learn what the path will need.
#[inline(always)]
pub fn measure(start: &Start) -> Measure {
    let mut walk = begin(start);
    walk.at = forget(0);
    walk.longest = forget(0);
    // SAFETY: the callback gets the walk it expects, which outlives the call.
    unsafe {
        bpf_loop(STEPS_MAX, measure_step as *mut core::ffi::c_void, (&raw mut walk).cast(), 0);
    }
    Measure { bytes: walk.at as usize, longest_name: walk.longest as usize }
}

/// Writes the components at `from` and tells where they ended. `prefix` bytes that the caller wrote before
/// `from` (the name of a file that is gone) belong to the path.
#[inline(always)]
pub fn copy(slot: &Slot, from: usize, prefix: usize, start: &Start, out: *mut PathRef) -> usize {
    let mut walk = begin(start);
    walk.at = forget(from as u64);
    walk.out = slot.base;
    walk.limit = slot.name_limit() as u64;
    walk.name_mask = slot.name_mask as u64;
    // SAFETY: as in `measure`.
    let steps =
        unsafe { bpf_loop(STEPS_MAX, copy_step as *mut core::ffi::c_void, (&raw mut walk).cast(), 0) };
    if steps >= i64::from(STEPS_MAX) {
        walk.flags |= u64::from(path_flags::TRUNCATED);
    }
    let begun = from - prefix;
    let end = walk.at as usize;
    let root_end = if walk.flags & u64::from(path_flags::REACHED_TASK_ROOT) != 0 { walk.root_at as usize } else { begun };
    // SAFETY: the caller's pointer into the slot; the verifier checks the write.
    unsafe {
        (*out).span = Span { offset: begun as u16, len: (end - begun) as u16 };
        (*out).root_bytes = (root_end - begun) as u16;
        (*out).flags = walk.flags as u16;
    }
    end
}

const _: () = assert!(NAME_BYTES_MAX == 255);

/// State of a cgroup walk.
#[repr(C)]
struct CgroupWalk {
    node: u64,
    at: u64,
    out: *mut u8,
    limit: u64,
}

/// Longest cgroup name that is kept; systemd and container runtimes stay below.
const CGROUP_NAME_MASK: usize = 255;

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

/// Writes the names from a cgroup's kernfs node up to the root of the hierarchy, each ended by a NUL.
#[inline(always)]
pub fn copy_cgroup(slot: &Slot, from: usize, node: Ptr, span: *mut Span) -> usize {
    // SAFETY: the caller's pointer into the slot; the verifier checks the write.
    unsafe { *span = Span { offset: 0, len: 0 } };
    if !crate::kernel::present(offset!(kernfs_node_name)) || !crate::kernel::present(offset!(kernfs_node_parent)) {
        return from;
    }
    let mut walk = CgroupWalk {
        node: node as u64,
        at: forget(from as u64),
        out: slot.base,
        limit: (slot.size - CGROUP_NAME_MASK - 1) as u64,
    };
    // SAFETY: the callback gets the walk it expects, which outlives the call.
    unsafe {
        bpf_loop(CGROUP_DEPTH_MAX as u32, cgroup_step as *mut core::ffi::c_void, (&raw mut walk).cast(), 0);
    }
    let end = walk.at as usize;
    // SAFETY: as above.
    unsafe { *span = Span { offset: from as u16, len: (end - from) as u16 } };
    end
}
