//! What the rules want of the kernel: which file events may concern one, as tables that the programs test before
//! anything is remembered or sent.

mod kind;
mod live;
mod mounts;
mod report;
#[cfg(test)]
mod tests;

use sensor_common::filter::{FilterTables, OPS_ALL, Ops, is_ending_usable, kind_bit, op_bit};
use sensor_common::wire::{FileOp, RecordKind};
use sensor_ecs::{Action, Ecs};
use sensor_eql::diag::printable;
use sensor_eql::{Compiled, Need, Rule, RuleSet, Witness};

use crate::cli::say::count;
use crate::config::Scope;
use kind::Kind;

pub(crate) use live::Filtered;
pub(crate) use mounts::Mounts;

/// What each operation on file names must show for one rule.
pub(crate) struct RuleNeeds(Vec<(FileOp, Need)>);

impl RuleNeeds {
    /// Derives it from the rule's query.
    pub(crate) fn of(compiled: &Compiled) -> Self {
        if !compiled.can_match(&Ecs) {
            return Self(Vec::new());
        }
        let needs = ops().map(|op| {
            let kind = Kind::of_file(op);
            (op, compiled.need(kind.category(), &|field| kind.role(field), &is_usable))
        });
        Self(needs.collect())
    }

    /// Operations whose every event may concern the rule.
    pub(crate) fn everything(&self) -> Ops {
        self.0.iter().filter(|(_, need)| *need == Need::Everything).fold(0, |ops, (op, _)| ops | op_bit(*op))
    }

    /// Whether any file event concerns it.
    fn concern_files(&self) -> bool {
        self.0.iter().any(|(_, need)| *need != Need::Nothing)
    }

    /// The operations that concern it by the same witnesses, and those.
    pub(crate) fn witnesses(&self) -> Vec<(Ops, Vec<&Witness>)> {
        let mut groups: Vec<(Ops, Vec<&Witness>)> = Vec::new();
        for (op, need) in &self.0 {
            let Need::AnyOf(witnesses) = need else { continue };
            let witnesses: Vec<&Witness> = witnesses.iter().collect();
            match groups.iter_mut().find(|(_, known)| *known == witnesses) {
                Some((ops, _)) => *ops |= op_bit(*op),
                None => groups.push((op_bit(*op), witnesses)),
            }
        }
        groups
    }
}

/// Every operation.
pub(crate) fn ops() -> impl Iterator<Item = FileOp> {
    (0..Ops::BITS as u16).filter_map(FileOp::from_raw)
}

fn is_usable(witness: &Witness) -> bool {
    match witness {
        Witness::Directory(_) | Witness::Name(_) => true,
        Witness::Ending(text) => is_ending_usable(text),
    }
}

/// What the kernel programs let through.
pub(crate) struct Filter {
    tables: Box<FilterTables>,
    scope: Scope,
    /// Rules that look at file events.
    looking: u64,
    /// Those for which every event of some operations passes, by name.
    forcing: Vec<(String, Ops)>,
}

/// A mounted file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mounted<'m> {
    /// Its device, in the kernel's encoding.
    pub(crate) dev: u32,
    /// Where it is mounted.
    pub(crate) at: &'m [u8],
    /// Whether it is an overlay.
    pub(crate) is_overlay: bool,
    /// Where its upper layer is, if that is known.
    pub(crate) upper: Option<&'m [u8]>,
}

impl Filter {
    /// What the scope and the rules ask for; `reads` says which rule is asked about events of which action, in a
    /// container or not: that is not known in the kernel.
    pub(crate) fn new(scope: Scope, rules: &RuleSet, reads: impl Fn(&Rule, Action) -> bool) -> Self {
        let mut filter = Self { tables: Box::default(), scope, looking: 0, forcing: Vec::new() };
        for rule in rules.rules() {
            for (kind, action) in CHANGES {
                if reads(&rule.rule, action) && wants_changes(&rule.compiled, action) {
                    filter.tables.kinds |= kind_bit(kind);
                }
            }
            if !reads(&rule.rule, Action::Creation) {
                continue;
            }
            let needs = RuleNeeds::of(&rule.compiled);
            let everything = needs.everything();
            filter.looking += u64::from(needs.concern_files());
            if everything != 0 {
                filter.forcing.push((rule.rule.name.clone(), everything));
            }
            add(&mut filter.tables, &needs);
        }
        if scope == Scope::All {
            filter.tables.everything = OPS_ALL;
            filter.tables.kinds = u32::MAX;
        }
        filter
    }

