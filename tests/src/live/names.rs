//! Hostile names: long, with newlines, not UTF-8. None is cut silently, none breaks a line of output.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result, ensure};

use super::tests;
use crate::ctx::{APT_DIR, Ctx, act, ok};
use crate::runner::Outcome;
use crate::sensor::{Kind, Run, Sensor};

tests![
    name_with_newline_quote_and_escape_is_whole,
    name_of_255_bytes_is_whole,
    name_of_invalid_utf8_gives_valid_json_and_alerts,
    two_invalid_names_stay_different,
    path_near_the_limit_is_whole,
    path_with_many_components_is_whole,
    parents_renamed_meanwhile_give_no_wrong_path,
];

fn created(ctx: &Ctx, path: &OsStr) -> Result<Run> {
    let sensor = Sensor::start_seeing_all(ctx)?;
    ok(&mut act(&[OsStr::new("create"), path]))?;
    sensor.stop()
}

fn name_with_newline_quote_and_escape_is_whole(ctx: &Ctx) -> Result<Outcome> {
    let path = format!("{APT_DIR}/99\n\"\\\t\u{1b}[31m\u{7f}x\u{e9}");
    let run = created(ctx, OsStr::new(&path))?;
    run.file(&path, "creation")?;
    run.only_alert()?.expect(&[("file.path", &path)])?;
    Ok(Outcome::Passed)
}

fn name_of_255_bytes_is_whole(ctx: &Ctx) -> Result<Outcome> {
    let name = "n".repeat(255);
    let path = format!("{APT_DIR}/{name}");
    let run = created(ctx, OsStr::new(&path))?;
    run.file(&path, "creation")?.expect(&[("file.name", &name)])?;
    run.only_alert()?;
    Ok(Outcome::Passed)
}

fn invalid(bytes: &[u8]) -> OsString {
    let mut path = OsString::from(format!("{APT_DIR}/99-"));
    path.push(OsStr::from_bytes(bytes));
    path
}

fn name_of_invalid_utf8_gives_valid_json_and_alerts(ctx: &Ctx) -> Result<Outcome> {
    let run = created(ctx, &invalid(b"\xff\xc3x"))?;
    let found = run.files("/etc/apt/apt.conf.d/99-");
    ensure!(found.len() == 1, "wanted one event, got {}", run.show(&found));
    run.only_alert()?;
    Ok(Outcome::Passed)
}

/// Escaping must be reversible: replacing bad bytes by one character would make these equal.
fn two_invalid_names_stay_different(ctx: &Ctx) -> Result<Outcome> {
    let sensor = Sensor::start_seeing_all(ctx)?;
    for bytes in [b"\xff", b"\xfe"] {
        ok(&mut act(&[OsStr::new("create"), &invalid(bytes)]))?;
    }
    let run = sensor.stop()?;
    let paths: Vec<String> =
        run.files("/etc/apt/apt.conf.d/99-").iter().filter_map(|doc| doc.text("file.path")).collect();
    let [first, second] = paths.as_slice() else {
        return Err(anyhow::anyhow!("wanted two events, got {paths:?}"));
    };
    ensure!(first != second, "both are {first:?}");
    Ok(Outcome::Passed)
}

/// Creates the folders one below the other, since no system call takes more than PATH_MAX at once.
fn deep_dir(component: &str, total: usize) -> Result<String> {
    let mut path = APT_DIR.to_owned();
    while path.len() + 1 + component.len() <= total {
        path = format!("{path}/{component}");
    }
    fs::create_dir_all(&path).with_context(|| format!("cannot create {} bytes", path.len()))?;
    Ok(path)
}

fn path_near_the_limit_is_whole(ctx: &Ctx) -> Result<Outcome> {
    let dir = deep_dir(&"d".repeat(200), 3_800)?;
    let rest = 4_095 - dir.len() - 1;
    let path = format!("{dir}/{}", "f".repeat(rest.min(255)));
    let run = created(ctx, OsStr::new(&path))?;
    run.file(&path, "creation")?;
    run.only_alert()?.expect(&[("file.path", &path)])?;
    Ok(Outcome::Passed)
}

fn path_with_many_components_is_whole(ctx: &Ctx) -> Result<Outcome> {
    let path = format!("{}/99deep", deep_dir("d", 2_000)?);
    // So many new directories have used up the rule's cap of a sensor that saw them.
    let sensor = Sensor::start_own(ctx, Kind::SeeingAll)?;
    ok(&mut act(&["create", &path]))?;
    let run = sensor.stop()?;
    run.file(&path, "creation")?;
    run.only_alert()?.expect(&[("file.path", &path)])?;
    Ok(Outcome::Passed)
}

/// The directory above changes its name all the time: each path has one of its two names, or is marked.
fn parents_renamed_meanwhile_give_no_wrong_path(ctx: &Ctx) -> Result<Outcome> {
    const FILES: u32 = 2_000;
    let top = ctx.dir("top")?;
    let (short, long) = (top.join("short"), top.join("a-name-that-is-much-longer-than-the-other-one"));
    fs::create_dir_all(short.join("below"))?;
    let sensor = Sensor::start_own(ctx, Kind::SeeingAll)?;
    // It is there before the first rename, and needs no path from then on.
    let mut writer =
        act(&["create-many", ".", &FILES.to_string()]).current_dir(short.join("below")).spawn()?;
    let mut renames = 0_u32;
    while writer.try_wait()?.is_none() {
        fs::rename(&short, &long)?;
        fs::rename(&long, &short)?;
        renames += 2;
    }
    let run = sensor.stop()?;
    let whole = [short, long].map(|name| format!("{}/below", name.display()));
    let is_file =
        |doc: &&crate::doc::Doc| doc.text("file.name").is_some_and(|name| name.starts_with("burst-"));
    let files: Vec<_> = run.events.iter().filter(is_file).collect();
    ensure!(files.len() == FILES as usize, "wanted {FILES} events, got {}", files.len());
    ensure!(renames > 50, "the directory was renamed only {renames} times");
    let mut marked = 0;
    for doc in files {
        let path = doc.text("file.path").unwrap_or_default();
        let name = doc.text("file.name").unwrap_or_default();
        if doc.is("file.Ext.path_incomplete", "true") {
            marked += 1;
        } else {
            ensure!(whole.iter().any(|dir| path == format!("{dir}/{name}")), "a wrong path: {path}");
        }
    }
    println!("{renames} renames, {marked} of {FILES} paths marked");
    Ok(Outcome::Passed)
}
