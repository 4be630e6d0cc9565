//! Where lines end up: files and standard output, written off the hot path.
