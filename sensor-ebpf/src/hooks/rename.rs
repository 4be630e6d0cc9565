//! A file changes its name: `rename`, `renameat`, `renameat2` with every flag.
//!
//! ```c
//! int security_path_rename(const struct path *old_dir, struct dentry *old_dentry,
//!                          const struct path *new_dir, struct dentry *new_dentry, unsigned int flags);
//! int vfs_rename(struct renamedata *rd);   // one argument since 5.12
//! ```
//!
//! The first knows the mount. At the entry of the second the old name is still in the dentry and is saved;
//! at its return with 0 the dentry carries the new one. `RENAME_EXCHANGE` changes two names: two records. A
//! rename onto another link of the same inode does nothing and returns 0: no record. On overlayfs the inner
//! rename in the upper layer has other dentries and does not match the intent.
//!
//! Misses: writers in the kernel that skip the path hook (nfsd, ksmbd) have no mount and are not reported.

use aya_ebpf::{
    helpers::generated::bpf_probe_read_kernel,
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use sensor_common::{
    limits::NAME_BYTES_MAX,
    wire::{FileOp, RecordKind},
};

use super::file::FileEvent;
use crate::{
    diag::diagnose,
    emit,
    kernel::{Ptr, load, offset, probe},
    maps::{RENAME_INTENT_EMPTY, RENAME_INTENTS, RenameIntent},
    path::Start,
    task,
};

/// `renameat2` flag; user-space ABI.
const RENAME_EXCHANGE: u32 = 1 << 1;

#[fentry(function = "security_path_rename")]
pub fn path_rename(ctx: FEntryContext) -> i32 {
    let old_dir: Ptr = ctx.arg(0);
    let old_dentry: Ptr = ctx.arg(1);
    let key = task::thread_key();
    // By reference: a copy on the stack would be most of it.
    let empty = &RENAME_INTENT_EMPTY;
    if RENAME_INTENTS.insert(key, empty, 0).is_err() {
        emit::count_no_intent(RecordKind::FileRename);
        return 0;
    }
    if let Some(intent) = RENAME_INTENTS.get_ptr_mut(key) {
        // SAFETY: a value of the map, used by this thread alone; a typed load.
        unsafe {
            (*intent).old_dentry = old_dentry as u64;
            (*intent).vfsmount = load(old_dir, offset!(path_mnt));
        }
    }
    0
}

#[fentry(function = "vfs_rename")]
pub fn rename_entry(ctx: FEntryContext) -> i32 {
    let renamedata: Ptr = ctx.arg(0);
    let Some(intent) = RENAME_INTENTS.get_ptr_mut(task::thread_key()) else { return 0 };
    // SAFETY: as above; typed loads.
    unsafe {
        let old_dentry: Ptr = load(renamedata, offset!(renamedata_old_dentry));
        let new_dentry: Ptr = load(renamedata, offset!(renamedata_new_dentry));
        if (*intent).renamedata != 0 || (*intent).old_dentry != old_dentry as u64 {
            return 0;
        }
        if load::<u64>(old_dentry, offset!(dentry_inode)) == load::<u64>(new_dentry, offset!(dentry_inode)) {
            return 0;
        }
        let len = load::<u32>(old_dentry, offset!(dentry_name_len)) as usize & NAME_BYTES_MAX;
        let name: Ptr = load(old_dentry, offset!(dentry_name_ptr));
        if bpf_probe_read_kernel((&raw mut (*intent).name).cast(), len as u32, name.cast()) != 0 {
            emit::count_no_intent(RecordKind::FileRename);
            return 0;
        }
        (*intent).name_len = len as u64;
        (*intent).old_parent = load(old_dentry, offset!(dentry_parent));
        (*intent).renamedata = renamedata as u64;
    }
    0
}

#[fexit(function = "vfs_rename")]
pub fn rename_exit(ctx: FExitContext) -> i32 {
    let renamedata: Ptr = ctx.arg(0);
    let ret: i32 = ctx.arg(1);
    let key = task::thread_key();
    let Some(intent) = RENAME_INTENTS.get_ptr_mut(key) else { return 0 };
    // SAFETY: as above.
    if unsafe { (*intent).renamedata } != renamedata as u64 {
        return 0;
    }
    if ret == 0 {
        // SAFETY: as above.
        unsafe { emit_rename(renamedata, &*intent) };
    }
    let _ = RENAME_INTENTS.remove(key);
    0
}

/// # Safety
/// `renamedata` must be the typed argument of the call that `intent` belongs to.
#[inline(always)]
unsafe fn emit_rename(renamedata: Ptr, intent: &RenameIntent) {
    // SAFETY: typed loads; the caller's promise.
    unsafe {
        let old_dentry: Ptr = load(renamedata, offset!(renamedata_old_dentry));
        let new_dentry: Ptr = load(renamedata, offset!(renamedata_new_dentry));
        let exchange = load::<u32>(renamedata, offset!(renamedata_flags)) & RENAME_EXCHANGE != 0;
        let vfsmount = intent.vfsmount;
        if probe::<u64>(vfsmount as Ptr, offset!(vfsmount_sb)) != load::<u64>(old_dentry, offset!(dentry_sb))
        {
            diagnose!("rename: the mount is not of the file's file system");
            return;
        }
        let current = task::current();
        let moved = Start::new(old_dentry as u64, vfsmount, current);
        FileEvent::<{ RecordKind::FileRename as u16 }> {
            op: if exchange { FileOp::Exchange as u16 } else { FileOp::Rename as u16 },
            inode: load(old_dentry, offset!(dentry_inode)),
            start: moved,
            old: Start {
                dentry: intent.old_parent,
                name: (&raw const intent.name) as u64,
                name_len: intent.name_len,
                ..moved
            },
            has_old: true,
            target: core::ptr::null(),
        }
        .emit();
        if exchange {
            // The other file now has the old name; it came from where the first one is.
            FileEvent::<{ RecordKind::FileRename as u16 }> {
                op: FileOp::Exchange as u16,
                inode: load(new_dentry, offset!(dentry_inode)),
                start: Start { dentry: new_dentry as u64, ..moved },
                old: moved,
                has_old: true,
                target: core::ptr::null(),
            }
            .emit();
        }
    }
}
