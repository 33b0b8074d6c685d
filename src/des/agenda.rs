//! Events by time, then by the order in which they were scheduled.

use dary_heap::QuaternaryHeap;
use std::cmp::Reverse;

use crate::units::Instant;

/// Handle of a scheduled event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    slot: u32,
    generation: u32,
}

/// Events still to happen.
///
/// A four-ary heap of packed keys `time << 64 | sequence << 32 | slot`; events lie in slots beside
/// it. Cancelling empties the slot and leaves the key, which is passed over when it comes up.
#[derive(Debug)]
pub struct Agenda<E> {
    heap: QuaternaryHeap<Reverse<u128>>,
    slots: Vec<Slot<E>>,
    free: Vec<u32>,
    sequence: u32,
    live: usize,
}

#[derive(Debug)]
struct Slot<E> {
    generation: u32,
    event: Option<E>,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Agenda<E> {
    /// Nothing to happen.
    pub fn new() -> Self {
        Self {
            heap: QuaternaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            sequence: 0,
            live: 0,
        }
    }

    /// Events still to happen.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether nothing is to happen.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Schedules an event.
    pub fn schedule(&mut self, at: Instant, event: E) -> Ticket {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot { generation: 0, event: None });
                (self.slots.len() - 1) as u32
            }
        };
        if self.sequence == u32::MAX {
            self.renumber();
        }
        let place = &mut self.slots[slot as usize];
        place.event = Some(event);
        let key = u128::from(at.ps()) << 64 | u128::from(self.sequence) << 32 | u128::from(slot);
        self.sequence += 1;
        self.live += 1;
        self.heap.push(Reverse(key));
        Ticket { slot, generation: place.generation }
    }

    /// Takes an event back; `false` when it has happened or was taken back before.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        let place = &mut self.slots[ticket.slot as usize];
        if place.generation != ticket.generation || place.event.is_none() {
            return false;
        }
        // The slot stays taken until its key comes up, so that a key never finds another event.
        place.event = None;
        place.generation = place.generation.wrapping_add(1);
        self.live -= 1;
        true
    }

    /// The next event and its time.
    pub fn pop(&mut self) -> Option<(Instant, E)> {
        while let Some(Reverse(key)) = self.heap.pop() {
            let slot = key as u32;
            self.free.push(slot);
            let place = &mut self.slots[slot as usize];
            if let Some(event) = place.event.take() {
                place.generation = place.generation.wrapping_add(1);
                self.live -= 1;
                return Some((Instant::from_ps((key >> 64) as u64), event));
            }
        }
        None
    }

    /// Gives the waiting events the lowest sequence numbers, in their order.
    fn renumber(&mut self) {
        let mut keys: Vec<u128> = self.heap.drain().map(|Reverse(key)| key).collect();
        keys.sort_unstable();
        let renumbered = keys.iter().zip(0u128..).map(|(&key, sequence)| {
            let (time, slot) = (key >> 64 << 64, key & u128::from(u32::MAX));
            Reverse(time | sequence << 32 | slot)
        });
        self.sequence = keys.len() as u32;
        self.heap = renumbered.collect();
    }
}
