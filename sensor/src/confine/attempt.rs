//! Trying from inside what must not work any more.

use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;

use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use super::{Landlock, Role, State, apply};

/// Something forbidden, and what came of it.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) what: &'static str,
    /// An error is what there ought to be.
    pub(crate) outcome: io::Result<()>,
    /// Whether the error is one that confinement gives.
    pub(crate) is_refused: bool,
}

/// In confined threads of their own, which are gone afterwards; with how those that watch and those that write were
/// confined.
pub(crate) fn attempts() -> ([State; 2], Vec<Attempt>) {
    let inside = |role: Role, tries: fn() -> Vec<Attempt>| {
        let confined = move || {
            let _ = rustix::thread::set_no_new_privs(true);
            (apply(&role).0, tries())
        };
        let none = || (State::of_this_thread(Landlock::Missing), Vec::new());
        thread::scope(|scope| scope.spawn(confined).join().unwrap_or_else(|_| none()))
    };
    let (watcher, mut all) = inside(Role::Watch, watching);
    let (writer, of_writer) = inside(Role::Write(Vec::new()), writing);
    all.extend(of_writer);
    ([watcher, writer], all)
}

fn attempt<T>(what: &'static str, outcome: io::Result<T>) -> Attempt {
    let is_refused = outcome
        .as_ref()
        .err()
        .and_then(Errno::from_io_error)
        .is_some_and(|errno| errno == Errno::PERM || errno == Errno::ACCESS);
    Attempt { what, outcome: outcome.map(drop), is_refused }
}

fn watching() -> Vec<Attempt> {
    // An address family that root may use otherwise.
    let packets = rustix::net::socket(rustix::net::AddressFamily::PACKET, rustix::net::SocketType::RAW, None);
    // Of nothing: without confinement, it is another error.
    let mount = rustix::mount::unmount("/nonexistent/sensor", rustix::mount::UnmountFlags::NOFOLLOW);
    vec![
        attempt("running a program", own_program()),
        attempt("entering a user namespace", unshare().map_err(io::Error::from)),
        attempt("unmounting", mount.map_err(io::Error::from)),
        attempt("listening to the network's packets", packets.map_err(io::Error::from)),
    ]
}

#[expect(deprecated, reason = "what makes it unsafe is the sharing of descriptors, which is not asked for")]
fn unshare() -> rustix::io::Result<()> {
    rustix::thread::unshare(UnshareFlags::NEWUSER)
}

/// With its input as it is: opening another one would be refused for its path.
fn own_program() -> io::Result<()> {
    Command::new("/proc/self/exe").arg("--version").stdin(Stdio::inherit()).output().map(drop)
}

fn writing() -> Vec<Attempt> {
    // Opened for writing only: what is there stays as it is.
    let opened = |path: &str| File::options().write(true).open(path);
    vec![
        attempt("writing a file elsewhere (/etc/passwd)", opened("/etc/passwd")),
        attempt("reading a file elsewhere (/etc/passwd)", File::open("/etc/passwd")),
        attempt("running a program, as a writer", own_program()),
        attempt("connecting, as a writer", TcpStream::connect(("127.0.0.1", 9))),
    ]
}
