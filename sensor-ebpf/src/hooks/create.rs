//! A regular file's name comes to be: `open(O_CREAT)` in all forms, `creat`, `mknod` of a regular file.
//!
//! ```c
//! int  security_path_mknod(const struct path *dir, struct dentry *dentry, umode_t mode, unsigned int dev);
//! int  security_inode_create(struct inode *dir, struct dentry *dentry, umode_t mode);
//! void security_d_instantiate(struct dentry *dentry, struct inode *inode);
//! ```
//! (the same in 6.1 to 6.18; the return type of the last became void in 4.x)
//!
//! The three run in this order in one task: the first knows the mount, the second says that permission was
//! given, the third runs only when the file system made the inode. The record is made at the third, so a
//! creation that fails (EACCES, EEXIST, ENOSPC) leaves none. On overlayfs the inner creation in the upper
//! layer has another dentry and does not match the intent: one record, with the path that the task used.
//!
//! Misses: file systems that create inside `atomic_open` (FUSE, NFS clients) do not call the second; writers
//! in the kernel that skip the path hooks (nfsd) have no mount and are not reported.

use aya_ebpf::{macros::fentry, programs::FEntryContext};
use sensor_common::wire::{FileOp, RecordKind};

use super::file::{FileEvent, OldName};
use crate::{
    diag::diagnose,
    emit,
    kernel::{Ptr, load, offset, probe},
    maps::{CREATE_INTENTS, CreateIntent},
    path::Start,
    task,
};

#[fentry(function = "security_path_mknod")]
pub fn path_mknod(ctx: FEntryContext) -> i32 {
    let dir: Ptr = ctx.arg(0);
    let dentry: Ptr = ctx.arg(1);
    let intent = CreateIntent {
        dentry: dentry as u64,
        // SAFETY: a typed argument.
        vfsmount: unsafe { load(dir, offset!(path_mnt)) },
        parent: 0,
        name_hash: 0,
        allowed: 0,
    };
    if CREATE_INTENTS.insert(task::thread_key(), intent, 0).is_err() {
        emit::count_no_intent(RecordKind::FileCreate);
    }
    0
}

#[fentry(function = "security_inode_create")]
pub fn inode_create(ctx: FEntryContext) -> i32 {
    let dentry: Ptr = ctx.arg(1);
    if let Some(intent) = CREATE_INTENTS.get_ptr_mut(task::thread_key()) {
        // SAFETY: a value of the map, used by this thread alone; typed loads.
        unsafe {
            if (*intent).dentry == dentry as u64 {
                (*intent).parent = load(dentry, offset!(dentry_parent));
                (*intent).name_hash = u64::from(load::<u32>(dentry, offset!(dentry_name_hash)));
                (*intent).allowed = 1;
            }
        }
    }
    0
}

#[fentry(function = "security_d_instantiate")]
pub fn d_instantiate(ctx: FEntryContext) -> i32 {
    let dentry: Ptr = ctx.arg(0);
    let inode: Ptr = ctx.arg(1);
    let key = task::thread_key();
    let Some(intent) = CREATE_INTENTS.get_ptr_mut(key) else { return 0 };
    // SAFETY: as above; what is needed is copied before the entry goes.
    let vfsmount = unsafe {
        if (*intent).dentry != dentry as u64
            || (*intent).allowed == 0
            || inode.is_null()
            || (*intent).parent != load::<u64>(dentry, offset!(dentry_parent))
            || (*intent).name_hash != u64::from(load::<u32>(dentry, offset!(dentry_name_hash)))
        {
            return 0;
        }
        (*intent).vfsmount
    };
    let _ = CREATE_INTENTS.remove(key);
    // A mount of another file system cannot be where this name was looked up.
    if probe::<u64>(vfsmount as Ptr, offset!(vfsmount_sb)) != probe::<u64>(dentry, offset!(dentry_sb)) {
        diagnose!("creation: the mount is not of the file's file system");
        return 0;
    }
    // SAFETY: typed pointers.
    let start = unsafe { Start::new(dentry as u64, vfsmount, task::current()) };
    FileEvent::<{ RecordKind::FileCreate as u16 }> {
        op: FileOp::Create,
        inode,
        start,
        old: start,
        old_name: OldName { name: core::ptr::null(), len: 0 },
    }
    .emit();
    0
}
