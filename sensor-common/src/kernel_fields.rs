//! The kernel structure members that the programs read, once, for both sides.
//!
//! rustc emits no CO-RE relocations, and a layout differs between versions and between configurations of one
//! version. So each member is named here; user space finds its offset in the running kernel's BTF and writes
//! [`KernelOffsets`] into the object's `.rodata` before loading, where the verifier sees constants. A member
//! that the kernel does not have stays [`OFFSET_ABSENT`]; the programs test for it, and the verifier prunes
//! the branch. Nothing is ever read at an offset that was not found.

use zerocopy::{Immutable, IntoBytes, KnownLayout};

/// Offset of a member that this kernel does not have.
pub const OFFSET_ABSENT: u32 = u32::MAX;

/// Whether the sensor works without a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Programs that use it cannot run without it.
    Required,
    /// A fact is missing from the records where it is absent.
    Optional,
}

/// One member, under every name it has had.
#[derive(Clone, Copy, Debug)]
pub struct KernelField {
    /// Structure that the paths start from.
    pub structure: &'static str,
    /// Dotted member paths, tried in this order. Anonymous structs and unions are looked through.
    pub paths: &'static [&'static str],
    /// Whether it may be missing.
    pub need: Need,
}

/// The flag of a dentry that a lookup is still filling. An enumerator since 6.15, whose value has moved; a macro
/// before, with the value of [`DCACHE_PAR_LOOKUP_MACRO`] since 4.7.
pub const DCACHE_PAR_LOOKUP: (&str, &str) = ("dentry_flags", "DCACHE_PAR_LOOKUP");
/// What it was as a macro.
pub const DCACHE_PAR_LOOKUP_MACRO: u32 = 1 << 28;

macro_rules! kernel_fields {
    ($($need:ident $name:ident = $structure:literal [$($path:literal),+];)+) => {
        /// Byte offsets of every member, in the order of [`KERNEL_FIELDS`].
        #[derive(Clone, Copy, Debug, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct KernelOffsets {
            $(
                #[doc = concat!("Offset of `", $structure, "` member ", $("`", $path, "` ",)+ ".")]
                pub $name: u32,
            )+
        }

        impl KernelOffsets {
            /// No member is known.
            pub const ABSENT: Self = Self { $($name: OFFSET_ABSENT),+ };

            /// Builds the table from offsets in the order of [`KERNEL_FIELDS`].
            #[must_use]
            pub const fn from_array(offsets: [u32; KERNEL_FIELDS.len()]) -> Self {
                let [$($name),+] = offsets;
                Self { $($name),+ }
            }
        }

        /// Where each member is to be found.
        pub const KERNEL_FIELDS: &[KernelField] = &[
            $(KernelField { structure: $structure, paths: &[$($path),+], need: Need::$need },)+
        ];
    };
}

