//! What is remembered between events, by the caller: how far the filters get on what an event has in common with
//! earlier ones.

use sensor_ecs::{FieldId, Record, Value};

use super::Concerned;
use super::set::Set;
use crate::key::encode;
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

/// Programs that are remembered.
const PROGRAMS_MAX: usize = 1024;

/// A program with longer names is not remembered.
const PROGRAM_BYTES_MAX: usize = 1024;

/// What is remembered, of one [`RuleSet`](crate::RuleSet), of the events of one host. Takes no more memory over time.
#[derive(Clone, Debug)]
pub struct Memory {
    segments: usize,
    kinds: Box<[Option<OfKind>]>,
    /// Pairs, by the hash of their key; the first of a pair is the one used last.
    programs: Box<[Program]>,
    /// The key in hand.
    key: Vec<u8>,
    /// Pairs of places; the first of a pair is the one used last.
    places: Box<[Option<Place>]>,
    /// What the process's fields leave, by place and segment.
    left: Box<[Set]>,
    pub(super) matched: Vec<RuleIndex>,
    pub(super) concerned: Vec<Concerned>,
}

/// What is the same in all events of one kind.
#[derive(Clone, Debug)]
pub(super) struct OfKind {
    /// What the constant fields leave, by segment.
    pub(super) left: Box<[Set]>,
    /// The same of filters that follow.
    pub(super) followers: Box<[Set]>,
    /// The fields of programs that matter to these.
    pub(super) fields: Box<[FieldId]>,
}

/// What the fields of a program leave. Its key holds all of them, so that nothing is taken for something else.
#[derive(Clone, Debug, Default)]
struct Program {
    key: Vec<u8>,
    /// By segment; made when it is first needed.
    left: Vec<Set>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    of: ProcessVersion,
    kind: u8,
}

/// Where the sets of a process or a program are, and whether they are there already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    at: usize,
    pub(super) is_filled: bool,
}

impl Memory {
    pub(super) fn new(segments: usize, filters: usize, processes: usize) -> Self {
        // A pair at least, so that there is always a place.
        let places = processes.next_power_of_two().max(2);
        let programs = if processes == 0 { 0 } else { PROGRAMS_MAX };
        Self {
            segments,
            kinds: vec![None; KINDS_MAX].into(),
            programs: vec![Program::default(); programs].into(),
            key: Vec::with_capacity(PROGRAM_BYTES_MAX),
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
            programs: Box::default(),
            key: Vec::new(),
            places: Box::default(),
            left: Box::default(),
            matched: Vec::new(),
            concerned: Vec::new(),
        }
    }

    /// What this kind of event has in common; found the first time.
    pub(super) fn kind(&mut self, kind: Option<u8>, find: impl FnOnce() -> OfKind) -> Option<&OfKind> {
        let slot = self.kinds.get_mut(usize::from(kind?))?;
        Some(slot.get_or_insert_with(find))
    }

    pub(super) fn known_kind(&self, kind: Option<u8>) -> Option<&OfKind> {
        self.kinds.get(usize::from(kind?))?.as_ref()
    }

    /// The place of the program that an event of a kind which is known shows.
    pub(super) fn program(&mut self, kind: Option<u8>, record: &impl Record) -> Option<Remembered> {
        let kind = kind?;
        let of_kind = self.kinds.get(usize::from(kind))?.as_ref()?;
        self.key.clear();
        self.key.push(kind);
        for field in &of_kind.fields {
            note(record.value(*field), &mut self.key);
            if self.key.len() > PROGRAM_BYTES_MAX {
                return None;
            }
        }
        let first = place_of(&self.key).checked_rem(self.programs.len() / 2)? * 2;
        let [newer, older] = self.programs.get_mut(first..first + 2)? else { return None };
        let mut is_filled = newer.key == self.key;
        if !is_filled {
            std::mem::swap(newer, older);
            is_filled = newer.key == self.key;
        }
        if !is_filled {
            // As long as any may be, so that the next one to come here takes no memory.
            newer.key.clear();
            newer.key.reserve_exact(PROGRAM_BYTES_MAX);
            newer.key.extend_from_slice(&self.key);
            newer.left.resize(self.segments, Set::default());
        }
        Some(Remembered { at: first, is_filled })
    }

    pub(super) fn program_left(&self, place: Remembered, segment: usize) -> Set {
        self.programs.get(place.at).and_then(|p| p.left.get(segment)).copied().unwrap_or_default()
    }

    pub(super) fn set_program_left(&mut self, place: Remembered, segment: usize, left: Set) {
        if let Some(slot) = self.programs.get_mut(place.at).and_then(|p| p.left.get_mut(segment)) {
            *slot = left;
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

/// Adds a value to a key. Most are short texts or absent, and there are many of them.
fn note(value: Value<'_>, key: &mut Vec<u8>) {
    const OTHER: u8 = 0xff;
    match value {
        Value::Absent => key.push(0),
        Value::Keyword(text) if text.len() + 1 < usize::from(OTHER) => {
            key.push(u8::try_from(text.len() + 1).unwrap_or(OTHER));
            key.extend_from_slice(text);
        }
        other => {
            key.push(OTHER);
            encode(other, key);
        }
    }
}

/// Spreads keys. Whoever makes keys that fall together only makes them be found anew.
fn place_of(key: &[u8]) -> usize {
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    let (words, rest) = key.as_chunks::<8>();
    let last = rest.iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
    let words = words.iter().map(|word| u64::from_le_bytes(*word)).chain([last]);
    let hash = words.fold(0_u64, |hash, word| (hash.rotate_left(23) ^ word).wrapping_mul(MIX));
    usize::try_from(hash >> 32).unwrap_or(0)
}
