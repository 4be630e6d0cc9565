//! What a test is given: a folder of its own, and ways to act as another process.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sensor::{Ended, end};

/// Where APT reads its configuration, and the shipped rule looks.
pub const APT_DIR: &str = "/etc/apt/apt.conf.d";
/// This binary in the guest.
pub const ACTOR: &str = "/usr/bin/sensor-livetest";
/// The shell, by the path that the kernel resolves.
pub const SHELL: &str = "/usr/bin/sh";
/// An executable-hook directive, as an attacker would write it.
pub const HOOK: &str = "APT::Update::Pre-Invoke {\"true\";};";

/// An ordinary user of the guest.
pub const ALICE_UID: u32 = 1000;

/// A test's surroundings.
pub struct Ctx {
    scratch: PathBuf,
}

impl Ctx {
    /// A fresh folder for the test, and an APT directory as a new system has it.
    pub fn new(name: &str) -> Result<Self> {
        let scratch = Path::new("/srv/livetest").join(name);
        if scratch.exists() {
            fs::remove_dir_all(&scratch)?;
        }
        fs::create_dir_all(&scratch)?;
        if Path::new(APT_DIR).exists() {
            fs::remove_dir_all(APT_DIR)?;
        }
        fs::create_dir_all(APT_DIR)?;
        Ok(Self { scratch })
    }

    /// The test's own folder, on the root file system.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// A folder under the test's own.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.scratch.join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

/// Runs a command that must succeed; returns what it printed.
pub fn ok(command: &mut Command) -> Result<Ended> {
    let ended = end(command)?;
    if !ended.status.success() {
        bail!("{command:?} ended with {}: {}", ended.status, ended.stderr.trim());
    }
    Ok(ended)
}

/// Runs a command that must fail.
pub fn fails(command: &mut Command) -> Result<Ended> {
    let ended = end(command)?;
    if ended.status.success() {
        bail!("{command:?} was to fail, but did not");
    }
    Ok(ended)
}

/// A shell with a script.
#[must_use]
pub fn shell(script: &str) -> Command {
    let mut command = Command::new(SHELL);
    command.arg("-c").arg(script);
    command
}

/// The actor with an operation.
pub fn act<S: AsRef<OsStr>>(words: &[S]) -> Command {
    act_as(ACTOR, words)
}

/// The actor under another executable's path; see [`install_actor`].
pub fn act_as<S: AsRef<OsStr>>(executable: &str, words: &[S]) -> Command {
    let mut command = Command::new(executable);
    command.arg("act").args(words);
    command
}

/// Copies the actor to a path.
pub fn install_actor(path: &str) -> Result<()> {
    if let Some(dir) = Path::new(path).parent() {
        fs::create_dir_all(dir)?;
    }
    fs::copy(ACTOR, path).with_context(|| format!("cannot copy the actor to {path}"))?;
    Ok(())
}

/// Makes the command run as an ordinary user.
pub fn as_alice(command: &mut Command) -> &mut Command {
    command.uid(ALICE_UID).gid(ALICE_UID)
}

/// Mounts a file system; it is unmounted when the value goes.
pub struct Mount(PathBuf);

impl Mount {
    /// `mount -t TYPE [-o OPTIONS] SOURCE TARGET`.
    pub fn new(kind: &str, options: &str, source: &str, target: &Path) -> Result<Self> {
        let mut command = Command::new("/usr/bin/mount");
        command.args(["-t", kind]);
        if !options.is_empty() {
            command.args(["-o", options]);
        }
        ok(command.arg(source).arg(target))?;
        Ok(Self(target.to_path_buf()))
    }

    /// `mount --bind FROM TO`.
    pub fn bind(from: &Path, to: &Path) -> Result<Self> {
        ok(Command::new("/usr/bin/mount").arg("--bind").arg(from).arg(to))?;
        Ok(Self(to.to_path_buf()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("/usr/bin/umount").arg("-l").arg(&self.0).status());
    }
}

/// A small root file system, as a container has it: busybox and an APT directory.
pub fn container_root(root: &Path) -> Result<()> {
    for dir in ["usr/bin", "etc/apt/apt.conf.d", "proc", "tmp", "old"] {
        fs::create_dir_all(root.join(dir))?;
    }
    let busybox = root.join("usr/bin/busybox");
    fs::copy("/usr/bin/busybox", &busybox)?;
    for applet in ["sh", "mount", "umount", "cat", "cp", "mv", "ls", "mkdir", "rm"] {
        fs::hard_link(&busybox, root.join("usr/bin").join(applet))?;
    }
    Ok(())
}
