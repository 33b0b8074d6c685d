//! Events by time, then by the order in which they were scheduled; any of them can be cancelled.

use std::cmp::Reverse;

use dary_heap::QuaternaryHeap;

use crate::units::Instant;

/// Bits of a key that name the slot of the event: 16.8 million events may be pending at once.
const SLOT_BITS: u32 = 24;
/// Bits of a key that count what was scheduled: 1.1e12 events, 30 hours at 10 million a second.
const SEQUENCE_BITS: u32 = 64 - SLOT_BITS;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
/// Stale keys that an agenda tolerates whatever its length.
const STALE_FLOOR: usize = 64;

/// Names a scheduled event, to cancel it; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What is going to happen, earliest first; ties in the order of scheduling.
///
/// A 4-ary heap of packed keys `time_ps << 64 | sequence << 24 | slot`; events lie in a slab.
/// A cancelled event leaves its key in the heap, which `pop` skips: the slot no longer carries the
/// key's sequence number.
#[derive(Clone, Debug)]
pub struct Agenda<E> {
    heap: QuaternaryHeap<Reverse<u128>>,
    slots: Vec<Slot<E>>,
    free: Vec<u32>,
    sequence: u64,
    len: usize,
}

#[derive(Clone, Debug)]
struct Slot<E> {
    sequence: u64,
    event: Option<E>,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Agenda<E> {
    /// An empty agenda.
    pub fn new() -> Self {
        Self {
            heap: QuaternaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            len: 0,
        }
    }

    /// Adds an event.
    ///
    /// Panics past 2^24 pending events or 2^40 scheduled ones: no program of ours comes near.
    pub fn schedule(&mut self, at: Instant, event: E) -> Ticket {
        let sequence = self.sequence;
        assert!(sequence >> SEQUENCE_BITS == 0, "an agenda schedules at most 2^40 events");
        self.sequence += 1;
        let filled = Slot { sequence, event: Some(event) };
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = filled;
            u64::from(slot)
        } else {
            assert!((self.slots.len() as u64) <= SLOT_MASK, "an agenda holds at most 2^24 events");
            self.slots.push(filled);
            self.slots.len() as u64 - 1
        };
        let ticket = sequence << SLOT_BITS | slot;
        self.heap.push(Reverse(u128::from(at.ps()) << 64 | u128::from(ticket)));
        self.len += 1;
        Ticket(ticket)
    }

    /// Takes an event off the agenda; `None` if it has happened or was cancelled already.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<E> {
        let event = self.take(ticket.0)?;
        let stale = self.heap.len() - self.len;
        if stale > self.len + STALE_FLOOR {
            // Each sweep drops more than half of the heap, so cancelling stays cheap on average.
            let slots = &self.slots;
            self.heap.retain(|Reverse(key)| is_live(slots, *key as u64));
        }
        Some(event)
    }

    /// Takes the earliest event and its time.
    pub fn pop(&mut self) -> Option<(Instant, E)> {
        loop {
            let Reverse(key) = self.heap.pop()?;
            if let Some(event) = self.take(key as u64) {
                return Some((Instant::from_ps((key >> 64) as u64), event));
            }
        }
    }

    /// Time of the earliest event. Drops the keys of cancelled events on the way.
    pub fn peek_time(&mut self) -> Option<Instant> {
        loop {
            let Reverse(key) = *self.heap.peek()?;
            if is_live(&self.slots, key as u64) {
                return Some(Instant::from_ps((key >> 64) as u64));
            }
            self.heap.pop();
        }
    }

    /// Pending events.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn take(&mut self, ticket: u64) -> Option<E> {
        let slot = self.slots.get_mut((ticket & SLOT_MASK) as usize)?;
        if slot.sequence != ticket >> SLOT_BITS {
            return None;
        }
        let event = slot.event.take()?;
        self.free.push((ticket & SLOT_MASK) as u32);
        self.len -= 1;
        Some(event)
    }
}

fn is_live<E>(slots: &[Slot<E>], ticket: u64) -> bool {
    let slot = &slots[(ticket & SLOT_MASK) as usize];
    slot.sequence == ticket >> SLOT_BITS && slot.event.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Deed {
        Schedule(u64),
        Cancel(usize),
        Pop,
        Peek,
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            4 => (0u64..20).prop_map(Deed::Schedule),
            3 => any::<usize>().prop_map(Deed::Cancel),
            2 => Just(Deed::Pop),
            1 => Just(Deed::Peek),
        ]
    }

    proptest! {
        #[test]
        fn an_agenda_does_what_a_sorted_map_does(
            deeds in prop::collection::vec(deed(), 0..400),
        ) {
            let mut agenda = Agenda::new();
            let mut judge: BTreeMap<(u64, usize), usize> = BTreeMap::new();
            let mut tickets = Vec::new();
            for deed in deeds {
                match deed {
                    Deed::Schedule(ps) => {
                        let name = tickets.len();
                        tickets.push((agenda.schedule(Instant::from_ps(ps), name), ps));
                        judge.insert((ps, name), name);
                    }
                    Deed::Cancel(any) if !tickets.is_empty() => {
                        let name = any % tickets.len();
                        let (ticket, ps) = tickets[name];
                        prop_assert_eq!(agenda.cancel(ticket), judge.remove(&(ps, name)));
                    }
                    Deed::Cancel(_) => {}
                    Deed::Pop => {
                        let expected =
                            judge.pop_first().map(|((ps, _), name)| (Instant::from_ps(ps), name));
                        prop_assert_eq!(agenda.pop(), expected);
                    }
                    Deed::Peek => {
                        let expected = judge.keys().next().map(|key| Instant::from_ps(key.0));
                        prop_assert_eq!(agenda.peek_time(), expected);
                    }
                }
                prop_assert_eq!(agenda.len(), judge.len());
            }
        }
    }

    #[test]
    fn cancelled_events_do_not_pile_up() {
        let mut agenda = Agenda::new();
        for round in 0..100_000 {
            let ticket = agenda.schedule(Instant::NEVER, round);
            assert_eq!(agenda.cancel(ticket), Some(round));
        }
        assert!(agenda.is_empty());
        assert!(agenda.heap.len() <= STALE_FLOOR + 1);
        assert_eq!(agenda.slots.len(), 1);
    }

    #[test]
    fn the_end_of_the_clock_keeps_its_time() {
        let mut agenda = Agenda::new();
        agenda.schedule(Instant::NEVER, 1);
        agenda.schedule(Instant::START, 0);
        assert_eq!(agenda.pop(), Some((Instant::START, 0)));
        assert_eq!(agenda.pop(), Some((Instant::NEVER, 1)));
        assert_eq!(agenda.pop(), None);
    }
}
