//! Every operation on every file system: one event each, after success, with the right action, names and kind of file.
//! The table in docs/coverage.md names these tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::tests;
use crate::ctx::{ACTOR, Ctx, Mount, act, ok};
use crate::doc::Doc;
use crate::runner::Outcome;
use crate::sensor::{Run, Sensor};

tests![
    every_operation_on_tmpfs,
    every_operation_on_ext4,
    every_operation_on_xfs,
    every_operation_on_btrfs,
    every_operation_on_an_overlay,
    every_operation_below_a_bind_mount,
    every_operation_in_a_chroot,
    every_operation_in_a_mount_namespace,
    every_operation_through_io_uring,
    every_operation_through_io_uring_on_an_overlay,
    kernel_thread_is_seen_by_way_of_the_file_system,
];

/// What an operation of the actor must give: the name that the event is about, and the rest of it.
struct Expected {
    /// As the actor says it.
    operation: &'static str,
    name: &'static str,
    action: &'static str,
    kind: &'static str,
    /// `file.Ext.operation`
    how: &'static str,
    /// Another field, and its value; a name in the directory if it begins with `./`.
    more: &'static [(&'static str, &'static str)],
}

const fn made(operation: &'static str, kind: &'static str, how: &'static str) -> Expected {
    Expected { operation, name: operation, action: "creation", kind, how, more: &[] }
}

const fn moved(
    operation: &'static str,
    name: &'static str,
    kind: &'static str,
    how: &'static str,
    more: &'static [(&'static str, &'static str)],
) -> Expected {
    Expected { operation, name, action: "rename", kind, how, more }
}

const fn gone(
    operation: &'static str,
    name: &'static str,
    kind: &'static str,
    how: &'static str,
) -> Expected {
    Expected { operation, name, action: "deletion", kind, how, more: &[] }
}

const TARGET: &[(&str, &str)] = &[("file.target_path", "no/such target")];
const LINKED: &[(&str, &str)] = &[("file.Ext.linked_path", "./open")];
const ORIGINAL: &str = "file.Ext.original.path";

const BY_CALLS: &[Expected] = &[
    made("open", "file", "open"),
    made("creat", "file", "open"),
    made("openat", "file", "open"),
    made("openat2", "file", "open"),
    made("mknod", "file", "mknod"),
    made("fifo", "fifo", "mknod"),
    made("socket", "socket", "mknod"),
    made("device", "char_device", "mknod"),
    made("mkdir", "dir", "mkdir"),
    Expected { more: TARGET, ..made("symlink", "symlink", "symlink") },
    Expected { more: LINKED, ..made("link", "file", "link") },
    made("tmpfile", "file", "tmpfile"),
    moved("rename", "renamed", "file", "rename", &[(ORIGINAL, "./openat")]),
    moved("noreplace", "moved", "file", "rename", &[(ORIGINAL, "./renamed")]),
    moved("exchange", "openat2", "file", "exchange", &[(ORIGINAL, "./creat")]),
    moved("exchange", "creat", "file", "exchange", &[(ORIGINAL, "./openat2")]),
    moved("whiteout", "whited", "file", "rename", &[(ORIGINAL, "./mknod")]),
    moved("rename-dir", "moved-dir", "dir", "rename", &[(ORIGINAL, "./mkdir")]),
    gone("unlink", "link", "file", "unlink"),
    gone("rmdir", "moved-dir", "dir", "rmdir"),
];

const BY_RING: &[Expected] = &[
    made("open", "file", "open"),
    made("mkdir", "dir", "mkdir"),
    Expected { more: TARGET, ..made("symlink", "symlink", "symlink") },
    Expected { more: LINKED, ..made("link", "file", "link") },
    moved("rename", "renamed", "file", "rename", &[(ORIGINAL, "./open")]),
    gone("unlink", "link", "file", "unlink"),
    gone("rmdir", "mkdir", "dir", "rmdir"),
];

/// The operations that the actor says it did.
fn done(said: &str) -> BTreeSet<String> {
    said.lines().filter_map(|line| line.strip_suffix(" done")).map(str::to_owned).collect()
}

