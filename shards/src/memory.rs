//! Memory that the allocator keeps for later.

/// Gives free pages of the heap back to the system, where the allocator is one that can be told to (glibc). It stops each
/// arena's threads for as long as it looks through that one: call it seldom.
///
/// glibc itself gives back what is free at a heap's end only. After a peak, in a crowd or while a slow disk or network
/// held blocks back, one live byte above would keep all of it.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes no pointer, and may be called by any thread at any time (malloc_trim(3): MT-Safe).
    unsafe {
        libc::malloc_trim(0);
    }
}
