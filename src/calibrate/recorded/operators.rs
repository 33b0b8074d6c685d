//! The operators around the call that launched a kernel.

use rustc_hash::FxHashMap;

use crate::timeline::{FrameKind, Lane, SpanId};
use crate::trace::{Operator, Recording};

/// How far up a chain of operators is looked: `aten::linear` calls `aten::addmm`, and so on.
const DEPTH: usize = 16;

/// Which frame is around which, and around which call.
#[derive(Debug)]
pub(super) struct Operators<'a> {
    recording: &'a Recording,
    parents: Vec<Option<u32>>,
    innermost: FxHashMap<SpanId, u32>,
    arguments: FxHashMap<u32, &'a Operator>,
}

impl<'a> Operators<'a> {
    pub(super) fn of(recording: &'a Recording) -> Self {
        let frames = &recording.timeline.frames;
        let arguments = recording.operators.iter().map(|it| (it.frame, it)).collect();
        let mut calls: Vec<_> = (0..)
            .zip(&recording.timeline.spans)
            .filter(|(_, span)| span.call.is_some_and(|call| call.puts_work()))
            .filter_map(|(index, span)| match span.lane {
                Lane::Thread(thread) => Some((span.process, thread, span.start, SpanId(index))),
                _ => None,
            })
            .collect();
        calls.sort_unstable();
        let mut parents = vec![None; frames.len()];
        let mut innermost = FxHashMap::default();
        let mut open: Vec<u32> = Vec::new();
        let mut calls = calls.into_iter().peekable();
        for (index, frame) in (0..).zip(frames) {
            let place = (frame.process, frame.thread, frame.start);
            // Calls before this frame lie in those open before it.
            while let Some(call) = calls.next_if(|call| (call.0, call.1, call.2) < place) {
                close(&mut open, frames, (call.0, call.1), call.2);
                innermost.extend(open.last().map(|&around| (call.3, around)));
            }
            close(&mut open, frames, (frame.process, frame.thread), frame.start);
            parents[index as usize] = open.last().copied();
            open.push(index);
        }
        for call in calls {
            close(&mut open, frames, (call.0, call.1), call.2);
            innermost.extend(open.last().map(|&around| (call.3, around)));
        }
        Self { recording, parents, innermost, arguments }
    }

    /// Operators around the launch of a kernel, the innermost first, with their frames and names.
    pub(super) fn around(&self, kernel: SpanId) -> impl Iterator<Item = (u32, &'a str)> + '_ {
        let call = self.recording.launched_by.get(kernel.0 as usize).copied().flatten();
        let first = call.and_then(|call| self.innermost.get(&call).copied());
        let chain = std::iter::successors(first, |&frame| self.parents[frame as usize]);
        let timeline = &self.recording.timeline;
        chain.take(DEPTH).filter_map(|index| {
            let frame = &timeline.frames[index as usize];
            let is_operator = frame.kind == FrameKind::Operator;
            is_operator.then(|| (index, timeline.labels.name(frame.label)))
        })
    }

    /// Shapes and formats of an operator, where they were recorded.
    pub(super) fn arguments(&self, frame: u32) -> Option<&'a Operator> {
        self.arguments.get(&frame).copied()
    }
}

/// Closes frames that are over, or on another thread.
fn close(
    open: &mut Vec<u32>,
    frames: &[crate::timeline::Frame],
    thread: (u32, u32),
    at: crate::units::Instant,
) {
    while let Some(&last) = open.last() {
        let frame = &frames[last as usize];
        if (frame.process, frame.thread) == thread && frame.end > at {
            break;
        }
        open.pop();
    }
}
