//! What creations and renames share: the inode's facts, and the record around them.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use sensor_common::wire::{FileRecord, PathRef, RecordKind, Span};

use crate::{
    emit::{self, Fill},
    kernel::{Ptr, offset, probe, probe_ptr},
    path::{self, Measure, Start},
    slot::{Class, Large, Medium, Slot, Small},
};

/// A creation or rename that took effect.
#[repr(C)]
pub struct FileEvent<const KIND: u16> {
    /// [`sensor_common::wire::FileOp`].
    pub op: u16,
    pub inode: Ptr,
    pub start: Start,
    /// Where it was before, or what a hard link names.
    pub old: Start,
    pub has_old: bool,
    /// What a symbolic link says; null for anything else.
    pub target: Ptr,
}

/// Room for the text of a symbolic link, in the slots that take one.
const TARGET_BYTES_MAX: usize = 4096;

const FIXED: usize = size_of::<FileRecord>();

impl<const KIND: u16> FileEvent<KIND> {
    /// Emits it in the smallest slot that holds both paths.
    #[inline(always)]
    pub fn emit(&self) {
        let seq = emit::next_seq(Self::KIND);
        let new = path::measure(&self.start);
        let old = if self.has_old { path::measure(&self.old) } else { Measure::default() };
        let need = FIXED + new.bytes + old.bytes;
        let name_bits = new.name_bits | old.name_bits;
        // The length of a link's text is not known before it is copied: it always gets the large slot.
        if !self.target.is_null() {
            emit::emit::<Self, Large>(self, seq);
        } else if need <= Small::NAME_LIMIT && name_bits <= Small::NAME_MASK {
            emit::emit::<Self, Small>(self, seq);
        } else if need <= Medium::NAME_LIMIT {
            emit::emit::<Self, Medium>(self, seq);
        } else {
            emit::emit::<Self, Large>(self, seq);
        }
    }
}

impl<const KIND: u16> Fill for FileEvent<KIND> {
    const KIND: RecordKind = match RecordKind::from_raw(KIND) {
        Some(kind) => kind,
        None => panic!("not a record kind"),
    };

    #[inline(always)]
    fn fill<C: Class>(&self, slot: &Slot<C>, seq: u64) {
        let record = slot.base.cast::<FileRecord>();
        let inode = self.inode;
        // SAFETY: every slot is larger than the fixed part.
        unsafe {
            emit::fill_header(&raw mut (*record).header, Self::KIND, seq);
            (*record).inode = probe(inode, offset!(inode_ino));
            (*record).size = probe(inode, offset!(inode_size));
            (*record).mtime_ns = time_ns(inode, offset!(inode_mtime_sec), offset!(inode_mtime_nsec));
            (*record).ctime_ns = time_ns(inode, offset!(inode_ctime_sec), offset!(inode_ctime_nsec));
            (*record).dev = probe(probe_ptr(inode, offset!(inode_sb)), offset!(super_block_dev));
            (*record).mode = u32::from(probe::<u16>(inode, offset!(inode_mode)));
            (*record).uid = probe(inode, offset!(inode_uid));
            (*record).gid = probe(inode, offset!(inode_gid));
            (*record).nlink = probe(inode, offset!(inode_nlink));
            (*record).op = self.op;
            (*record).reserved = 0;
            (*record).target = Span { offset: 0, len: 0 };
            (*record).reserved2 = 0;
            let mut end = slot.copy_path(FIXED, &self.start, &raw mut (*record).path);
            (*record).old_path = NONE;
            if self.has_old {
                end = slot.copy_path(end, &self.old, &raw mut (*record).old_path);
            } else if C::SIZE > 2 * TARGET_BYTES_MAX && !self.target.is_null() {
                end = self.copy_target(slot, end);
            }
            (*record).header.len = end as u32;
        }
    }
}

impl<const KIND: u16> FileEvent<KIND> {
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

const NOWHERE: Span = Span { offset: 0, len: 0 };
const NONE: PathRef =
    PathRef { span: NOWHERE, root_bytes: 0, flags: 0, above: NOWHERE, mount_bytes: 0, reserved: 0 };

#[inline(always)]
fn time_ns(inode: Ptr, sec: usize, nsec: usize) -> i64 {
    if !crate::kernel::present(sec) || !crate::kernel::present(nsec) {
        return 0;
    }
    // tv_nsec is a long where the two are a timespec64; its value fits the lower half.
    probe::<i64>(inode, sec).wrapping_mul(1_000_000_000).wrapping_add(i64::from(probe::<u32>(inode, nsec)))
}
