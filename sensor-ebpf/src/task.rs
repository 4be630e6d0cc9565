//! The only reader of `task_struct`: identity, credentials, namespaces, executable.

use sensor_common::wire::TaskFacts;

use crate::{
    context::{Access, optional},
    kernel::{Ptr, offset, probe, probe_ptr},
};

/// `enum pid_type`: PID, TGID, PGID, SID. Unchanged since 4.19.
const PIDTYPE_PGID: usize = 2;
const PIDTYPE_SID: usize = 3;

/// Writes what is known of `task`'s process.
///
/// # Safety
/// `out` must point to writable memory of its size, `task` be an argument of the program, or the
/// current task with typed access.
#[inline(always)]
pub unsafe fn fill_facts<A: Access>(out: *mut TaskFacts, task: Ptr) {
    // SAFETY: the caller's promise; a null on the way (no mm, no nsproxy while exiting) reads as zero.
    unsafe {
        let leader: Ptr = A::load(task, offset!(task_group_leader));
        let parent: Ptr = A::load(leader, offset!(task_real_parent));
        let parent_leader: Ptr = A::load(parent, offset!(task_group_leader));
        (*out).start_boottime_ns = A::load(leader, offset!(task_start_boottime));
        (*out).parent_start_boottime_ns = A::load(parent_leader, offset!(task_start_boottime));
        (*out).tgid = A::load(task, offset!(task_tgid));
        (*out).tid = A::load(task, offset!(task_pid));
        (*out).ppid = A::load(parent, offset!(task_tgid));
        (*out).self_exec_id = A::load(leader, offset!(task_self_exec_id));
        (*out).loginuid = load_loginuid::<A>(task);

        let signal: Ptr = A::load(task, offset!(task_signal));
        (*out).pgid = pid_number::<A>(A::load(signal, offset!(signal_pids) + PIDTYPE_PGID * 8));
        (*out).sid = pid_number::<A>(A::load(signal, offset!(signal_pids) + PIDTYPE_SID * 8));

        let cred: Ptr = A::load(task, offset!(task_cred));
        (*out).uid = A::load(cred, offset!(cred_uid));
        (*out).gid = A::load(cred, offset!(cred_gid));
        (*out).suid = A::load(cred, offset!(cred_suid));
        (*out).sgid = A::load(cred, offset!(cred_sgid));
        (*out).euid = A::load(cred, offset!(cred_euid));
        (*out).egid = A::load(cred, offset!(cred_egid));

        let mm: Ptr = A::load(task, offset!(task_mm));
        let exe: Ptr = A::load(mm, offset!(mm_exe_file));
        let dentry: Ptr = A::load(exe, offset!(file_path) + offset!(path_dentry));
        let inode: Ptr = A::load(dentry, offset!(dentry_inode));
        let sb: Ptr = A::load(inode, offset!(inode_sb));
        (*out).exe_inode = A::load(inode, offset!(inode_ino));
        (*out).exe_dev = A::load(sb, offset!(super_block_dev));

        let nsproxy: Ptr = A::load(task, offset!(task_nsproxy));
        let mnt_ns: Ptr = A::load(nsproxy, offset!(nsproxy_mnt_ns));
        (*out).mnt_ns = A::load(mnt_ns, offset!(mnt_namespace_inum));
        (*out).pid_ns = pid_namespace_inum::<A>(task);
        (*out).cgroup_id = optional::<A, _>(cgroup_node::<A>(task), offset!(kernfs_node_id));
        (*out).comm = load_comm::<A>(task);
    }
}

/// The tgid of `task` and its thread id, as one key.
#[inline(always)]
pub fn thread_key() -> u64 {
    aya_ebpf::helpers::bpf_get_current_pid_tgid()
}

/// The running task as a typed pointer.
#[inline(always)]
pub fn current() -> Ptr {
    // SAFETY: always succeeds in the program types used here.
    unsafe { aya_ebpf::helpers::generated::bpf_get_current_task_btf() as Ptr }
}

/// The kernfs node of the task's cgroup in the default hierarchy; null without cgroup v2.
///
/// # Safety
/// As for [`fill_facts`].
#[inline(always)]
pub unsafe fn cgroup_node<A: Access>(task: Ptr) -> Ptr {
    // SAFETY: the caller's promise.
    unsafe {
        let css_set: u64 = optional::<A, _>(task, offset!(task_cgroups));
        let cgroup: u64 = optional::<A, _>(css_set as Ptr, offset!(css_set_dfl_cgrp));
        optional::<A, u64>(cgroup as Ptr, offset!(cgroup_kn)) as Ptr
    }
}

/// The pid of `task`, a group leader, in its own namespace.
#[inline(always)]
pub fn pid_in_namespace(task: Ptr) -> u32 {
    probe(innermost_upid(task), offset!(upid_nr))
}

#[inline(always)]
unsafe fn pid_namespace_inum<A: Access>(task: Ptr) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        let pid: Ptr = A::load(task, offset!(task_thread_pid));
        let level: u32 = A::load(pid, offset!(pid_level));
        if level == 0 {
            // The host's namespace: no helper call.
            let namespace: Ptr = A::load(pid, offset!(pid_numbers) + offset!(upid_ns));
            A::load(namespace, offset!(pid_namespace_inum))
        } else {
            probe(probe_ptr(innermost_upid(task), offset!(upid_ns)), offset!(pid_namespace_inum))
        }
    }
}

/// Address of `pid->numbers[level]`: a `struct upid` is a number and, last, a pointer. Through the helper: the
/// verifier allows no variable offset on a typed pointer.
#[inline(always)]
fn innermost_upid(task: Ptr) -> Ptr {
    let pid = probe_ptr(task, offset!(task_thread_pid));
    let level: u32 = probe(pid, offset!(pid_level));
    let size = offset!(upid_ns) + size_of::<u64>();
    pid.wrapping_add(offset!(pid_numbers)).wrapping_add(level as usize * size)
}

/// The number of a `struct pid` in the initial namespace.
#[inline(always)]
unsafe fn pid_number<A: Access>(pid: Ptr) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { A::load(pid, offset!(pid_numbers) + offset!(upid_nr)) }
}

#[inline(always)]
unsafe fn load_loginuid<A: Access>(task: Ptr) -> u32 {
    let offset = offset!(task_loginuid);
    if crate::kernel::present(offset) {
        // SAFETY: the caller's promise.
        unsafe { A::load(task, offset) }
    } else {
        u32::MAX
    }
}

#[inline(always)]
unsafe fn load_comm<A: Access>(task: Ptr) -> [u8; 16] {
    // SAFETY: the caller's promise; sixteen bytes of an array member, read as two words.
    unsafe {
        core::mem::transmute([
            A::load::<u64>(task, offset!(task_comm)),
            A::load::<u64>(task, offset!(task_comm) + 8),
        ])
    }
}
