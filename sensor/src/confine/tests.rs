//! Confinement tried on this kernel, in threads that end with the test.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use super::*;

/// What came of the work, and how its thread was confined.
fn inside<T: Send>(role: &Role, work: impl FnOnce() -> T + Send) -> (State, T) {
    thread::scope(|scope| {
        let confined = scope.spawn(|| {
            rustix::thread::set_no_new_privs(true).unwrap();
            let (state, failures) = apply(role);
            assert!(failures.is_empty(), "{failures:?}");
            assert!(state.no_new_privs && state.seccomp, "{state}");
            (state, work())
        });
        confined.join().unwrap()
    })
}

fn errno<T>(done: io::Result<T>) -> Option<i32> {
    done.err().and_then(|error| error.raw_os_error())
}

fn has_landlock() -> bool {
    let has = inside(&Role::Answer, || ()).0.landlock != Landlock::Missing;
    if !has {
        println!("skipped: this kernel has no Landlock");
    }
    has
}

fn run(path: &Path) -> io::Result<bool> {
    Ok(Command::new(path).status()?.success())
}

fn program() -> PathBuf {
    let candidates = ["/bin/true", "/usr/bin/true"].map(Path::new);
    candidates.into_iter().find(|path| path.exists()).unwrap().canonicalize().unwrap()
}

#[test]
fn a_watcher_reads_and_starts_threads_but_no_program() {
    inside(&Role::Watch, || {
        let state = State::of_this_thread(Landlock::NotAsked);
        let kept = state.capabilities.iter().all(|name| name == "SYS_PTRACE" || name == "DAC_READ_SEARCH");
        assert!(kept, "{state}");
        assert!(!fs::read("/proc/self/status").unwrap().is_empty());
        assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(errno(run(&program())), Some(libc::EPERM));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::sleep(std::time::Duration::from_millis(1)).await });
    });
    // The thread that started it is as free as before.
    assert!(run(&program()).unwrap());
}

