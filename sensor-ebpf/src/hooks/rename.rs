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

use core::marker::PhantomData;

use aya_ebpf::{
    bindings::pt_regs,
    helpers::generated::bpf_probe_read_kernel,
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use sensor_common::{
    filter::{Ops, op_bit},
    limits::NAME_BYTES_MAX,
    wire::{FileOp, RecordKind},
};

use super::file::FileEvent;
use crate::{
    context::{Access, Context as _, Probed, Typed, at_function},
    diag::diagnose,
    emit, filter,
    intents::{self, RenameIntent},
    kernel::{Ptr, load, offset, probe},
    path::Start,
    task,
};

/// `renameat2` flag; user-space ABI.
const RENAME_EXCHANGE: u32 = 1 << 1;
/// Of `i_mode`; user-space ABI.
const S_IFMT: u16 = 0o170_000;
const S_IFDIR: u16 = 0o040_000;

at_function!("security_path_rename", path_rename, path_rename_kprobe, |A, ctx| {
    intend::<A>(ctx.argument(0), ctx.argument(1), ctx.argument(3))
});

/// Remembers the mount, if anything wants the file under either name: `old_dir` is a `struct path`.
#[inline(always)]
fn intend<A: Access>(old_dir: Ptr, old_dentry: Ptr, new_dentry: Ptr) {
    const OPS: Ops = op_bit(FileOp::Rename) | op_bit(FileOp::Exchange);
    // SAFETY: arguments.
    unsafe {
        let hints = [intents::hint::<A>(old_dentry), intents::hint::<A>(new_dentry)];
        if !filter::wants::<A>(OPS, old_dentry, new_dentry, old_dir) {
            intents::forget_on(hints[0]);
            return;
        }
        let vfsmount: u64 = A::load(old_dir, offset!(path_mnt));
        let key = task::thread_key();
        intents::intend(RecordKind::FileRename, key, hints, |to: *mut RenameIntent| {
            (*to).call = 0;
            (*to).old_dentry = old_dentry as u64;
            (*to).vfsmount = vfsmount;
            (*to).hints = hints;
        });
    }
}

#[fentry(function = "vfs_rename")]
pub fn rename_entry(ctx: FEntryContext) -> i32 {
    let renamedata: Ptr = ctx.argument(0);
    begun::<Typed>(renamedata as u64, renamedata);
    0
}

#[fexit(function = "vfs_rename")]
pub fn rename_exit(ctx: FExitContext) -> i32 {
    let renamedata: Ptr = ctx.argument(0);
    // SAFETY: an argument.
    unsafe {
        note_directory::<Typed>(renamedata);
        // Under its new name by now, if it got one.
        let old_dentry: Ptr = Typed::load(renamedata, offset!(renamedata_old_dentry));
        if intents::is_intended(intents::hint::<Typed>(old_dentry)) {
            returned::<Typed>(renamedata as u64, ctx.argument(1), |_| renamedata);
        }
    }
    0
}

#[kprobe(function = "vfs_rename")]
pub fn rename_entry_kprobe(ctx: ProbeContext) -> u32 {
    // SAFETY: the kernel passes its registers.
    let call = unsafe { stack_pointer(ctx.regs) };
    begun::<Probed>(call, ctx.argument(0));
    0
}

#[kretprobe(function = "vfs_rename")]
pub fn rename_exit_kprobe(ctx: RetProbeContext) -> u32 {
    // SAFETY: the kernel passes its registers. The return address has been popped by now.
    let call = unsafe { stack_pointer(ctx.regs) }.wrapping_sub(size_of::<u64>() as u64);
    // No register holds the argument any more.
    filter::directory_renamed();
    returned::<Probed>(call, ctx.ret(), |intent| intent.renamedata as Ptr);
    0
}

/// Where the return address lies at the entry of a function: tells two calls in one thread apart. For x86-64.
///
/// # Safety
/// `regs` must be what a probe was called with.
#[inline(always)]
unsafe fn stack_pointer(regs: *const pt_regs) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { (*regs).rsp }
}

/// `vfs_rename` begins: saves what it will change.
#[inline(always)]
fn begun<A: Access>(call: u64, renamedata: Ptr) {
    // SAFETY: an argument.
    unsafe {
        note_directory::<A>(renamedata);
        let old_dentry: Ptr = A::load(renamedata, offset!(renamedata_old_dentry));
        if !intents::is_intended(intents::hint::<A>(old_dentry)) {
            return;
        }
    }
    let key = task::thread_key();
    let Some(intent) = intents::get::<RenameIntent>(key) else { return };
    // SAFETY: as above; loads through an argument.
    unsafe {
        if (*intent).call == call {
            // No call begins twice: the last one returned unseen, and this one's permission went unseen too.
            emit::count_no_return(RecordKind::FileRename);
            intents::forget::<RenameIntent>(key);
            return;
        }
        let old_dentry: Ptr = A::load(renamedata, offset!(renamedata_old_dentry));
        let new_dentry: Ptr = A::load(renamedata, offset!(renamedata_new_dentry));
        if (*intent).call != 0 || (*intent).old_dentry != old_dentry as u64 {
            return;
        }
        if A::load::<u64>(old_dentry, offset!(dentry_inode))
            == A::load::<u64>(new_dentry, offset!(dentry_inode))
        {
            return;
        }
        let len = A::load::<u32>(old_dentry, offset!(dentry_name_len)) as usize & NAME_BYTES_MAX;
        let name: Ptr = A::load(old_dentry, offset!(dentry_name_ptr));
        if bpf_probe_read_kernel((&raw mut (*intent).name).cast(), len as u32, name.cast()) != 0 {
            emit::count_no_intent(RecordKind::FileRename);
            return;
        }
        (*intent).name_len = len as u64;
        (*intent).old_parent = A::load(old_dentry, offset!(dentry_parent));
        (*intent).renamedata = renamedata as u64;
        (*intent).call = call;
    }
}

