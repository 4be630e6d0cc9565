//! A file's name comes to be: `open(O_CREAT)` in all forms, `creat`, `mknod`, `mkdir`, `symlink`, `link`, and
//! `linkat` of an `O_TMPFILE`.
//!
//! ```c
//! int  security_path_mknod(const struct path *dir, struct dentry *dentry, umode_t mode, unsigned int dev);
//! int  security_path_mkdir(const struct path *dir, struct dentry *dentry, umode_t mode);
//! int  security_path_symlink(const struct path *dir, struct dentry *dentry, const char *old_name);
//! int  security_path_link(struct dentry *old_dentry, const struct path *new_dir, struct dentry *new_dentry);
//! int  security_inode_create(struct inode *dir, struct dentry *dentry, umode_t mode);
//! int  security_inode_mknod(struct inode *dir, struct dentry *dentry, umode_t mode, dev_t dev);
//! int  security_inode_mkdir(struct inode *dir, struct dentry *dentry, umode_t mode);
//! int  security_inode_symlink(struct inode *dir, struct dentry *dentry, const char *old_name);
//! int  security_inode_link(struct dentry *old_dentry, struct inode *dir, struct dentry *new_dentry);
//! void security_d_instantiate(struct dentry *dentry, struct inode *inode);
//! ```
//! (the same in 6.1 to 6.18)
//!
//! One of each group runs, in this order, in one task: the first knows the mount, the second says that
//! permission was given, the third runs only when the file system has done it. The record is made at the third,
//! so a creation that fails (EACCES, EEXIST, ENOSPC) leaves none. `open` asks for permission before it looks an
//! uncached name up, and a lookup that finds the file instantiates its dentry too: that is an opening, not a
//! creation, and is told by the flag that such a dentry still carries. On overlayfs the inner creation in the upper
//! layer has another dentry and does not match the intent: one record, with the path that the task used.
//!
//! `mknod` of a regular file is told from an open by a function that only the former calls:
//!
//! ```c
//! int vfs_create(struct mnt_idmap *idmap, struct inode *dir, struct dentry *dentry, umode_t mode, bool excl);
//! ```
//! (`struct user_namespace *` first until 6.2)
//!
//! File systems that create inside `atomic_open` (FUSE, NFS) are asked for permission like the others before, and
//! FUSE instantiates the dentry like them. Misses: NFSv4 instantiates a name that was not cached while its lookup still
//! runs, which is taken for an opening.
//!
//! Kernel threads skip the first group, and no one knows their mount: their record has the path within the file
//! system. Other threads are not taken in without it: overlayfs makes files in its upper layer in their name.

use core::marker::PhantomData;

use sensor_common::{
    filter::{Ops, op_bit},
    wire::{FileOp, RecordKind},
};

use super::file::FileEvent;
use crate::{
    context::{Access, Context as _, at_function},
    diag::diagnose,
    emit, filter,
    intents::{self, CreateIntent},
    kernel::{DCACHE_PAR_LOOKUP, Ptr, load, loaded, offset, probe, probe_ptr},
    path::Start,
    task,
};

/// What `mknod`'s hook precedes.
const MKNOD: Ops = op_bit(FileOp::Open) | op_bit(FileOp::Mknod);

/// Remembers where the name will be, if anything wants that: `dir` is a `struct path`. `old` is the file that gets a
/// further name, or `dentry` itself.
#[inline(always)]
fn intend<A: Access>(ops: Ops, dir: Ptr, dentry: Ptr, old: Ptr) {
    // SAFETY: arguments.
    let (hint, wanted) = unsafe { (intents::hint::<A>(dentry), filter::wants::<A>(ops, dentry, old, dir)) };
    if !wanted {
        intents::forget_on(hint);
        return;
    }
    let intent = CreateIntent {
        dentry: dentry as u64,
        // SAFETY: an argument.
        vfsmount: unsafe { A::load(dir, offset!(path_mnt)) },
        parent: 0,
        name_hash: 0,
        hint,
        op: 0,
        other: 0,
    };
    intents::intend(RecordKind::FileCreate, task::thread_key(), [hint; 2], |to| {
        // SAFETY: the thread's own place.
        unsafe { *to = intent };
    });
}

