//! Who wants a text that is, or begins with, one of many: a radix tree over lower-case bytes.
//!
//! Case is folded on both sides, which can only add finds; the condition itself decides afterwards.

/// Who wants a text; what the number means is the caller's.
pub(crate) type Id = u16;

/// Everything lies in four flat arrays, so that a walk touches little memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
    /// First byte and node of each child, sorted, the children of a node together.
    children: Vec<(u8, u32)>,
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
    prefix: Part,
    /// Who wants exactly the path to here.
    exact: Part,
}

/// A text that is wanted, before the tree is built.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    pub(crate) text: Vec<u8>,
    /// Anything may follow.
    pub(crate) open: bool,
    pub(crate) id: Id,
}

impl Trie {
    /// `wanted` holds lower-case texts.
    pub(crate) fn build(mut wanted: Vec<Wanted>) -> Self {
        wanted.sort();
        wanted.dedup();
        let mut trie = Self::default();
        if !wanted.is_empty() {
            trie.node(&wanted, 0, 0);
        }
        trie
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds the node for the sorted texts that share their first `end` bytes; its label begins at `start`.
    fn node(&mut self, wanted: &[Wanted], start: usize, at: usize) -> u32 {
        let shared = wanted.first().map_or(&[][..], |w| w.text.as_slice());
        let last = wanted.last().map_or(&[][..], |w| w.text.as_slice());
        // Sorted, so what the first and the last share, all share; the root stays empty.
        let common = shared.iter().zip(last).take_while(|(a, b)| a == b).count();
        let end = if at == 0 && start == 0 { 0 } else { common.max(at) };
        let id = self.nodes.len();
        let label = Part::append(&mut self.labels, shared.get(start + 1..end).unwrap_or_default());
        self.nodes.push(Node { label, ..Node::default() });
        let here = wanted.iter().take_while(|w| w.text.len() == end).count();
        let (own, below) = wanted.split_at_checked(here).unwrap_or((wanted, &[]));
        let mut children = Vec::new();
        let mut rest = below;
        while let Some(byte) = rest.first().and_then(|w| w.text.get(end)).copied() {
            let same = rest.iter().take_while(|w| w.text.get(end) == Some(&byte)).count();
            let (group, after) = rest.split_at_checked(same).unwrap_or((rest, &[]));
            children.push((byte, self.node(group, end, end + 1)));
            rest = after;
        }
        let children = Part::append(&mut self.children, &children);
        let mut ids = |open: bool| {
            let ids: Vec<Id> = own.iter().filter(|w| w.open == open).map(|w| w.id).collect();
            Part::append(&mut self.ids, &ids)
        };
        let (prefix, exact) = (ids(true), ids(false));
        if let Some(node) = self.nodes.get_mut(id) {
            *node = Node { label, children, prefix, exact };
        }
        u32::try_from(id).unwrap_or(u32::MAX)
    }

    /// Calls `add` for each that wants `text`.
    pub(crate) fn find(&self, text: &[u8], add: &mut impl FnMut(Id)) {
        let byte = |i: usize| text.get(i).map(u8::to_ascii_lowercase);
        self.walk(text.len(), byte, add);
    }

    /// The same for `text` read backwards.
    pub(crate) fn find_reversed(&self, text: &[u8], add: &mut impl FnMut(Id)) {
        let byte = |i: usize| text.get(text.len().checked_sub(i + 1)?).map(u8::to_ascii_lowercase);
        self.walk(text.len(), byte, add);
    }

    fn walk(&self, len: usize, byte: impl Fn(usize) -> Option<u8>, add: &mut impl FnMut(Id)) {
        let Some(mut node) = self.nodes.first() else { return };
        let mut at = 0;
        loop {
            node.prefix.of(&self.ids).iter().for_each(|id| add(*id));
            if at == len {
                node.exact.of(&self.ids).iter().for_each(|id| add(*id));
                return;
            }
            let Some(next) = byte(at).and_then(|b| self.child(node, b)) else { return };
            let label = next.label.of(&self.labels);
            if !label.iter().enumerate().all(|(i, want)| byte(at + 1 + i) == Some(*want)) {
                return;
            }
            at += 1 + label.len();
            node = next;
        }
    }

    fn child(&self, node: &Node, byte: u8) -> Option<&Node> {
        let child = match node.children.of(&self.children) {
            few if few.len() <= 4 => few.iter().find(|(b, _)| *b == byte),
            many => many.binary_search_by_key(&byte, |(b, _)| *b).ok().and_then(|i| many.get(i)),
        };
        self.nodes.get(child?.1 as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_scan_finds(
            wanted in prop::collection::vec(("[ab/]{0,5}", any::<bool>()), 0..12),
            text in "[abAB/]{0,7}",
        ) {
            let all: Vec<Wanted> = (0..).zip(&wanted)
                .map(|(id, (t, open))| Wanted { text: t.clone().into_bytes(), open: *open, id })
                .collect();
            let trie = Trie::build(all.clone());
            let mut found = Vec::new();
            trie.find(text.as_bytes(), &mut |id| found.push(id));
            let mut backwards = Vec::new();
            let reversed: Vec<u8> = text.bytes().rev().collect();
            trie.find_reversed(&reversed, &mut |id| backwards.push(id));
            prop_assert_eq!(&found, &backwards);
            let folded = text.to_ascii_lowercase().into_bytes();
            let scan = all.iter().filter(|w| if w.open { folded.starts_with(&w.text) } else { folded == w.text });
            let want: Vec<Id> = scan.map(|w| w.id).collect();
            found.sort_unstable();
            prop_assert_eq!(found, want);
        }
    }
}