kernel_fields! {
    Required path_mnt = "path" ["mnt"];
    Required path_dentry = "path" ["dentry"];

    Required dentry_flags = "dentry" ["d_flags"];
    Required dentry_parent = "dentry" ["d_parent"];
    // One qstr; 6.14 put it into an anonymous union with a writable twin.
    Required dentry_name_len = "dentry" ["d_name.len"];
    Required dentry_name_ptr = "dentry" ["d_name.name"];
    Required dentry_name_hash = "dentry" ["d_name.hash"];
    // Short names lie here, and `d_name.name` leads here.
    Optional dentry_inline_name = "dentry" ["d_iname", "d_shortname.string"];
    Required dentry_hash_pprev = "dentry" ["d_hash.pprev"];
    Required dentry_inode = "dentry" ["d_inode"];
    Required dentry_sb = "dentry" ["d_sb"];

    Required mount_vfsmount = "mount" ["mnt"];
    Required mount_parent = "mount" ["mnt_parent"];
    Required mount_mnt_ns = "mount" ["mnt_ns"];
    Required mount_mountpoint = "mount" ["mnt_mountpoint"];
    Required vfsmount_root = "vfsmount" ["mnt_root"];
    Required vfsmount_sb = "vfsmount" ["mnt_sb"];

    Required inode_ino = "inode" ["i_ino"];
    Required inode_mode = "inode" ["i_mode"];
    Required inode_uid = "inode" ["i_uid"];
    Required inode_gid = "inode" ["i_gid"];
    Required inode_nlink = "inode" ["i_nlink"];
    Required inode_size = "inode" ["i_size"];
    Required inode_sb = "inode" ["i_sb"];
    // timespec64 until 6.10, split since 6.11.
    Optional inode_mtime_sec = "inode" ["i_mtime_sec", "__i_mtime.tv_sec", "i_mtime.tv_sec"];
    Optional inode_mtime_nsec = "inode" ["i_mtime_nsec", "__i_mtime.tv_nsec", "i_mtime.tv_nsec"];
    Optional inode_ctime_sec = "inode" ["i_ctime_sec", "__i_ctime.tv_sec", "i_ctime.tv_sec"];
    Optional inode_ctime_nsec = "inode" ["i_ctime_nsec", "__i_ctime.tv_nsec", "i_ctime.tv_nsec"];
    Required super_block_dev = "super_block" ["s_dev"];
    Required super_block_magic = "super_block" ["s_magic"];

    Required renamedata_old_dentry = "renamedata" ["old_dentry"];
    Required renamedata_new_dentry = "renamedata" ["new_dentry"];
    Required renamedata_flags = "renamedata" ["flags"];

    Required file_path = "file" ["f_path"];

    Required task_pid = "task_struct" ["pid"];
    Required task_tgid = "task_struct" ["tgid"];
    Required task_group_leader = "task_struct" ["group_leader"];
    Required task_real_parent = "task_struct" ["real_parent"];
    Required task_start_boottime = "task_struct" ["start_boottime", "real_start_time"];
    // Not `cred`: overlayfs and io_uring put another's credentials there while they work for the task.
    Required task_cred = "task_struct" ["real_cred"];
    Required task_mm = "task_struct" ["mm"];
    Required task_fs = "task_struct" ["fs"];
    Required task_nsproxy = "task_struct" ["nsproxy"];
    Required task_signal = "task_struct" ["signal"];
    Required task_self_exec_id = "task_struct" ["self_exec_id"];
    Required task_comm = "task_struct" ["comm"];
    Required task_thread_pid = "task_struct" ["thread_pid"];
    Required task_exit_code = "task_struct" ["exit_code"];
    Optional task_loginuid = "task_struct" ["loginuid"];
    Optional task_cgroups = "task_struct" ["cgroups"];

    // pids[PIDTYPE_PGID] and pids[PIDTYPE_SID] follow the first element by two and three pointers.
    Required signal_pids = "signal_struct" ["pids"];
    Required signal_group_exit_code = "signal_struct" ["group_exit_code"];
    // Since 5.19; what the parent will see is in group_exit_code from then on.
    Optional signal_quick_threads = "signal_struct" ["quick_threads"];
    // Threads that have not begun to exit.
    Required signal_live = "signal_struct" ["live.counter"];
    Required signal_tty = "signal_struct" ["tty"];
    Required pid_level = "pid" ["level"];
    Required pid_numbers = "pid" ["numbers"];
    Required upid_nr = "upid" ["nr"];
    Required upid_ns = "upid" ["ns"];
    Required pid_namespace_inum = "pid_namespace" ["ns.inum"];
    Required nsproxy_mnt_ns = "nsproxy" ["mnt_ns"];
    Required mnt_namespace_inum = "mnt_namespace" ["ns.inum"];
    // Unique, and changed with every mount and unmount in it. Gone in 6.18, whose namespaces have an id.
    Optional mnt_namespace_seq = "mnt_namespace" ["seq", "ns.ns_id"];
    Optional mnt_namespace_event = "mnt_namespace" ["event"];

    Required cred_uid = "cred" ["uid"];
    Required cred_gid = "cred" ["gid"];
    Required cred_suid = "cred" ["suid"];
    Required cred_sgid = "cred" ["sgid"];
    Required cred_euid = "cred" ["euid"];
    Required cred_egid = "cred" ["egid"];
    Required cred_group_info = "cred" ["group_info"];
    Required group_info_ngroups = "group_info" ["ngroups"];
    Required group_info_gid = "group_info" ["gid"];
    // u32[2] until 6.2, u64 since: eight bytes either way.
    Required cred_cap_effective = "cred" ["cap_effective"];
    Required cred_cap_permitted = "cred" ["cap_permitted"];

    Required mm_exe_file = "mm_struct" ["exe_file"];
    Required mm_arg_start = "mm_struct" ["arg_start"];
    Required mm_arg_end = "mm_struct" ["arg_end"];
    Required mm_env_start = "mm_struct" ["env_start"];
    Required mm_env_end = "mm_struct" ["env_end"];
    Required fs_root = "fs_struct" ["root"];
    Required fs_pwd = "fs_struct" ["pwd"];

    Required binprm_file = "linux_binprm" ["file"];
    Required binprm_filename = "linux_binprm" ["filename"];
    Required binprm_interp = "linux_binprm" ["interp"];
    Required binprm_argc = "linux_binprm" ["argc"];
    Required binprm_buf = "linux_binprm" ["buf"];

    Optional tty_driver = "tty_struct" ["driver"];
    Optional tty_index = "tty_struct" ["index"];
    Optional tty_driver_major = "tty_driver" ["major"];
    Optional tty_driver_minor_start = "tty_driver" ["minor_start"];

    Optional css_set_dfl_cgrp = "css_set" ["dfl_cgrp"];
    Optional cgroup_kn = "cgroup" ["kn"];
    Optional kernfs_node_id = "kernfs_node" ["id"];
    Optional kernfs_node_name = "kernfs_node" ["name"];
    Optional kernfs_node_parent = "kernfs_node" ["__parent", "parent"];
}