/// Compares the events below `dir`, as the actor calls it, with what the table wants for what was done: each once, in
/// this order, and no other.
fn check(run: &Run, dir: &str, table: &[Expected], said: &str, actor: &str) -> Result<()> {
    let done = done(said);
    let wanted: Vec<&Expected> = table.iter().filter(|expected| done.contains(expected.operation)).collect();
    ensure!(wanted.len() + 2 >= table.len(), "too much was not done: {said}");
    let found = run.files(&format!("{dir}/"));
    for (expected, event) in wanted.iter().zip(&found) {
        let path = format!("{dir}/{}", expected.name);
        let fields = [
            ("file.path", path.as_str()),
            ("event.action", expected.action),
            ("file.type", expected.kind),
            ("file.Ext.operation", expected.how),
            ("event.outcome", "success"),
            ("process.executable", actor),
        ];
        event.expect(&fields).with_context(|| format!("at {}", expected.operation))?;
        event.expect_absent(&["file.Ext.path_incomplete"])?;
        if expected.action != "rename" {
            event.expect_absent(&[ORIGINAL])?;
        }
        for (field, value) in expected.more {
            let value =
                value.strip_prefix('.').map_or_else(|| (*value).to_owned(), |name| format!("{dir}{name}"));
            event.expect(&[(field, &value)])?;
        }
    }
    ensure!(found.len() == wanted.len(), "wanted {} events, got {}", wanted.len(), run.show(&found));
    Ok(())
}

/// Does everything in `dir` and checks it.
fn all_in(ctx: &Ctx, dir: &Path) -> Result<Outcome> {
    let dir = dir.display().to_string();
    let sensor = Sensor::start_seeing_all(ctx)?;
    let said = ok(&mut act(&["operations", &dir]))?.stdout;
    check(&sensor.stop()?, &dir, BY_CALLS, &said, ACTOR)?;
    Ok(Outcome::Passed)
}

fn every_operation_on_tmpfs(ctx: &Ctx) -> Result<Outcome> {
    let dir = ctx.dir("tmpfs")?;
    let _mount = Mount::new("tmpfs", "", "tmpfs", &dir)?;
    all_in(ctx, &dir)
}

/// Makes a file system on a loop device. The image lies in memory, sparse.
fn on_disk(ctx: &Ctx, kind: &str, make: &str, options: &[&str], megabytes: u64) -> Result<Outcome> {
    if !Path::new(make).exists() {
        return Ok(Outcome::Skipped(format!("{make} did not come with the machine")));
    }
    // The checksums that file systems ask the kernel for by name, so that no module says that it needs them.
    for module in ["loop", "crc32c_generic", kind] {
        ok(Command::new("/usr/sbin/load-module").arg(module))?;
    }
    let image = ctx.scratch().join("image");
    fs::File::create(&image)?.set_len(megabytes << 20)?;
    ok(Command::new(make).args(options).arg(&image))?;
    let dir = ctx.dir("mounted")?;
    let mount = Mount::new(kind, "loop", &image.display().to_string(), &dir)?;
    let below = dir.join("below");
    fs::create_dir(&below)?;
    let outcome = all_in(ctx, &below);
    drop(mount);
    fs::remove_file(&image)?;
    outcome
}

fn every_operation_on_ext4(ctx: &Ctx) -> Result<Outcome> {
    on_disk(ctx, "ext4", "/usr/sbin/mke2fs", &["-q", "-F", "-t", "ext4", "-O", "^has_journal"], 8)
}

fn every_operation_on_xfs(ctx: &Ctx) -> Result<Outcome> {
    on_disk(ctx, "xfs", "/usr/sbin/mkfs.xfs", &["-q", "-f"], 320)
}

fn every_operation_on_btrfs(ctx: &Ctx) -> Result<Outcome> {
    on_disk(ctx, "btrfs", "/usr/sbin/mkfs.btrfs", &["-q", "-f"], 120)
}

fn overlay(ctx: &Ctx) -> Result<(Mount, PathBuf)> {
    let (lower, upper) = (ctx.dir("lower")?, ctx.dir("upper")?);
    let (work, merged) = (ctx.dir("work")?, ctx.dir("merged")?);
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    Ok((Mount::new("overlay", &options, "overlay", &merged)?, merged))
}

fn every_operation_on_an_overlay(ctx: &Ctx) -> Result<Outcome> {
    let (_mount, merged) = overlay(ctx)?;
    all_in(ctx, &merged)
}

fn every_operation_below_a_bind_mount(ctx: &Ctx) -> Result<Outcome> {
    let (from, to) = (ctx.dir("from/deep")?, ctx.dir("to")?);
    let _mount = Mount::bind(&from, &to)?;
    all_in(ctx, &to)
}

/// Copies the actor with its libraries below `root`, and what it needs of `/proc`.
fn with_actor(root: &Path) -> Result<Mount> {
    fs::create_dir_all(root.join("usr/bin"))?;
    fs::create_dir_all(root.join("proc"))?;
    fs::create_dir_all(root.join("inside"))?;
    fs::copy(ACTOR, root.join("usr/bin/actor"))?;
    ok(Command::new("/usr/bin/cp").args(["-a", "/usr/lib", "/usr/lib64"]).arg(root.join("usr")))?;
    for name in ["lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name))?;
    }
    Mount::new("proc", "", "proc", &root.join("proc"))
}

