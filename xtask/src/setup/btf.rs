//! The BTF of a kernel that does not run: taken from its image, for tests of what is resolved against it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt;
use super::kernels::Kernel;
use crate::{cmd, paths};

/// What kernels are compressed with: the first bytes, and the command.
const COMPRESSIONS: [(&[u8], &[&str]); 4] = [
    (b"\x28\xb5\x2f\xfd", &["zstd", "-dc"]),
    (b"\x02\x21\x4c\x18", &["lz4", "-dc"]),
    (b"\xfd7zXZ", &["xz", "-dc", "--single-stream"]),
    (b"\x1f\x8b", &["gzip", "-dc"]),
];
const PACKAGES: [&str; 3] = ["zstd", "lz4", "xz-utils"];

/// The folder of all that were taken.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(paths::cache()?.join("btf"))
}

/// The file with the kernel's BTF, named after its release.
pub(crate) fn ensure(kernel: &Kernel) -> Result<PathBuf> {
    let file = folder()?.join(&kernel.release);
    if file.is_file() {
        return Ok(file);
    }
    apt::ensure("kernel images", &PACKAGES)?;
    let image = kernel.image();
    let bytes = fs::read(&image).with_context(|| format!("cannot read {}", image.display()))?;
    let payload = payload(&bytes).with_context(|| format!("{} is no bzImage", image.display()))?;
    let elf = decompress(payload, &image)?;
    let btf = section(&elf, ".BTF").with_context(|| format!("{} has no BTF", image.display()))?;
    let folder = folder()?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut new = tempfile::NamedTempFile::new_in(&folder)?;
    new.write_all(btf)?;
    new.persist(&file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// The compressed ELF inside, by the boot protocol's `setup_sects`, `payload_offset` and `payload_length`.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(*image.get(at..)?.first_chunk()?) as usize);
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let begin = (usize::from(*image.get(0x1f1)?) + 1) * 512 + word(0x248)?;
    image.get(begin..begin.checked_add(word(0x24c)?)?)
}

/// The decompressor may complain about the size that the kernel's build appends: what counts is its output.
fn decompress(payload: &[u8], image: &Path) -> Result<Vec<u8>> {
    let Some((_, command)) = COMPRESSIONS.iter().find(|(magic, _)| payload.starts_with(magic)) else {
        bail!("{} is compressed in an unknown way", image.display());
    };
    let (program, args) = command.split_first().context("no command")?;
    let mut input = tempfile::NamedTempFile::new()?;
    input.write_all(payload)?;
    let mut command = Command::new(program);
    command.args(args).stdin(input.reopen()?);
    let output = command.output().with_context(|| format!("cannot run `{}`", cmd::line(&command)))?;
    if !output.stdout.starts_with(b"\x7fELF") {
        bail!("{}: {}", image.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// A section of a 64-bit little-endian ELF file.
fn section<'a>(elf: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(*elf.get(at..)?.first_chunk()?)));
    let word = |at: usize| Some(u32::from_le_bytes(*elf.get(at..)?.first_chunk()?) as usize);
    let long = |at: usize| usize::try_from(u64::from_le_bytes(*elf.get(at..)?.first_chunk()?)).ok();
    let (table, size, count, names) = (long(0x28)?, half(0x3a)?, half(0x3c)?, half(0x3e)?);
    let header = |n: usize| table.checked_add(n.checked_mul(size)?);
    let content = |n: usize| {
        let begin = long(header(n)? + 0x18)?;
        elf.get(begin..begin.checked_add(long(header(n)? + 0x20)?)?)
    };
    let names = content(names)?;
    let found = (0..count).find(|&n| {
        let name = header(n).and_then(word).and_then(|at| names.get(at..));
        name.is_some_and(|name| name.split(|&byte| byte == 0).next() == Some(wanted.as_bytes()))
    })?;
    content(found)
}
