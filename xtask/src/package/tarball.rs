//! The archive for everybody else: the staged tree, a script that installs it, and a recipe that makes an image of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::Release;
use super::stage::{file, pack};
use crate::{cmd, paths};

pub(super) fn build(release: &Release, tree: &Path) -> Result<PathBuf> {
    let name = format!("sensor-{}-x86_64", release.version);
    let work = release.out.join("tar");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    let folder = work.join(&name);
    fs::create_dir_all(&folder)?;
    let copied = folder.join("root");
    cmd::run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(tree).arg(&copied))?;
    let packaging = paths::root()?.join("packaging");
    file(&packaging.join("tar/install.sh"), &folder.join("install.sh"), 0o755)?;
    for name in ["Containerfile", "container.toml"] {
        file(&packaging.join(name), &folder.join(name), 0o644)?;
    }
    let made = release.out.join(format!("{name}.tar.xz"));
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--xz"]);
    tar.arg(format!("--mtime=@{}", release.epoch)).arg("--create").arg("--file").arg(&made);
    pack(tar.arg("--directory").arg(&work).arg(&name), &made)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every path below a folder, without it.
    fn below(folder: &Path) -> Vec<String> {
        super::super::stage::listed(folder).unwrap().into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn what_the_script_installs_it_removes_but_for_what_is_an_administrators() {
        let place = tempfile::tempdir().unwrap();
        let (archive, destination) = (place.path().join("archive"), place.path().join("destination"));
        let script = archive.join("install.sh");
        file(&paths::root().unwrap().join("packaging/tar/install.sh"), &script, 0o755).unwrap();
        for (path, content, mode) in [
            ("usr/bin/sensor", "#!/bin/sh\necho sensor 1\n", 0o755),
            ("usr/libexec/sensor/sensor-hunt", "hunt", 0o755),
            ("usr/share/sensor/rules/a b.toml", "rule", 0o644),
            ("etc/sensor/sensor.toml", "shipped", 0o640),
        ] {
            let from = place.path().join("content");
            fs::write(&from, content).unwrap();
            file(&from, &archive.join("root").join(path), mode).unwrap();
        }
        fs::create_dir_all(destination.join("usr/share")).unwrap();
        let run = |arguments: &[&str]| {
            let mut command = Command::new(&script);
            let output = command.args(arguments).env("DESTDIR", &destination).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        run(&[]);
        assert_eq!(below(&archive.join("root")), below(&destination));
        let configuration = destination.join("etc/sensor/sensor.toml");
        fs::write(&configuration, "ours").unwrap();
        assert!(run(&[]).contains("kept: "));
        assert_eq!(fs::read(&configuration).unwrap(), b"ours");
        assert_eq!(fs::read(configuration.with_extension("toml.new")).unwrap(), b"shipped");
        fs::create_dir_all(destination.join("var/lib/sensor/store")).unwrap();
        run(&["--uninstall"]);
        let left = below(&destination);
        assert!(left.contains(&"/etc/sensor/sensor.toml".to_owned()), "{left:?}");
        assert!(left.contains(&"/var/lib/sensor/store".to_owned()), "{left:?}");
        assert!(!left.iter().any(|path| path.starts_with("/usr") && path.contains("sensor")), "{left:?}");
        run(&["--purge"]);
        let left = below(&destination);
        assert!(!left.iter().any(|path| path.contains("sensor")), "{left:?}");
        assert!(left.contains(&"/usr/share".to_owned()));
    }
}