#[test]
fn a_writer_works_in_its_directories_alone() {
    if !has_landlock() {
        return;
    }
    let (ours, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(other.path().join("there"), "x").unwrap();
    inside(&Role::Write(vec![ours.path().to_owned()]), || {
        fs::write(ours.path().join("new"), "x").unwrap();
        fs::rename(ours.path().join("new"), ours.path().join("old")).unwrap();
        assert_eq!(errno(fs::write(other.path().join("new"), "x")), Some(libc::EACCES));
        assert_eq!(errno(fs::read(other.path().join("there"))), Some(libc::EACCES));
        assert_eq!(errno(run(&program())), Some(libc::EPERM));
        assert_eq!(errno(UnixDatagram::unbound()), Some(libc::EPERM));
    });
}

#[test]
fn who_tells_and_who_answers_opens_no_file() {
    if !has_landlock() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (heard, asked) = (folder.path().join("heard"), folder.path().join("asked"));
    let ear = UnixDatagram::bind(&heard).unwrap();
    inside(&Role::Tell, || {
        UnixDatagram::unbound().unwrap().send_to(b"alert", &heard).unwrap();
        assert_eq!(errno(TcpStream::connect(("127.0.0.1", 9))), Some(libc::EPERM));
        assert_eq!(errno(fs::read(folder.path().join("heard"))), Some(libc::EACCES));
    });
    assert_eq!(ear.recv(&mut [0; 16]).unwrap(), 5);
    let listener = UnixListener::bind(&asked).unwrap();
    let _asker = UnixStream::connect(&asked).unwrap();
    inside(&Role::Answer, || {
        listener.accept().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        drop(runtime);
        assert_eq!(errno(UnixStream::connect(&asked)), Some(libc::EPERM));
        assert_eq!(errno(fs::read("/etc/passwd")), Some(libc::EACCES));
        assert_eq!(State::of_this_thread(Landlock::NotAsked).capabilities, [""; 0]);
    });
}

#[test]
fn a_sender_finds_addresses_and_connects_and_writes_its_spool() {
    if !has_landlock() {
        return;
    }
    let (spool, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (state, ()) = inside(&Role::Send(vec![spool.path().to_owned()]), || {
        TcpStream::connect(("localhost", port)).unwrap();
        fs::write(spool.path().join("position"), "x").unwrap();
        assert_eq!(errno(fs::write(other.path().join("new"), "x")), Some(libc::EACCES));
        assert_eq!(errno(fs::read("/proc/self/status")), Some(libc::EACCES));
        assert_eq!(errno(run(&program())), Some(libc::EPERM));
    });
    if matches!(state.landlock, Landlock::Version(4..)) {
        let bound = inside(&Role::Send(Vec::new()), || errno(TcpListener::bind("127.0.0.1:0"))).1;
        assert_eq!(bound, Some(libc::EACCES));
    }
}

#[test]
fn the_store_starts_its_program_and_no_other() {
    if !has_landlock() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let program = program();
    inside(&Role::Store { root: root.path().to_owned(), program: Some(program.clone()) }, || {
        assert!(run(&program).unwrap());
        assert!(run(Path::new("/bin/sh")).is_err());
        fs::write(root.path().join("segment"), "x").unwrap();
    });
}

#[test]
fn who_reloads_reads_anything_and_writes_what_rules_remember() {
    if !has_landlock() {
        return;
    }
    let (state, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(other.path().join("rule.toml"), "x").unwrap();
    let program = program();
    let role = Role::Reload { state_directory: state.path().to_owned(), program: Some(program.clone()) };
    inside(&role, || {
        fs::read(other.path().join("rule.toml")).unwrap();
        assert!(run(&program).unwrap());
        assert!(run(Path::new("/bin/sh")).is_err());
        assert_eq!(errno(fs::write(other.path().join("rule.toml"), "y")), Some(libc::EACCES));
        // As the keeper of what rules remember does, in a thread of its own.
        inside(&Role::Write(vec![state.path().to_owned()]), || {
            fs::write(state.path().join("terms"), "x").unwrap();
            assert!(run(&program).is_err());
        });
    });
}

#[test]
fn who_notices_edits_reads_anything_and_changes_nothing() {
    if !has_landlock() {
        return;
    }
    let other = tempfile::tempdir().unwrap();
    let rule = other.path().join("rule.toml");
    fs::write(&rule, "x").unwrap();
    inside(&Role::Edits, || {
        use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
        assert_eq!(fs::read(&rule).unwrap(), b"x");
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
        add_watch(init(CreateFlags::CLOEXEC).unwrap(), other.path(), WatchFlags::CREATE).unwrap();
        assert_eq!(errno(fs::write(&rule, "y")), Some(libc::EACCES));
        assert_eq!(errno(run(&program())), Some(libc::EPERM));
        assert_eq!(errno(UnixDatagram::unbound()), Some(libc::EPERM));
    });
}

#[test]
fn who_looks_starts_a_program_and_sees_other_processes() {
    let (state, ()) = inside(&Role::Look, || {
        assert!(run(&program()).unwrap());
        let own = std::process::id();
        assert!(fs::read_link(format!("/proc/{own}/exe")).is_ok());
        // Of nothing: otherwise it would be another error.
        let unmounted = rustix::mount::unmount("/nonexistent/sensor", rustix::mount::UnmountFlags::NOFOLLOW);
        assert_eq!(unmounted, Err(rustix::io::Errno::PERM));
    });
    assert_eq!(state.landlock, Landlock::NotAsked);
}

#[test]
fn what_is_forbidden_is_tried_and_refused() {
    let has_landlock = has_landlock();
    let ([watcher, writer], attempts) = attempts();
    assert!(watcher.seccomp && writer.seccomp && attempts.len() == 8, "{watcher} {writer} {attempts:?}");
    for attempt in attempts {
        let by_landlock = attempt.what.contains("elsewhere");
        assert!(attempt.is_refused || (by_landlock && !has_landlock), "{attempt:?}");
    }
}

#[test]
fn nothing_happens_to_a_process_that_is_no_running_sensor() {
    thread::spawn(|| {
        let before = State::of_this_thread(Landlock::NotAsked);
        thread(&Role::Watch);
        assert_eq!(State::of_this_thread(Landlock::NotAsked), before);
        assert_eq!(done(), Confinement::default());
    })
    .join()
    .unwrap();
}
