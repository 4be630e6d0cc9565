//! A LIKE pattern on a path, as osquery resolves it: the pattern becomes a glob(3), and SQLite checks LIKE again on
//! what that finds.
//!
//! `%` becomes `*` and so stays within one directory; `%%` at the very end descends, at most 64 levels. As in glob(3),
//! a `*` does not match a leading dot, directories get a trailing slash, names are compared with case, and `?`, `[]`,
//! `{}`, `~` and `\` mean what they mean to a shell.
//!
//! Where this differs from osquery: a recursion does not enter file systems that the kernel makes up, nor a directory
//! that it is already inside of, and it enters the same directory through symbolic links at most four times.

use std::collections::HashMap;
use std::rc::Rc;

use rustix::fs::FileType;

use super::context::{Context, Trouble};
use super::host::{Entry, kind_of};

const LEVELS_MAX: usize = 64;
const LINK_WALKS_MAX: u32 = 4;
const ALTERNATIVES_MAX: usize = 1024;

/// One step of a path: the slashes before it, and what it must match.
#[derive(Clone, Debug)]
struct Step {
    slashes: usize,
    name: Vec<u8>,
    wild: bool,
}

#[derive(Debug)]
struct Ancestor {
    device: u64,
    inode: u64,
    above: Option<Rc<Ancestor>>,
}

#[derive(Debug)]
enum Work {
    /// The steps from `step` on remain to be matched below `prefix`.
    Match { prefix: Vec<u8>, step: usize },
    /// Something that the whole pattern, or the recursion after it, has found.
    Found { path: Vec<u8>, kind: FileType, device: u64, level: usize, above: Option<Rc<Ancestor>> },
}

/// The paths that a pattern finds, one by one.
#[derive(Debug)]
pub(crate) struct Walk {
    context: Context,
    steps: Rc<[Step]>,
    recursive: bool,
    folders_only: bool,
    work: Vec<Work>,
    alternatives: Vec<Vec<u8>>,
    links: HashMap<(u64, u64), u32>,
}

/// Whether a pattern can find anything: a path is absolute.
pub(crate) fn is_rooted(pattern: &[u8]) -> bool {
    let mut alternatives = Vec::new();
    braces(pattern, &mut alternatives);
    alternatives.iter().any(|glob| matches!(glob.first(), Some(b'/' | b'~')))
}

impl Walk {
    /// `pattern` is the right side of LIKE.
    pub(crate) fn new(context: &Context, pattern: &[u8]) -> Result<Self, Trouble> {
        let glob: Vec<u8> = pattern.iter().map(|byte| if *byte == b'%' { b'*' } else { *byte }).collect();
        let mut alternatives = Vec::new();
        braces(&glob, &mut alternatives);
        if alternatives.len() >= ALTERNATIVES_MAX {
            return Err(Trouble::failed(format_args!("more than {ALTERNATIVES_MAX} alternatives in {{}}")));
        }
        alternatives.reverse();
        Ok(Self {
            context: context.clone(),
            steps: Rc::new([]),
            recursive: false,
            folders_only: false,
            work: Vec::new(),
            alternatives,
            links: HashMap::new(),
        })
    }

    fn start(&mut self, glob: &[u8]) {
        let glob = self.tilde(glob);
        if !glob.starts_with(b"/") {
            self.context.warn(format!("a path is absolute: nothing can match \"{}\"", shown(&glob)));
            return;
        }
        let trimmed = glob.strip_suffix(b"/").unwrap_or(&glob);
        self.folders_only = trimmed.len() < glob.len();
        self.recursive = trimmed.ends_with(b"**");
        let mut steps: Vec<Step> = Vec::new();
        let mut slashes = 0;
        for part in trimmed.split(|byte| *byte == b'/').skip(1) {
            slashes += 1;
            if !part.is_empty() {
                let wild = part.iter().any(|byte| b"*?[".contains(byte));
                let name = if wild { part.to_vec() } else { unescape(part) };
                steps.push(Step { slashes, name, wild });
                slashes = 0;
            }
        }
        self.steps = steps.into();
        self.links.clear();
        self.work.push(Work::Match { prefix: Vec::new(), step: 0 });
    }

    /// `~` and `~name` at the start, as GLOB_TILDE.
    fn tilde(&self, glob: &[u8]) -> Vec<u8> {
        let Some(rest) = glob.strip_prefix(b"~") else { return glob.to_vec() };
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        let accounts = self.context.accounts();
        let home = if name.is_empty() {
            accounts.user_by_id(rustix::process::geteuid().as_raw()).map(|user| user.home.clone())
        } else {
            accounts.users.iter().find(|user| user.name == name).map(|user| user.home.clone())
        };
        home.map_or_else(|| glob.to_vec(), |home| [home.as_slice(), tail].concat())
    }

