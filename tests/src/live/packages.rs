//! The package manager itself: nothing that it does by itself is an alert, and what is done beside it is.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::hunt::{Managers, PACKAGES};
use super::tests;
use crate::ctx::{APT_DIR, Ctx, ok, shell};
use crate::runner::Outcome;
use crate::sensor::Sensor;

tests![dpkg_raises_no_alert_and_a_change_beside_it_does];

/// A configuration file of APT's through its whole life: installed, changed by the administrator, upgraded with and
/// without his consent, removed and purged.
fn dpkg_raises_no_alert_and_a_change_beside_it_does(ctx: &Ctx) -> Result<Outcome> {
    let needed = ["bin/dpkg", "configuring-1.0.deb", "configuring-2.0.deb"];
    if let Some(missing) = needed.iter().find(|file| !Path::new(PACKAGES).join(file).exists()) {
        return Ok(Outcome::Skipped(format!("the guest has no {missing}")));
    }
    let managers = Managers::install()?;
    let file = format!("{APT_DIR}/60configuring");
    let dpkg = |arguments: &str| {
        ok(&mut shell(&format!("PATH={PACKAGES}/bin:$PATH /usr/bin/dpkg --force-bad-path {arguments}")))
            .map(drop)
    };
    let edit = || ok(&mut shell(&format!("echo '// mine' >>{file}"))).map(drop);
    let says = |file: &str, text: &str| -> Result<()> {
        let content = fs::read_to_string(file)?;
        ensure!(content.contains(text), "{file} says {content:?}");
        Ok(())
    };

    let sensor = Sensor::start(ctx)?;
    dpkg(&format!("-i {PACKAGES}/configuring-1.0.deb"))?;
    says(&file, "first")?;
    edit()?;
    dpkg(&format!("--force-confold -i {PACKAGES}/configuring-2.0.deb"))?;
    says(&format!("{file}.dpkg-dist"), "second")?;
    dpkg(&format!("--force-confold -i {PACKAGES}/configuring-1.0.deb"))?;
    edit()?;
    dpkg(&format!("--force-confnew -i {PACKAGES}/configuring-2.0.deb"))?;
    says(&file, "second")?;
    says(&format!("{file}.dpkg-old"), "mine")?;
    dpkg("-r configuring")?;
    says(&file, "second")?;
    dpkg("-P configuring")?;
    ensure!(!Path::new(&file).exists(), "{file} is still there");
    let run = sensor.stop()?;
    let by_dpkg: Vec<_> =
        run.files(APT_DIR).into_iter().filter(|doc| doc.is("process.name", "dpkg")).collect();
    ensure!(by_dpkg.len() >= 6, "dpkg did not do what it was to do: {}", run.show(&by_dpkg));
    ensure!(
        run.alerts.is_empty(),
        "wanted no alert, got {}",
        run.show(&run.alerts.iter().collect::<Vec<_>>())
    );

    // The same file, by somebody else.
    let sensor = Sensor::start(ctx)?;
    dpkg(&format!("-i {PACKAGES}/configuring-1.0.deb"))?;
    let other = ctx.scratch().join("other").display().to_string();
    ok(&mut shell(&format!("echo '// third' >{other}; mv {other} {file}")))?;
    let run = sensor.stop()?;
    dpkg("-P configuring")?;
    let alert = run.only_alert()?;
    alert.expect(&[("file.path", &file), ("file.Ext.original.path", &other)])?;
    // A busy machine may take longer than an alert waits.
    if !alert.text("sensor.evidence.package.absent").is_some_and(|reason| reason.contains("too long")) {
        alert.expect(&[
            ("sensor.evidence.package.name", "configuring"),
            ("sensor.evidence.package.shipped", "different"),
        ])?;
    }
    drop(managers);
    Ok(Outcome::Passed)
}
