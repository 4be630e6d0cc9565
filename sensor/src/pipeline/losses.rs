//! What never arrived: holes in the sequence numbers, and what the kernel side counted; told once each, in gaps.

use sensor_common::wire::{RecordHeader, RecordKind};

use super::source::{Counted, Lost, LostByKind};

const KINDS: usize = RecordKind::ALL.len();
/// More processors than any kernel is built for: beyond, a record is broken.
const CPUS_MAX: usize = 8192;
/// Between two gaps, on the boot clock: an overload makes a hole before nearly every record.
const GAP_INTERVAL_NS: u64 = 1_000_000_000;

/// Records that are missing from the stream. It stands where that was noticed, at the latest a second later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// They were made after this time and before the other, on the boot clock.
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) lost: LostByKind,
    /// There may be more; see [`Counted::are_misses_uncounted`].
    pub(super) are_misses_uncounted: bool,
}

impl Hole {
    fn add(pending: &mut Option<Self>, start_ns: u64, end_ns: u64) -> &mut Self {
        let lost = LostByKind::default();
        let gap = pending.get_or_insert(Self { start_ns, end_ns, lost, are_misses_uncounted: false });
        gap.start_ns = gap.start_ns.min(start_ns);
        gap.end_ns = gap.end_ns.max(end_ns);
        gap
    }
}

/// Records of one kind from one processor. Their numbers begin with 0.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    next_seq: u64,
    received: u64,
    /// When the last one was made.
    last_ns: u64,
}

impl Lane {
    /// How many are missing up to the last one. None while more were received elsewhere than were made by then.
    fn missing(&self) -> u64 {
        self.next_seq.saturating_sub(self.received)
    }
}

/// The account of all that was made.
#[derive(Debug)]
pub(super) struct Losses {
    /// By processor.
    lanes: Vec<[Lane; KINDS]>,
    /// Records that are missing between those that were received.
    holes: [u64; KINDS],
    /// What gaps have told, or will.
    told: LostByKind,
    pending: Option<Hole>,
    are_misses_uncounted: bool,
    last_gap_ns: Option<u64>,
    since_ns: u64,
    /// When the kernel side's counters were last compared.
    compared_ns: u64,
}

impl Losses {
    /// Nothing that is told began before `since_ns`.
    pub(super) fn since(since_ns: u64) -> Self {
        Self {
            lanes: Vec::new(),
            holes: [0; KINDS],
            told: LostByKind::default(),
            pending: None,
            are_misses_uncounted: false,
            last_gap_ns: None,
            since_ns,
            compared_ns: since_ns,
        }
    }

    fn lane(&mut self, kind: RecordKind, cpu: u32) -> Option<&mut Lane> {
        let cpu = cpu as usize;
        if cpu >= self.lanes.len() && cpu < CPUS_MAX {
            self.lanes.resize(cpu + 1, [Lane::default(); KINDS]);
        }
        self.lanes.get_mut(cpu)?.get_mut(kind.index())
    }

    /// Takes note of a record that went elsewhere.
    pub(super) fn went_elsewhere(&mut self, kind: RecordKind, header: &RecordHeader) {
        if let Some(lane) = self.lane(kind, header.cpu) {
            lane.received += 1;
        }
    }

    /// Takes note of a record, and says what must be told before it.
    pub(super) fn received(&mut self, kind: RecordKind, header: &RecordHeader) -> Option<Hole> {
        let since_ns = self.since_ns;
        let lane = self.lane(kind, header.cpu)?;
        let start_ns = std::mem::replace(&mut lane.last_ns, header.boot_ns).max(since_ns);
        let before = lane.missing();
        lane.received = lane.received.saturating_add(1);
        lane.next_seq = lane.next_seq.max(header.seq.saturating_add(1));
        let after = lane.missing();
        let (hole, told) = (self.holes.get_mut(kind.index())?, self.told.get_mut(kind.index())?);
        *hole = hole.saturating_add(after).saturating_sub(before);
        let untold = hole.saturating_sub(told.ring_full);
        if untold > 0 {
            told.ring_full += untold;
            let gap = Hole::add(&mut self.pending, start_ns.min(header.boot_ns), header.boot_ns);
            gap.lost.get_mut(kind.index())?.ring_full += untold;
        }
        if self.pending.is_some()
            && self
                .last_gap_ns
                .is_none_or(|last_ns| header.boot_ns >= last_ns.saturating_add(GAP_INTERVAL_NS))
        {
            self.last_gap_ns = Some(header.boot_ns);
            return self.take();
        }
        None
    }

    /// Compares with what the kernel side has counted until `now_ns`, and says what must be told.
    pub(super) fn compare(&mut self, counted: &Counted, now_ns: u64) -> Option<Hole> {
        for (at, (told, counted)) in self.told.iter_mut().zip(&counted.lost).enumerate() {
            let more = counted.beyond(*told);
            if more.total() > 0
                && let Some(lost) = Hole::add(&mut self.pending, self.compared_ns, now_ns).lost.get_mut(at)
            {
                *lost = lost.plus(more);
                *told = told.plus(more);
            }
        }
        self.compared_ns = now_ns;
        self.are_misses_uncounted = counted.are_misses_uncounted;
        if self.pending.is_some() {
            self.last_gap_ns = Some(now_ns);
        }
        self.take()
    }

    fn take(&mut self) -> Option<Hole> {
        let hole = self.pending.take()?;
        Some(Hole { are_misses_uncounted: self.are_misses_uncounted, ..hole })
    }

