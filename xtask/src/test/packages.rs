//! Packages that the live tests install in the guest, and the package managers that install them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::vm::Extra;
use crate::{cmd, paths};

/// Where the guest has them: a test puts a package manager in its place for its own time, since others put the actor
/// there.
const GUEST: &str = "/usr/share/sensor-livetest/packages";
/// dpkg starts the others by name.
const PROGRAMS: [&str; 5] = ["dpkg", "dpkg-deb", "dpkg-split", "tar", "rpm"];
/// What rpm reads at each start.
const RPM_FILES: [&str; 2] = ["/usr/lib/rpm/rpmrc", "/usr/lib/rpm/macros"];

/// Name, and what its script runs when it has been installed.
const PACKAGES: [(&str, &str); 2] =
    [("tidy", "/usr/bin/uname -s >/dev/null"), ("updater", "/usr/bin/id -un >/dev/null")];

/// Of the package that configures APT, with what the file says in each.
const CONFIGURING: [(&str, &str); 2] = [("1.0", "first"), ("2.0", "second")];

/// Builds the packages. Where this host has no rpm, the tests that need it say so.
pub(super) fn build() -> Result<Vec<Extra>> {
    let output = paths::target()?.join("livetest-packages");
    if output.exists() {
        fs::remove_dir_all(&output).with_context(|| format!("cannot clear {}", output.display()))?;
    }
    fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
    let rpmbuild = cmd::which("rpmbuild");
    for (name, script) in PACKAGES {
        deb(&output, name, script)?;
        if rpmbuild.is_some() {
            rpm(&output, name, script)?;
        }
    }
    for (version, content) in CONFIGURING {
        configuring_deb(&output, version, content)?;
    }
    let mut files = vec![Extra { guest: GUEST.to_owned(), host: output.join("done") }];
    let programs = PROGRAMS.iter().filter_map(|name| Some((name, cmd::which(name)?)));
    files.extend(programs.map(|(name, host)| Extra { guest: format!("{GUEST}/bin/{name}"), host }));
    let there = RPM_FILES.iter().filter(|file| Path::new(file).exists());
    files.extend(there.map(|file| Extra { guest: (*file).to_owned(), host: PathBuf::from(file) }));
    Ok(files)
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn deb(output: &Path, name: &str, script: &str) -> Result<()> {
    let tree = output.join("deb").join(name);
    let control = format!(
        "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n\
         Description: for a test\n"
    );
    write(&tree.join("DEBIAN/control"), &control)?;
    let postinst = tree.join("DEBIAN/postinst");
    write(&postinst, &format!("#!/bin/sh\n{script}\n"))?;
    fs::set_permissions(&postinst, fs::Permissions::from_mode(0o755))?;
    write(&tree.join(format!("usr/share/{name}/readme")), "A package.\n")?;
    let done = output.join("done");
    fs::create_dir_all(&done)?;
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "--build"]).arg(&tree).arg(done.join(format!("{name}.deb")));
    cmd::stdout(&mut build).map(drop)
}

/// A package that brings a configuration file of APT's, as `apt-listchanges` and others do.
fn configuring_deb(output: &Path, version: &str, content: &str) -> Result<()> {
    let tree = output.join("deb").join(format!("configuring-{version}"));
    let control = format!(
        "Package: configuring\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n\
         Description: for a test\n"
    );
    write(&tree.join("DEBIAN/control"), &control)?;
    write(&tree.join("DEBIAN/conffiles"), "/etc/apt/apt.conf.d/60configuring\n")?;
    write(&tree.join("etc/apt/apt.conf.d/60configuring"), &format!("// {content}\n"))?;
    let mut build = Command::new("dpkg-deb");
    let package = output.join("done").join(format!("configuring-{version}.deb"));
    build.args(["--root-owner-group", "--build"]).arg(&tree).arg(package);
    cmd::stdout(&mut build).map(drop)
}

fn rpm(output: &Path, name: &str, script: &str) -> Result<()> {
    let top = output.join("rpm");
    let spec = top.join(format!("{name}.spec"));
    let text = format!(
        "Name: {name}\nVersion: 1.0\nRelease: 1\nSummary: for a test\nLicense: none\nBuildArch: noarch\n\
         %description\nA package.\n%install\nmkdir -p %{{buildroot}}/usr/share/{name}-rpm\n\
         echo 'A package.' >%{{buildroot}}/usr/share/{name}-rpm/readme\n\
         %files\n/usr/share/{name}-rpm/readme\n%post\n{script}\n"
    );
    write(&spec, &text)?;
    let mut build = Command::new("rpmbuild");
    build.args(["-bb", "--quiet", "--define"]).arg(format!("_topdir {}", top.display())).arg(&spec);
    cmd::stdout(&mut build)?;
    let built = top.join(format!("RPMS/noarch/{name}-1.0-1.noarch.rpm"));
    let to = output.join("done").join(format!("{name}.rpm"));
    fs::copy(&built, to).with_context(|| format!("rpmbuild left no {}", built.display())).map(drop)
}
