//! What a file's name must have for a rule to concern its event: conditions that are necessary, never sufficient.
//!
//! Whoever records events may drop one whose file has none of the witnesses that the rules ask for. Everything that is
//! not understood asks for everything.

use std::collections::BTreeSet;

use sensor_ecs::{FieldId, Value};

use crate::ast::CompareOp;
use crate::compile::{Compiled, Filter};
use crate::func::Func;
use crate::ir::{Pred, Test};
use crate::value::Out;
use crate::wild::Wildcard;

/// Something that the names of a file show. Texts are lower case and to be compared without regard to ASCII case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Witness {
    /// Some directory above the file has this name.
    Directory(Vec<u8>),
    /// The file has this name.
    Name(Vec<u8>),
    /// The file's name ends so.
    Ending(Vec<u8>),
}

/// What must be seen for an event to concern a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// No such event concerns it.
    Nothing,
    /// One of these, of any name that the file has or had.
    AnyOf(BTreeSet<Witness>),
    /// Nothing is known that must be seen.
    Everything,
}

/// What a field tells about the events of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// One of these texts on every such event; `None` where the field may be absent.
    OneOf(&'a [Option<&'a [u8]>]),
    /// Absolute path of a name that the file has or had.
    Path,
    /// Last component of one.
    Name,
    /// What follows the last dot of one's last component.
    Extension,
    /// Anything else.
    Other,
}

impl Need {
    /// What concerns the one or the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Everything, _) | (_, Self::Everything) => Self::Everything,
            (Self::Nothing, need) | (need, Self::Nothing) => need,
            (Self::AnyOf(mut all), Self::AnyOf(more)) => {
                all.extend(more);
                Self::AnyOf(all)
            }
        }
    }

    /// Both hold, so that either may be looked for: the one that fewer files show.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::Nothing) => Self::Nothing,
            (Self::Everything, need) | (need, Self::Everything) => need,
            (one, other) => {
                if other.price() < one.price() {
                    other
                } else {
                    one
                }
            }
        }
    }

    fn price(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::AnyOf(witnesses) => witnesses.iter().map(Witness::price).sum(),
            Self::Everything => u64::MAX,
        }
    }
}

impl Witness {
    /// A rough measure of how many files show it.
    fn price(&self) -> u64 {
        /// Directories that much is written below.
        const BUSY: [&str; 22] = [
            "bin", "boot", "dev", "etc", "home", "lib", "lib64", "local", "media", "mnt", "opt", "proc",
            "root", "run", "sbin", "share", "srv", "sys", "tmp", "usr", "var", "log",
        ];
        match self {
            Self::Directory(name) if BUSY.iter().any(|busy| busy.as_bytes() == name) => 10_000,
            Self::Directory(_) => 10,
            Self::Name(_) => 1,
            Self::Ending(_) => 30,
        }
    }

    /// What every file shows whose path consists of these texts with anything in between. Several, if each alone
    /// would do.
    fn of_path(runs: &[&[u8]]) -> Vec<Self> {
        let mut found = Vec::new();
        for (i, run) in runs.iter().enumerate() {
            let mut parts = run.split(|byte| *byte == b'/').peekable();
            // What stands before the first slash may be the end of a longer name.
            let first = parts.next().unwrap_or_default();
            let is_last = i + 1 == runs.len();
            if parts.peek().is_none() && is_last {
                // Without a wildcard before it, this is the whole value, and its own last component.
                found.extend(if i == 0 { name(first) } else { ending(first) });
            }
            while let Some(part) = parts.next() {
                match parts.peek() {
                    Some(_) if !part.is_empty() => found.push(Self::Directory(lower(part))),
                    None if is_last => found.extend(name(part)),
                    _ => {}
                }
            }
        }
        found
    }

    fn of_name(runs: &[&[u8]]) -> Option<Self> {
        match runs {
            [whole] => name(whole),
            [.., tail] => ending(tail),
            [] => None,
        }
    }

    fn of_extension(runs: &[&[u8]]) -> Option<Self> {
        match runs {
            [whole] if !whole.is_empty() => Some(Self::Ending(lower(&[b".", *whole].concat()))),
            [_, .., tail] => ending(tail),
            _ => None,
        }
    }
}

fn lower(text: &[u8]) -> Vec<u8> {
    text.to_ascii_lowercase()
}

fn name(text: &[u8]) -> Option<Witness> {
    (!text.is_empty()).then(|| Witness::Name(lower(text)))
}

fn ending(text: &[u8]) -> Option<Witness> {
    (!text.is_empty()).then(|| Witness::Ending(lower(text)))
}

