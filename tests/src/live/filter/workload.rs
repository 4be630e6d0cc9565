//! File operations that rules look for, made from the rules themselves.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sensor_eql::ast::{CompareOp, EventFilter, Expr, ExprKind, Query};
use sensor_eql::{Language, parse, parse_kql, parse_rule_file};

use super::rule_files;
use crate::ctx::{Ctx, Mount, container_root, ok, shell};
use crate::live::container::in_container;
use crate::sensor::Sensor;

/// Paths that rules look at.
pub(super) struct Workload(BTreeSet<PathBuf>);

/// The same where no directory is watched, for a rule on names.
pub(super) const NAMED_PROBE: &str = "mounted/of06.service";

/// Files that are nothing to any rule.
const UNWATCHED: usize = 50;
/// Made until it is heard of; how often is left to the sensor.
pub(super) const PROBE: &str = "probe";
/// Where names and extensions without a directory are put.
const ANYWHERE: &str = "/srv/anywhere";

impl Workload {
    /// What the rules below the folders name, with something in the place of wildcards.
    pub(super) fn of(folders: &[PathBuf]) -> Result<Self> {
        let mut texts = BTreeSet::new();
        for file in rule_files(folders)? {
            let text = fs::read_to_string(&file)?;
            let Ok(read) = parse_rule_file(&file.display().to_string(), &text) else { continue };
            let Some(rule) = read.rule.filter(|_| read.reason.is_none()) else { continue };
            let parsed = if rule.language == Language::Kuery { parse_kql } else { parse };
            let query =
                parsed(&rule.query).map_err(|found| anyhow::anyhow!("{}: {found:?}", file.display()))?;
            for filter in filters(&query) {
                collect(&filter.condition, &mut texts);
            }
        }
        Ok(Self(texts))
    }

    /// Creates each file, renames it away and back, and removes it; what there is already is left alone.
    pub(super) fn run(&self, prefix: &str) -> Result<()> {
        for path in &self.0 {
            // A name that a rule gives whole cannot be another's in the second part.
            let path = match path.file_name().and_then(|name| name.to_str()) {
                Some(name) if !prefix.is_empty() => path.with_file_name(format!("{prefix}{name}")),
                _ => path.clone(),
            };
            touch(&path).with_context(|| path.display().to_string())?;
        }
        fs::create_dir_all(ANYWHERE)?;
        for number in 0..UNWATCHED {
            touch(&Path::new(ANYWHERE).join(format!("{prefix}nothing{number}")))?;
        }
        Ok(())
    }
}

fn touch(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    if fs::symlink_metadata(path).is_ok() || fs::create_dir_all(parent).is_err() {
        return Ok(());
    }
    // Not every place takes files: /proc, /sys.
    if File::create(path).is_err() {
        return Ok(());
    }
    let aside = parent.join("moved.aside");
    fs::rename(path, &aside)?;
    fs::rename(&aside, path)?;
    // Out of the directory, and in again.
    let outside = Path::new("/srv/outside");
    if fs::rename(path, outside).is_ok() {
        fs::rename(outside, path)?;
    }
    fs::remove_file(path)?;
    Ok(())
}

fn filters(query: &Query) -> Vec<&EventFilter> {
    let of_files = |filter: &&EventFilter| filter.category.as_deref().is_none_or(|name| name == "file");
    match query {
        Query::Event(event) => vec![&event.filter],
        Query::Sequence(sequence) => sequence.terms.iter().map(|term| &term.filter).collect(),
        Query::Sample(sample) => sample.terms.iter().map(|term| &term.filter).collect(),
    }
    .into_iter()
    .filter(of_files)
    .collect()
}

