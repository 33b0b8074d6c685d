//! What ranges on the host say of the collectives that were launched in them.
//!
//! A kernel is of the ranges around its launch on the launching thread; where its launch is in no
//! range, of the range whose number it bears, or of the range whose shadow lies around it on its
//! stream. Of nested ranges the innermost counts that says something, and the kernel's own
//! arguments before all. A range that launched several kernels says no size of any of them, unless
//! it sent as many equal collectives, each on a device of its own.

#[cfg(test)]
mod tests;

use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};

use super::link::format_in_name;
use super::said::Said;
use super::{Announcement, Builder, Host};
use crate::work::CollectiveKind;

/// A shadow may seem to end before the work that it is made of, where times were rounded.
const ROUNDING_NS: i64 = 1_000;
/// Shadows that are looked through from the last that began before a kernel on.
const NESTED: usize = 8;

/// A range that says what is sent in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announced {
    thread: (u64, u64),
    start_ns: i64,
    end_ns: i64,
    number: Option<u64>,
    said: Said,
    count: u32,
}

impl Announced {
    pub(super) fn of(announcement: &Announcement<'_>, said: Said) -> Self {
        let Announcement { pid, thread, start_ns, end_ns, number, count, .. } = *announcement;
        Self { thread: (pid, thread), start_ns, end_ns, number, said, count }
    }
}

/// The shadow of a range on a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shadow {
    pub place: (u64, i64),
    pub start_ns: i64,
    pub end_ns: i64,
    pub said: Said,
}

/// A kernel that communicates: its place among collectives and among device events.
#[derive(Clone, Copy)]
struct Kernel {
    collective: usize,
    event: usize,
    /// Thread and time of its launch.
    launch: Option<((u64, u64), i64)>,
}

/// What was launched in a range, or by a thread.
#[derive(Clone, Default)]
struct Launched {
    kernels: u32,
    devices: BTreeSet<u64>,
}

impl Launched {
    fn add(&mut self, device: u64) {
        self.kernels += 1;
        self.devices.insert(device);
    }
}

