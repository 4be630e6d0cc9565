//! Resolves the manifest of kernel fields against one kernel's BTF.

use std::collections::{HashMap, HashSet};

use sensor_common::kernel_fields::{
    DCACHE_PAR_LOOKUP, DCACHE_PAR_LOOKUP_MACRO, KERNEL_FIELDS, KernelOffsets, Need, OFFSET_ABSENT,
};

use super::btf::{Btf, BtfError};
use super::hooks::{EXIT_GROUP_DEAD, EXIT_ITERATOR};
use super::misses;

/// Positions and names of arguments.
pub(crate) type Parameters = &'static [(usize, &'static str)];

/// A function that a program is attached to, and what its arguments must be called at the positions that the
/// program reads: a changed signature is refused, never misread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signature {
    /// Kernel function.
    pub(crate) function: &'static str,
    /// Those that are read.
    pub(crate) parameters: Parameters,
    /// How many there are, where the program reads what follows them: the return value.
    pub(crate) arity: Option<usize>,
}

/// What the manifest came to on one kernel.
pub(crate) struct Resolved {
    /// The table that goes into `.rodata`.
    pub(crate) offsets: KernelOffsets,
    /// Value of [`DCACHE_PAR_LOOKUP`].
    pub(crate) dcache_par_lookup: u32,
    /// Required members that were not found, as `struct.member`.
    pub(crate) missing: Vec<String>,
    /// Optional ones.
    pub(crate) absent: Vec<String>,
    /// Functions that are absent or have other arguments, with the reason.
    pub(crate) functions: HashMap<&'static str, String>,
    /// Whether the tracepoint of an exit says that it is the last thread's.
    pub(crate) exit_says_group_dead: bool,
    /// Whether the kernel counts the runs that programs at breakpoints leave out.
    pub(crate) are_probe_misses_counted: bool,
}

/// Looks up every member of the manifest and every signature in `bytes`.
pub(crate) fn resolve(bytes: &[u8], signatures: &[Signature]) -> Result<Resolved, BtfError> {
    let wanted: HashSet<&str> = KERNEL_FIELDS
        .iter()
        .map(|field| field.structure)
        .chain(signatures.iter().map(|signature| signature.function))
        .chain([DCACHE_PAR_LOOKUP.0, EXIT_ITERATOR, misses::COUNTED_SINCE.0])
        .collect();
    let btf = Btf::parse(bytes, &wanted)?;
    let (mut missing, mut absent) = (Vec::new(), Vec::new());
    let mut offsets = [OFFSET_ABSENT; KERNEL_FIELDS.len()];
    for (slot, field) in offsets.iter_mut().zip(KERNEL_FIELDS) {
        match field.paths.iter().find_map(|path| btf.member_offset(field.structure, path)) {
            Some(offset) => *slot = offset,
            None => {
                let name = format!("{}.{}", field.structure, field.paths.first().unwrap_or(&"?"));
                match field.need {
                    Need::Required => missing.push(name),
                    Need::Optional => absent.push(name),
                }
            }
        }
    }
    let functions = signatures
        .iter()
        .filter_map(|signature| Some((signature.function, mismatch(&btf, signature)?)))
        .collect();
    let (position, name) = EXIT_GROUP_DEAD;
    let exit_says_group_dead = btf
        .parameters(EXIT_ITERATOR)
        .is_some_and(|found| found.get(position).is_some_and(|found| found == name));
    let (enumeration, name) = DCACHE_PAR_LOOKUP;
    let dcache_par_lookup = match btf.enumerator(enumeration, name) {
        Some(value) => value,
        None if btf.has_enumeration(enumeration) => {
            missing.push(format!("{enumeration}.{name}"));
            0
        }
        None => DCACHE_PAR_LOOKUP_MACRO,
    };
    let (structure, member) = misses::COUNTED_SINCE;
    Ok(Resolved {
        offsets: KernelOffsets::from_array(offsets),
        dcache_par_lookup,
        missing,
        absent,
        functions,
        exit_says_group_dead,
        are_probe_misses_counted: btf.member_offset(structure, member).is_some(),
    })
}

fn mismatch(btf: &Btf<'_>, signature: &Signature) -> Option<String> {
    let Some(found) = btf.parameters(signature.function) else {
        return Some("the kernel has no such function in its BTF".to_owned());
    };
    if let Some(arity) = signature.arity.filter(|arity| *arity != found.len()) {
        return Some(format!("it has {} arguments, expected {arity}", found.len()));
    }
    signature.parameters.iter().find_map(|(position, name)| match found.get(*position) {
        Some(actual) if actual == name => None,
        actual => Some(format!(
            "argument {position} is {}, expected {name}",
            actual.map_or("missing", String::as_str)
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::hooks;

    #[test]
    fn manifest_resolves_on_the_running_kernel() {
        let path = "/sys/kernel/btf/vmlinux";
        let Ok(bytes) = std::fs::read(path) else {
            eprintln!("skipped: {path} is not readable here");
            return;
        };
        let resolved = resolve(&bytes, &hooks::signatures().collect::<Vec<_>>()).unwrap();
        assert_eq!(resolved.missing, Vec::<String>::new());
        assert_eq!(resolved.functions, HashMap::new());
    }

    #[test]
    fn hostile_btf_is_an_error_and_never_a_panic() {
        let mut bytes =
            vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 1, 0, 0, 0];
        assert!(resolve(&bytes, &[]).is_err());
        assert!(resolve(b"", &[]).is_err());
        // A struct whose only member is of its own type, anonymous: a cycle.
        bytes.splice(12..16, 24u32.to_ne_bytes());
        bytes.splice(16..20, 24u32.to_ne_bytes());
        bytes.splice(20..24, 6u32.to_ne_bytes());
        for word in [1u32, 4 << 24 | 1, 8, 0, 1, 0] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(b"\0path\0");
        let resolved = resolve(&bytes, &[]).unwrap();
        assert!(resolved.missing.contains(&"path.mnt".to_owned()));
    }
}
