//! A path as the kernel walked it, and the absolute paths it stands for.

use sensor_common::wire::{PathRef, path_flags};
use sensor_ecs::same_as;

use super::error::{DecodeError, Part};

/// Components from the leaf upwards, each ended by a NUL; checked when it was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WirePath<'a> {
    components: &'a [u8],
    /// Another name in place of the first component.
    leaf: Option<&'a [u8]>,
    root_bytes: usize,
    mount_bytes: usize,
    /// From the root of the file's mount to the root of the file system.
    above: &'a [u8],
    flags: u16,
}

/// What keeps a path from being the whole truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum PathDoubt {
    /// Upper components are missing.
    Truncated,
    /// A read failed or a parent was renamed during the walk.
    Torn,
    /// The mount is not known: the path starts at the root of its file system.
    NoMount,
}

impl PathDoubt {
    /// Every doubt, in order of declaration.
    pub(crate) const ALL: [Self; 3] = [Self::Truncated, Self::Torn, Self::NoMount];

    const fn flag(self) -> u16 {
        match self {
            Self::Truncated => path_flags::TRUNCATED,
            Self::Torn => path_flags::TORN,
            Self::NoMount => path_flags::NO_MOUNT,
        }
    }
}

impl<'a> WirePath<'a> {
    pub(super) fn new(
        what: Part,
        reference: PathRef,
        components: &'a [u8],
        above: &'a [u8],
    ) -> Result<Self, DecodeError> {
        let mut flags = reference.flags;
        for part in [components, above] {
            if let Some(&last) = part.last()
                && last != 0
            {
                return Err(DecodeError::Unterminated { what, got: last });
            }
            // A name that changed while it was read can be shorter than what was read of it.
            if has_empty_component(part) {
                flags |= path_flags::TORN;
            }
        }
        let root_bytes = usize::from(reference.root_bytes);
        let mount_bytes = usize::from(reference.mount_bytes);
        for boundary in [root_bytes, mount_bytes] {
            let at_boundary = match boundary.checked_sub(1) {
                None => true,
                Some(before) => components.get(before) == Some(&0),
            };
            if !at_boundary {
                return Err(DecodeError::Boundary { what, needed: components.len(), got: boundary });
            }
        }
        Ok(Self { components, leaf: None, root_bytes, mount_bytes, above, flags })
    }

    /// The path of what is called `leaf`, ended by a NUL, in the same directory.
    pub(super) fn beside(self, what: Part, leaf: &'a [u8]) -> Result<Self, DecodeError> {
        let Some((&0, leaf)) = leaf.split_last() else {
            return Err(DecodeError::Unterminated { what, got: leaf.last().copied().unwrap_or(0) });
        };
        // A name that changed while it was read can be shorter than what was read of it.
        let name = Components(leaf).next().unwrap_or_default();
        let torn = if name.len() == leaf.len() && !name.is_empty() { 0 } else { path_flags::TORN };
        Ok(Self { leaf: Some(name), flags: self.flags | torn, ..self })
    }

    /// The name, where the path is that of another one beside it.
    pub(crate) fn beside_name(&self) -> Option<&'a [u8]> {
        self.leaf
    }

    /// Whether the kernel could say anything at all about where the file is.
    pub(crate) fn is_known(&self) -> bool {
        !self.components.is_empty()
            || self.flags & (path_flags::REACHED_TASK_ROOT | path_flags::REACHED_NS_ROOT) != 0
    }

    /// Whether the file had lost its name.
    pub(crate) fn is_unlinked(&self) -> bool {
        self.flags & path_flags::UNLINKED != 0
    }

    /// Whether the walk reached the root of the namespace without passing the task's.
    pub(crate) fn is_outside_root(&self) -> bool {
        let both = path_flags::REACHED_NS_ROOT | path_flags::REACHED_TASK_ROOT;
        self.flags & both == path_flags::REACHED_NS_ROOT
    }

    /// What is doubtful about the path.
    pub(crate) fn doubts(&self) -> impl Iterator<Item = PathDoubt> + use<> {
        let flags = self.flags;
        PathDoubt::ALL.into_iter().filter(move |doubt| flags & doubt.flag() != 0)
    }

    /// Appends the path that the acting task sees, or the one of its namespace where the file is outside the
    /// task's root.
    pub(crate) fn write_task_view(&self, out: &mut Vec<u8>) {
        match self.below_task_root() {
            Some(below) => self.write(below, out),
            None => self.write(self.components, out),
        }
    }

    /// Appends the path from the root of the mount namespace.
    pub(crate) fn write_namespace_view(&self, out: &mut Vec<u8>) {
        self.write(self.components, out);
    }

    /// Whether the two views are different paths.
    pub(crate) fn views_differ(&self) -> bool {
        self.below_task_root().is_some_and(|below| below.len() != self.components.len())
    }

    /// Whether the path in the namespace is also the one within the file system: nothing is mounted on the way.
    pub(crate) fn is_within_one_mount(&self) -> bool {
        let both = path_flags::REACHED_NS_ROOT | path_flags::REACHED_FS_ROOT;
        self.flags & both == both && self.above.is_empty() && self.mount_bytes == self.components.len()
    }

    /// Appends the path from the root of the file system that holds the file; `false` if that was not reached.
    pub(crate) fn write_within_file_system(&self, out: &mut Vec<u8>) -> bool {
        let Some(below) = self.components.get(..self.mount_bytes) else { return false };
        if self.flags & path_flags::REACHED_FS_ROOT == 0 {
            return false;
        }
        if self.above.is_empty() {
            self.write(below, out);
        } else {
            write_absolute(self.above, out);
            if !below.is_empty() {
                self.write(below, out);
            }
        }
        true
    }

    /// Appends components of this path, the first of them by its other name if it has one.
    fn write(&self, components: &[u8], out: &mut Vec<u8>) {
        let Some(leaf) = self.leaf.filter(|_| !components.is_empty()) else {
            return write_absolute(components, out);
        };
        let mut parents = Components(components);
        parents.next();
        let Components(parents) = parents;
        if !parents.is_empty() {
            write_absolute(parents, out);
        }
        out.push(b'/');
        out.extend_from_slice(leaf);
    }

    fn below_task_root(&self) -> Option<&'a [u8]> {
        if self.flags & path_flags::REACHED_TASK_ROOT == 0 {
            return None;
        }
        self.components.get(..self.root_bytes)
    }
}

