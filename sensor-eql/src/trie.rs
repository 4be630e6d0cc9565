//! Who wants a text that begins, or ends, with one of many: a radix tree over lower-case bytes.
//!
//! Case is folded on both sides, which can only add finds; the condition itself decides afterwards.

/// Who wants a text; what the number means is the caller's.
pub(crate) type Id = u16;

/// Everything lies in a few flat arrays, so that a walk touches little memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trie {
    /// Texts are read from their end.
    backwards: bool,
    /// The root's children by first byte, of either case: most walks end here. 0 leads nowhere; empty in an empty trie.
    firsts: Box<[u32]>,
    nodes: Vec<Node>,
    /// First byte and node of each child, sorted, the children of a node together.
    children: Vec<(u8, u32)>,
    /// As they stand in a text.
    labels: Vec<u8>,
    ids: Vec<Id>,
}

/// A part of one of the flat arrays.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    start: u32,
    len: u32,
}

impl Part {
    fn of<T>(self, all: &[T]) -> &[T] {
        let start = self.start as usize;
        all.get(start..start + self.len as usize).unwrap_or_default()
    }

    fn append<T: Copy>(all: &mut Vec<T>, items: &[T]) -> Self {
        let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let start = size(all.len());
        all.extend_from_slice(items);
        Self { start, len: size(items.len()) }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// What follows the first byte on the way here from the parent.
    label: Part,
    children: Part,
    /// Who wants a text beginning with the path to here.
    ids: Part,
}

/// A beginning, or an ending, that is wanted.
pub(crate) type Wanted = (Vec<u8>, Id);

impl Trie {
    /// Over beginnings, in lower case.
    pub(crate) fn heads(wanted: Vec<Wanted>) -> Self {
        Self::build(wanted, false)
    }

    /// Over endings, in lower case.
    pub(crate) fn tails(mut wanted: Vec<Wanted>) -> Self {
        wanted.iter_mut().for_each(|(text, _)| text.reverse());
        Self::build(wanted, true)
    }