    fn step(&mut self, prefix: &[u8], index: usize) -> Result<(), Trouble> {
        let steps = Rc::clone(&self.steps);
        let last = index + 1 >= steps.len();
        let Some(step) = steps.get(index) else {
            // "/" itself.
            self.work.push(Work::Found {
                path: b"/".to_vec(),
                kind: FileType::Directory,
                device: 0,
                level: LEVELS_MAX,
                above: None,
            });
            return Ok(());
        };
        let mut base = prefix.to_vec();
        base.resize(base.len() + step.slashes, b'/');
        if !step.wild {
            base.extend_from_slice(&step.name);
            if !last {
                self.work.push(Work::Match { prefix: base, step: index + 1 });
            } else if let Ok(found) = self.context.host().lstat(&base) {
                let (kind, device) = (kind_of(&found), found.st_dev);
                self.work.push(Work::Found { path: base, kind, device, level: 0, above: None });
            }
            return Ok(());
        }
        let Ok((entries, device)) = self.context.host().list(&base) else { return Ok(()) };
        let hidden = self.context.options().hidden || step.name.starts_with(b".");
        for Entry { name, kind } in entries.into_iter().rev() {
            self.context.look()?;
            if name.starts_with(b".") && !hidden || !matches(&step.name, &name) {
                continue;
            }
            let path = [base.as_slice(), &name].concat();
            if last {
                self.work.push(Work::Found { path, kind, device, level: 0, above: None });
            } else if matches!(kind, FileType::Directory | FileType::Symlink | FileType::Unknown)
                && !(self.recursive && self.is_made_up(&path, device))
            {
                self.work.push(Work::Match { prefix: path, step: index + 1 });
            }
        }
        Ok(())
    }

    /// Whether a directory, found on `device`, is where another, made up file system is mounted.
    fn is_made_up(&self, path: &[u8], device: u64) -> bool {
        let crossed = self.context.host().stat(path).is_ok_and(|found| found.st_dev != device);
        let made_up = crossed && self.context.host().is_pseudo(path);
        if made_up {
            self.context.note_pruned(path);
        }
        made_up
    }

    fn found(&mut self, work: Work) -> Result<Option<Vec<u8>>, Trouble> {
        let Work::Found { mut path, kind, device, level, above } = work else { return Ok(None) };
        let target = match kind {
            FileType::Directory | FileType::Symlink | FileType::Unknown => {
                self.context.host().stat(&path).ok().filter(|found| kind_of(found) == FileType::Directory)
            }
            _ => None,
        };
        let Some(target) = target else { return Ok((!self.folders_only).then_some(path)) };
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        let device_crossed = target.st_dev != device;
        if self.recursive && level < LEVELS_MAX {
            let key = (target.st_dev, target.st_ino);
            let inside = std::iter::successors(above.as_deref(), |ancestor| ancestor.above.as_deref())
                .any(|ancestor| (ancestor.device, ancestor.inode) == key);
            let made_up = device_crossed && self.context.host().is_pseudo(&path);
            if made_up {
                self.context.note_pruned(&path);
            } else if !inside && self.may_enter(kind, key, &path) {
                self.descend(&path, level + 1, key, above)?;
            }
        }
        Ok(Some(path))
    }

    fn may_enter(&mut self, kind: FileType, key: (u64, u64), path: &[u8]) -> bool {
        if kind != FileType::Symlink {
            return true;
        }
        let walks = self.links.entry(key).or_insert(0);
        *walks += 1;
        if *walks > LINK_WALKS_MAX {
            self.context.warn(format!(
                "{} not entered: more than {LINK_WALKS_MAX} symbolic links lead to the same directory",
                shown(path)
            ));
        }
        *walks <= LINK_WALKS_MAX
    }

