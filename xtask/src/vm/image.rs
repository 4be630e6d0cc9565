//! What is inside the virtual machine: busybox, our binaries with their libraries, rules, modules.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cpio::Archive;
use crate::setup::kernels::Kernel;
use crate::{cmd, paths};

const BUSYBOX: &str = "/bin/busybox";

/// Loaded before the command runs: the ports that carry its output, and what containers stand on.
const BOOT_MODULES: [&str; 3] = ["virtio_pci", "virtio_console", "overlay"];

/// Loaded before there is a root file system, where that is on a disk.
const DISK_MODULES: [&str; 2] = ["virtio_pci", "virtio_blk"];

/// Loaded on request by `load-module NAME`: some of them measure the processor for seconds first.
const MODULES_ON_REQUEST: [&str; 6] = ["xfs", "btrfs", "fuse", "loop", "crc32c_generic", "ext4"];

/// The real root lies in this folder of the initramfs: `/init` moves it to a tmpfs.
const ROOT: &str = "image";

/// Moves from rootfs, on which pivot_root does not work, to a tmpfs.
const FIRST_INIT: &str = "#!/busybox sh
/busybox mkdir /root.new
/busybox mount -t tmpfs -o mode=0755 root /root.new
/busybox cp -a /image/. /root.new/
exec /busybox switch_root /root.new /sbin/init
";

/// The root is on the disk: what this machine alone has is copied onto it.
const DISK_INIT: &str = "#!/busybox sh
/busybox mkdir -p /root.new /dev
/busybox mount -t devtmpfs dev /dev
for list in virtio_pci virtio_blk; do
    while read -r name; do
        /busybox insmod /image/usr/lib/modules/$name.ko 2>/dev/null
    done </image/etc/vm/modules.d/$list
done
until [ -b /dev/vda ]; do /busybox usleep 10000; done
/busybox mount -t ext4 /dev/vda /root.new || exec /busybox poweroff -f
/busybox cp -a /image/. /root.new/
/busybox umount /dev
exec /busybox switch_root /root.new /sbin/init
";

/// Starts the command where systemd is the first process.
const UNIT: &str = "[Unit]
Description=The command of this machine
After=multi-user.target

[Service]
ExecStart=/bin/sh /usr/sbin/vm-command
StandardError=journal+console
TimeoutStopSec=5

[Install]
WantedBy=default.target
";

/// Loads a module with what it depends on; one that is built into the kernel has an empty list.
const LOAD_MODULE: &str = "#!/bin/sh
while read -r name; do
    grep -q \"^$name \" /proc/modules || insmod \"/usr/lib/modules/$name.ko\" || exit 1
done <\"/etc/vm/modules.d/$1\"
";

/// What the machine's root file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// What this module puts together: busybox and ours.
    Archive,
    /// A disk with a system of its own.
    Disk,
}

/// A host file and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Extra {
    /// Path in the guest.
    pub(crate) guest: String,
    /// Path on the host; a folder is copied whole.
    pub(crate) host: PathBuf,
}

/// Builds the tree that the machine boots.
pub(crate) fn build(
    kernel: &Kernel,
    command: &[OsString],
    extras: &[Extra],
    collect: bool,
    root: Root,
) -> Result<Archive> {
    let busybox = fs::read(BUSYBOX).with_context(|| format!("cannot read {BUSYBOX}"))?;
    let mut archive = Archive::default();
    archive.program("busybox", busybox.clone());
    archive.program(&inside("usr/bin/busybox"), busybox);
    archive.program(&inside("usr/sbin/vm-command"), include_bytes!("command.sh").to_vec());
    match root {
        Root::Archive => {
            archive.program("init", FIRST_INIT.as_bytes().to_vec());
            archive.program(&inside("usr/sbin/init"), include_bytes!("init.sh").to_vec());
            skeleton(&mut archive);
        }
        Root::Disk => {
            archive.program("init", DISK_INIT.as_bytes().to_vec());
            archive.file(&inside("etc/systemd/system/vm-command.service"), UNIT);
            let wanted = "etc/systemd/system/default.target.wants/vm-command.service";
            archive.symlink(&inside(wanted), "../vm-command.service");
        }
    }
    for extra in extras {
        add_tree(&mut archive, &extra.guest, &extra.host)?;
    }
    archive.program(&inside("usr/sbin/load-module"), LOAD_MODULE.as_bytes().to_vec());
    add_modules(&mut archive, kernel)?;
    archive.file(&inside("etc/vm/command"), script(command));
    if collect {
        archive.file(&inside("etc/vm/collect"), "");
    }
    Ok(archive)
}

