//! What was pushed down into the kernel, for people.

use sensor_common::filter::{Ops, op_bit};
use sensor_common::wire::FileOp;
use sensor_ecs::Action;
use sensor_eql::Witness;
use sensor_eql::diag::printable;

use super::{RuleNeeds, ops};
use crate::enrich::operation;

/// Witnesses of one line.
const SHOWN_MAX: usize = 12;

impl RuleNeeds {
    /// A line for each group of operations that are looked at alike; none for a rule that file events do not concern.
    pub(crate) fn lines(&self) -> Vec<String> {
        let everything = self.everything();
        let forced = (everything != 0).then(|| format!("every {} passes", ops_text(everything)));
        let by_witness = self.witnesses().into_iter().map(|(ops, witnesses)| {
            let mut shown: Vec<String> = witnesses.iter().take(SHOWN_MAX).map(|w| witness_text(w)).collect();
            if witnesses.len() > SHOWN_MAX {
                shown.push(format!("{} more", witnesses.len() - SHOWN_MAX));
            }
            format!("{} of {}", ops_text(ops), shown.join(", "))
        });
        forced.into_iter().chain(by_witness).collect()
    }
}

fn witness_text(witness: &Witness) -> String {
    let text = |bytes: &[u8]| printable(&String::from_utf8_lossy(bytes)).to_string();
    match witness {
        Witness::Directory(name) => format!("*/{}/*", text(name)),
        Witness::Name(name) => format!("*/{}", text(name)),
        Witness::Ending(end) => format!("*{}", text(end)),
    }
}

/// Operations by their action where all of its are meant, else by their own names.
pub(super) fn ops_text(wanted: Ops) -> String {
    let mut names = Vec::new();
    for action in [Action::Creation, Action::Rename, Action::Deletion] {
        let of_action: Vec<FileOp> = ops().filter(|op| operation(*op).action() == action).collect();
        let meant = of_action.iter().filter(|op| wanted & op_bit(**op) != 0);
        if !of_action.is_empty() && meant.clone().count() == of_action.len() {
            names.push(action.name());
        } else {
            names.extend(meant.map(|op| operation(*op).name()));
        }
    }
    names.join(", ")
}
