//! Every size that kernel and user space must agree on, asserted against each other.

/// Longest path the kernel hands out, terminator included (`PATH_MAX`).
pub const PATH_BYTES_MAX: usize = 4096;
/// Longest file name (`NAME_MAX`).
pub const NAME_BYTES_MAX: usize = 255;
/// Deepest directory chain that is walked; a path of one-byte names reaches PATH_MAX at this depth.
pub const PATH_DEPTH_MAX: usize = PATH_BYTES_MAX / 2;
/// Bytes a walk may write: components, each with its NUL, plus one name of slack so that a bound can be
/// checked before the copy rather than after.
pub const PATH_BLOB_BYTES_MAX: usize = PATH_BYTES_MAX + NAME_BYTES_MAX + 1;
/// Bytes of argv that an exec record carries; longer ones are cut and flagged.
pub const ARGV_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the environment that an exec record carries; longer ones are cut and flagged.
pub const ENVP_BYTES_MAX: usize = 4 * 1024;
/// Supplementary groups that an exec record carries.
pub const GROUPS_MAX: usize = 32;
/// Bytes of the path as the caller wrote it (`bprm->filename`).
pub const FILENAME_BYTES_MAX: usize = PATH_BYTES_MAX;
/// Deepest cgroup chain that is walked.
pub const CGROUP_DEPTH_MAX: usize = 256;
/// Bytes of cgroup path that an exec record carries.
pub const CGROUP_BYTES_MAX: usize = 1024;

/// Processes of which everything may be wanted at one time.
pub const FOLLOWED_MAX: u32 = 4096;

/// Default size of the ring, a power of two and a multiple of the page size.
pub const RING_BYTES_DEFAULT: u32 = 8 * 1024 * 1024;

/// Two calls of the ring's reader are at least this far apart, however urgent the records are.
pub const WAKE_URGENT_NS: u64 = 1_000_000;
/// A record calls the reader when nobody has done so for this long.
pub const WAKE_NS: u64 = 50_000_000;

/// Slot classes of the ring: a reservation is constant and cannot shrink, so the smallest that fits is taken.
pub const SLOT_SMALL_BYTES: usize = 512;
/// Files with longer names.
pub const SLOT_FAIR_BYTES: usize = 1024;
/// Nearly every exec, and files with long paths.
pub const SLOT_MEDIUM_BYTES: usize = 4 * 1024;
/// Two paths at their limit.
pub const SLOT_LARGE_BYTES: usize = 12 * 1024;
/// Everything at its limit.
pub const SLOT_HUGE_BYTES: usize = 48 * 1024;

const _: () = assert!(WAKE_URGENT_NS < WAKE_NS);
const _: () = assert!(RING_BYTES_DEFAULT.is_power_of_two());
const _: () = assert!(SLOT_LARGE_BYTES >= 512 + 2 * PATH_BLOB_BYTES_MAX + NAME_BYTES_MAX);
const _: () = assert!(
    SLOT_HUGE_BYTES
        >= 1024
            + 2 * PATH_BLOB_BYTES_MAX
            + 2 * FILENAME_BYTES_MAX
            + ARGV_BYTES_MAX
            + CGROUP_BYTES_MAX
            + ENVP_BYTES_MAX
);
const _: () = assert!(SLOT_HUGE_BYTES <= u16::MAX as usize);
