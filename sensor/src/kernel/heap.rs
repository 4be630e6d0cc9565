//! Giving memory back to the system.

use std::path::Path;

use rustix::mm::{Advice, madvise};

/// Hands back what the allocator keeps for later. Starting needs far more than running: the kernel's BTF is parsed, and
/// freed amid what stays.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "there is no safe way to ask for it")]
pub(crate) fn trim() {
    // SAFETY: takes no pointer and may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators have no such call.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn trim() {}

/// Hands back the pages of the program's code: most of what was resident served the start. What runs is mapped again
/// from the page cache as it is reached.
pub(crate) fn drop_code() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    let Ok(program) = std::fs::read_link("/proc/self/exe") else { return };
    for (start, bytes) in maps.lines().filter_map(|line| code_of(line, &program)) {
        drop_pages(start, bytes);
    }
}

/// Where a mapping of the program's code is, and how large, in `start-end perms offset device inode path`.
fn code_of(line: &str, program: &Path) -> Option<(usize, usize)> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let is_code =
        words.next()? == "r-xp" && words.nth(3).is_some_and(|path| Path::new(path.trim()) == program);
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    is_code.then_some((start, end.checked_sub(start)?))
}

#[expect(unsafe_code, reason = "there is no safe way to ask for it")]
fn drop_pages(start: usize, bytes: usize) {
    // SAFETY: the range is one private mapping of a file that is never written through it, so each page comes back from
    // the file with the same content; code that runs meanwhile faults and goes on.
    let _ = unsafe { madvise(std::ptr::with_exposed_provenance_mut(start), bytes, Advice::LinuxDontNeed) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_own_code_is_dropped() {
        let program = Path::new("/usr/bin/sensor");
        let of = |line| code_of(line, program);
        assert_eq!(
            of("55a0-65a0 r-xp 00001000 fe:00 7                          /usr/bin/sensor"),
            Some((0x55a0, 0x1000))
        );
        assert_eq!(of("55a0-65a0 r--p 00001000 fe:00 7                          /usr/bin/sensor"), None);
        assert_eq!(of("55a0-65a0 rwxp 00001000 fe:00 7                          /usr/bin/sensor"), None);
        assert_eq!(of("55a0-65a0 r-xp 00001000 fe:00 7                          /usr/lib/libc.so.6"), None);
        assert_eq!(of("55a0-65a0 r-xp 00000000 00:00 0"), None);
        assert_eq!(of(""), None);
        drop_code();
    }
}
