//! What creations and renames share: the inode's facts, and the record around them.

use core::{marker::PhantomData, mem::swap};

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use sensor_common::wire::{FileRecord, RecordKind, Span, path_flags};

use crate::{
    context::Access,
    emit::{self, Fill},
    kernel::{Ptr, offset},
    path::{self, Start},
    slot::{Begun, Class, Fair, Large, Medium, NOWHERE, Slot, Small},
};

/// A creation, rename or deletion that took effect. `A` reaches the inode.
pub struct FileEvent<A, const KIND: u16> {
    /// [`sensor_common::wire::FileOp`].
    pub op: u16,
    pub inode: Ptr,
    pub start: Start,
    /// Where it was before, or what a hard link names; of the same mount. Null if there is nothing, or if it was where
    /// it is now under another name.
    pub old_dentry: u64,
    /// A name below it that is in no dentry any more; `old_name_len` is zero when there is none.
    pub old_name: u64,
    pub old_name_len: u64,
    /// What a symbolic link says; null for anything else.
    pub target: Ptr,
    pub access: PhantomData<A>,
}

/// Room for the text of a symbolic link, in the slots that take one.
const TARGET_BYTES_MAX: usize = 4096;

const FIXED: usize = size_of::<FileRecord>();

impl<A: Access, const KIND: u16> FileEvent<A, KIND> {
    /// Emits it in the smallest slot that holds both paths.
    #[inline(always)]
    pub fn emit(&mut self) {
        let seq = emit::next_seq(Self::KIND);
        // The length of a link's text is not known before it is copied: it always gets the large slot.
        if !self.target.is_null() {
            emit::emit::<Self, Large>(self, seq);
            return;
        }
        if emit::try_emit::<Self, Small>(self, seq) {
            return;
        }
        let mut need = FIXED + path::measure(&self.start);
        need += self.old_name_len as usize + 1;
        if self.old_dentry != 0 {
            self.turn();
            need += path::measure(&self.start);
            self.turn();
        }
        if need <= Fair::NAME_LIMIT {
            emit::emit::<Self, Fair>(self, seq);
        } else if need <= Medium::NAME_LIMIT {
            emit::emit::<Self, Medium>(self, seq);
        } else {
            emit::emit::<Self, Large>(self, seq);
        }
    }

    /// From one path to the other: two places to start from would not fit on the stack.
    #[inline(always)]
    fn turn(&mut self) {
        swap(&mut self.start.dentry, &mut self.old_dentry);
    }
}

impl<A: Access, const KIND: u16> Fill for FileEvent<A, KIND> {
    const KIND: RecordKind = match RecordKind::from_raw(KIND) {
        Some(kind) => kind,
        None => panic!("not a record kind"),
    };

    #[inline(always)]
    fn fill<C: Class>(&mut self, slot: &Slot<C>, seq: u64) -> bool {
        let record = slot.base.cast::<FileRecord>();
        let inode = self.inode;
        // SAFETY: every slot is larger than the fixed part; the inode came from an argument.
        unsafe {
            emit::fill_header(&raw mut (*record).header, Self::KIND, seq);
            (*record).inode = A::load(inode, offset!(inode_ino));
            (*record).size = A::load(inode, offset!(inode_size));
            (*record).mtime_ns = time_ns::<A>(inode, offset!(inode_mtime_sec), offset!(inode_mtime_nsec));
            (*record).ctime_ns = time_ns::<A>(inode, offset!(inode_ctime_sec), offset!(inode_ctime_nsec));
            (*record).dev = A::load(A::load(inode, offset!(inode_sb)), offset!(super_block_dev));
            (*record).mode = u32::from(A::load::<u16>(inode, offset!(inode_mode)));
            (*record).uid = A::load(inode, offset!(inode_uid));
            (*record).gid = A::load(inode, offset!(inode_gid));
            (*record).nlink = A::load(inode, offset!(inode_nlink));
            (*record).op = self.op;
            (*record).reserved = 0;
            (*record).target = Span { offset: 0, len: 0 };
            (*record).reserved2 = 0;
            let mut end = slot.copy_path(FIXED, &self.start, &raw mut (*record).path);
            let mut flags = (*record).path.flags;
            (*record).old_path = NOWHERE;
            if self.old_dentry != 0 || self.old_name_len != 0 {
                end = self.copy_old(slot, end);
                flags |= (*record).old_path.flags;
            } else if C::SIZE > 2 * TARGET_BYTES_MAX && !self.target.is_null() {
                end = self.copy_target(slot, end);
            }
            (*record).header.len = end as u32;
            flags & path_flags::TRUNCATED == 0
        }
    }
}

impl<A: Access, const KIND: u16> FileEvent<A, KIND> {
    #[inline(always)]
    fn copy_old<C: Class>(&mut self, slot: &Slot<C>, from: usize) -> usize {
        let record = slot.base.cast::<FileRecord>();
        // SAFETY: every slot is larger than the fixed part.
        let out = unsafe { &raw mut (*record).old_path };
        let mut begun = Begun::at(from);
        if self.old_name_len != 0 {
            let Some(behind_name) = slot.begin_path(from, self.old_name, self.old_name_len) else {
                // SAFETY: as above.
                unsafe { (*out).flags = path_flags::TRUNCATED };
                return from;
            };
            begun = behind_name;
            if self.old_dentry == 0 {
                return slot.keep_name(begun, out);
            }
        }
        self.turn();
        let end = slot.finish_path(begun, &self.start, out);
        self.turn();
        end
    }

    #[inline(always)]
    fn copy_target<C: Class>(&self, slot: &Slot<C>, end: usize) -> usize {
        let record = slot.base.cast::<FileRecord>();
        // SAFETY: the offset is bounded here, the length by the helper's limit.
        unsafe {
            if end > C::SIZE - TARGET_BYTES_MAX {
                return end;
            }
            let read = bpf_probe_read_kernel_str(
                slot.base.add(end).cast(),
                TARGET_BYTES_MAX as u32,
                self.target.cast(),
            );
            if read <= 1 {
                return end;
            }
            let len = (read as usize - 1) & (TARGET_BYTES_MAX - 1);
            (*record).target = Span { offset: end as u16, len: len as u16 };
            end + len
        }
    }
}

/// Of `i_ctime_nsec`: since 6.13 its highest bit says that somebody has asked for the time.
const NSEC_MASK: u32 = (1 << 30) - 1;

/// A time of an inode; 0 where it cannot be read.
///
/// # Safety
/// As for [`Access::load`].
#[inline(always)]
pub unsafe fn time_ns<A: Access>(inode: Ptr, sec: usize, nsec: usize) -> i64 {
    if !crate::kernel::present(sec) || !crate::kernel::present(nsec) {
        return 0;
    }
    // SAFETY: the caller's promise. tv_nsec is a long where the two are a timespec64; its value fits the lower half.
    unsafe {
        A::load::<i64>(inode, sec)
            .wrapping_mul(1_000_000_000)
            .wrapping_add(i64::from(A::load::<u32>(inode, nsec) & NSEC_MASK))
    }
}
