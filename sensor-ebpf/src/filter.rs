//! Whether anything may want what is about to happen to a file name: asked before anything is remembered.
//!
//! The names above the file are tested up to the root of its file system, through the roots of bind mounts, and on
//! from the mount point to the root of the mount namespace: whatever a view of the path consists of is among them.
//! What cannot be read, or does not end, passes. What is missed: a directory above that is renamed between the
//! permission and the effect.

use aya_ebpf::helpers::generated::bpf_loop;
use sensor_common::{
    filter::{FilterTables, Ops, ending_key, folded_head, folded_tail, kind_bit, name_key},
    limits::NAME_BYTES_MAX,
    wire::RecordKind,
};

use crate::{
    atomic,
    context::{Access, Probed},
    follow,
    kernel::{Ptr, forget, load, offset, present, probe, probe_ptr},
    task,
};

/// Filled by the loader before the object is loaded, and by user space later. A section of its own is a map of its
/// own, which nothing else is written to.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.filter")]
static mut FILTER: FilterTables = FilterTables::EVERYTHING;

/// Names that are shorter lie within their dentry, whatever the configuration.
const INLINE_BYTES_MIN: u32 = 32;
/// Directories of the file's own file system that are tested; below more, everything passes.
const DEPTH_MAX: u32 = 32;
/// Names and mounts above that; beyond, everything passes.
const ABOVE_MAX: u32 = 512;
/// `s_magic`; user-space ABI.
const OVERLAYFS_SUPER_MAGIC: u64 = 0x794c_7630;
/// Of `d_flags`: the file system may rename without being asked. A macro until 6.14, an enumerator of the same value
/// since.
const DCACHE_OP_REVALIDATE: u32 = 1 << 2;

/// Mounts of which nothing above the root of their file system is wanted; each slot holds a stamp of all that this
/// depends on.
static mut UNWANTED_MOUNTS: [u64; 1 << UNWANTED_BITS] = [0; 1 << UNWANTED_BITS];
const UNWANTED_BITS: u32 = 8;

/// Directories that have changed their name since the start.
static mut RENAMED_DIRECTORIES: u64 = 0;

/// A directory has changed its name: what was known of the mounts below it may not hold.
#[inline(always)]
pub fn directory_renamed() {
    // SAFETY: an atomic addition to a static.
    unsafe { atomic::add(&raw mut RENAMED_DIRECTORIES, 1) };
}

/// The tables, in a way that lets the compiler assume nothing of what is in them.
#[inline(always)]
fn tables() -> &'static FilterTables {
    // SAFETY: always valid; user space may write meanwhile, word by word, and any mix of old and new is safe to read.
    unsafe { &*core::hint::black_box(&raw const FILTER) }
}

/// Whether records of this kind, which are not about files, are wanted.
#[inline(always)]
pub fn wants_kind(kind: RecordKind) -> bool {
    tables().kinds & kind_bit(kind) != 0 || follow::is_wanted()
}

/// Whether an event of one of these operations may be wanted of a file that is known, or about to be known, by the
/// names `one` and `other`, which may be the same, reached through the `struct path` of a directory.
///
/// # Safety
/// All must come from arguments of the program.
#[inline(always)]
pub unsafe fn wants<A: Access>(ops: Ops, one: Ptr, other: Ptr, path: Ptr) -> bool {
    let tables = tables();
    if tables.everything & ops != 0 || follow::is_wanted() {
        return true;
    }
    if tables.some & ops == 0 {
        return false;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let by_leaf = (tables.by_name | tables.by_ending) & ops != 0;
        if by_leaf && wants_leaf::<A>(tables, ops, one)
            || by_leaf && one != other && wants_leaf::<A>(tables, ops, other)
        {
            return true;
        }
        let directory: Ptr = A::load(one, offset!(dentry_parent));
        let other_directory: Ptr = A::load(other, offset!(dentry_parent));
        wants_below::<A>(tables, ops, directory)
            || directory != other_directory && wants_below::<A>(tables, ops, other_directory)
            || wants_above::<A>(tables, ops, path)
    }
}

