//! A process changes its user or group ids, or opens a session.
//!
//! ```c
//! int commit_creds(struct cred *new);
//! int ksys_setsid(void);
//! ```
//! (the same in 6.1 to 6.18)
//!
//! Everything that changes credentials ends in the first, which cannot fail: `set*uid`, `set*gid`, `capset`, and every
//! exec. A record is made where the real or effective id differs; one for users, one for groups. At an exec of a
//! set-user-id program it comes before the exec's own record, and counts the exec already.
//!
//! Misses: changes of the saved or the file system's id alone.

use core::marker::PhantomData;

use aya_ebpf::{
    macros::{fexit, kretprobe},
    programs::{FExitContext, RetProbeContext},
};
use sensor_common::wire::{CredentialsRecord, RecordKind, SessionRecord};

use crate::{
    context::{Access, Context as _, at_function},
    emit::{self, Fill},
    filter,
    kernel::{Ptr, load, offset},
    slot::{Class, Slot, Small},
    task,
};

at_function!("commit_creds", commit_creds, commit_creds_kprobe, |A, ctx| committed::<A>(ctx.argument(0)));

#[inline(always)]
fn committed<A: Access>(new: Ptr) {
    let (users, groups) =
        (filter::wants_kind(RecordKind::UidChange), filter::wants_kind(RecordKind::GidChange));
    if !users && !groups {
        return;
    }
    // SAFETY: typed loads from the current task; loads through an argument.
    unsafe {
        let old: Ptr = load(task::current(), offset!(task_cred));
        let differs = |member: usize| load::<u32>(old, member) != A::load::<u32>(new, member);
        if users && (differs(offset!(cred_uid)) || differs(offset!(cred_euid))) {
            Changed::<A, { RecordKind::UidChange as u16 }>::emit(new);
        }
        if groups && (differs(offset!(cred_gid)) || differs(offset!(cred_egid))) {
            Changed::<A, { RecordKind::GidChange as u16 }>::emit(new);
        }
    }
}

struct Changed<A, const KIND: u16> {
    new: Ptr,
    access: PhantomData<A>,
}

impl<A: Access, const KIND: u16> Changed<A, KIND> {
    #[inline(always)]
    fn emit(new: Ptr) {
        let seq = emit::next_seq(Self::KIND);
        emit::emit::<Self, Small>(&mut Self { new, access: PhantomData }, seq);
    }
}

impl<A: Access, const KIND: u16> Fill for Changed<A, KIND> {
    const KIND: RecordKind = match RecordKind::from_raw(KIND) {
        Some(kind) => kind,
        None => panic!("not a record kind"),
    };

    #[inline(always)]
    fn fill<C: Class>(&mut self, slot: &Slot<C>, seq: u64) -> bool {
        let record = slot.base.cast::<CredentialsRecord>();
        // SAFETY: the slot is larger than the record; loads through an argument.
        unsafe {
            emit::fill_header(&raw mut (*record).header, Self::KIND, seq);
            let task = &raw mut (*record).header.task;
            (*task).uid = A::load(self.new, offset!(cred_uid));
            (*task).gid = A::load(self.new, offset!(cred_gid));
            (*task).suid = A::load(self.new, offset!(cred_suid));
            (*task).sgid = A::load(self.new, offset!(cred_sgid));
            (*task).euid = A::load(self.new, offset!(cred_euid));
            (*task).egid = A::load(self.new, offset!(cred_egid));
            (*record).cap_effective = A::load(self.new, offset!(cred_cap_effective));
            (*record).cap_permitted = A::load(self.new, offset!(cred_cap_permitted));
            (*record).header.len = size_of::<CredentialsRecord>() as u32;
        }
        true
    }
}

#[fexit(function = "ksys_setsid")]
pub fn setsid_exit(ctx: FExitContext) -> i32 {
    opened(ctx.argument(0));
    0
}

#[kretprobe(function = "ksys_setsid")]
pub fn setsid_exit_kprobe(ctx: RetProbeContext) -> u32 {
    opened(ctx.ret());
    0
}

/// `ret` is the new session's number, or an error.
#[inline(always)]
fn opened(ret: i32) {
    if ret > 0 && filter::wants_kind(RecordKind::SessionChange) {
        let seq = emit::next_seq(RecordKind::SessionChange);
        emit::emit::<Session, Small>(&mut Session, seq);
    }
}

struct Session;

impl Fill for Session {
    const KIND: RecordKind = RecordKind::SessionChange;

    #[inline(always)]
    fn fill<C: Class>(&mut self, slot: &Slot<C>, seq: u64) -> bool {
        let record = slot.base.cast::<SessionRecord>();
        // SAFETY: the slot is larger than the record.
        unsafe {
            emit::fill_header(&raw mut (*record).header, Self::KIND, seq);
            (*record).header.len = size_of::<SessionRecord>() as u32;
        }
        true
    }
}