    fn build(mut wanted: Vec<Wanted>, backwards: bool) -> Self {
        wanted.sort();
        wanted.dedup();
        let mut trie = Self { backwards, ..Self::default() };
        if !wanted.is_empty() {
            trie.node(&wanted, 0, 0);
        }
        if let Some(root) = trie.nodes.first() {
            let mut firsts = vec![0; 256];
            for (byte, child) in root.children.of(&trie.children) {
                for byte in [*byte, byte.to_ascii_uppercase()] {
                    if let Some(first) = firsts.get_mut(usize::from(byte)) {
                        *first = *child;
                    }
                }
            }
            trie.firsts = firsts.into();
        }
        trie
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds the node for the sorted texts that share their first `end` bytes; its label begins at `start`.
    fn node(&mut self, wanted: &[Wanted], start: usize, at: usize) -> u32 {
        let shared = wanted.first().map_or(&[][..], |(text, _)| text.as_slice());
        let last = wanted.last().map_or(&[][..], |(text, _)| text.as_slice());
        // Sorted, so what the first and the last share, all share; the root stays empty.
        let common = shared.iter().zip(last).take_while(|(a, b)| a == b).count();
        let end = if at == 0 && start == 0 { 0 } else { common.max(at) };
        let id = self.nodes.len();
        let mut label = shared.get(start + 1..end).unwrap_or_default().to_vec();
        if self.backwards {
            label.reverse();
        }
        let label = Part::append(&mut self.labels, &label);
        self.nodes.push(Node { label, ..Node::default() });
        let here = wanted.iter().take_while(|(text, _)| text.len() == end).count();
        let (own, below) = wanted.split_at_checked(here).unwrap_or((wanted, &[]));
        let mut children = Vec::new();
        let mut rest = below;
        while let Some(byte) = rest.first().and_then(|(text, _)| text.get(end)).copied() {
            let same = rest.iter().take_while(|(text, _)| text.get(end) == Some(&byte)).count();
            let (group, after) = rest.split_at_checked(same).unwrap_or((rest, &[]));
            children.push((byte, self.node(group, end, end + 1)));
            rest = after;
        }
        let children = Part::append(&mut self.children, &children);
        let ids: Vec<Id> = own.iter().map(|(_, id)| *id).collect();
        let ids = Part::append(&mut self.ids, &ids);
        if let Some(node) = self.nodes.get_mut(id) {
            *node = Node { label, children, ids };
        }
        u32::try_from(id).unwrap_or(u32::MAX)
    }

    /// Calls `add` for each that wants `text`.
    #[inline]
    pub(crate) fn find(&self, text: &[u8], add: &mut impl FnMut(Id)) {
        let Some(root) = self.nodes.first() else { return };
        root.ids.of(&self.ids).iter().for_each(|id| add(*id));
        if self.backwards {
            self.walk::<true>(text, add);
        } else {
            self.walk::<false>(text, add);
        }
    }

    #[inline]
    fn walk<const BACKWARDS: bool>(&self, text: &[u8], add: &mut impl FnMut(Id)) {
        let split = |text| -> Option<(&u8, &[u8])> {
            if BACKWARDS { <[u8]>::split_last(text) } else { <[u8]>::split_first(text) }
        };
        let Some((byte, rest)) = split(text) else { return };
        if let Some(first) = self.firsts.get(usize::from(*byte)).filter(|first| **first != 0) {
            self.descend::<BACKWARDS>(*first, rest, add);
        }
    }

    /// Goes on from a node below the root, to which the first byte led.
    fn descend<const BACKWARDS: bool>(&self, at: u32, text: &[u8], add: &mut impl FnMut(Id)) {
        let (mut at, mut rest) = (at, text);
        while let Some(node) = self.nodes.get(at as usize) {
            let label = node.label.of(&self.labels);
            let halves = if BACKWARDS {
                rest.len().checked_sub(label.len()).and_then(|at| rest.split_at_checked(at))
            } else {
                rest.split_at_checked(label.len()).map(|(head, rest)| (rest, head))
            };
            let Some((left, head)) = halves else { return };
            if !head.eq_ignore_ascii_case(label) {
                return;
            }
            node.ids.of(&self.ids).iter().for_each(|id| add(*id));
            let split = if BACKWARDS { left.split_last() } else { left.split_first() };
            let Some((byte, after)) = split else { return };
            let Some(next) = self.child(node, byte.to_ascii_lowercase()) else { return };
            (at, rest) = (next, after);
        }
    }

    fn child(&self, node: &Node, byte: u8) -> Option<u32> {
        let child = match node.children.of(&self.children) {
            few if few.len() <= 4 => few.iter().find(|(b, _)| *b == byte),
            many => many.binary_search_by_key(&byte, |(b, _)| *b).ok().and_then(|i| many.get(i)),
        };
        child.map(|(_, node)| *node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(wanted in prop::collection::vec("[ab/]{0,5}", 0..12), text in "[abAB/]{0,7}") {
            let all: Vec<Wanted> = wanted.iter().map(|text| text.clone().into_bytes()).zip(0..).collect();
            let folded = text.to_ascii_lowercase().into_bytes();
            let found = |trie: Trie| {
                let mut found = Vec::new();
                trie.find(text.as_bytes(), &mut |id| found.push(id));
                found.sort_unstable();
                found
            };
            let scan = |is_it: &dyn Fn(&[u8]) -> bool| -> Vec<Id> {
                all.iter().filter(|(text, _)| is_it(text)).map(|(_, id)| *id).collect()
            };
            prop_assert_eq!(found(Trie::heads(all.clone())), scan(&|text| folded.starts_with(text)));
            prop_assert_eq!(found(Trie::tails(all.clone())), scan(&|text| folded.ends_with(text)));
        }
    }
}
