//! A file's name is removed: `unlink`, `unlinkat`, `rmdir`.
//!
//! ```c
//! int  security_path_unlink(const struct path *dir, struct dentry *dentry);
//! int  security_path_rmdir(const struct path *dir, struct dentry *dentry);
//! void d_delete(struct dentry *dentry);
//! ```
//! (the same in 6.1 to 6.18)
//!
//! The first two know the mount. The third runs in the same task when the file system has done it, while the dentry
//! still has its name and its inode; an attempt that fails (ENOENT, EBUSY, ENOTEMPTY) does not get there. On overlayfs
//! the inner removal in the upper layer has another dentry and does not match the intent.
//!
//! Misses: NFS clients rename a file that is still open instead of removing it; writers in the kernel that skip the
//! path hooks (nfsd) have no mount and are not reported; the file that a rename replaces is not told of on its own.

use core::marker::PhantomData;

use sensor_common::{
    filter::op_bit,
    wire::{FileOp, RecordKind},
};

use super::create::is_intended;
use super::file::FileEvent;
use crate::{
    context::{Access, Context as _, at_function},
    emit, filter,
    intents::{self, CreateIntent},
    kernel::{Ptr, offset, probe},
    path::Start,
    task,
};

/// Remembers what is to go, if anything wants that: `dir` is a `struct path`.
#[inline(always)]
fn intend<A: Access>(dir: Ptr, dentry: Ptr, op: FileOp) {
    // SAFETY: loads through arguments.
    let intent = unsafe {
        let hint = intents::hint::<A>(dentry);
        if !filter::wants::<A>(op_bit(op), dentry, dentry, dir) {
            intents::forget_on(hint);
            return;
        }
        CreateIntent {
            dentry: dentry as u64,
            vfsmount: A::load(dir, offset!(path_mnt)),
            parent: A::load(dentry, offset!(dentry_parent)),
            name_hash: u64::from(A::load::<u32>(dentry, offset!(dentry_name_hash))),
            hint,
            op: op as u64,
            other: 0,
        }
    };
    intents::intend(RecordKind::FileDelete, task::thread_key(), [intent.hint; 2], |to| {
        // SAFETY: the thread's own place.
        unsafe { *to = intent };
        emit::count_begun(RecordKind::FileDelete, 1);
    });
}

at_function!("security_path_unlink", path_unlink, path_unlink_kprobe, |A, ctx| intend::<A>(
    ctx.argument(0),
    ctx.argument(1),
    FileOp::Unlink
));
at_function!("security_path_rmdir", path_rmdir, path_rmdir_kprobe, |A, ctx| intend::<A>(
    ctx.argument(0),
    ctx.argument(1),
    FileOp::Rmdir
));

at_function!("d_delete", d_delete, d_delete_kprobe, |A, ctx| deleted::<A>(ctx.argument(0)));

/// Reports what was intended and is done now.
#[inline(always)]
fn deleted<A: Access>(dentry: Ptr) {
    // SAFETY: an argument.
    if !intents::is_intended(unsafe { intents::hint::<A>(dentry) }) {
        return;
    }
    let key = task::thread_key();
    let Some(intent) = intents::get::<CreateIntent>(key) else { return };
    // SAFETY: a place of this thread's own; loads through an argument. What is needed is copied
    // before the entry goes.
    let (vfsmount, op) = unsafe {
        let op = (*intent).op;
        if op != FileOp::Unlink as u64 && op != FileOp::Rmdir as u64 || !is_intended::<A>(intent, dentry) {
            return;
        }
        ((*intent).vfsmount, op)
    };
    intents::forget::<CreateIntent>(key);
    // SAFETY: a load through an argument.
    let inode = unsafe { A::load(dentry, offset!(dentry_inode)) };
    if probe::<u64>(vfsmount as Ptr, offset!(vfsmount_sb)) != probe::<u64>(dentry, offset!(dentry_sb)) {
        emit::count_begun(RecordKind::FileDelete, -1);
        return;
    }
    FileEvent::<A, { RecordKind::FileDelete as u16 }> {
        op: op as u16,
        inode,
        start: Start { dentry: dentry as u64, vfsmount },
        old_dentry: 0,
        old_name: 0,
        old_name_len: 0,
        target: core::ptr::null(),
        access: PhantomData,
    }
    .emit();
}