/// The length of a dentry's name and its first eight bytes, folded; `None` where they cannot be read.
#[inline(always)]
unsafe fn folded_name<A: Access>(dentry: Ptr) -> Option<(u32, u64)> {
    // SAFETY: the caller's promise.
    let (len, head) = unsafe {
        let len: u32 = A::load(dentry, offset!(dentry_name_len));
        let head: u64 = if len < INLINE_BYTES_MIN && present(offset!(dentry_inline_name)) {
            A::load(dentry, offset!(dentry_inline_name))
        } else {
            probe(A::load(dentry, offset!(dentry_name_ptr)), 0)
        };
        (len, head)
    };
    if len == 0 || head as u8 == 0 {
        return None;
    }
    Some((len, folded_head(head, len)))
}

#[inline(always)]
unsafe fn wants_leaf<A: Access>(tables: &FilterTables, ops: Ops, dentry: Ptr) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let Some((len, head)) = folded_name::<A>(dentry) else { return true };
        if tables.name(name_key(head, len)) & ops != 0 {
            return true;
        }
        if tables.by_ending & ops == 0 {
            return false;
        }
        let tail = if len > 8 {
            let name: Ptr = A::load(dentry, offset!(dentry_name_ptr));
            let tail: u64 = probe(name, (len & NAME_BYTES_MAX as u32) as usize - 8);
            if tail == 0 {
                return true;
            }
            folded_tail(tail)
        } else {
            head
        };
        tables.ending(ending_key(tail)) & ops != 0
    }
}

/// Tests the directories from `dentry` to the root of its file system.
#[inline(always)]
unsafe fn wants_below<A: Access>(tables: &FilterTables, ops: Ops, mut dentry: Ptr) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let mut depth = 0;
        while depth < DEPTH_MAX {
            let parent: Ptr = A::load(dentry, offset!(dentry_parent));
            if parent == dentry {
                // What cannot be read is null, and its own parent.
                return parent.is_null();
            }
            let Some((len, head)) = folded_name::<A>(dentry) else { return true };
            if tables.directory(name_key(head, len)) & ops != 0 {
                return true;
            }
            dentry = parent;
            depth += 1;
        }
    }
    true
}

/// Tests the file system, and the directories that its mount lies below.
///
/// # Safety
/// `path` must be an argument of the program.
#[inline(always)]
unsafe fn wants_above<A: Access>(tables: &FilterTables, ops: Ops, path: Ptr) -> bool {
    // SAFETY: the caller's promise; words of a static, each read and written whole.
    unsafe {
        let stamp = stamp(tables, A::number(A::load(path, offset!(path_mnt))));
        let slot = stamp as usize >> 8 & ((1 << UNWANTED_BITS) - 1);
        let known = (&raw mut UNWANTED_MOUNTS).cast::<u64>().wrapping_add(slot);
        if stamp != 0 && core::ptr::read_volatile(known) == stamp {
            return false;
        }
        // Read anew: what the verifier knows to be a pointer cannot be handed to a function of its own.
        let found = filter_above(probe(path, offset!(path_mnt)));
        if found == 0 && stamp != 0 {
            core::ptr::write_volatile(known, stamp);
        }
        found as Ops & ops != 0
    }
}

/// Everything that the verdict on a mount depends on, as one number: which mount, in which namespace, as of which
/// change of it, of a directory's name, of the tables. Read before the verdict is made. Zero where it cannot be known
/// that the mount stays where it is.
#[inline(always)]
fn stamp(tables: &FilterTables, mount: u64) -> u64 {
    if !present(offset!(mnt_namespace_seq)) || !present(offset!(mnt_namespace_event)) {
        return 0;
    }
    // SAFETY: the current task is typed; a volatile read of a static.
    unsafe {
        let nsproxy: Ptr = load(task::current(), offset!(task_nsproxy));
        let mnt_ns: Ptr = load(nsproxy, offset!(nsproxy_mnt_ns));
        let seq: u64 = load(mnt_ns, offset!(mnt_namespace_seq));
        let event: u64 = load(mnt_ns, offset!(mnt_namespace_event));
        let renamed = core::ptr::read_volatile(&raw const RENAMED_DIRECTORIES);
        let mixed = [seq, event, renamed ^ u64::from(tables.version) << 32]
            .iter()
            .fold(mount, |mixed, part| (mixed ^ part).wrapping_mul(MIX).rotate_left(29));
        if seq == 0 { 0 } else { mixed | 1 }
    }
}

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// State of the walk from a file system's root upwards.
#[repr(C)]
struct Above {
    mount: u64,
    /// The directory in hand; zero when the mount is to be left.
    dentry: u64,
    /// Operations that want what was found.
    found: u64,
    /// The walk came to an end.
    ended: u64,
    /// Where the mount is may change without a sign.
    unstable: u64,
}

