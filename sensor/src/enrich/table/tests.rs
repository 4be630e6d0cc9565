//! Who stays in the table, and who goes first.

use super::*;
use sensor_ecs::Process;

const SECOND: u64 = 1_000_000_000;

fn entry(pid: u32, links: Links) -> Entry {
    Entry { links, ..Entry::new(Process::new(pid, Arc::from(format!("id-{pid}").into_bytes()))) }
}

fn key(pid: u32) -> Key {
    Key::at_ticks(pid, u64::from(pid))
}

fn table_of(pids: &[u32]) -> Table {
    let mut table = Table::new(1 << 20);
    for &pid in pids {
        table.insert(key(pid), entry(pid, Links::default()), 0);
    }
    table
}

#[test]
fn the_dead_stay_for_the_grace_period() {
    let mut table = table_of(&[5]);
    table.end(key(5), SECOND);
    table.expire(SECOND + GRACE_NS - 1);
    assert!(table.contains(key(5)));
    table.expire(SECOND + GRACE_NS);
    assert!(!table.contains(key(5)) && table.latest(5).is_none());
    assert_eq!(table.bytes, 0);
}

#[test]
fn the_dead_stay_while_a_child_refers_to_them() {
    let mut table = table_of(&[5]);
    table.insert(key(6), entry(6, Links { creator: Some(key(5)), ..Links::default() }), 0);
    table.end(key(5), SECOND);
    table.expire(10 * SECOND);
    assert!(table.contains(key(5)));
    table.end(key(6), 20 * SECOND);
    table.expire(40 * SECOND);
    assert_eq!((table.len(), table.bytes), (0, 0));
}

#[test]
fn another_parent_releases_the_first() {
    let mut table = table_of(&[1, 5]);
    table.insert(key(6), entry(6, Links { parent: Some(key(5)), ..Links::default() }), 0);
    table.end(key(5), SECOND);
    table.expire(10 * SECOND);
    assert!(table.contains(key(5)));
    table.set_links(key(6), Links { parent: Some(key(1)), ..Links::default() });
    assert!(!table.contains(key(5)) && table.contains(key(1)));
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut table = table_of(&[5]);
    let next = Key::at_ticks(5, 900);
    table.insert(next, entry(5, Links::default()), 0);
    assert_eq!(table.latest(5), Some(next));
    table.end(key(5), SECOND);
    table.expire(10 * SECOND);
    assert_eq!(table.latest(5), Some(next));
    assert_eq!(table.len(), 1);
}

#[test]
fn missed_ends_are_noticed() {
    let mut table = table_of(&[5, 6]);
    table.get_hidden_mut(key(6)).unwrap().seen_ns = 90 * SECOND;
    table.sweep(&[1, 2], 100 * SECOND, 60 * SECOND);
    assert!(table.get(key(5)).unwrap().has_ended() && !table.get(key(6)).unwrap().has_ended());
    table.insert(Key::at_ticks(6, 900), entry(6, Links::default()), 100 * SECOND);
    assert!(table.get(key(6)).unwrap().has_ended());
}

#[test]
fn under_pressure_the_dead_go_first_and_then_the_silent() {
    let each = entry(1, Links::default()).own_bytes() + image_bytes_if_sole(&Arc::default());
    let mut table = Table::new(each * 17);
    for pid in 1..=16 {
        table.insert(key(pid), entry(pid, Links::default()), u64::from(pid));
    }
    table.end(key(9), 17);
    table.get_hidden_mut(key(1)).unwrap().seen_ns = 100;
    for pid in 17..=18 {
        table.insert(key(pid), entry(pid, Links::default()), u64::from(pid));
    }
    assert!(!table.contains(key(9)), "the dead one goes first");
    assert!(table.contains(key(1)), "who spoke last stays");
    assert!(!table.contains(key(2)), "the silent go");
    assert!(table.contains(key(18)) && table.bytes <= table.bytes_max);
    assert!(table.evicted() > 0);
}

#[test]
fn a_shared_image_is_counted_once() {
    let mut table = table_of(&[5, 6]);
    let before = table.bytes;
    let image = Arc::new(Image {
        executable: Some(sensor_ecs::Executable::new(b"/usr/bin/true".as_slice())),
        ..Image::default()
    });
    table.set_image(key(5), image);
    let shared = table.get(key(5)).map(|entry| Arc::clone(&entry.process.image)).unwrap();
    table.set_image(key(6), shared);
    let none = || Arc::new(Image::default());
    table.set_image(key(5), none());
    table.set_image(key(6), none());
    assert_eq!(table.bytes, before);
}
