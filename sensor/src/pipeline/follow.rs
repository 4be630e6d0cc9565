//! Process trees that an alert was raised about: everything that they do is recorded for a while, whatever the scope.

use std::collections::VecDeque;

use crate::enrich::Tree;

/// Trees that are followed at one time; those that alerts are raised about meanwhile are not.
const TREES_MAX: usize = 64;
/// A tree that goes on raising alerts is listed anew when so much of its time is over: its processes are looked for in
/// the whole table.
const RENEWED_AFTER: u64 = 10;

/// Which trees are followed.
#[derive(Debug)]
pub(super) struct Following {
    /// For how long after an alert; 0 for never.
    time_ns: u64,
    /// With the time of the alert, on the boot clock.
    trees: VecDeque<(Tree, u64)>,
    /// To be followed from now on.
    next: Option<Followed>,
}

/// A tree to be followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) tree: Tree,
    /// On the boot clock.
    pub(super) until_ns: u64,
}

impl Following {
    pub(super) const fn new(time_ns: u64) -> Self {
        Self { time_ns, trees: VecDeque::new(), next: None }
    }

    /// An alert was raised about something that a process of this tree did.
    pub(super) fn alerted(&mut self, tree: Tree, boot_ns: u64) {
        if self.time_ns == 0 {
            return;
        }
        let since = |since_ns: u64| boot_ns.saturating_sub(since_ns);
        self.trees.retain(|(_, since_ns)| since(*since_ns) < self.time_ns);
        if let Some(known) = self.trees.iter().position(|(known, _)| *known == tree) {
            let is_fresh = |(_, since_ns): &(Tree, u64)| since(*since_ns) < self.time_ns / RENEWED_AFTER;
            if self.trees.get(known).is_some_and(is_fresh) {
                return;
            }
            self.trees.remove(known);
        }
        if self.trees.len() < TREES_MAX {
            self.trees.push_back((tree, boot_ns));
            self.next = Some(Followed { tree, until_ns: boot_ns.saturating_add(self.time_ns) });
        }
    }

    /// The tree that is to be followed from now on.
    pub(super) fn take(&mut self) -> Option<Followed> {
        self.next.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn trees() -> impl Iterator<Item = Tree> {
        (2_u32..).map(|pid| {
            let process = sensor_ecs::Process::new(pid, [].into());
            Tree::of(&sensor_ecs::ProcessView::new(&process))
        })
    }

    #[test]
    fn a_tree_is_listed_once_and_anew_when_its_time_runs() {
        let tree = trees().next().unwrap();
        let mut following = Following::new(600 * SECOND_NS);
        let mut listed = |at_s: u64| {
            following.alerted(tree, at_s * SECOND_NS);
            following.take().map(|followed| followed.until_ns / SECOND_NS)
        };
        assert_eq!(listed(10), Some(610));
        assert_eq!(listed(11), None);
        assert_eq!(listed(69), None);
        assert_eq!(listed(70), Some(670));
        assert_eq!(listed(5_000), Some(5_600));
    }

    #[test]
    fn no_more_than_some_are_followed_at_one_time() {
        let mut following = Following::new(600 * SECOND_NS);
        let listed = |following: &mut Following, at_s: u64| {
            let one = |tree| {
                following.alerted(tree, at_s * SECOND_NS);
                following.take().is_some()
            };
            trees().take(100).map(one).filter(|listed| *listed).count()
        };
        assert_eq!(listed(&mut following, 1), TREES_MAX);
        assert_eq!(listed(&mut following, 2), 0);
        assert_eq!(listed(&mut following, 700), TREES_MAX);
    }

    #[test]
    fn nobody_is_followed_where_that_is_not_wanted() {
        let mut following = Following::new(0);
        following.alerted(trees().next().unwrap(), SECOND_NS);
        assert!(following.take().is_none());
    }
}