    /// Records that are missing between those that arrived and were not counted as lost: none, or something is broken.
    pub(super) fn unaccounted(&self, counted: &Counted) -> u64 {
        self.holes.iter().zip(&counted.lost).map(|(holes, lost)| holes.saturating_sub(lost.ring_full)).sum()
    }
}

impl Lost {
    /// What of it is more than in `known`.
    fn beyond(self, known: Self) -> Self {
        Self {
            ring_full: self.ring_full.saturating_sub(known.ring_full),
            no_intent: self.no_intent.saturating_sub(known.no_intent),
            missed: self.missed.saturating_sub(known.missed),
        }
    }

    fn plus(self, more: Self) -> Self {
        Self {
            ring_full: self.ring_full + more.ring_full,
            no_intent: self.no_intent + more.no_intent,
            missed: self.missed + more.missed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const CREATE: RecordKind = RecordKind::FileCreate;

    fn total(gap: &Hole) -> u64 {
        gap.lost.iter().map(|lost| lost.total()).sum()
    }

    fn header(cpu: u32, seq: u64, boot_ns: u64) -> RecordHeader {
        RecordHeader { kind: CREATE as u16, cpu, seq, boot_ns, ..RecordHeader::default() }
    }

    fn counted(ring_full: u64, no_intent: u64, missed: u64) -> Counted {
        let mut counted = Counted::default();
        counted.lost[CREATE.index()] = Lost { ring_full, no_intent, missed };
        counted
    }

    #[test]
    fn what_is_missing_before_the_first_record_is_a_hole_too() {
        let mut losses = Losses::since(5);
        let gap = losses.received(CREATE, &header(1, 2, 9)).unwrap();
        assert_eq!((gap.start_ns, gap.end_ns, total(&gap)), (5, 9, 2));
        // Made before the start.
        let mut losses = Losses::since(50);
        let gap = losses.received(CREATE, &header(1, 2, 9)).unwrap();
        assert_eq!((gap.start_ns, gap.end_ns, total(&gap)), (9, 9, 2));
    }

    #[test]
    fn records_that_went_elsewhere_are_no_hole() {
        let mut losses = Losses::since(0);
        losses.went_elsewhere(CREATE, &header(0, 1, 2));
        losses.went_elsewhere(CREATE, &header(0, 2, 3));
        for (seq, lost) in [(0, None), (3, None), (5, Some(1))] {
            let gap = losses.received(CREATE, &header(0, seq, 10 + seq));
            assert_eq!(gap.map(|gap| total(&gap)), lost, "{seq}");
        }
        assert_eq!(losses.unaccounted(&counted(1, 0, 0)), 0);
    }

    #[test]
    fn a_hole_is_told_before_the_record_behind_it_and_only_once() {
        let mut losses = Losses::since(0);
        assert_eq!(losses.received(CREATE, &header(0, 0, 1)), None);
        assert_eq!(losses.received(CREATE, &header(1, 0, 2)), None);
        let gap = losses.received(CREATE, &header(0, 4, 9)).unwrap();
        assert_eq!((gap.start_ns, gap.end_ns, total(&gap)), (1, 9, 3));
        assert_eq!(gap.lost[CREATE.index()].ring_full, 3);
        assert_eq!(losses.compare(&counted(3, 0, 0), SECOND), None);
        assert_eq!(losses.unaccounted(&counted(3, 0, 0)), 0);
        assert_eq!(losses.unaccounted(&counted(2, 0, 0)), 1);
    }

    #[test]
    fn holes_in_quick_succession_are_told_together() {
        let mut losses = Losses::since(0);
        assert_eq!(losses.received(CREATE, &header(0, 0, 5)), None);
        assert_eq!(losses.received(CREATE, &header(0, 2, 10)).map(|gap| total(&gap)), Some(1));
        assert_eq!(losses.received(CREATE, &header(0, 4, 20)), None);
        assert_eq!(losses.received(CREATE, &header(0, 6, 30)), None);
        let gap = losses.received(CREATE, &header(0, 7, 10 + SECOND)).unwrap();
        assert_eq!((gap.start_ns, gap.end_ns, total(&gap)), (10, 30, 2));
    }

    #[test]
    fn what_no_record_shows_comes_from_the_counters() {
        let mut losses = Losses::since(5);
        let gap = losses.compare(&counted(7, 2, 1), 50).unwrap();
        assert_eq!((gap.start_ns, gap.end_ns, total(&gap)), (5, 50, 10));
        // The hole that the lost ones have left shows later: the first record is number 7.
        assert_eq!(losses.received(CREATE, &header(0, 7, 60)), None);
        let gap = losses.compare(&counted(7, 2, 4), 90).unwrap();
        assert_eq!((gap.start_ns, gap.end_ns, total(&gap)), (50, 90, 3));
        assert_eq!(losses.unaccounted(&counted(7, 2, 4)), 0);
    }

    #[test]
    fn a_record_that_was_overtaken_is_not_lost() {
        let mut losses = Losses::since(0);
        losses.received(CREATE, &header(0, 0, 1));
        losses.received(CREATE, &header(0, 2, 2));
        assert_eq!(losses.received(CREATE, &header(0, 1, 1)), None);
        assert_eq!(losses.unaccounted(&counted(0, 0, 0)), 0);
    }

    #[test]
    fn a_processor_that_cannot_be_is_no_reason_for_memory() {
        let mut losses = Losses::since(0);
        assert_eq!(losses.received(CREATE, &header(u32::MAX, 7, 1)), None);
        assert!(losses.lanes.is_empty());
    }
}