/// Tells the filter that a directory changes its name, at the beginning and at the end: what is found out in between
/// may be about either.
///
/// # Safety
/// `renamedata` must be an argument of the program.
#[inline(always)]
unsafe fn note_directory<A: Access>(renamedata: Ptr) {
    // SAFETY: the caller's promise.
    unsafe {
        let old_dentry: Ptr = A::load(renamedata, offset!(renamedata_old_dentry));
        let inode: Ptr = A::load(old_dentry, offset!(dentry_inode));
        let mode: u16 = A::load(inode, offset!(inode_mode));
        let flags: u32 = A::load(renamedata, offset!(renamedata_flags));
        if mode & S_IFMT == S_IFDIR || flags & RENAME_EXCHANGE != 0 {
            filter::directory_renamed();
        }
    }
}

/// `vfs_rename` returns.
#[inline(always)]
fn returned<A: Access>(call: u64, ret: i32, renamedata: impl FnOnce(&RenameIntent) -> Ptr) {
    let key = task::thread_key();
    let Some(intent) = intents::get::<RenameIntent>(key) else { return };
    // SAFETY: as above.
    let intent = unsafe { &*intent };
    if intent.call != call {
        return;
    }
    if ret == 0 {
        // SAFETY: the argument of the call that the intent belongs to.
        unsafe { emit_rename::<A>(renamedata(intent), intent) };
    }
    intents::forget::<RenameIntent>(key);
}

/// # Safety
/// `renamedata` must be the argument of the call that `intent` belongs to.
#[inline(always)]
unsafe fn emit_rename<A: Access>(renamedata: Ptr, intent: &RenameIntent) {
    // SAFETY: the caller's promise.
    unsafe {
        let old_dentry: Ptr = A::load(renamedata, offset!(renamedata_old_dentry));
        let new_dentry: Ptr = A::load(renamedata, offset!(renamedata_new_dentry));
        if intent.old_dentry != old_dentry as u64 {
            // Another call at the same place, whose beginning went unseen.
            emit::count_no_return(RecordKind::FileRename);
            return;
        }
        let exchange = A::load::<u32>(renamedata, offset!(renamedata_flags)) & RENAME_EXCHANGE != 0;
        let vfsmount = intent.vfsmount;
        if probe::<u64>(vfsmount as Ptr, offset!(vfsmount_sb))
            != A::load::<u64>(old_dentry, offset!(dentry_sb))
        {
            diagnose!("rename: the mount is not of the file's file system");
            return;
        }
        // Not where the path of the file is no more than a root, which has no name to put another in place of.
        let is_beside = !exchange
            && intent.old_parent == A::load::<u64>(old_dentry, offset!(dentry_parent))
            && !is_own_root(old_dentry);
        // One for both records: two would not fit on the stack of Linux 6.1's calls.
        let mut event = FileEvent::<A, { RecordKind::FileRename as u16 }> {
            op: if exchange { FileOp::Exchange as u16 } else { FileOp::Rename as u16 },
            inode: A::load(old_dentry, offset!(dentry_inode)),
            start: Start { dentry: old_dentry as u64, vfsmount },
            old_dentry: if is_beside { 0 } else { intent.old_parent },
            old_name: (&raw const intent.name) as u64,
            old_name_len: intent.name_len,
            target: core::ptr::null(),
            access: PhantomData,
        };
        event.emit();
        if exchange {
            // The other file now has the old name; it came from where the first one is.
            event.inode = A::load(new_dentry, offset!(dentry_inode));
            event.start.dentry = new_dentry as u64;
            event.old_dentry = old_dentry as u64;
            event.old_name = 0;
            event.old_name_len = 0;
            event.emit();
        }
    }
}

/// Whether it is the root directory of the current task.
#[inline(always)]
fn is_own_root(dentry: Ptr) -> bool {
    // SAFETY: the current task is typed.
    unsafe {
        let fs: Ptr = load(task::current(), offset!(task_fs));
        load::<u64>(fs, offset!(fs_root) + offset!(path_dentry)) == dentry as u64
    }
}