/// Notes that permission was given. `other` is what else the record needs: the text of a symbolic link, the
/// file that a hard link names.
#[inline(always)]
fn allow<A: Access>(dentry: Ptr, op: FileOp, other: Ptr) {
    // SAFETY: a place of this thread's own; loads through an argument and from the current task.
    unsafe {
        let hint = intents::hint::<A>(dentry);
        let (parent, name_hash) = (A::load(dentry, offset!(dentry_parent)), hint);
        if intents::is_intended(hint)
            && let Some(intent) = intents::get::<CreateIntent>(task::thread_key())
            && (*intent).dentry == dentry as u64
        {
            (*intent).parent = parent;
            (*intent).name_hash = name_hash;
            // `mknod` of a regular file asks for the same permission as `open`.
            if op != FileOp::Open || (*intent).op != FileOp::Mknod as u64 {
                begin(intent, op);
            }
            (*intent).other = other as u64;
            return;
        }
        if load::<u64>(task::current(), offset!(task_mm)) != 0 {
            return;
        }
        let intent = CreateIntent {
            dentry: dentry as u64,
            vfsmount: 0,
            parent,
            name_hash,
            hint,
            op: 0,
            other: other as u64,
        };
        intents::intend(RecordKind::FileCreate, task::thread_key(), [hint; 2], |to| {
            *to = intent;
            begin(to, op);
        });
    }
}

/// From now on the name may come to be at any time.
///
/// # Safety
/// `intent` must be in its place.
#[inline(always)]
unsafe fn begin(intent: *mut CreateIntent, op: FileOp) {
    // SAFETY: the caller's promise.
    unsafe {
        if (*intent).op == 0 {
            emit::count_begun(RecordKind::FileCreate, 1);
        }
        (*intent).op = op as u64;
    }
}

at_function!("security_path_mknod", path_mknod, path_mknod_kprobe, |A, ctx| intend::<A>(
    MKNOD,
    ctx.argument(0),
    ctx.argument(1),
    ctx.argument(1)
));
at_function!("security_path_mkdir", path_mkdir, path_mkdir_kprobe, |A, ctx| intend::<A>(
    op_bit(FileOp::Mkdir),
    ctx.argument(0),
    ctx.argument(1),
    ctx.argument(1)
));
at_function!("security_path_symlink", path_symlink, path_symlink_kprobe, |A, ctx| intend::<A>(
    op_bit(FileOp::Symlink),
    ctx.argument(0),
    ctx.argument(1),
    ctx.argument(1)
));
at_function!("security_path_link", path_link, path_link_kprobe, |A, ctx| intend::<A>(
    op_bit(FileOp::Link) | op_bit(FileOp::Tmpfile),
    ctx.argument(1),
    ctx.argument(2),
    ctx.argument(0)
));

at_function!("security_inode_create", inode_create, inode_create_kprobe, |A, ctx| allow::<A>(
    ctx.argument(1),
    FileOp::Open,
    core::ptr::null()
));
at_function!("security_inode_mknod", inode_mknod, inode_mknod_kprobe, |A, ctx| allow::<A>(
    ctx.argument(1),
    FileOp::Mknod,
    core::ptr::null()
));
at_function!("security_inode_mkdir", inode_mkdir, inode_mkdir_kprobe, |A, ctx| allow::<A>(
    ctx.argument(1),
    FileOp::Mkdir,
    core::ptr::null()
));
at_function!("security_inode_symlink", inode_symlink, inode_symlink_kprobe, |A, ctx| allow::<A>(
    ctx.argument(1),
    FileOp::Symlink,
    ctx.argument(2)
));
at_function!("security_inode_link", inode_link, inode_link_kprobe, |A, ctx| allow::<A>(
    ctx.argument(2),
    link_op(ctx.argument(0)),
    ctx.argument(0)
));

