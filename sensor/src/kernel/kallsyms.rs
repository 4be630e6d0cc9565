//! Addresses of the kernel's own variables.

use std::fs::File;
use std::io::{BufRead, BufReader};

const KALLSYMS: &str = "/proc/kallsyms";

/// The sequence counters that every rename, and every mount, moves. Zero where the kernel does not tell: paths are
/// then checked less strictly.
pub(super) fn locks() -> [u64; 2] {
    File::open(KALLSYMS)
        .map(|file| find(BufReader::new(file), ["rename_lock", "mount_lock"]))
        .unwrap_or_default()
}

fn find<const N: usize>(text: impl BufRead, wanted: [&str; N]) -> [u64; N] {
    let mut found = [0; N];
    let mut left = N;
    for line in text.split(b'\n') {
        let Ok(line) = line else { break };
        // `ffffffff81234567 D name`, and behind a tab the module.
        let Some(name) = line.get(19..) else { continue };
        let Some(at) = wanted.iter().position(|wanted| wanted.as_bytes() == name) else { continue };
        let digits = line.get(..16).and_then(|digits| std::str::from_utf8(digits).ok());
        let address = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0);
        if let Some(place) = found.get_mut(at) {
            *place = address;
        }
        left -= 1;
        if left == 0 {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_are_found() {
        let text = b"ffffffff81000000 T _text\nffffffff82000040 D rename_lock_x\n\
            ffffffff82000080 D rename_lock\nshort\nffffffff82000100 d mount_lock\n";
        assert_eq!(
            find(&text[..], ["rename_lock", "mount_lock", "absent"]),
            [0xffff_ffff_8200_0080, 0xffff_ffff_8200_0100, 0]
        );
    }
}
