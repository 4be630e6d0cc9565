//! `secureboot` and `platform_info`: the firmware.

use super::text::trim;
use crate::osquery::cell::{Cell, row};
use crate::osquery::context::{Context, Trouble};
use crate::osquery::table::{Query, Rows, Table, all, hidden, integer, none, text};

pub(super) const SECUREBOOT: Table = Table::plain(
    "secureboot",
    &[
        integer("secure_boot"),
        integer("setup_mode"),
        hidden(integer("secure_mode")),
        hidden(text("description")),
        hidden(integer("kernel_extensions")),
        hidden(integer("mdm_operations")),
    ],
    secureboot,
);

const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

fn secureboot(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    if !context.host().exists(b"/sys/firmware/efi") {
        context.warn("secureboot: this machine did not start by EFI, so the table is empty".into());
        return none();
    }
    let secure = variable(context, "SecureBoot");
    if secure.is_none() {
        context.warn("secureboot: the firmware's variables cannot be read".into());
    }
    all(vec![row![secure, variable(context, "SetupMode")]])
}

/// A variable of one byte: four bytes of attributes come first in efivarfs, none in the older interface.
fn variable(context: &Context, name: &str) -> Option<i64> {
    let read = |path: String, skip: usize| {
        let bytes = context.host().read(path.as_bytes(), 64).ok()?;
        bytes.get(skip).map(|byte| i64::from(*byte))
    };
    read(format!("/sys/firmware/efi/efivars/{name}-{GLOBAL}"), 4)
        .or_else(|| read(format!("/sys/firmware/efi/vars/{name}-{GLOBAL}/data"), 0))
}

pub(super) const PLATFORM_INFO: Table = Table::plain(
    "platform_info",
    &[
        text("vendor"),
        text("version"),
        text("date"),
        text("revision"),
        text("extra"),
        text("firmware_type"),
        text("address"),
        text("size"),
        integer("volume_size"),
    ],
    platform_info,
);

fn platform_info(context: &Context, _: &Query) -> Result<Rows, Trouble> {
    let read = |name: &str| {
        let bytes = context.host().read(format!("/sys/class/dmi/id/{name}").as_bytes(), 4096).ok()?;
        Some(trim(&bytes).to_vec())
    };
    let (vendor, version, date) = (read("bios_vendor"), read("bios_version"), read("bios_date"));
    let structure = context.host().read(b"/sys/firmware/dmi/tables/DMI", 1 << 20).ok();
    let bios = structure.as_deref().and_then(bios);
    if vendor.is_none() && bios.is_none() {
        context.warn("platform_info: the firmware describes nothing, so the table is empty".into());
        return none();
    }
    let revision = read("bios_release")
        .map(Cell::from)
        .or_else(|| bios.map(|bios| Cell::from(format!("{}.{}", bios.major, bios.minor))));
    all(vec![row![
        vendor,
        version,
        date,
        revision,
        "",
        if context.host().exists(b"/sys/firmware/efi") { "uefi" } else { "bios" },
        bios.map(|bios| format!("0x{:04x}", bios.segment)),
        bios.map(|bios| bios.size.to_string()),
        Some(0_i64),
    ]])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bios {
    segment: u16,
    size: u64,
    major: u8,
    minor: u8,
}

/// The first BIOS structure (type 0) of an SMBIOS table.
fn bios(mut table: &[u8]) -> Option<Bios> {
    loop {
        let (kind, length) = (*table.first()?, usize::from(*table.get(1)?));
        let formatted = table.get(..length).filter(|_| length >= 4)?;
        if kind == 0 {
            let byte = |at: usize| formatted.get(at).copied();
            let size = match (byte(9)?, byte(0x18), byte(0x19)) {
                // 16 MiB and more are said elsewhere: 14 bits, in MiB or GiB.
                (0xff, Some(low), Some(high)) => {
                    let value = u16::from_le_bytes([low, high]);
                    u64::from(value & 0x3fff) << if value >> 14 == 1 { 30 } else { 20 }
                }
                (blocks, ..) => (u64::from(blocks) + 1) * (64 << 10),
            };
            return Some(Bios {
                segment: u16::from_le_bytes([byte(6)?, byte(7)?]),
                size,
                major: byte(0x14).unwrap_or(0xff),
                minor: byte(0x15).unwrap_or(0xff),
            });
        }
        // Strings follow, and end with two zero bytes.
        let strings = table.get(length..)?;
        let end = strings.windows(2).position(|it| it == [0, 0])?;
        table = strings.get(end + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::{Bios, bios};

    #[test]
    fn the_bios_structure_is_found_behind_others() {
        let mut table = vec![1, 6, 0, 0, 1, 2];
        table.extend_from_slice(b"maker\0name\0\0");
        let mut zero = vec![0_u8; 0x18];
        zero[1] = 0x18;
        zero[6..8].copy_from_slice(&0xe000_u16.to_le_bytes());
        zero[9] = 0x0f;
        zero[0x14] = 5;
        zero[0x15] = 17;
        table.extend_from_slice(&zero);
        table.extend_from_slice(b"vendor\0\0");
        assert_eq!(bios(&table), Some(Bios { segment: 0xe000, size: 1 << 20, major: 5, minor: 17 }));
        for end in 0..table.len() - 8 {
            let _ = bios(&table[..end]);
        }
        assert_eq!(bios(&[1, 3, 0, 0]), None);
    }
}
