//! `cargo xtask setup`: packages, BPF compiler, linker and kernels, each only if it is missing.

pub(crate) mod apt;
pub(crate) mod btf;
pub(crate) mod compiler;
pub(crate) mod deny;
pub(crate) mod kernels;
pub(crate) mod linker;
pub(crate) mod musl;
mod osmem;
mod peers;
pub(crate) mod readers;
pub(crate) mod root;

use std::fs::{self, File};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::paths;
use kernels::KernelId;

/// Packages that the virtual machine needs on the host.
const VM_PACKAGES: [&str; 6] =
    ["qemu-system-x86", "busybox-static", "xz-utils", "xfsprogs", "btrfs-progs", "rpm"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kernels to fetch, such as 6.1, 6.12, 6.12-rt or 6.1-generic (default: 6.1 and 6.12, cloud flavour)
    #[arg(long = "kernel", value_name = "SERIES[-FLAVOUR]")]
    kernels: Vec<KernelId>,
    /// Fetch a newer kernel package if the archive has one
    #[arg(long)]
    update: bool,
    /// Install other readers of the event store's files, too: DuckDB and chdb, for the tests that compare
    #[arg(long)]
    readers: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let compiler = ensure_ebpf()?;
    println!("BPF compiler: {}", compiler.0.describe());
    println!("BPF linker:   {}", compiler.1.display());
    ensure_vm()?;
    let wanted = if args.kernels.is_empty() { KernelId::required().to_vec() } else { args.kernels.clone() };
    for id in wanted {
        let kernel = with_lock(|| kernels::ensure(id, args.update))?;
        println!("kernel {id}: {} in {}", kernel.release, kernel.dir.display());
        println!("  its BTF: {}", ensure_btf(id)?.display());
    }
    if args.readers {
        println!("other readers: {}", ensure_readers()?.display());
    }
    println!("everything is in place");
    Ok(ExitCode::SUCCESS)
}

/// What building the eBPF object needs.
pub(crate) fn ensure_ebpf() -> Result<(compiler::Compiler, std::path::PathBuf)> {
    with_lock(|| {
        let compiler = compiler::ensure()?;
        let linker = linker::ensure(compiler.llvm_major)?;
        Ok((compiler, linker))
    })
}

/// What booting a virtual machine needs, beside a kernel.
pub(crate) fn ensure_vm() -> Result<()> {
    with_lock(|| apt::ensure("virtual machine", &VM_PACKAGES))
}

/// The kernel, fetched and unpacked if it is not there.
pub(crate) fn ensure_kernel(id: KernelId) -> Result<kernels::Kernel> {
    with_lock(|| kernels::ensure(id, false))
}

/// The BTF of a kernel, which is fetched first if need be.
pub(crate) fn ensure_btf(id: KernelId) -> Result<std::path::PathBuf> {
    with_lock(|| btf::ensure(&kernels::ensure(id, false)?))
}

/// Programs to compare with, in one folder with their libraries.
pub(crate) fn ensure_peers() -> Result<Vec<std::path::PathBuf>> {
    with_lock(peers::ensure)
}

/// A server to send documents to.
pub(crate) fn ensure_osmem() -> Result<std::path::PathBuf> {
    with_lock(osmem::ensure)
}

/// A Python with other engines that read the event store's files.
pub(crate) fn ensure_readers() -> Result<std::path::PathBuf> {
    with_lock(readers::ensure)
}

/// Only one set-up changes the cache and asks the package manager at a time.
fn with_lock<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let cache = paths::cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let path = cache.join("lock");
    let lock = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    if lock.try_lock().is_err() {
        eprintln!("waiting for another set-up to finish ({})", path.display());
        lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    work()
}
