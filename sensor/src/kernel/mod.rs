//! Loading the kernel programs and reading their ring: the only user of aya.