impl Builder<'_> {
    /// Completes what kernels say of themselves by what the ranges around their launches say.
    pub(super) fn hear(&mut self) {
        let kernels = self.communication_kernels();
        let ranges = self.ranges_around(&kernels);
        let mut of_range = vec![Launched::default(); self.announced.len()];
        let mut of_thread: FxHashMap<(u64, u64), Launched> = FxHashMap::default();
        let mut of_number: FxHashMap<u64, u32> = FxHashMap::default();
        for (kernel, ranges) in kernels.iter().zip(&ranges) {
            let device = self.device_events[kernel.event].device;
            ranges.iter().for_each(|&range| of_range[range].add(device));
            if let Some((thread, _)) = kernel.launch {
                of_thread.entry(thread).or_default().add(device);
            }
            if let Some(number) = self.collectives[kernel.collective].announced_by {
                *of_number.entry(number).or_default() += 1;
            }
        }
        let shadows = self.shadows_around(&kernels, &ranges);
        for ((kernel, ranges), shadow) in kernels.iter().zip(&ranges).zip(shadows) {
            let mut heard = Said::default();
            for &range in ranges {
                let announced = &self.announced[range];
                let thread = of_thread.get(&announced.thread);
                heard.complete_by(announced.said_of_one(&of_range[range], thread));
            }
            if let Some(shadow) = shadow {
                heard.complete_by(shadow);
            }
            let number = self.collectives[kernel.collective].announced_by;
            let is_shared = number.is_some_and(|number| of_number[&number] > 1)
                || ranges.first().is_some_and(|&range| of_range[range].kernels > 1);
            self.conclude(kernel, heard, is_shared);
        }
    }

    /// All sources together, the kernel's own arguments first.
    fn conclude(&mut self, kernel: &Kernel, mut heard: Said, is_shared: bool) {
        let collective = &mut self.collectives[kernel.collective];
        let own = &mut collective.said;
        if is_shared {
            own.forget_size();
        }
        // Kernels that send and receive do any operation; all others do what they are called.
        let named = collective.by_name.filter(|it| *it != CollectiveKind::SendReceive);
        if named.is_some() && own.kind.is_none() && heard.kind.is_some() && heard.kind != named {
            heard.forget_size();
            heard.kind = named;
        }
        own.complete_by(heard);
        own.kind = own.kind.or(collective.by_name);
        if own.format.is_none() {
            let name = self.labels.name(self.device_events[kernel.event].label);
            own.format = format_in_name(name, own.kind);
        }
    }

    fn communication_kernels(&self) -> Vec<Kernel> {
        let events = self.device_events.iter().enumerate();
        let mut kernels: Vec<Kernel> = events
            .filter_map(|(event, device)| {
                Some(Kernel { collective: device.collective? as usize, event, launch: None })
            })
            .collect();
        if self.announced.is_empty() {
            return kernels;
        }
        let key = |kernel: &Kernel| {
            let event = &self.device_events[kernel.event];
            Some((event.context, event.correlation?))
        };
        let mut calls: FxHashMap<(u64, u64), Option<&Host>> =
            kernels.iter().filter_map(key).map(|key| (key, None)).collect();
        for call in &self.host_calls {
            let key = call.correlation.map(|correlation| (call.context, correlation));
            let Some(known) = key.and_then(|key| calls.get_mut(&key)) else { continue };
            // As for arrows: of several calls the one that puts work on a stream, then the first.
            let rank = |call: &Host| (!call.call.puts_work(), call.start_ns);
            if known.is_none_or(|known| rank(call) < rank(known)) {
                *known = Some(call);
            }
        }
        for kernel in &mut kernels {
            let call = key(kernel).and_then(|key| calls[&key]);
            kernel.launch =
                call.map(|call| (self.threads.keys[call.thread as usize], call.start_ns));
        }
        kernels
    }

    /// The ranges of each kernel, innermost first.
    fn ranges_around(&self, kernels: &[Kernel]) -> Vec<Vec<usize>> {
        let mut by_thread: BTreeMap<(u64, u64), Vec<usize>> = BTreeMap::new();
        let mut numbers: FxHashMap<u64, Option<usize>> = FxHashMap::default();
        for (index, range) in self.announced.iter().enumerate() {
            by_thread.entry(range.thread).or_default().push(index);
            if let Some(number) = range.number {
                numbers.entry(number).and_modify(|it| *it = None).or_insert(Some(index));
            }
        }
        for ranges in by_thread.values_mut() {
            ranges.sort_by_key(|&index| {
                let range = &self.announced[index];
                (range.start_ns, std::cmp::Reverse(range.end_ns), index)
            });
        }
        // A kernel is at a point of a thread: its launch, else the range whose number it bears.
        let mut at: BTreeMap<(u64, u64), Vec<(i64, usize)>> = BTreeMap::new();
        for (index, kernel) in kernels.iter().enumerate() {
            if let Some((thread, time)) = kernel.launch {
                at.entry(thread).or_default().push((time, index));
            }
        }
        let mut found = vec![Vec::new(); kernels.len()];
        self.sweep(&by_thread, &at, &mut found);
        let mut at: BTreeMap<(u64, u64), Vec<(i64, usize)>> = BTreeMap::new();
        for (index, kernel) in kernels.iter().enumerate() {
            let number = self.collectives[kernel.collective].announced_by;
            let range = number.and_then(|number| *numbers.get(&number)?);
            if let Some(range) = range.filter(|_| found[index].is_empty()) {
                let range = &self.announced[range];
                at.entry(range.thread).or_default().push((range.start_ns, index));
            }
        }
        self.sweep(&by_thread, &at, &mut found);
        found
    }

    /// Finds the ranges around points of each thread.
    fn sweep(
        &self,
        ranges: &BTreeMap<(u64, u64), Vec<usize>>,
        points: &BTreeMap<(u64, u64), Vec<(i64, usize)>>,
        found: &mut [Vec<usize>],
    ) {
        for (thread, points) in points {
            let Some(ranges) = ranges.get(thread) else { continue };
            let mut points = points.clone();
            points.sort_unstable();
            let mut next = ranges.iter().copied().peekable();
            let mut open: Vec<usize> = Vec::new();
            for (time, kernel) in points {
                open.extend(std::iter::from_fn(|| {
                    next.next_if(|&range| self.announced[range].start_ns <= time)
                }));
                open.retain(|&range| self.announced[range].end_ns > time);
                found[kernel] = open.iter().rev().copied().collect();
            }
        }
    }

    /// What the shadow around each kernel says, of kernels that are in no range.
    fn shadows_around(&self, kernels: &[Kernel], ranges: &[Vec<usize>]) -> Vec<Option<Said>> {
        let mut by_place: BTreeMap<(u64, i64), Vec<&Shadow>> = BTreeMap::new();
        for shadow in &self.shadows {
            by_place.entry(shadow.place).or_default().push(shadow);
        }
        for shadows in by_place.values_mut() {
            shadows.sort_by_key(|shadow| (shadow.start_ns, std::cmp::Reverse(shadow.end_ns)));
        }
        let around = |kernel: &Kernel| {
            let event = &self.device_events[kernel.event];
            let shadows = by_place.get(&(event.device, event.stream))?;
            let until = shadows.partition_point(|shadow| {
                shadow.start_ns <= event.start_ns.saturating_add(ROUNDING_NS)
            });
            let holds =
                |shadow: &&&Shadow| shadow.end_ns.saturating_add(ROUNDING_NS) >= event.end_ns;
            shadows[..until].iter().rev().take(NESTED).find(holds).copied()
        };
        let found: Vec<Option<&Shadow>> = kernels
            .iter()
            .zip(ranges)
            .map(|(kernel, ranges)| around(kernel).filter(|_| ranges.is_empty()))
            .collect();
        let mut counts: BTreeMap<(u64, i64, i64), u32> = BTreeMap::new();
        let key = |shadow: &Shadow| (shadow.place.0, shadow.place.1, shadow.start_ns);
        for shadow in found.iter().flatten() {
            *counts.entry(key(shadow)).or_default() += 1;
        }
        let said = |shadow: Option<&Shadow>| {
            let shadow = shadow?;
            let mut said = shadow.said;
            if counts[&key(shadow)] > 1 {
                said.forget_size();
            }
            Some(said)
        };
        found.into_iter().map(said).collect()
    }
}

impl Announced {
    /// What it says of one of the kernels that were launched in it.
    fn said_of_one(&self, launched: &Launched, by_thread: Option<&Launched>) -> Said {
        let mut said = self.said;
        let devices = launched.devices.len();
        let is_one_each = launched.kernels == self.count && devices == self.count as usize;
        // Several collectives as one kernel are for sure of one device only where the thread
        // launches for no other.
        let is_one_device = by_thread.is_none_or(|thread| thread.devices.len() == 1);
        if launched.kernels == 1 && (self.count == 1 || is_one_device) {
            said.times(self.count);
        } else if !is_one_each {
            said.forget_size();
        }
        said
    }
}
