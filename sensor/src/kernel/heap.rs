//! Giving freed memory back to the system.

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
