//! Processes begin and end.
//!
//! ```c
//! TP_PROTO(struct task_struct *parent, struct task_struct *child)   // sched_process_fork
//! void taskstats_exit(struct task_struct *tsk, int group_dead);
//! TP_PROTO(struct task_struct *p)                    // sched_process_exit until 6.15
//! TP_PROTO(struct task_struct *p, bool group_dead)   // since 6.16
//! ```
//!
//! The tracepoint fires for threads too: only a child that leads its own group is a process. A process ends
//! when its last thread does, which `group_dead` says and which is not when its leader exits.
//!
//! The exit tracepoint is for kernels where the function cannot be hooked. Until 6.15 it does not say whether
//! the thread is the last: `signal->live` is then zero for the last thread, and also for one that had left the
//! count before but comes to the tracepoint only now. So none is missed, but there may be two records of one end;
//! the first is right, since no thread runs user code any more. By then the mm is gone, and the record says nothing
//! of the executable.

use core::marker::PhantomData;

use sensor_common::wire::{ExitRecord, ForkRecord, RecordKind};

use crate::{
    context::{Access, Context, at_function, at_tracepoint},
    emit::{self, Fill},
    follow, intents,
    kernel::{EXIT_SAYS_GROUP_DEAD, Ptr, load, loaded, offset, present},
    slot::{Class, Slot, Small},
    task,
};

at_tracepoint!("sched_process_fork", process_fork, process_fork_raw, |A, ctx| forked::<A>(ctx.argument(1)));

#[inline(always)]
fn forked<A: Access>(child: Ptr) {
    // SAFETY: loads through an argument.
    let is_process =
        unsafe { A::load::<u32>(child, offset!(task_pid)) == A::load::<u32>(child, offset!(task_tgid)) };
    if is_process {
        // SAFETY: a load through an argument.
        follow::forked(unsafe { A::load(child, offset!(task_tgid)) });
        let seq = emit::next_seq(RecordKind::Fork);
        emit::emit::<Fork<A>, Small>(&mut Fork { child, access: PhantomData }, seq);
    }
}

struct Fork<A> {
    child: Ptr,
    access: PhantomData<A>,
}

impl<A: Access> Fill for Fork<A> {
    const KIND: RecordKind = RecordKind::Fork;

    #[inline(always)]
    fn fill<C: Class>(&mut self, slot: &Slot<C>, seq: u64) -> bool {
        let record = slot.base.cast::<ForkRecord>();
        // SAFETY: the slot is larger than the record; loads through an argument.
        unsafe {
            emit::fill_header(&raw mut (*record).header, Self::KIND, seq);
            task::fill_facts::<A>(&raw mut (*record).child, self.child);
            (*record).child_pid_in_ns = task::pid_in_namespace(self.child);
            (*record).reserved = 0;
            (*record).header.len = size_of::<ForkRecord>() as u32;
        }
        true
    }
}

at_function!("taskstats_exit", process_exit, process_exit_kprobe, |A, ctx| exited(
    ctx.argument::<i32>(1) != 0
));
at_tracepoint!("sched_process_exit", process_exit_tp, process_exit_raw, |A, ctx| exited(group_dead(&ctx)));

/// Whether the tracepoint comes with the last thread.
#[inline(always)]
fn group_dead(ctx: &impl Context) -> bool {
    if loaded(&EXIT_SAYS_GROUP_DEAD) != 0 {
        return ctx.argument::<u32>(1) as u8 != 0;
    }
    // SAFETY: the current task is typed.
    unsafe {
        let signal: Ptr = load(task::current(), offset!(task_signal));
        load::<u32>(signal, offset!(signal_live)) == 0
    }
}

/// The running task ends, and its process with it if `group_dead`.
#[inline(always)]
fn exited(group_dead: bool) {
    intents::forget_all(task::thread_key());
    if group_dead {
        follow::exited();
        let seq = emit::next_seq(RecordKind::Exit);
        emit::emit::<Exit, Small>(&mut Exit, seq);
    }
}

struct Exit;

impl Fill for Exit {
    const KIND: RecordKind = RecordKind::Exit;

    #[inline(always)]
    fn fill<C: Class>(&mut self, slot: &Slot<C>, seq: u64) -> bool {
        let record = slot.base.cast::<ExitRecord>();
        // SAFETY: the slot is larger than the record; typed loads.
        unsafe {
            emit::fill_header(&raw mut (*record).header, Self::KIND, seq);
            let task = task::current();
            let signal: Ptr = load(task, offset!(task_signal));
            // What the parent will see. Before `quick_threads` the group had a code only where one was set
            // (exit_group, a fatal signal), and the leader's counted otherwise.
            let group: u32 = load(signal, offset!(signal_group_exit_code));
            (*record).exit_code = if group != 0 || present(offset!(signal_quick_threads)) {
                group
            } else {
                let leader: Ptr = load(task, offset!(task_group_leader));
                load(leader, offset!(task_exit_code))
            };
            (*record).reserved = 0;
            (*record).header.len = size_of::<ExitRecord>() as u32;
        }
        true
    }
}