/// [`Above::found`] when nothing can be excluded.
const PASS: u64 = Ops::MAX as u64;
/// Nothing is wanted now, and no more is known than that.
const UNSTABLE: u64 = 1 << 32;

/// The operations that want a file because of its device, or because of where its file system is mounted.
///
/// Global, so that the verifier checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn filter_above(vfsmount: u64) -> u64 {
    let tables = tables();
    let sb = probe_ptr(vfsmount as Ptr, offset!(vfsmount_sb));
    let dev: u32 = probe(sb, offset!(super_block_dev));
    let magic: u64 = probe(sb, offset!(super_block_magic));
    if dev == 0 || magic == 0 {
        return PASS;
    }
    // The names of the upper layer are another view of the file.
    if magic == OVERLAYFS_SUPER_MAGIC && !tables.is_plain_overlay(dev) {
        return PASS;
    }
    let mut walk = Above {
        mount: vfsmount.wrapping_sub(offset!(mount_vfsmount) as u64),
        // As in `path`: what the callback changes must look unknown from the start.
        dentry: forget(0),
        found: forget(u64::from(tables.device(dev))),
        ended: forget(0),
        unstable: forget(0),
    };
    // SAFETY: the callback gets the walk it expects, which outlives the call.
    unsafe {
        bpf_loop(ABOVE_MAX, above_step as *mut core::ffi::c_void, (&raw mut walk).cast(), 0);
    }
    if walk.ended == 0 {
        return PASS;
    }
    if walk.unstable != 0 { walk.found | UNSTABLE } else { walk.found }
}

unsafe extern "C" fn above_step(_: u32, walk: *mut Above) -> i64 {
    // SAFETY: the loop hands back the context that `filter_above` passed.
    let walk = unsafe { &mut *walk };
    if walk.dentry == 0 {
        return leave_mount(walk);
    }
    let dentry = walk.dentry as Ptr;
    let parent = probe_ptr(dentry, offset!(dentry_parent)) as u64;
    if parent == walk.dentry {
        // The root of the file system, above or at the root of the mount.
        walk.dentry = 0;
        return 0;
    }
    // SAFETY: read through the helper.
    let name = unsafe { folded_name::<Probed>(dentry) };
    let Some((len, head)) = name else { return 1 };
    if parent == 0 {
        return 1;
    }
    if probe::<u32>(dentry, offset!(dentry_flags)) & DCACHE_OP_REVALIDATE != 0 {
        walk.unstable = 1;
    }
    walk.found |= u64::from(tables().directory(name_key(head, len)));
    walk.dentry = parent;
    0
}

#[inline(always)]
fn leave_mount(walk: &mut Above) -> i64 {
    let mount = walk.mount as Ptr;
    let parent = probe_ptr(mount, offset!(mount_parent)) as u64;
    if parent == walk.mount {
        let mnt_ns: u64 = probe(mount, offset!(mount_mnt_ns));
        // SAFETY: the current task is typed.
        let ours: u64 = unsafe {
            let nsproxy: Ptr = load(task::current(), offset!(task_nsproxy));
            load(nsproxy, offset!(nsproxy_mnt_ns))
        };
        // A detached tree may be attached anywhere, and be known by that name when the record is made.
        walk.ended = u64::from(mnt_ns != 0);
        if mnt_ns != ours {
            walk.unstable = 1;
        }
        return 1;
    }
    walk.dentry = probe_ptr(mount, offset!(mount_mountpoint)) as u64;
    walk.mount = parent;
    i64::from(parent == 0 || walk.dentry == 0)
}