impl Compiled {
    /// What an event of `category` must show to concern the query, at any of its stages. `role` tells what a field is
    /// on such events; `usable` which witnesses can be looked for.
    #[must_use]
    pub fn need<'r>(
        &self,
        category: &str,
        role: &dyn Fn(FieldId) -> Role<'r>,
        usable: &dyn Fn(&Witness) -> bool,
    ) -> Need {
        let deriver = Deriver { role, usable };
        let concerns =
            |filter: &&Filter| filter.category.as_deref().is_none_or(|wanted| wanted == category.as_bytes());
        self.filters()
            .filter(concerns)
            .map(|filter| deriver.of(&filter.condition))
            .fold(Need::Nothing, Need::or)
    }
}

struct Deriver<'d, 'r> {
    role: &'d dyn Fn(FieldId) -> Role<'r>,
    usable: &'d dyn Fn(&Witness) -> bool,
}

impl Deriver<'_, '_> {
    fn of(&self, pred: &Pred) -> Need {
        match pred {
            Pred::Const(true) => Need::Everything,
            Pred::Const(false) => Need::Nothing,
            Pred::And(items) => items.iter().map(|item| self.of(item)).fold(Need::Everything, Need::and),
            Pred::Or(items) => items.iter().map(|item| self.of(item)).fold(Need::Nothing, Need::or),
            Pred::Not(inner) => match self.settled(inner) {
                Some(true) => Need::Nothing,
                Some(false) | None => Need::Everything,
            },
            Pred::Field(field, test) => match self.settled(pred) {
                Some(true) => Need::Everything,
                Some(false) => Need::Nothing,
                None => self.of_test((self.role)(*field), test),
            },
            Pred::Script(_) => Need::Everything,
        }
    }

    /// What the condition comes to on every event of the kind, if that is known.
    fn settled(&self, pred: &Pred) -> Option<bool> {
        match pred {
            Pred::Const(known) => Some(*known),
            Pred::Not(inner) => self.settled(inner).map(|known| !known),
            Pred::And(items) => self.junction(items, false),
            Pred::Or(items) => self.junction(items, true),
            Pred::Field(field, test) => {
                let Role::OneOf(values) = (self.role)(*field) else { return None };
                let mut results =
                    values.iter().map(|value| test.holds(value.map_or(Value::Absent, Value::Keyword)));
                let first = results.next()?;
                results.all(|result| result == first).then_some(first)
            }
            Pred::Script(_) => None,
        }
    }

    fn junction(&self, items: &[Pred], decisive: bool) -> Option<bool> {
        let mut open = false;
        for item in items {
            match self.settled(item) {
                Some(known) if known == decisive => return Some(decisive),
                Some(_) => {}
                None => open = true,
            }
        }
        (!open).then_some(!decisive)
    }

    fn of_test(&self, role: Role<'_>, test: &Test) -> Need {
        if matches!(role, Role::Other | Role::OneOf(_)) {
            return Need::Everything;
        }
        let any = |patterns: &mut dyn Iterator<Item = Need>| patterns.fold(Need::Nothing, Need::or);
        match test {
            Test::Compare(CompareOp::Eq, Out::Text(text)) => self.of_runs(role, &[text]),
            Test::OneOf(set) if set.only_texts => {
                any(&mut set.texts.iter().map(|text| self.of_runs(role, &[text])))
            }
            Test::Like(patterns) => {
                any(&mut patterns.iter().map(|pattern| self.of_runs(role, &Wildcard::runs(pattern))))
            }
            Test::Part { func: Func::StartsWith, part, .. } => self.of_runs(role, &[part, b""]),
            Test::Part { func: Func::EndsWith, part, .. } => self.of_runs(role, &[b"", part]),
            Test::Part { func: Func::StringContains, part, .. } => self.of_runs(role, &[b"", part, b""]),
            Test::Present
            | Test::Compare(..)
            | Test::OneOf(_)
            | Test::Regex(_)
            | Test::Cidr(_)
            | Test::Part { .. } => Need::Everything,
        }
    }

    fn of_runs(&self, role: Role<'_>, runs: &[&[u8]]) -> Need {
        let candidates = match role {
            Role::Path => Witness::of_path(runs),
            Role::Name => Witness::of_name(runs).into_iter().collect(),
            Role::Extension => Witness::of_extension(runs).into_iter().collect(),
            Role::OneOf(_) | Role::Other => Vec::new(),
        };
        candidates
            .into_iter()
            .filter(|witness| (self.usable)(witness))
            .map(|witness| Need::AnyOf(BTreeSet::from([witness])))
            .rev()
            .fold(Need::Everything, Need::and)
    }
}