/// Names from the leaf upwards, each ended by a NUL.
struct Components<'a>(&'a [u8]);

impl<'a> Iterator for Components<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.0;
        if text.is_empty() {
            return None;
        }
        let end = nul(text).unwrap_or(text.len());
        self.0 = text.get(end + 1..).unwrap_or_default();
        text.get(..end)
    }
}

/// Where the first NUL is. Names are short: to call what searches long texts fast costs more than the search.
fn nul(text: &[u8]) -> Option<usize> {
    let (eights, last) = text.as_chunks::<8>();
    for (at, eight) in eights.iter().enumerate() {
        let ends = same_as(0, *eight);
        if ends != 0 {
            return Some(8 * at + ends.trailing_zeros() as usize / 8);
        }
    }
    Some(8 * eights.len() + last.iter().position(|byte| *byte == 0)?)
}

/// Whether a component is empty: it begins with the NUL that ends it.
fn has_empty_component(part: &[u8]) -> bool {
    /// One bit for each byte, that of the first lowest: whether it is NUL and follows one.
    fn empty(ends: u64, before: u64) -> u64 {
        ends & (ends << 8 | before)
    }
    let (eights, last) = part.as_chunks::<8>();
    // A component begins where the text does.
    let (mut before, mut found) = (0x80, 0);
    for eight in eights {
        let ends = same_as(0, *eight);
        found |= empty(ends, before);
        before = ends >> 56;
    }
    // Rather some bytes twice than one by one.
    if let Some(eight) = part.last_chunk().filter(|_| !last.is_empty()) {
        return found | empty(same_as(0, *eight), 0) != 0;
    }
    let mut follows = before != 0;
    found != 0 || last.iter().any(|byte| std::mem::replace(&mut follows, *byte == 0) && *byte == 0)
}

/// Appends `/`-separated components given from the leaf upwards; `/` for none. Empty ones, which a torn path can
/// have, are left out.
pub(crate) fn write_absolute(components: &[u8], out: &mut Vec<u8>) {
    let begun = out.len();
    // What is written is as long as what is read, less what is empty: it is filled in, from its end, without asking
    // for room again.
    out.extend_from_slice(components);
    let mut end = out.len();
    for component in Components(components).filter(|component| !component.is_empty()) {
        let Some(at) = end.checked_sub(1 + component.len()) else { break };
        if let Some((slash, name)) = out.get_mut(at..end).and_then(<[u8]>::split_first_mut) {
            *slash = b'/';
            copy(component, name);
        }
        end = at;
    }
    if end > begun {
        out.drain(begun..end);
    }
    if out.len() == begun {
        out.push(b'/');
    }
}

/// Between slices of one length; a call costs more than most names.
fn copy(from: &[u8], to: &mut [u8]) {
    /// By the first and the last so many bytes, if they are all.
    fn by_ends<const N: usize>(from: &[u8], to: &mut [u8]) -> bool {
        if from.len() > 2 * N {
            return false;
        }
        let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) else {
            return false;
        };
        let Some(begin) = to.first_chunk_mut() else { return false };
        *begin = *first;
        let Some(end) = to.last_chunk_mut() else { return false };
        *end = *last;
        true
    }
    let done = by_ends::<8>(from, to)
        || by_ends::<4>(from, to)
        || by_ends::<2>(from, to)
        || by_ends::<1>(from, to)
        || by_ends::<16>(from, to);
    if !done {
        to.copy_from_slice(from);
    }
}

/// The last component of an absolute path; nothing for the root.
pub(crate) fn base_name(path: &[u8]) -> Option<&[u8]> {
    path.rsplit(|&byte| byte == b'/').next().filter(|name| !name.is_empty())
}