/// The paths that the condition asks for.
fn collect(condition: &Expr, paths: &mut BTreeSet<PathBuf>) {
    let field = |e: &Expr| match &e.kind {
        ExprKind::Field { name, .. } => Some(name.clone()),
        _ => None,
    };
    let text = |e: &Expr| match &e.kind {
        ExprKind::Text(text) => Some(text.clone()),
        _ => None,
    };
    let mut add = |field: Option<String>, text: &str| {
        paths.extend(field.and_then(|field| place(&field, text)));
    };
    match &condition.kind {
        ExprKind::And(items) | ExprKind::Or(items) => items.iter().for_each(|item| collect(item, paths)),
        ExprKind::Compare(CompareOp::Eq, left, right) => {
            if let Some(text) = text(right) {
                add(field(left), &text);
            }
        }
        ExprKind::In { value, list, .. } => {
            list.iter().filter_map(text).for_each(|text| add(field(value), &text));
        }
        ExprKind::Match { value, patterns, .. } => {
            patterns.iter().for_each(|(pattern, _)| add(field(value), pattern));
        }
        ExprKind::Call { name, args, .. } => {
            if let [subject, part] = args.as_slice()
                && let Some(part) = text(part)
            {
                match name.to_ascii_lowercase().as_str() {
                    "startswith" => add(field(subject), &format!("{part}*")),
                    "endswith" => add(field(subject), &format!("*{part}")),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// A path whose `field` matches the pattern.
fn place(field: &str, pattern: &str) -> Option<PathBuf> {
    let text = pattern.replace('*', "x").replace('?', "q");
    let path = match field {
        "file.path" | "file.Ext.original.path" => text,
        "file.name" | "file.Ext.original.name" => format!("{ANYWHERE}/{text}"),
        "file.extension" | "file.Ext.original.extension" => format!("{ANYWHERE}/some.{text}"),
        _ => return None,
    };
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    let is_kernels = ["/proc/", "/sys/", "/dev/"].iter().any(|dir| path.starts_with(dir));
    (!path.ends_with('/') && !path.contains("..") && !is_kernels).then(|| PathBuf::from(path))
}

/// Until each sensor has heard of a mount, it cannot know the other paths of its files: with a filter or without. Makes a
/// file at `made` until there is an alert on it at `heard`.
fn hear_of(sensors: &[&Sensor], heard: &Path, made: &Path) -> Result<()> {
    for sensor in sensors {
        sensor.wait_for_alert_on(&heard.display().to_string(), || {
            File::create(made)?;
            Ok(fs::remove_file(made)?)
        })?;
    }
    Ok(())
}

/// The same directories, by other ways: below, out and in, mounted elsewhere, as a container has them.
pub(super) fn elsewhere(ctx: &Ctx, sensors: &[&Sensor]) -> Result<()> {
    let watched = "/srv/watched";
    ok(&mut shell(&format!(
        "rm -rf {watched} /srv/moving /srv/a /srv/out && mkdir -p {watched}/dir00.d/a/b/c/d {watched}/from05 {watched}/deep04 && cd {watched} && \
         echo >dir00.d/a/b/c/d/below && echo >/srv/in && mv /srv/in dir00.d/in && mv dir00.d/in /srv/out && \
         mkdir /srv/moving && echo >/srv/moving/inside && mv /srv/moving dir00.d/moving && \
         echo >dir00.d/moving/later && mv dir00.d/moving /srv/moving && echo >/srv/moving/outside && \
         echo >from05/x && mv from05/x from05/y && ln dir00.d/a/b/c/d/below dir00.d/link && \
         ln -s /nowhere dir00.d/symlink && mkdir dir00.d/new"
    )))?;
    // A mount below a directory that gets a watched name afterwards, and loses it again.
    let point = ctx.dir("plain/mounted")?;
    let _mounted = Mount::new("tmpfs", "", "moved", &point)?;
    // A sensor that hears of the mount only when the directory above has another name calls the files by that.
    let probe = ctx.scratch().join("plain").join(NAMED_PROBE);
    hear_of(sensors, &probe, &probe)?;
    let plain = ctx.scratch().join("plain").display().to_string();
    ok(&mut shell(&format!(
        "echo >{plain}/mounted/before && mkdir -p /srv/a && mv {plain} /srv/a/deep04 && \
         echo >/srv/a/deep04/mounted/after && mv /srv/a/deep04 {plain} && echo >{plain}/mounted/again"
    )))?;
    // Mounted elsewhere, under another name, and a file system below a watched directory.
    let other = ctx.dir("other")?;
    {
        let _bind = Mount::bind(&Path::new(watched).join("dir00.d"), &other)?;
        ok(&mut shell(&format!(
            "echo >{}/by-bind && cd {0} && mkdir sub && echo >sub/deep",
            other.display()
        )))?;
    }
    let below = ctx.dir("below")?;
    {
        let inside = Path::new(watched).join("dir10.d/inside");
        fs::create_dir_all(&inside)?;
        let _mount = Mount::new("tmpfs", "", "below", &inside)?;
        let _bind = Mount::bind(&inside, &below)?;
        hear_of(sensors, &inside.join(PROBE), &below.join(PROBE))?;
        ok(&mut shell(&format!("echo >{}/first && echo >{}/by-bind", inside.display(), below.display())))?;
    }
    ok(&mut shell("chroot /srv /usr/bin/true 2>/dev/null; true"))?;
    contained(ctx)
}

/// In roots of their own: a directory, a file system, an overlay.
fn contained(ctx: &Ctx) -> Result<()> {
    const WRITE: &str = "mkdir -p /srv/watched/dir00.d/x /srv/watched/deep04; echo >/srv/watched/dir00.d/one; \
                         echo >/srv/watched/dir00.d/x/two; echo >/srv/one; mv /srv/one /srv/watched/exact01; \
                         echo >/etc/apt/apt.conf.d/99own; echo >/tmp/Name02.conf; echo >/tmp/plain";
    let root = ctx.dir("root")?;
    container_root(&root)?;
    ok(std::process::Command::new("/usr/bin/chroot").arg(&root).args(["/usr/bin/sh", "-c", WRITE]))?;
    let mounted = ctx.dir("mounted")?;
    let _mount = Mount::new("tmpfs", "", "container", &mounted)?;
    container_root(&mounted)?;
    ok(&mut in_container(&mounted, WRITE))?;
    let layers = ctx.dir("layers")?;
    let _layers = Mount::new("tmpfs", "", "layers", &layers)?;
    for layer in ["lower", "upper", "work"] {
        fs::create_dir_all(layers.join(layer))?;
    }
    container_root(&layers.join("lower"))?;
    let merged = ctx.dir("merged")?;
    let at = layers.display();
    let options = format!("lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work");
    let _overlay = Mount::new("overlay", &options, "overlay", &merged)?;
    ok(&mut in_container(&merged, WRITE))?;
    Ok(())
}