fn every_operation_in_a_chroot(ctx: &Ctx) -> Result<Outcome> {
    let root = ctx.dir("root")?;
    let _proc = with_actor(&root)?;
    let sensor = Sensor::start_seeing_all(ctx)?;
    let mut command = Command::new("/usr/bin/chroot");
    let said = ok(command.arg(&root).args(["/usr/bin/actor", "act", "operations", "/inside"]))?.stdout;
    let run = sensor.stop()?;
    check(&run, "/inside", BY_CALLS, &said, "/usr/bin/actor")?;
    let host = |doc: &&Doc| doc.text("file.Ext.host_path").is_some_and(|path| path.contains("/root/inside/"));
    ensure!(run.files("/inside/").iter().all(host), "without the path above the chroot");
    fs::remove_dir_all(root.join("usr"))?;
    Ok(Outcome::Passed)
}

fn every_operation_in_a_mount_namespace(ctx: &Ctx) -> Result<Outcome> {
    let root = ctx.dir("root")?;
    let _mount = Mount::new("tmpfs", "", "container", &root)?;
    crate::ctx::container_root(&root)?;
    let _proc = with_actor(&root)?;
    let sensor = Sensor::start_seeing_all(ctx)?;
    let mut command = Command::new("/usr/bin/unshare");
    let script = format!(
        "cd '{}' && mount --make-rprivate / && pivot_root . old && cd / && umount -l /old && \
         exec /usr/bin/actor act operations /inside",
        root.display()
    );
    let said = ok(command.args(["-m", "sh", "-c", &script]))?.stdout;
    let run = sensor.stop()?;
    check(&run, "/inside", BY_CALLS, &said, "/usr/bin/actor")?;
    let by_mount = format!("{}/inside/", root.display());
    let host =
        |doc: &&Doc| doc.text("file.Ext.file_system_path").is_some_and(|path| path.starts_with(&by_mount));
    let files = run.files("/inside/");
    ensure!(files.iter().all(host), "without the host's path: {}", run.show(&files));
    Ok(Outcome::Passed)
}

fn by_ring(ctx: &Ctx, dir: &Path) -> Result<Outcome> {
    let dir = dir.display().to_string();
    let sensor = Sensor::start_seeing_all(ctx)?;
    let mut child = act(&["ring-operations", &dir]);
    let said = ok(&mut child)?.stdout;
    let run = sensor.stop()?;
    check(&run, &dir, BY_RING, &said, ACTOR)?;
    // A worker thread is the process's own; its name must not stand for it.
    for doc in run.files(&format!("{dir}/")) {
        doc.expect(&[("process.command_line", &format!("{ACTOR} act ring-operations {dir}"))])?;
    }
    Ok(Outcome::Passed)
}

fn every_operation_through_io_uring(ctx: &Ctx) -> Result<Outcome> {
    by_ring(ctx, &ctx.dir("ring")?)
}

fn every_operation_through_io_uring_on_an_overlay(ctx: &Ctx) -> Result<Outcome> {
    let (_mount, merged) = overlay(ctx)?;
    by_ring(ctx, &merged)
}

/// The kernel itself makes the nodes of devices, in a mount that no process has.
fn kernel_thread_is_seen_by_way_of_the_file_system(ctx: &Ctx) -> Result<Outcome> {
    ok(Command::new("/usr/sbin/load-module").arg("loop"))?;
    ensure!(!Path::new("/dev/loop77").exists(), "the device is there already");
    let sensor = Sensor::start_seeing_all(ctx)?;
    ok(&mut act(&["add-loop", "77"]))?;
    ensure!(Path::new("/dev/loop77").exists(), "the kernel made no device");
    let run = sensor.stop()?;
    let named = |doc: &&&Doc| doc.is("file.name", "loop77") && doc.is("file.type", "block_device");
    let all = run.files("/");
    let found: Vec<&&Doc> = all.iter().filter(named).collect();
    let [event] = found.as_slice() else { anyhow::bail!("wanted one event, got {}", run.show(&all)) };
    event.expect(&[
        ("event.action", "creation"),
        ("file.Ext.operation", "mknod"),
        ("file.Ext.file_system_path", "/dev/loop77"),
        ("file.Ext.path_incomplete", "true"),
    ])?;
    event.expect_absent(&["process.executable"])?;
    Ok(Outcome::Passed)
}