    fn descend(
        &mut self,
        path: &[u8],
        level: usize,
        key: (u64, u64),
        above: Option<Rc<Ancestor>>,
    ) -> Result<(), Trouble> {
        let Ok((entries, device)) = self.context.host().list(path) else {
            self.context.warn(format!("{} could not be read", shown(path)));
            return Ok(());
        };
        let above = Some(Rc::new(Ancestor { device: key.0, inode: key.1, above }));
        for Entry { name, kind } in entries.into_iter().rev() {
            self.context.look()?;
            if !name.starts_with(b".") || self.context.options().hidden {
                let path = [path, &name].concat();
                self.work.push(Work::Found { path, kind, device, level, above: above.clone() });
            }
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        loop {
            match self.work.pop() {
                Some(Work::Match { prefix, step }) => self.step(&prefix, step)?,
                Some(found) => {
                    self.context.look()?;
                    if let Some(path) = self.found(found)? {
                        return Ok(Some(path));
                    }
                }
                None => match self.alternatives.pop() {
                    Some(glob) => self.start(&glob),
                    None => return Ok(None),
                },
            }
        }
    }
}

impl Iterator for Walk {
    type Item = Result<Vec<u8>, Trouble>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn unescape(part: &[u8]) -> Vec<u8> {
    let mut bytes = part.iter();
    let mut out = Vec::with_capacity(part.len());
    while let Some(byte) = bytes.next() {
        out.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    out
}

/// Every reading of `{a,b}`, as GLOB_BRACE; a brace that is not closed, and `{}`, are themselves.
fn braces(glob: &[u8], out: &mut Vec<Vec<u8>>) {
    if out.len() >= ALTERNATIVES_MAX {
        return;
    }
    let open = (0..glob.len()).find(|at| {
        glob.get(*at) == Some(&b'{') && glob.get(at + 1) != Some(&b'}') && close(glob, *at).is_some()
    });
    let Some((open, end)) = open.and_then(|at| Some((at, close(glob, at)?))) else {
        out.push(glob.to_vec());
        return;
    };
    let (head, inner, tail) = (
        glob.get(..open).unwrap_or_default(),
        glob.get(open + 1..end).unwrap_or_default(),
        glob.get(end + 1..),
    );
    let mut depth = 0_u32;
    let mut start = 0;
    for (at, byte) in inner.iter().chain([&b',']).enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                let choice = inner.get(start..at).unwrap_or_default();
                braces(&[head, choice, tail.unwrap_or_default()].concat(), out);
                start = at + 1;
            }
            _ => {}
        }
    }
}

fn close(glob: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, byte) in glob.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// `fnmatch(3)` on one name. Time is at most the product of the lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, in_name));
            at += 1;
            continue;
        }
        if in_name == name.len() && at == pattern.len() {
            return true;
        }
        let next = name.get(in_name).and_then(|byte| one(pattern, at, *byte));
        match (next, star) {
            (Some(after), _) => (at, in_name) = (after, in_name + 1),
            (None, Some((after, from))) if from < name.len() => {
                star = Some((after, from + 1));
                (at, in_name) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Where the pattern goes on if its element at `at` matches the byte.
fn one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'\\' => match pattern.get(at + 1) {
            Some(literal) => (*literal == byte).then_some(at + 2),
            None => (byte == b'\\').then_some(at + 1),
        },
        b'[' => match set(pattern, at, byte) {
            Some((true, after)) => Some(after),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(at + 1),
        },
        literal => (literal == byte).then_some(at + 1),
    }
}

/// A `[...]`: whether it holds the byte, and where it ends. `None` if it is not closed.
fn set(pattern: &[u8], open: usize, byte: u8) -> Option<(bool, usize)> {
    let mut at = open + 1;
    let negated = matches!(pattern.get(at), Some(b'!' | b'^'));
    at += usize::from(negated);
    let first = at;
    let mut held = false;
    loop {
        let low = *pattern.get(at)?;
        if low == b']' && at > first {
            return Some((held != negated, at + 1));
        }
        let range =
            pattern.get(at + 1) == Some(&b'-') && pattern.get(at + 2).is_some_and(|high| *high != b']');
        let high = if range { *pattern.get(at + 2)? } else { low };
        held |= (low..=high).contains(&byte);
        at += if range { 3 } else { 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::{braces, matches};

    #[test]
    fn names_match_as_in_fnmatch() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*.service", "a.service", true),
            ("*.service", "a.services", false),
            ("a*b*c", "aXbYbZc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[ab", "[ab", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("**", "anything", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} on {name}");
        }
        // Quadratic at worst.
        assert!(!matches(&b"*a".repeat(100), &[b'a'; 99]));
    }

    #[test]
    fn braces_expand_as_in_a_shell() {
        let expand = |glob: &str| {
            let mut out = Vec::new();
            braces(glob.as_bytes(), &mut out);
            out.into_iter().map(|one| String::from_utf8(one).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(expand("/a/{b,c{d,e}}/f"), ["/a/b/f", "/a/cd/f", "/a/ce/f"]);
        assert_eq!(expand("/{}/x{"), ["/{}/x{"]);
        assert_eq!(expand("{,x}y"), ["y", "xy"]);
        assert!(expand(&"{a,b}".repeat(40)).len() <= 1024);
    }
}
