//! The only walker of dentries: writes the components of a path into a slot, or measures what they need.
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

/// Where a walk begins.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Start {
    pub dentry: u64,
    pub vfsmount: u64,
}

/// State of a walk.
#[repr(C)]
pub struct Walk {
    dentry: u64,
    mount: u64,
    mount_root: u64,
    /// The root that ends the task's view.
    root_dentry: u64,
    root_vfsmount: u64,
    /// The task's mount namespace: a walk that ends elsewhere has not reached a root that means anything to it.
    mnt_ns: u64,
    /// Bytes so far, or the offset in the slot that the next component goes to.
    at: u64,
    /// `at` where the task's root was passed.
    root_at: u64,
    /// The root of the mount that the walk began in, and `at` when it got there; zero before.
    leaf_root: u64,
    mount_at: u64,
    /// `at` when it had reached the root of the namespace and went on from `leaf_root`; zero before.
    above_at: u64,
    /// [`path_flags`], [`IS_ABOVE`], and from [`BEGUN_AT`] on where the path begins: every word counts on the stack.
    flags: u64,
    /// Of the dentry that the last step found a name in.
    block: Block,
}

/// The root of the namespace was reached, and the walk goes on from [`Walk::leaf_root`].
const IS_ABOVE: u64 = 1 << 16;
const BEGUN_AT: u32 = 32;

/// The part of a dentry that a walk looks at, read at once: from its parent to the end of a name within it.
type Block = [u64; 4 + INLINE_WORDS];

/// Words of the longest name that lies within its dentry, 6.12's.
const INLINE_WORDS: usize = 5;

/// A walk in the view of the current task.
#[inline(always)]
fn begin(start: &Start) -> Walk {
    // The verifier of 6.1 checks a callback once, from the first state: a branch on what the callback itself sets would
    // be dead to it, and be removed.
    let unknown = forget(0);
    // SAFETY: the current task is typed.
    let (root_dentry, root_vfsmount, mnt_ns) = unsafe {
        let fs: Ptr = load(task::current(), offset!(task_fs));
        let nsproxy: Ptr = load(task::current(), offset!(task_nsproxy));
        (
            load(fs, offset!(fs_root) + offset!(path_dentry)),
            load(fs, offset!(fs_root) + offset!(path_mnt)),
            load(nsproxy, offset!(nsproxy_mnt_ns)),
        )
    };
    Walk {
        dentry: start.dentry,
        mount: mount_of(start.vfsmount),
        mount_root: root_of(start.vfsmount),
        root_dentry,
        root_vfsmount,
        mnt_ns,
        at: unknown,
        root_at: unknown,
        leaf_root: unknown,
        mount_at: unknown,
        above_at: unknown,
        flags: unknown,
        block: [unknown; _],
    }
}

#[inline(always)]
fn mount_of(vfsmount: u64) -> u64 {
    vfsmount.wrapping_sub(offset!(mount_vfsmount) as u64)
}

impl Walk {
    /// Where the name of the dentry in the block is.
    #[inline(always)]
    fn name(&self, dentry: Ptr) -> u64 {
        self.member(dentry, offset!(dentry_name_ptr))
    }

    /// A member of the dentry in the block, as it lies there on every kernel until now; else it is read apart.
    #[inline(always)]
    fn member<T: Copy>(&self, dentry: Ptr, offset: usize) -> T {
        let at = offset.wrapping_sub(offset!(dentry_parent));
        if at <= size_of::<Block>() - size_of::<T>() {
            // SAFETY: within the block.
            unsafe { core::ptr::read_volatile((&raw const self.block).cast::<u8>().add(at).cast()) }
        } else {
            probe(dentry, offset)
        }
    }
}

#[inline(always)]
fn root_of(vfsmount: u64) -> u64 {
    probe_ptr(vfsmount as Ptr, offset!(vfsmount_root)) as u64
}

/// What a step found, in its lowest bits: nothing above.
const END: u64 = 0;
/// It moved to the parent mount.
const CROSSED: u64 = 1;
/// A name; above the lowest bits is its length.
const NAME: u64 = 2;
/// A name, which [`Walk::block`] holds.
const NAME_IN_BLOCK: u64 = 3;
const FOUND: u64 = 3;
const LEN_AT: u32 = 2;