fn inside(path: &str) -> String {
    format!("{ROOT}/{}", path.trim_start_matches('/'))
}

fn skeleton(archive: &mut Archive) {
    for dir in
        ["dev", "etc/apt/apt.conf.d", "home/alice", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp"]
    {
        archive.dir(&inside(dir));
    }
    for dir in ["usr/local/bin", "usr/local/sbin", "usr/lib", "usr/lib64", "var/lib", "var/log", "var/tmp"] {
        archive.dir(&inside(dir));
    }
    for (link, target) in [
        ("bin", "usr/bin"),
        ("sbin", "usr/sbin"),
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
        ("var/run", "/run"),
    ] {
        archive.symlink(&inside(link), target);
    }
    archive.file(
        &inside("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000:Alice:/home/alice:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    );
    archive.file(&inside("etc/group"), "root:x:0:\nalice:x:1000:\nnogroup:x:65534:\n");
    archive.file(&inside("etc/hostname"), "sensor-vm\n");
    archive.file(&inside("etc/hosts"), "127.0.0.1 localhost sensor-vm\n");
    archive.file(&inside("etc/machine-id"), "48c1b3f1ac5da4e0057fc9f60f4d1d5d\n");
    archive.file(
        &inside("etc/os-release"),
        "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n\
         VERSION=\"12 (bookworm)\"\nID=debian\n",
    );
}

/// Adds a file or a folder; a dynamic executable brings its libraries.
fn add_tree(archive: &mut Archive, guest: &str, host: &Path) -> Result<()> {
    let meta = fs::metadata(host).with_context(|| format!("cannot read {}", host.display()))?;
    if meta.is_dir() {
        archive.dir(&inside(guest));
        for entry in fs::read_dir(host)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().with_context(|| format!("{} is not UTF-8", entry.path().display()))?;
            add_tree(archive, &format!("{guest}/{name}"), &entry.path())?;
        }
        return Ok(());
    }
    let content = fs::read(host).with_context(|| format!("cannot read {}", host.display()))?;
    if content.starts_with(b"\x7fELF") {
        archive.program(&inside(guest), content);
        for library in libraries(host)? {
            add_library(archive, &library, host)?;
        }
    } else if content.starts_with(b"#!") {
        archive.program(&inside(guest), content);
    } else {
        archive.file(&inside(guest), content);
    }
    Ok(())
}

fn add_library(archive: &mut Archive, library: &str, program: &Path) -> Result<()> {
    let path = Path::new(library);
    let guest = if path.parent() == program.parent() {
        // It came with the program, not from this host.
        format!("/usr/lib/{}", path.file_name().unwrap_or_default().to_string_lossy())
    } else if library.starts_with("/usr/") {
        library.to_owned()
    } else {
        // Debian's merged /usr: /lib and /lib64 are links in the guest as well.
        format!("/usr{library}")
    };
    if !archive.contains(&inside(&guest)) {
        let content = fs::read(library).with_context(|| format!("cannot read {library}"))?;
        archive.program(&inside(&guest), content);
    }
    Ok(())
}

/// The shared libraries and the loader that a program names: those beside it, else as the host resolves them.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let beside = program.parent().unwrap_or(Path::new("/"));
    let output =
        Command::new("ldd").arg(program).env("LD_LIBRARY_PATH", beside).output().context("cannot run ldd")?;
    if !output.status.success() {
        // Statically linked.
        return Ok(Vec::new());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut found = Vec::new();
    for line in text.lines() {
        if line.contains("not found") {
            bail!("{} needs a library that is not there: {}", program.display(), line.trim());
        }
        let path = line.split_whitespace().find(|word| word.starts_with('/'));
        found.extend(path.map(str::to_owned));
    }
    Ok(found)
}

/// Adds the modules with what they depend on, and for each a list of names in loading order.
fn add_modules(archive: &mut Archive, kernel: &Kernel) -> Result<()> {
    let cache = paths::cache()?.join("modules").join(&kernel.release);
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let tree = ModuleTree { files: list_modules(&kernel.modules())?, cache };
    for name in BOOT_MODULES.iter().chain(&DISK_MODULES).chain(&MODULES_ON_REQUEST) {
        let mut order = Vec::new();
        tree.visit(archive, name, &mut BTreeSet::new(), &mut order)?;
        archive.file(&inside(&format!("etc/vm/modules.d/{name}")), order.concat());
    }
    archive.file(&inside("etc/vm/modules"), BOOT_MODULES.join("\n") + "\n");
    Ok(())
}

struct ModuleTree {
    files: Vec<PathBuf>,
    cache: PathBuf,
}

impl ModuleTree {
    fn visit(
        &self,
        archive: &mut Archive,
        name: &str,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<String>,
    ) -> Result<()> {
        let name = name.replace('-', "_");
        if !seen.insert(name.clone()) {
            return Ok(());
        }
        // Not a module: built into this kernel, or not part of it.
        let Some(file) = self.files.iter().find(|file| module_name(file) == name) else { return Ok(()) };
        let content = self.read(&name, file)?;
        for dependency in dependencies(&content) {
            self.visit(archive, &dependency, seen, order)?;
        }
        archive.file(&inside(&format!("usr/lib/modules/{name}.ko")), content);
        order.push(format!("{name}\n"));
        Ok(())
    }

    /// The decompressed module; kept, since xz costs more than everything else here.
    fn read(&self, name: &str, file: &Path) -> Result<Vec<u8>> {
        if file.extension().is_some_and(|extension| extension == "ko") {
            return fs::read(file).with_context(|| format!("cannot read {}", file.display()));
        }
        let kept = self.cache.join(format!("{name}.ko"));
        if let Ok(content) = fs::read(&kept) {
            return Ok(content);
        }
        let content = cmd::stdout_bytes(Command::new("xz").arg("-dc").arg(file))?;
        let mut new = tempfile::NamedTempFile::new_in(&self.cache)?;
        std::io::Write::write_all(&mut new, &content)?;
        new.persist(&kept).with_context(|| format!("cannot write {}", kept.display()))?;
        Ok(content)
    }
}

fn list_modules(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if !module_name(&entry.path()).is_empty() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// `virtio_pci` for `.../virtio-pci.ko.xz`; empty for what is no module.
fn module_name(file: &Path) -> String {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.split_once(".ko").map(|(stem, _)| stem.replace('-', "_")).unwrap_or_default()
}

/// The `depends=` entry of the module's information section.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module.get(at + KEY.len()..).unwrap_or_default();
    let value = value.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value).split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn script(command: &[OsString]) -> Vec<u8> {
    let mut text = b"exec".to_vec();
    for word in command {
        text.push(b' ');
        text.extend(cmd::shell_quote(word));
    }
    text.push(b'\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_names_ignore_dashes_and_compression() {
        assert_eq!(module_name(Path::new("/x/virtio-pci.ko.xz")), "virtio_pci");
        assert_eq!(module_name(Path::new("/x/overlay.ko")), "overlay");
        assert_eq!(module_name(Path::new("/x/modules.order")), "");
    }

    #[test]
    fn dependencies_are_read_from_the_information_section() {
        assert_eq!(dependencies(b"\0license=GPL\0depends=virtio_ring,virtio\0x"), ["virtio_ring", "virtio"]);
        assert!(dependencies(b"\0depends=\0retpoline=Y\0").is_empty());
    }

    #[test]
    fn a_command_survives_the_shell() {
        let words = ["sh", "-c", "echo 'a b' \"$x\""].map(OsString::from);
        assert_eq!(script(&words), b"exec 'sh' '-c' 'echo '\\''a b'\\'' \"$x\"'\n");
    }
}
