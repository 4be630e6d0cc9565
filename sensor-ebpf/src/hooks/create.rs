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
//! Misses: file systems that create inside `atomic_open` (FUSE, NFS clients) do not call the second for an
//! open; writers in the kernel that skip the path hooks (nfsd) have no mount and are not reported.

use aya_ebpf::{macros::fentry, programs::FEntryContext};
use sensor_common::wire::{FileOp, RecordKind};

use super::file::FileEvent;
use crate::{
    diag::diagnose,
    emit,
    kernel::{DCACHE_PAR_LOOKUP, Ptr, load, loaded, offset, probe},
    maps::{CREATE_INTENTS, CreateIntent},
    path::Start,
    task,
};

/// Remembers where the name will be: `dir` is a typed `struct path`.
#[inline(always)]
fn intend(dir: Ptr, dentry: Ptr) -> i32 {
    let intent = CreateIntent {
        dentry: dentry as u64,
        // SAFETY: a typed argument.
        vfsmount: unsafe { load(dir, offset!(path_mnt)) },
        parent: 0,
        name_hash: 0,
        op: 0,
        other: 0,
    };
    if CREATE_INTENTS.insert(task::thread_key(), intent, 0).is_err() {
        emit::count_no_intent(RecordKind::FileCreate);
    }
    0
}

/// Notes that permission was given. `other` is what else the record needs: the text of a symbolic link, the
/// file that a hard link names.
#[inline(always)]
fn allow(dentry: Ptr, op: FileOp, other: Ptr) -> i32 {
    if let Some(intent) = CREATE_INTENTS.get_ptr_mut(task::thread_key()) {
        // SAFETY: a value of the map, used by this thread alone; typed loads.
        unsafe {
            if (*intent).dentry == dentry as u64 {
                (*intent).parent = load(dentry, offset!(dentry_parent));
                (*intent).name_hash = u64::from(load::<u32>(dentry, offset!(dentry_name_hash)));
                (*intent).op = op as u64;
                (*intent).other = other as u64;
            }
        }
    }
    0
}

#[fentry(function = "security_path_mknod")]
pub fn path_mknod(ctx: FEntryContext) -> i32 {
    intend(ctx.arg(0), ctx.arg(1))
}

#[fentry(function = "security_path_mkdir")]
pub fn path_mkdir(ctx: FEntryContext) -> i32 {
    intend(ctx.arg(0), ctx.arg(1))
}

#[fentry(function = "security_path_symlink")]
pub fn path_symlink(ctx: FEntryContext) -> i32 {
    intend(ctx.arg(0), ctx.arg(1))
}

#[fentry(function = "security_path_link")]
pub fn path_link(ctx: FEntryContext) -> i32 {
    intend(ctx.arg(1), ctx.arg(2))
}

#[fentry(function = "security_inode_create")]
pub fn inode_create(ctx: FEntryContext) -> i32 {
    allow(ctx.arg(1), FileOp::Create, core::ptr::null())
}

#[fentry(function = "security_inode_mknod")]
pub fn inode_mknod(ctx: FEntryContext) -> i32 {
    allow(ctx.arg(1), FileOp::Mknod, core::ptr::null())
}

#[fentry(function = "security_inode_mkdir")]
pub fn inode_mkdir(ctx: FEntryContext) -> i32 {
    allow(ctx.arg(1), FileOp::Mkdir, core::ptr::null())
}

#[fentry(function = "security_inode_symlink")]
pub fn inode_symlink(ctx: FEntryContext) -> i32 {
    allow(ctx.arg(1), FileOp::Symlink, ctx.arg(2))
}

#[fentry(function = "security_inode_link")]
pub fn inode_link(ctx: FEntryContext) -> i32 {
    allow(ctx.arg(2), FileOp::Link, ctx.arg(0))
}

#[fentry(function = "security_d_instantiate")]
pub fn d_instantiate(ctx: FEntryContext) -> i32 {
    let dentry: Ptr = ctx.arg(0);
    let inode: Ptr = ctx.arg(1);
    let key = task::thread_key();
    let Some(intent) = CREATE_INTENTS.get_ptr_mut(key) else { return 0 };
    // SAFETY: as above; what is needed is copied before the entry goes.
    let (vfsmount, op, other) = unsafe {
        if (*intent).dentry != dentry as u64
            || (*intent).op == 0
            || inode.is_null()
            || (*intent).parent != load::<u64>(dentry, offset!(dentry_parent))
            || (*intent).name_hash != u64::from(load::<u32>(dentry, offset!(dentry_name_hash)))
        {
            return 0;
        }
        if load::<u32>(dentry, offset!(dentry_flags)) & loaded(&DCACHE_PAR_LOOKUP) as u32 != 0 {
            // Found, not made; a later lookup of the name must not be taken for the making.
            (*intent).op = 0;
            return 0;
        }
        ((*intent).vfsmount, (*intent).op, (*intent).other)
    };
    let _ = CREATE_INTENTS.remove(key);
    // A mount of another file system cannot be where this name was looked up.
    if probe::<u64>(vfsmount as Ptr, offset!(vfsmount_sb)) != probe::<u64>(dentry, offset!(dentry_sb)) {
        diagnose!("creation: the mount is not of the file's file system");
        return 0;
    }
    // SAFETY: typed pointers.
    let start = unsafe { Start::new(dentry as u64, vfsmount, task::current()) };
    let event = FileEvent::<{ RecordKind::FileCreate as u16 }> {
        op: op as u16,
        inode,
        start,
        old: Start { dentry: other, ..start },
        has_old: op == FileOp::Link as u64,
        target: if op == FileOp::Symlink as u64 { other as Ptr } else { core::ptr::null() },
    };
    event.emit();
    0
}