    /// What the programs test.
    pub(crate) fn tables(&self) -> &FilterTables {
        &self.tables
    }

    /// Takes note of what is mounted where. A file is also known by the path through the first mount of its file
    /// system, and by that in the upper layer of an overlay, however it was reached: where such a path leads through a
    /// directory that is looked for, everything on the file system passes.
    pub(crate) fn set_mounts<'m>(&mut self, mounts: impl Iterator<Item = Mounted<'m>> + Clone) {
        self.tables.clear_devices();
        for mounted in mounts.clone() {
            let wanted = self.wanting(mounted.at) | mounted.upper.map_or(0, |upper| self.wanting(upper));
            self.tables.add_device(mounted.dev, wanted);
        }
        let is_known = |dev| mounts.clone().filter(|m| m.dev == dev).all(|m| m.upper.is_some());
        for mounted in mounts.clone().filter(|mounted| mounted.is_overlay) {
            if is_known(mounted.dev) {
                self.tables.add_plain_overlay(mounted.dev);
            }
        }
    }

    /// Lets everything pass.
    pub(crate) fn lift(&mut self) {
        self.tables.everything = OPS_ALL;
    }

    /// Lets everything pass: it is not known what is mounted where.
    pub(crate) fn distrust_mounts(&mut self) {
        self.tables.clear_devices();
    }

    /// The operations that want files below one of the directories of the path.
    fn wanting(&self, path: &[u8]) -> Ops {
        let is_wanted = |ops: &Ops| {
            let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
            names.any(|name| self.tables.wants_directory(name, *ops))
        };
        ops().map(op_bit).filter(is_wanted).fold(0, |all, op| all | op)
    }

    /// One line about what passes.
    pub(crate) fn summary(&self) -> String {
        let looking = count(self.looking, "rule");
        match self.scope {
            Scope::All => "scope all: every file event is recorded".to_owned(),
            Scope::Rules if self.forcing.is_empty() => {
                format!("scope rules: file events are recorded where {looking} may look")
            }
            Scope::Rules => {
                let by = self.forcing.iter().map(|(name, ops)| (printable(name), *ops));
                let by: Vec<String> =
                    by.map(|(name, ops)| format!("{name} ({})", report::ops_text(ops))).collect();
                format!(
                    "scope rules: file events are recorded where {looking} may look; without exception for {}",
                    by.join(", ")
                )
            }
        }
    }
}

/// Changes of processes that are recorded only where a rule wants them.
const CHANGES: [(RecordKind, Action); 3] = [
    (RecordKind::UidChange, Action::UidChange),
    (RecordKind::GidChange, Action::GidChange),
    (RecordKind::SessionChange, Action::SessionIdChange),
];

fn wants_changes(compiled: &Compiled, action: Action) -> bool {
    let kind = Kind::of_action(action);
    compiled.can_match(&Ecs)
        && compiled.need(kind.category(), &|field| kind.role(field), &is_usable) != Need::Nothing
}

/// Lets everything through.
fn everything() -> Box<FilterTables> {
    Box::new(FilterTables::EVERYTHING)
}

fn add(tables: &mut FilterTables, needs: &RuleNeeds) {
    tables.everything |= needs.everything();
    for (ops, witnesses) in needs.witnesses() {
        for witness in witnesses {
            match witness {
                Witness::Directory(name) => tables.add_directory(name, ops),
                Witness::Name(name) => tables.add_name(name, ops),
                Witness::Ending(text) => {
                    if !tables.add_ending(text, ops) {
                        tables.everything |= ops;
                    }
                }
            }
        }
    }
}
