//! What is remembered between events, by the caller: how far the filters get on what an event has in common with
//! earlier ones.

use super::Concerned;
use super::set::Set;
use crate::rules::RuleIndex;

/// A process in one of its states.
///
/// Two events with the same one must agree in every field whose [`Lifetime`](sensor_ecs::Lifetime) is that of the
/// process or longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessVersion {
    /// Which process.
    pub process: u64,
    /// Another number whenever anything changes that the process's fields are read from: an exec, another parent.
    pub version: u64,
}

/// What the caller knows of an event beside its fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What kind of event it is: those of one kind agree in every constant field.
    pub kind: Option<u8>,
    /// Whose it is; of no use without `kind`. Absent where no other event will be of it, or nothing is certain.
    pub process: Option<ProcessVersion>,
}

/// Kinds that are remembered; those with greater numbers are not.
const KINDS_MAX: usize = 32;

/// What is remembered, of one [`RuleSet`](crate::RuleSet), of the events of one host. Takes no more memory over time.
#[derive(Clone, Debug)]
pub struct Memory {
    segments: usize,
    /// What the constant fields leave, by kind and segment.
    kinds: Box<[Option<Set>]>,
    /// Pairs of places; the first of a pair is the one used last.
    places: Box<[Option<Place>]>,
    /// What the process's fields leave, by place and segment.
    left: Box<[Set]>,
    pub(super) matched: Vec<RuleIndex>,
    pub(super) concerned: Vec<Concerned>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    of: ProcessVersion,
    kind: u8,
}

/// Where a process's sets are, and whether they are there already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    at: usize,
    pub(super) is_filled: bool,
}

impl Memory {
    pub(super) fn new(segments: usize, filters: usize, processes: usize) -> Self {
        // A pair at least, so that there is always a place.
        let places = processes.next_power_of_two().max(2);
        Self {
            segments,
            kinds: vec![None; KINDS_MAX * segments].into(),
            places: vec![None; places].into(),
            left: vec![Set::default(); places * segments].into(),
            matched: Vec::with_capacity(filters),
            concerned: Vec::with_capacity(filters),
        }
    }

    /// Remembers nothing, and costs nothing: stands in while another is in use.
    pub(crate) fn none() -> Self {
        Self {
            segments: 0,
            kinds: Box::default(),
            places: Box::default(),
            left: Box::default(),
            matched: Vec::new(),
            concerned: Vec::new(),
        }
    }

    /// What the constant fields of this kind leave in a segment; found the first time.
    pub(super) fn constant(&mut self, kind: Option<u8>, segment: usize, find: impl FnOnce() -> Set) -> Set {
        let slot = kind.and_then(|kind| self.kinds.get_mut(usize::from(kind) * self.segments + segment));
        match slot {
            Some(slot) => *slot.get_or_insert_with(find),
            None => find(),
        }
    }

    /// The place of a process for events of one kind; a new one takes that of the pair which was used less recently.
    pub(super) fn place(&mut self, known: Known) -> Option<Remembered> {
        let wanted =
            Place { of: known.process?, kind: known.kind.filter(|kind| usize::from(*kind) < KINDS_MAX)? };
        let mixed = (wanted.of.process ^ u64::from(wanted.kind) << 58).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let pairs = self.places.len() / 2;
        let first = usize::try_from(mixed >> 32).unwrap_or(0) % pairs * 2;
        let pair = self.places.get_mut(first..first + 2)?;
        let [newer, older] = pair else { return None };
        if *newer == Some(wanted) {
            return Some(Remembered { at: first, is_filled: true });
        }
        let is_filled = *older == Some(wanted);
        let is_older_version = |place: &Option<Place>| {
            place.is_some_and(|p| p.of.process == wanted.of.process && p.kind == wanted.kind)
        };
        if is_filled || !is_older_version(newer) {
            std::mem::swap(newer, older);
            let (a, b) = (first * self.segments, (first + 1) * self.segments);
            (0..self.segments).for_each(|segment| self.left.swap(a + segment, b + segment));
        }
        *newer = Some(wanted);
        Some(Remembered { at: first, is_filled })
    }

    pub(super) fn left(&self, place: Remembered, segment: usize) -> Set {
        self.left.get(place.at * self.segments + segment).copied().unwrap_or_default()
    }

    pub(super) fn set_left(&mut self, place: Remembered, segment: usize, left: Set) {
        if let Some(slot) = self.left.get_mut(place.at * self.segments + segment) {
            *slot = left;
        }
    }
}