/// One step of a walk: what measuring and copying share.
///
/// Global, so that the verifier checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn path_step(walk: *mut Walk) -> u64 {
    if walk.is_null() {
        return END;
    }
    // SAFETY: not null, of its type's size.
    let walk = unsafe { &mut *walk };
    if walk.flags & IS_ABOVE == 0 {
        if walk.dentry == walk.root_dentry
            && walk.mount == mount_of(walk.root_vfsmount)
            && walk.flags & u64::from(path_flags::REACHED_TASK_ROOT) == 0
        {
            walk.flags |= u64::from(path_flags::REACHED_TASK_ROOT);
            walk.root_at = walk.at;
        }
        if walk.dentry == walk.mount_root {
            return leave_mount(walk);
        }
    }
    let dentry = walk.dentry as Ptr;
    // SAFETY: the block is the walk's own; where the read fails the helper clears it.
    unsafe {
        bpf_probe_read_kernel(
            (&raw mut walk.block).cast(),
            size_of::<Block>() as u32,
            dentry.wrapping_add(offset!(dentry_parent)).cast(),
        );
    }
    let parent: u64 = walk.member(dentry, offset!(dentry_parent));
    if parent == walk.dentry {
        if walk.flags & IS_ABOVE != 0 {
            walk.flags |= u64::from(path_flags::REACHED_FS_ROOT);
            return END;
        }
        if walk.flags & u64::from(path_flags::NO_MOUNT) != 0 {
            return END;
        }
        // A root that is not the root of this mount: a file that was never in a directory (memfd), whose name
        // is all there is; or a directory outside of the mount that it was reached through.
        walk.flags |= u64::from(path_flags::NO_MOUNT);
        if probe::<u8>(walk.name(dentry) as Ptr, 0) == b'/' {
            if walk.leaf_root == 0 {
                walk.mount_at = walk.at;
                walk.flags |= u64::from(path_flags::REACHED_FS_ROOT);
            }
            return END;
        }
    } else if parent == 0 {
        walk.flags |= u64::from(path_flags::TORN);
        return END;
    }
    // Where the sequence counters are known they tell it, for the whole walk.
    if !are_locks_known() && probe_ptr(dentry, offset!(dentry_parent)) as u64 != parent {
        walk.flags |= u64::from(path_flags::TORN);
    }
    walk.dentry = parent;
    let is_inline = inline_at() <= size_of::<Block>() - size_of::<[u64; INLINE_WORDS]>()
        && walk.name(dentry) == dentry.wrapping_add(offset!(dentry_inline_name)) as u64;
    u64::from(walk.member::<u32>(dentry, offset!(dentry_name_len))) << LEN_AT
        | if is_inline { NAME_IN_BLOCK } else { NAME }
}

/// Where a name within a dentry lies in the [`Block`].
#[inline(always)]
fn inline_at() -> usize {
    offset!(dentry_inline_name).wrapping_sub(offset!(dentry_parent))
}

/// From the root of a mount to where it is mounted; from the root of the namespace to what lies above the root of the
/// mount that the walk began in, if anything does.
#[inline(always)]
fn leave_mount(walk: &mut Walk) -> u64 {
    if walk.leaf_root == 0 {
        walk.leaf_root = walk.dentry;
        walk.mount_at = walk.at;
        if probe_ptr(walk.dentry as Ptr, offset!(dentry_parent)) as u64 == walk.dentry {
            walk.flags |= u64::from(path_flags::REACHED_FS_ROOT);
        }
    }
    let parent_mount = probe_ptr(walk.mount as Ptr, offset!(mount_parent)) as u64;
    if parent_mount == walk.mount {
        // A detached mount has no parent either, nor has one of another namespace that was reached by a
        // descriptor.
        let mnt_ns = probe_ptr(walk.mount as Ptr, offset!(mount_mnt_ns)) as u64;
        let is_ours = mnt_ns != 0 && mnt_ns == walk.mnt_ns;
        walk.flags |= u64::from(if is_ours { path_flags::REACHED_NS_ROOT } else { path_flags::NO_MOUNT });
        walk.above_at = walk.at;
        walk.flags |= IS_ABOVE;
        walk.dentry = walk.leaf_root;
        return if walk.flags & u64::from(path_flags::REACHED_FS_ROOT) != 0 { END } else { CROSSED };
    }
    walk.dentry = probe_ptr(walk.mount as Ptr, offset!(mount_mountpoint)) as u64;
    walk.mount = parent_mount;
    walk.mount_root = probe_ptr(parent_mount as Ptr, offset!(mount_vfsmount) + offset!(vfsmount_root)) as u64;
    CROSSED
}

unsafe extern "C" fn measure_step(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: the loop hands back the context that `measure_path` passed.
    let walk = unsafe { &mut *walk };
    if walk.at > PATH_BYTES_MAX as u64 {
        return 1;
    }
    let found = path_step(walk);
    match found & FOUND {
        END => return 1,
        CROSSED => {}
        _ => walk.at += (found >> LEN_AT & NAME_BYTES_MAX as u64) + 1,
    }
    0
}

/// What copying a path needs, beside the walk, which is all that a step may change.
#[repr(C)]
struct Copying {
    walk: Walk,
    out: *mut u8,
}

