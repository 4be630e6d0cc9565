//! Decoding: what valid records mean, and that no bytes make it panic.

use proptest::prelude::*;
use sensor_common::wire::{PathRef, RecordKind, Span, path_flags};

use super::synth::{self, ExecSpec, leaf_first};
use super::{DecodeError, Part, PathDoubt, Wire, WirePath, decode, exhaust};

fn task_view(path: &WirePath<'_>) -> String {
    let mut out = Vec::new();
    path.write_task_view(&mut out);
    String::from_utf8(out).unwrap()
}

fn namespace_view(path: &WirePath<'_>) -> String {
    let mut out = Vec::new();
    path.write_namespace_view(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn exec_yields_paths_and_arguments() {
    let task = synth::task(10, 5_000);
    let spec = ExecSpec {
        exe: "/usr/bin/dash",
        argv: &["/bin/sh", "", "./x.postinst"],
        filename: "./x.postinst",
        interp: "/bin/sh",
        cwd: "/var/lib",
        ..ExecSpec::default()
    };
    let bytes = synth::exec(&task, 1, &spec);
    let Ok(Wire::Exec(exec)) = decode(&bytes) else { panic!("not an exec") };
    assert_eq!(task_view(&exec.exe), "/usr/bin/dash");
    assert_eq!(task_view(&exec.cwd), "/var/lib");
    assert_eq!(exec.filename, Some(b"./x.postinst".as_slice()));
    assert_eq!(exec.argv, b"/bin/sh\0\0./x.postinst\0");
    let mut cgroup = Vec::new();
    exec.write_cgroup(&mut cgroup);
    assert_eq!(cgroup, b"/user.slice/user-0.slice/session-1.scope");
}

#[test]
fn a_chrooted_task_has_two_views_of_a_file() {
    let bytes = synth::create(&synth::task(10, 5_000), 1, "/apt.conf.d/99evil", "/etc/apt");
    let Ok(Wire::File(file)) = decode(&bytes) else { panic!("not a file") };
    assert!(file.path.views_differ());
    assert_eq!(task_view(&file.path), "/apt.conf.d/99evil");
    assert_eq!(namespace_view(&file.path), "/etc/apt/apt.conf.d/99evil");
    assert!(file.old_path.is_none());
}

#[test]
fn the_root_directory_is_a_slash() {
    let flags = path_flags::REACHED_TASK_ROOT | path_flags::REACHED_NS_ROOT;
    let root = WirePath::new(Part::Cwd, PathRef { flags, ..PathRef::default() }, &[], &[]).unwrap();
    assert!(root.is_known());
    assert_eq!(task_view(&root), "/");
    assert!(!WirePath::new(Part::Cwd, PathRef::default(), &[], &[]).unwrap().is_known());
}

#[test]
fn a_task_root_that_was_not_seen_leaves_the_namespace_view() {
    let components = leaf_first("/srv/data/x");
    let reference = PathRef { flags: path_flags::REACHED_NS_ROOT, ..PathRef::default() };
    let path = WirePath::new(Part::Path, reference, &components, &[]).unwrap();
    assert_eq!(task_view(&path), "/srv/data/x");
    assert!(!path.views_differ());
}

#[test]
fn doubts_are_named() {
    let flags = path_flags::TORN | path_flags::NO_MOUNT | path_flags::UNLINKED;
    let path = WirePath::new(Part::Path, PathRef { flags, ..PathRef::default() }, b"x\0", &[]).unwrap();
    assert_eq!(path.doubts().collect::<Vec<_>>(), [PathDoubt::Torn, PathDoubt::NoMount]);
    assert!(path.is_unlinked());
}

#[test]
fn errors_name_what_was_needed_and_what_was_there() {
    let good = synth::create(&synth::task(1, 1), 1, "/a", "/");
    assert_eq!(decode(&good[..40]).unwrap_err().to_string(), "record header: needs 144 bytes, got 40",);
    assert_eq!(
        decode(&good[..241]).unwrap_err(),
        DecodeError::Short { what: Part::Header, needed: 242, got: 241 },
    );
    let mut kind = good.clone();
    kind[..2].copy_from_slice(&99_u16.to_ne_bytes());
    assert_eq!(decode(&kind).unwrap_err().to_string(), "record kind: needs 1 to 10, got 99");
    let mut short = good.clone();
    short[4..8].copy_from_slice(&150_u32.to_ne_bytes());
    assert_eq!(decode(&short).unwrap_err(), DecodeError::Length { what: Part::File, needed: 240, got: 150 },);
    let mut unterminated = good;
    *unterminated.last_mut().unwrap() = b'b';
    assert_eq!(decode(&unterminated).unwrap_err(), DecodeError::Unterminated { what: Part::Path, got: b'b' },);
}

#[test]
fn root_bytes_must_end_a_component() {
    let reference = PathRef { span: Span { offset: 0, len: 5 }, root_bytes: 1, ..PathRef::default() };
    assert_eq!(
        WirePath::new(Part::Path, reference, b"ab\0c\0", &[]).unwrap_err(),
        DecodeError::Boundary { what: Part::Path, needed: 5, got: 1 },
    );
}

#[test]
fn a_component_that_changed_while_it_was_read_makes_the_path_doubtful_and_no_error() {
    let path = WirePath::new(Part::Path, PathRef::default(), b"leaf\0\0\0top\0", &[]).unwrap();
    assert_eq!(path.doubts().collect::<Vec<_>>(), [PathDoubt::Torn]);
    let mut out = Vec::new();
    path.write_namespace_view(&mut out);
    assert_eq!(out, b"/top/leaf");
}

#[test]
fn a_slot_longer_than_its_record_is_fine() {
    let mut bytes = synth::exit(&synth::task(10, 5_000), 1, 0);
    bytes.resize(512, 0xaa);
    assert!(matches!(decode(&bytes), Ok(Wire::Exit(_))));
}

fn valid_record() -> impl Strategy<Value = Vec<u8>> {
    let task = synth::task(10, 5_000);
    prop_oneof![
        Just(synth::create(&task, 1, "/etc/apt/apt.conf.d/99evil", "/srv/root")),
        Just(synth::rename(&task, 1, "/tmp/x", "/etc/apt/apt.conf.d/99evil")),
        Just(synth::rename_beside(&task, 1, "99evil.dpkg-new", "/etc/apt/apt.conf.d/99evil", "/srv/root")),
        Just(synth::exec(&task, 1, &ExecSpec::default())),
        Just(synth::script(&task, 1, "/tmp/x.sh")),
        Just(synth::fork(&task, &synth::child_of(&task, 11, 6_000), 1)),
        Just(synth::exit(&task, 1, 256)),
    ]
}

#[test]
fn a_name_beside_another_takes_its_place_in_every_view() {
    let old = |bytes: &[u8]| {
        let Ok(Wire::File(file)) = decode(bytes) else { panic!("not a file") };
        let old = file.old_path.unwrap();
        let mut within = Vec::new();
        assert!(old.write_within_file_system(&mut within));
        (task_view(&old), namespace_view(&old), String::from_utf8(within).unwrap())
    };
    let task = synth::task(1, 1);
    let bytes = synth::rename_beside(&task, 1, "x.dpkg-new", "/etc/apt/apt.conf.d/x", "/srv/root");
    let whole = "/srv/root/etc/apt/apt.conf.d/x.dpkg-new".to_owned();
    assert_eq!(old(&bytes), ("/etc/apt/apt.conf.d/x.dpkg-new".to_owned(), whole.clone(), whole));
    let at_the_root = synth::rename_beside(&task, 1, "before", "/after", "/");
    assert_eq!(old(&at_the_root), ("/before".to_owned(), "/before".to_owned(), "/before".to_owned()));
    // The same as if the whole path had been sent.
    let whole = synth::rename(&task, 1, "/a/b/old", "/a/b/new");
    assert_eq!(old(&whole), old(&synth::rename_beside(&task, 1, "old", "/a/b/new", "/")));
}

#[test]
fn a_name_beside_another_is_checked_like_one_of_a_path() {
    let bytes = synth::rename_beside(&synth::task(1, 1), 1, "sh\0rt", "/etc/x", "/");
    let Ok(Wire::File(file)) = decode(&bytes) else { panic!("not a file") };
    let old = file.old_path.unwrap();
    assert_eq!(task_view(&old), "/etc/sh");
    assert!(old.doubts().any(|doubt| doubt == PathDoubt::Torn));
    assert!(!file.path.doubts().any(|doubt| doubt == PathDoubt::Torn));
    let mut cut = bytes;
    let last = cut.len() - 1;
    cut[last] = b'x';
    assert!(matches!(decode(&cut), Err(DecodeError::Unterminated { what: Part::OldPath, got: b'x' })));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        exhaust(&bytes);
    }

    #[test]
    fn random_bytes_behind_a_plausible_header_never_panic(
        kind in 0..8_u16,
        mut bytes in prop::collection::vec(any::<u8>(), 8..600),
    ) {
        bytes[..2].copy_from_slice(&kind.to_ne_bytes());
        let len = u32::try_from(bytes.len()).unwrap();
        bytes[4..8].copy_from_slice(&len.to_ne_bytes());
        exhaust(&bytes);
    }

    #[test]
    fn mutated_records_never_panic(
        mut bytes in valid_record(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        keep in any::<prop::sample::Index>(),
    ) {
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        exhaust(&bytes);
        bytes.truncate(keep.index(bytes.len()) + 1);
        exhaust(&bytes);
    }

    #[test]
    fn valid_records_decode(bytes in valid_record()) {
        let wire = decode(&bytes).unwrap();
        prop_assert!(RecordKind::from_raw(wire.header().kind).is_some());
    }

    #[test]
    fn any_path_survives_the_walk(names in prop::collection::vec("[a-z.]{1,20}", 0..12), split in 0..12_usize) {
        let split = split.min(names.len());
        let below = format!("/{}", names[split..].join("/"));
        let root = format!("/{}", names[..split].join("/"));
        let bytes = synth::create(&synth::task(1, 1), 1, &below, &root);
        let Ok(Wire::File(file)) = decode(&bytes) else { panic!("not a file") };
        prop_assert_eq!(task_view(&file.path), below);
        prop_assert_eq!(namespace_view(&file.path), format!("/{}", names.join("/")));
    }

    #[test]
    fn components_are_written_as_they_are_read(components in prop::collection::vec(0..3_u8, 0..60)) {
        let mut components: Vec<u8> = components.into_iter().map(|kind| [0, b'a', 0xff][kind as usize]).collect();
        components.push(0);
        let names = || components.split(|byte| *byte == 0);
        let empty = names().rev().skip(1).any(<[u8]>::is_empty);
        let path = WirePath::new(Part::Path, PathRef::default(), &components, &[]).unwrap();
        prop_assert_eq!(path.doubts().any(|doubt| doubt == PathDoubt::Torn), empty);
        let mut expected = b"before".to_vec();
        names().rev().filter(|name| !name.is_empty()).for_each(|name| expected.extend([b"/", name].concat()));
        if expected.len() == b"before".len() {
            expected.push(b'/');
        }
        let mut out = b"before".to_vec();
        path.write_namespace_view(&mut out);
        prop_assert_eq!(out, expected);
    }
}
