//! Which rules want a text that is, or begins with, one of many: a radix tree over lower-case bytes.
//!
//! Case is folded on both sides, which can only add candidates; the rule itself decides afterwards.

/// Bitmap of rules.
pub(super) type Bits = Box<[u64]>;

/// Everything lies in four flat arrays, so that a walk touches little memory.
#[derive(Clone, Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// First byte and node of each child, sorted, the children of a node together.
    children: Vec<(u8, u32)>,
    labels: Vec<u8>,
    bits: Vec<u64>,
    words: usize,
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
    /// Rules that want a text beginning with the path to here, ancestors' included.
    prefix: Part,
    /// Rules that want exactly the path to here.
    exact: Part,
}

/// A text that a rule wants, before the tree is built.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    pub(super) text: Vec<u8>,
    /// Anything may follow.
    pub(super) open: bool,
    pub(super) rule: usize,
}

impl Trie {
    /// `wanted` holds lower-case texts; `words` is the size of a bitmap.
    pub(super) fn build(mut wanted: Vec<Wanted>, words: usize) -> Self {
        wanted.sort();
        let mut trie =
            Self { nodes: Vec::new(), children: Vec::new(), labels: Vec::new(), bits: Vec::new(), words };
        trie.node(&wanted, 0, 0, &vec![0; words]);
        trie
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// Adds the node for the sorted texts that share their first `end` bytes; its label begins at `start`.
    fn node(&mut self, wanted: &[Wanted], start: usize, at: usize, above: &[u64]) -> u32 {
        let shared = wanted.first().map_or(&[][..], |w| w.text.as_slice());
        let last = wanted.last().map_or(&[][..], |w| w.text.as_slice());
        // Sorted, so what the first and the last share, all share; the root stays empty.
        let common = shared.iter().zip(last).take_while(|(a, b)| a == b).count();
        let end = if at == 0 && start == 0 { 0 } else { common.max(at) };
        let id = self.nodes.len();
        let label = Part::append(&mut self.labels, shared.get(start + 1..end).unwrap_or_default());
        self.nodes.push(Node { label, ..Node::default() });
        let mut prefix = above.to_vec();
        let mut exact = vec![0; self.words];
        let here = wanted.iter().take_while(|w| w.text.len() == end).count();
        let (own, below) = wanted.split_at_checked(here).unwrap_or((wanted, &[]));
        for w in own {
            set(if w.open { &mut prefix } else { &mut exact }, w.rule);
        }
        let mut children = Vec::new();
        let mut rest = below;
        while let Some(byte) = rest.first().and_then(|w| w.text.get(end)).copied() {
            let same = rest.iter().take_while(|w| w.text.get(end) == Some(&byte)).count();
            let (group, after) = rest.split_at_checked(same).unwrap_or((rest, &[]));
            children.push((byte, self.node(group, end, end + 1, &prefix)));
            rest = after;
        }
        let children = Part::append(&mut self.children, &children);
        let mut some = |bits: &[u64]| {
            if bits.iter().all(|w| *w == 0) { Part::default() } else { Part::append(&mut self.bits, bits) }
        };
        let (prefix, exact) = (some(&prefix), some(&exact));
        if let Some(node) = self.nodes.get_mut(id) {
            *node = Node { label, children, prefix, exact };
        }
        u32::try_from(id).unwrap_or(u32::MAX)
    }

    /// Calls `add` with the bitmaps of the rules that want `text`.
    pub(super) fn find<'t>(&'t self, text: &[u8], add: &mut impl FnMut(&'t [u64])) {
        let byte = |i: usize| text.get(i).map(u8::to_ascii_lowercase);
        self.walk(text.len(), byte, add);
    }

    /// The same for `text` read backwards.
    pub(super) fn find_reversed<'t>(&'t self, text: &[u8], add: &mut impl FnMut(&'t [u64])) {
        let byte = |i: usize| text.get(text.len().checked_sub(i + 1)?).map(u8::to_ascii_lowercase);
        self.walk(text.len(), byte, add);
    }

    fn walk<'t>(&'t self, len: usize, byte: impl Fn(usize) -> Option<u8>, add: &mut impl FnMut(&'t [u64])) {
        let Some(mut node) = self.nodes.first() else { return };
        let mut at = 0;
        loop {
            if at == len {
                if node.exact.len > 0 {
                    add(node.exact.of(&self.bits));
                }
                break;
            }
            let Some(next) = byte(at).and_then(|b| self.child(node, b)) else { break };
            let label = next.label.of(&self.labels);
            if !label.iter().enumerate().all(|(i, want)| byte(at + 1 + i) == Some(*want)) {
                break;
            }
            at += 1 + label.len();
            node = next;
        }
        if node.prefix.len > 0 {
            add(node.prefix.of(&self.bits));
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

pub(super) fn set(bits: &mut [u64], rule: usize) {
    if let Some(word) = bits.get_mut(rule / 64) {
        *word |= 1 << (rule % 64);
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
            let all: Vec<Wanted> = wanted.iter().enumerate()
                .map(|(rule, (t, open))| Wanted { text: t.clone().into_bytes(), open: *open, rule })
                .collect();
            let trie = Trie::build(all.clone(), 1);
            let mut found = 0;
            trie.find(text.as_bytes(), &mut |bits| found |= bits[0]);
            let mut backwards = 0;
            let reversed: Vec<u8> = text.bytes().rev().collect();
            trie.find_reversed(&reversed, &mut |bits| backwards |= bits[0]);
            prop_assert_eq!(found, backwards);
            let folded = text.to_ascii_lowercase().into_bytes();
            let scan = all.iter().filter(|w| if w.open { folded.starts_with(&w.text) } else { folded == w.text });
            let want = scan.fold(0_u64, |bits, w| bits | 1 << w.rule);
            prop_assert_eq!(found, want);
        }
    }
}
