//! What a host thread was inside of at a point in time.

use std::collections::BTreeMap;

use crate::timeline::{Frame, Timeline};
use crate::units::Instant;

/// Frames of a timeline with the frame around each.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    frames: &'a [Frame],
    /// The frame around each, by index.
    parents: Vec<Option<u32>>,
    /// First and last index of each thread's frames.
    threads: BTreeMap<(u32, u32), (usize, usize)>,
}

impl<'a> Frames<'a> {
    /// Of a timeline, whose frames are in order of process, thread and start, the outer ones first.
    pub(super) fn of(timeline: &'a Timeline) -> Self {
        let frames = &timeline.frames;
        let mut parents = vec![None; frames.len()];
        let mut threads: BTreeMap<(u32, u32), (usize, usize)> = BTreeMap::new();
        let mut open: Vec<u32> = Vec::new();
        let mut last = None;
        for (index, frame) in frames.iter().enumerate() {
            let place = (frame.process, frame.thread);
            if last.replace(place) != Some(place) {
                open.clear();
            }
            threads.entry(place).or_insert((index, index)).1 = index;
            while open.last().is_some_and(|&outer| frames[outer as usize].end <= frame.start) {
                open.pop();
            }
            parents[index] = open.last().copied();
            open.push(index as u32);
        }
        Self { frames, parents, threads }
    }

    /// The frames around a point in time, the inner ones first.
    pub(super) fn around(
        &self,
        process: u32,
        thread: u32,
        at: Instant,
    ) -> impl Iterator<Item = &'a Frame> + '_ {
        let mut next = self.threads.get(&(process, thread)).and_then(|&(first, last)| {
            let of_thread = &self.frames[first..=last];
            let before = of_thread.partition_point(|frame| frame.start <= at);
            before.checked_sub(1).map(|index| (first + index) as u32)
        });
        std::iter::from_fn(move || {
            loop {
                let index = next? as usize;
                next = self.parents[index];
                if self.frames[index].end > at {
                    return Some(&self.frames[index]);
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::FrameKind;

    #[test]
    fn the_innermost_frame_is_found_behind_frames_that_are_over() {
        let mut timeline = Timeline::default();
        let frames = [("outer", 0, 100), ("first", 10, 20), ("second", 30, 60), ("deep", 40, 50)];
        for (name, start, end) in frames {
            let label = timeline.labels.intern(name);
            let (start, end) = (Instant::from_ps(start), Instant::from_ps(end));
            let kind = FrameKind::Operator;
            timeline.frames.push(Frame {
                process: 0,
                thread: 1,
                kind,
                purpose: None,
                start,
                end,
                label,
            });
        }
        let frames = Frames::of(&timeline);
        let name = |at| {
            let found = frames.around(0, 1, Instant::from_ps(at)).next();
            found.map(|frame| timeline.labels.name(frame.label))
        };
        assert_eq!(
            [5, 15, 25, 45, 55].map(name),
            ["outer", "first", "outer", "deep", "second"].map(Some)
        );
        assert_eq!(name(100), None);
        assert!(frames.around(0, 0, Instant::from_ps(5)).next().is_none());
    }
}