at_function!("security_d_instantiate", d_instantiate, d_instantiate_kprobe, |A, ctx| instantiated::<A>(
    ctx.argument(0),
    ctx.argument(1)
));

/// A file without a name can be linked only if it was opened with `O_TMPFILE`: it gets its first one.
#[inline(always)]
fn link_op(old_dentry: Ptr) -> FileOp {
    let links: u32 = probe(probe_ptr(old_dentry, offset!(dentry_inode)), offset!(inode_nlink));
    if links == 0 { FileOp::Tmpfile } else { FileOp::Link }
}

at_function!("vfs_create", vfs_create, vfs_create_kprobe, |A, ctx| by_mknod::<A>(ctx.argument(2)));

/// Notes that no open is under way: `open` has the file system create without this function.
#[inline(always)]
fn by_mknod<A: Access>(dentry: Ptr) {
    // SAFETY: an argument.
    if !intents::is_intended(unsafe { intents::hint::<A>(dentry) }) {
        return;
    }
    if let Some(intent) = intents::get::<CreateIntent>(task::thread_key()) {
        // SAFETY: a place of this thread's own.
        unsafe {
            if (*intent).dentry == dentry as u64 {
                begin(intent, FileOp::Mknod);
            }
        }
    }
}

/// Whether `dentry` is what the intent was about: the same, and not its memory with another name in it.
///
/// # Safety
/// `intent` must be in its place, `dentry` an argument of the program.
#[inline(always)]
pub unsafe fn is_intended<A: Access>(intent: *mut CreateIntent, dentry: Ptr) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        (*intent).dentry == dentry as u64
            && (*intent).parent == A::load::<u64>(dentry, offset!(dentry_parent))
            && (*intent).name_hash == u64::from(A::load::<u32>(dentry, offset!(dentry_name_hash)))
    }
}

/// Reports what was allowed and is done now.
#[inline(always)]
fn instantiated<A: Access>(dentry: Ptr, inode: Ptr) {
    // SAFETY: an argument.
    if !intents::is_intended(unsafe { intents::hint::<A>(dentry) }) {
        return;
    }
    let key = task::thread_key();
    let Some(intent) = intents::get::<CreateIntent>(key) else { return };
    // SAFETY: as above; what is needed is copied before the entry goes.
    let (vfsmount, op, other) = unsafe {
        if (*intent).op == 0 || inode.is_null() || !is_intended::<A>(intent, dentry) {
            return;
        }
        if A::load::<u32>(dentry, offset!(dentry_flags)) & loaded(&DCACHE_PAR_LOOKUP) as u32 != 0 {
            // Found, not made; a later lookup of the name must not be taken for the making.
            (*intent).op = 0;
            emit::count_begun(RecordKind::FileCreate, -1);
            return;
        }
        ((*intent).vfsmount, (*intent).op, (*intent).other)
    };
    intents::forget::<CreateIntent>(key);
    // A mount of another file system cannot be where this name was looked up.
    if vfsmount != 0
        && probe::<u64>(vfsmount as Ptr, offset!(vfsmount_sb)) != probe::<u64>(dentry, offset!(dentry_sb))
    {
        emit::count_begun(RecordKind::FileCreate, -1);
        diagnose!("creation: the mount is not of the file's file system");
        return;
    }
    FileEvent::<A, { RecordKind::FileCreate as u16 }> {
        op: op as u16,
        inode,
        start: Start { dentry: dentry as u64, vfsmount },
        old_dentry: if op == FileOp::Link as u64 { other } else { 0 },
        old_name: 0,
        old_name_len: 0,
        target: if op == FileOp::Symlink as u64 { other as Ptr } else { core::ptr::null() },
        access: PhantomData,
    }
    .emit();
}
