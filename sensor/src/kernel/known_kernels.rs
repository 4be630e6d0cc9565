//! The manifest against kernels that do not run here: their BTF, in a folder with a file for each release.

use std::collections::HashMap;
use std::env;
use std::fs;

use sensor_common::kernel_fields::{KERNEL_FIELDS, OFFSET_ABSENT};

use super::btf::Btf;
use super::hooks;
use super::offsets::{Resolved, resolve};

/// Names the folder.
const VARIABLE: &str = "SENSOR_TEST_BTF";
/// The kernels that must be there, by how their releases begin and end.
const EXPECTED: [(&str, &str); 4] =
    [("6.1.", "-cloud-amd64"), ("6.12.", "-cloud-amd64"), ("6.12.", "-amd64"), ("6.12.", "-rt-amd64")];

/// Releases and their BTF; `None`, said aloud, where there is no folder.
fn kernels() -> Option<Vec<(String, Vec<u8>)>> {
    let Some(folder) = env::var_os(VARIABLE) else {
        println!("skipped: {VARIABLE} names no folder with the BTF of kernels");
        return None;
    };
    let read =
        |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect();
    found.sort();
    Some(found)
}

fn resolved(bytes: &[u8]) -> Resolved {
    resolve(bytes, &hooks::signatures().collect::<Vec<_>>()).unwrap()
}

/// The offset that the manifest's member of this name came to.
fn offset(resolved: &Resolved, structure: &str, member: &str) -> Option<u32> {
    let at = KERNEL_FIELDS
        .iter()
        .position(|field| field.structure == structure && field.paths.contains(&member))
        .unwrap_or_else(|| panic!("no {structure}.{member} in the manifest"));
    let offsets: &[u8] = zerocopy::IntoBytes::as_bytes(&resolved.offsets);
    let (words, _) = offsets.as_chunks::<4>();
    Some(u32::from_ne_bytes(words[at])).filter(|offset| *offset != OFFSET_ABSENT)
}

#[test]
fn manifest_resolves_on_every_known_kernel() {
    let Some(kernels) = kernels() else { return };
    for (begin, end) in EXPECTED {
        // "-amd64" ends the names of all flavours.
        let is_it = |release: &str| {
            let version = release.strip_prefix(begin).and_then(|rest| rest.strip_suffix(end));
            version.is_some_and(|version| {
                !version.contains('-') || !version.ends_with("cloud") && !version.ends_with("rt")
            })
        };
        assert!(kernels.iter().any(|(release, _)| is_it(release)), "no BTF of {begin}*{end}");
    }
    for (release, bytes) in &kernels {
        let resolved = resolved(bytes);
        assert_eq!(resolved.missing, Vec::<String>::new(), "{release}");
        assert_eq!(resolved.functions, HashMap::new(), "{release}");
        // quick_threads came with 5.19, so none of these lacks anything.
        assert_eq!(resolved.absent, Vec::<String>::new(), "{release}");
    }
}

/// What was read from these kernels by other means.
#[test]
fn offsets_are_those_that_were_measured() {
    let Some(kernels) = kernels() else { return };
    for (release, bytes) in &kernels {
        let is_old = release.starts_with("6.1.");
        let resolved = resolved(bytes);
        let is = |structure, member, expected| {
            assert_eq!(
                offset(&resolved, structure, member),
                Some(expected),
                "{structure}.{member} on {release}"
            );
        };
        if release.ends_with("-rt-amd64") {
            // Its locks are larger: another layout of the same version.
            assert_ne!(offset(&resolved, "file", "f_path"), Some(64));
        } else {
            is("file", "f_path", if is_old { 16 } else { 64 });
        }
        is("mount", "mnt_parent", 16);
        is("mount", "mnt_mountpoint", 24);
        is("mount", "mnt", 32);
        is("renamedata", "old_dentry", 16);
        is("renamedata", "new_dentry", 40);
        if release.ends_with("-cloud-amd64") {
            is("task_struct", "tgid", if is_old { 2420 } else { 2436 });
        }
        assert!(!resolved.exit_says_group_dead, "since 6.16");
        assert_eq!(resolved.are_probe_misses_counted, !is_old, "since 6.7, not in {release}");
        let btf = Btf::parse(bytes, &["renamedata"].into()).unwrap();
        assert!(btf.member_offset("renamedata", "no_such_member").is_none());
    }
}

#[test]
fn offsets_of_6_18_are_those_that_were_measured() {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let bytes = match fs::read("/sys/kernel/btf/vmlinux") {
        Ok(bytes) if release.starts_with("6.18.") => bytes,
        _ => {
            println!("skipped: this host runs {release}, or without BTF");
            return;
        }
    };
    let resolved = resolved(&bytes);
    assert_eq!(resolved.missing, Vec::<String>::new());
    assert_eq!(resolved.functions, HashMap::new());
    assert_eq!(offset(&resolved, "file", "f_path"), Some(64));
    assert_eq!(offset(&resolved, "renamedata", "new_dentry"), Some(32));
    assert!(resolved.exit_says_group_dead && resolved.are_probe_misses_counted);
}