unsafe extern "C" fn copy_step<C: Class>(_: u32, copying: *mut Copying) -> i64 {
    // SAFETY: the loop hands back the context that `copy` passed.
    let copying = unsafe { &mut *copying };
    // One read, one check, and the value that was checked is the one that is used.
    let at = copying.walk.at;
    // A path cannot take the room of what follows it.
    let path_end = (copying.walk.flags >> BEGUN_AT) + PATH_BYTES_MAX as u64;
    if at > C::NAME_LIMIT as u64 || at > path_end {
        copying.walk.flags |= u64::from(path_flags::TRUNCATED);
        return 1;
    }
    let dentry = copying.walk.dentry as Ptr;
    let found = path_step(&raw mut copying.walk);
    if found & FOUND == END {
        return 1;
    }
    if found & FOUND == CROSSED {
        return 0;
    }
    let mut len = found >> LEN_AT;
    if len > C::NAME_MASK as u64 {
        copying.walk.flags |= u64::from(C::NAME_TOO_LONG);
        if C::NAME_TOO_LONG == path_flags::TRUNCATED {
            return 1;
        }
        len = C::NAME_MASK as u64;
    }
    // The compiler knows it is bounded and would leave this out; the verifier of 6.1 does not.
    let len = core::hint::black_box(len) & C::NAME_MASK as u64;
    // SAFETY: the limit leaves room for the longest name and its NUL, and that for the longest within a dentry.
    let failed = unsafe {
        let to = copying.out.add(at as usize);
        let failed = if found & FOUND == NAME_IN_BLOCK {
            let name: *const u64 = (&raw const copying.walk.block).cast::<u8>().add(inline_at()).cast();
            for word in 0..INLINE_WORDS {
                to.cast::<u64>().add(word).write_unaligned(name.add(word).read_volatile());
            }
            false
        } else {
            bpf_probe_read_kernel(to.cast(), len as u32, (copying.walk.name(dentry) as Ptr).cast()) != 0
        };
        to.add(len as usize).write(0);
        failed
    };
    if failed || len == 0 {
        // Nothing is known of this component: it is left out.
        copying.walk.flags |= u64::from(path_flags::TORN);
        return 0;
    }
    copying.walk.at = at + len + 1;
    0
}

/// Walks once to learn how many bytes the path will need.
#[inline(always)]
pub fn measure(start: &Start) -> usize {
    (measure_path(start) & 0xffff) as usize
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
    // SAFETY: the callback gets the walk it expects, which outlives the call.
    unsafe {
        bpf_loop(STEPS_MAX, measure_step as *mut core::ffi::c_void, (&raw mut walk).cast(), 0);
    }
    walk.at
}

/// Whether the loader could say where the sequence counters are.
#[inline(always)]
fn are_locks_known() -> bool {
    // SAFETY: reads u64s through references; the loader may have put addresses there.
    unsafe { core::ptr::read_volatile(&LOCKS[0]) != 0 && core::ptr::read_volatile(&LOCKS[1]) != 0 }
}

/// Counts the renames and mounts of the whole system; odd in the middle of one.
#[inline(always)]
fn sequence() -> u64 {
    let read = |lock: &u64| {
        // SAFETY: as above.
        let address = unsafe { core::ptr::read_volatile(lock) };
        if address == 0 { 0 } else { u64::from(probe::<u32>(address as Ptr, 0)) }
    };
    read(&LOCKS[0]) | read(&LOCKS[1]) << 32
}

/// Writes the components behind `name_end`, and what is known of them as a [`PathRef`] at `out`; returns where they
/// end. The path begins at `from`: what lies between is a name that is in no dentry any more.
#[inline(always)]
pub fn copy<C: Class>(base: *mut u8, from: u64, name_end: u64, start: &Start, out: u64) -> u64 {
    const ODD: u64 = 1 | 1 << 32;
    if out > (C::SIZE - size_of::<PathRef>()) as u64 {
        return from;
    }
    let mut copying = Copying { walk: begin(start), out: base };
    // Counted from a known number: the verifier of 6.1 takes an unknown one for a loop without end.
    let mut attempt = 0;
    loop {
        let before = sequence();
        copying.walk.at = name_end;
        copying.walk.flags = forget(from << BEGUN_AT);
        // SAFETY: as in `measure_path`.
        let steps = unsafe {
            bpf_loop(STEPS_MAX, copy_step::<C> as *mut core::ffi::c_void, (&raw mut copying).cast(), 0)
        };
        if steps >= i64::from(STEPS_MAX) {
            copying.walk.flags |= u64::from(path_flags::TRUNCATED);
        }
        let after = sequence();
        if before == after && after & ODD == 0 {
            break;
        }
        attempt += 1;
        if attempt >= ATTEMPTS_MAX {
            copying.walk.flags |= u64::from(path_flags::TORN);
            break;
        }
        copying.walk.dentry = start.dentry;
        copying.walk.mount = mount_of(start.vfsmount);
        copying.walk.mount_root = root_of(start.vfsmount);
        copying.walk.root_at = forget(0);
        copying.walk.leaf_root = forget(0);
        copying.walk.mount_at = forget(0);
    }
    let walk = &copying.walk;
    let path_end = if walk.flags & IS_ABOVE != 0 { walk.above_at } else { walk.at };
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
