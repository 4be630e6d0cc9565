//! Processes begin and end.
//!
//! ```c
//! TP_PROTO(struct task_struct *parent, struct task_struct *child)   // sched_process_fork
//! void taskstats_exit(struct task_struct *tsk, int group_dead);
//! ```
//!
//! The tracepoint fires for threads too: only a child that leads its own group is a process. A process ends
//! when its last thread does, which `group_dead` says and which is not when its leader exits.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry},
    programs::{BtfTracePointContext, FEntryContext},
};
use sensor_common::wire::{ExitRecord, ForkRecord, RecordKind};

use crate::{
    emit::{self, Fill},
    kernel::{Ptr, load, offset, present},
    maps,
    slot::{Class, Slot, Small},
    task,
};

#[btf_tracepoint(function = "sched_process_fork")]
pub fn process_fork(ctx: BtfTracePointContext) -> i32 {
    let child: Ptr = ctx.arg(1);
    // SAFETY: typed loads.
    let is_process =
        unsafe { load::<u32>(child, offset!(task_pid)) == load::<u32>(child, offset!(task_tgid)) };
    if is_process {
        let seq = emit::next_seq(RecordKind::Fork);
        emit::emit::<Fork, Small>(&Fork { child }, seq);
    }
    0
}

struct Fork {
    child: Ptr,
}

impl Fill for Fork {
    const KIND: RecordKind = RecordKind::Fork;

    #[inline(always)]
    fn fill<C: Class>(&self, slot: &Slot<C>, seq: u64) {
        let record = slot.base.cast::<ForkRecord>();
        // SAFETY: the slot is larger than the record; typed loads.
        unsafe {
            emit::fill_header(&raw mut (*record).header, Self::KIND, seq);
            task::fill_facts(&raw mut (*record).child, self.child);
            (*record).child_pid_in_ns = task::pid_in_namespace(self.child);
            (*record).reserved = 0;
            (*record).header.len = size_of::<ForkRecord>() as u32;
        }
    }
}

#[fentry(function = "taskstats_exit")]
pub fn process_exit(ctx: FEntryContext) -> i32 {
    let task: Ptr = ctx.arg(0);
    let group_dead: i32 = ctx.arg(1);
    maps::forget_intents(task::thread_key());
    if group_dead != 0 {
        let seq = emit::next_seq(RecordKind::Exit);
        emit::emit::<Exit, Small>(&Exit { task }, seq);
    }
    0
}

struct Exit {
    task: Ptr,
}

impl Fill for Exit {
    const KIND: RecordKind = RecordKind::Exit;

    #[inline(always)]
    fn fill<C: Class>(&self, slot: &Slot<C>, seq: u64) {
        let record = slot.base.cast::<ExitRecord>();
        // SAFETY: the slot is larger than the record; typed loads.
        unsafe {
            emit::fill_header(&raw mut (*record).header, Self::KIND, seq);
            let signal: Ptr = load(self.task, offset!(task_signal));
            // What the parent will see. Before `quick_threads` the group had a code only where one was set
            // (exit_group, a fatal signal), and the leader's counted otherwise.
            let group: u32 = load(signal, offset!(signal_group_exit_code));
            (*record).exit_code = if group != 0 || present(offset!(signal_quick_threads)) {
                group
            } else {
                let leader: Ptr = load(self.task, offset!(task_group_leader));
                load(leader, offset!(task_exit_code))
            };
            (*record).reserved = 0;
            (*record).header.len = size_of::<ExitRecord>() as u32;
        }
    }
}
