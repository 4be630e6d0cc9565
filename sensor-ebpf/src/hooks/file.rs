//! What creations and renames share: the inode's facts, and the record around them.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use sensor_common::wire::{FileOp, FileRecord, PathRef, RecordKind, Span};

use crate::{
    emit::{self, Fill, Slot},
    kernel::{Ptr, offset, probe, probe_ptr},
    path::{self, Measure, Start},
    task,
};

/// A name that a rename left behind, saved before it went.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct OldName {
    pub name: *const u8,
    pub len: usize,
}

/// A creation or rename that took effect.
#[repr(C)]
pub struct FileEvent<const KIND: u16> {
    pub op: FileOp,
    pub inode: Ptr,
    pub start: Start,
    /// Where it was before: the directory, and the name within it.
    pub old: Start,
    pub old_name: OldName,
}

const FIXED: usize = size_of::<FileRecord>();

impl<const KIND: u16> FileEvent<KIND> {
    /// Emits it in the smallest slot that holds both paths.
    #[inline(always)]
    pub fn emit(&self) {
        let seq = emit::next_seq(Self::KIND);
        let new = path::measure(&self.start);
        let old = if KIND == RecordKind::FileRename as u16 { path::measure(&self.old) } else { Measure::default() };
        let need = FIXED + new.bytes + old.bytes + self.old_name.len + 1;
        let longest = new.longest_name.max(old.longest_name).max(self.old_name.len);
        if need <= 512 - 64 && longest <= 63 {
            emit::emit_sized::<Self, 512, 63>(self, seq);
        } else if need <= 2048 - 256 {
            emit::emit_sized::<Self, 2048, 255>(self, seq);
        } else {
            emit::emit_sized::<Self, { 12 * 1024 }, 255>(self, seq);
        }
    }
}

impl<const KIND: u16> Fill for FileEvent<KIND> {
    const KIND: RecordKind = match RecordKind::from_raw(KIND) {
        Some(kind) => kind,
        None => panic!("not a record kind"),
    };

    #[inline(always)]
    fn fill(&self, slot: &Slot, seq: u64) {
        let record = slot.base.cast::<FileRecord>();
        let inode = self.inode;
        // SAFETY: every slot is larger than the fixed part.
        unsafe {
            emit::fill_header(&raw mut (*record).header, Self::KIND, seq, task::current());
            (*record).inode = probe(inode, offset!(inode_ino));
            (*record).size = probe(inode, offset!(inode_size));
            (*record).mtime_ns = time_ns(inode, offset!(inode_mtime_sec), offset!(inode_mtime_nsec));
            (*record).ctime_ns = time_ns(inode, offset!(inode_ctime_sec), offset!(inode_ctime_nsec));
            (*record).dev = probe(probe_ptr(inode, offset!(inode_sb)), offset!(super_block_dev));
            (*record).mode = u32::from(probe::<u16>(inode, offset!(inode_mode)));
            (*record).uid = probe(inode, offset!(inode_uid));
            (*record).gid = probe(inode, offset!(inode_gid));
            (*record).nlink = probe(inode, offset!(inode_nlink));
            (*record).op = self.op as u16;
            (*record).reserved = 0;
            (*record).target = Span { offset: 0, len: 0 };
            (*record).reserved2 = 0;
            let mut end = path::copy(slot, FIXED, 0, &self.start, &raw mut (*record).path);
            if KIND == RecordKind::FileRename as u16 {
                if end <= slot.name_limit() {
                    let len = self.old_name.len & slot.name_mask;
                    let to = slot.base.add(end);
                    bpf_probe_read_kernel(to.cast(), len as u32, self.old_name.name.cast());
                    to.add(len).write(0);
                    let prefix = len + 1;
                    end = path::copy(slot, end + prefix, prefix, &self.old, &raw mut (*record).old_path);
                } else {
                    (*record).old_path = TRUNCATED;
                }
            } else {
                (*record).old_path = NONE;
            }
            (*record).header.len = end as u32;
        }
    }
}

const NONE: PathRef = PathRef { span: Span { offset: 0, len: 0 }, root_bytes: 0, flags: 0 };
const TRUNCATED: PathRef =
    PathRef { span: Span { offset: 0, len: 0 }, root_bytes: 0, flags: sensor_common::wire::path_flags::TRUNCATED };

#[inline(always)]
fn time_ns(inode: Ptr, sec: usize, nsec: usize) -> i64 {
    if !crate::kernel::present(sec) || !crate::kernel::present(nsec) {
        return 0;
    }
    // tv_nsec is a long where the two are a timespec64; its value fits the lower half.
    probe::<i64>(inode, sec).wrapping_mul(1_000_000_000).wrapping_add(i64::from(probe::<u32>(inode, nsec)))
}
