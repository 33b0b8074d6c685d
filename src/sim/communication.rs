//! Communication among ranks: members gather, data moves, links are shared.

use super::run::Engine;
use super::state::Event;
use crate::des::Ticket;
use crate::program::{Action, Stream, Tag, WorkId, WorkKind};
use crate::timeline::SpanId;
use crate::units::{Bytes, Instant, Seconds};

/// Tells communications that are gathering their members apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ActivityKey {
    /// The `sequence`-th collective of a group.
    Collective { group: u32, sequence: u32 },
    /// A transfer between two ranks.
    Transfer { from: u32, to: u32, tag: Tag },
}

/// A rank that takes part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) rank: u32,
    pub(super) stream: Stream,
    pub(super) ready: Instant,
}

/// One communication.
#[derive(Debug)]
pub(super) struct Activity {
    pub(super) key: ActivityKey,
    pub(super) work: WorkId,
    pub(super) members: Vec<Member>,
    pub(super) expected: u32,
    start: Instant,
    /// Work left at `updated`, in seconds of undisturbed time.
    pub(super) remaining: Seconds,
    pub(super) updated: Instant,
    pub(super) rate: f64,
    pub(super) ticket: Option<Ticket>,
    /// Links it uses while data moves, and the share of each.
    pub(super) uses: Vec<(u32, f64)>,
}

impl Engine<'_> {
    /// A rank reaches a collective of one of its groups.
    pub(super) fn join_collective(
        &mut self,
        rank: usize,
        stream: Stream,
        work: WorkId,
        ready: Instant,
    ) {
        let kind = &self.program.work(work).kind;
        if let &WorkKind::Meeting { group, .. } = kind {
            let expected = self.program.groups[group.0 as usize].members.len() as u32;
            let key = ActivityKey::Collective { group: group.0, sequence: 0 };
            return self.join(key, expected, work, Member { rank: rank as u32, stream, ready });
        }
        let Some(kind) = kind.group() else { unreachable!("only collectives are joined") };
        let groups = &self.program.ranks[rank].groups;
        let Some(slot) = groups.iter().position(|entry| entry.0 == kind) else {
            unreachable!("rank {rank} is in no group of kind {kind:?}")
        };
        let group = groups[slot].1;
        let sequence = self.sequence[rank][slot];
        self.sequence[rank][slot] += 1;
        let expected = self.program.groups[group].members.len() as u32;
        let key = ActivityKey::Collective { group: group as u32, sequence };
        self.join(key, expected, work, Member { rank: rank as u32, stream, ready });
    }

    /// A rank reaches its end of a transfer.
    pub(super) fn join_transfer(
        &mut self,
        rank: usize,
        stream: Stream,
        action: Action,
        ready: Instant,
    ) {
        let per_stage = self.program.ranks.len() / self.program.roles.len();
        let peer = |stage: u32| (stage as usize * per_stage + rank % per_stage) as u32;
        let (key, work) = match action {
            Action::Send { work, stage, tag } => {
                (ActivityKey::Transfer { from: rank as u32, to: peer(stage), tag }, work)
            }
            Action::Receive { work, stage, tag } => {
                (ActivityKey::Transfer { from: peer(stage), to: rank as u32, tag }, work)
            }
            Action::Work(_) | Action::Block(_) | Action::OpenBlock(_) => {
                unreachable!("not a transfer")
            }
        };
        self.join(key, 2, work, Member { rank: rank as u32, stream, ready });
    }

    fn join(&mut self, key: ActivityKey, expected: u32, work: WorkId, member: Member) {
        // A collective that only this rank takes part in needs no table.
        let id = if expected == 1 {
            self.new_activity(key, work, expected)
        } else if let Some(&id) = self.gathering.get(&key) {
            id
        } else {
            let id = self.new_activity(key, work, expected);
            self.gathering.insert(key, id);
            id
        };
        let activity = &mut self.activities[id as usize];
        if activity.work != work {
            let time = self.costs.works[work.0 as usize].time;
            activity.remaining = activity.remaining.max(time);
        }
        activity.members.push(member);
        if activity.members.len() as u32 == expected {
            let start =
                activity.members.iter().map(|member| member.ready).max().unwrap_or(self.now);
            activity.start = start;
            self.gathering.remove(&key);
            if start > self.now {
                self.agenda.schedule(start, Event::CommunicationStart { activity: id });
            } else {
                self.communication_start(id);
            }
        }
    }

    fn new_activity(&mut self, key: ActivityKey, work: WorkId, expected: u32) -> u32 {
        let id = self.activities.len() as u32;
        self.activities.push(Activity {
            key,
            work,
            members: Vec::with_capacity(expected as usize),
            expected,
            start: Instant::NEVER,
            remaining: self.costs.works[work.0 as usize].time,
            updated: Instant::START,
            rate: 1.0,
            ticket: None,
            uses: Vec::new(),
        });
        id
    }

    /// All members are there: data moves from now on.
    pub(super) fn communication_start(&mut self, id: u32) {
        let members = std::mem::take(&mut self.activities[id as usize].members);
        let mut beside_compute = false;
        for member in &members {
            let rank = member.rank as usize;
            self.ranks[rank].active.push(id);
            let computing = &self.ranks[rank].running;
            beside_compute |= computing.iter().any(|running| running.start <= self.now);
            self.adjust_compute(rank);
            let queued = self.ranks[rank].streams[member.stream.index()].queue[0];
            let memory = queued.launch.memory;
            let taken = (memory.activations_taken, memory.buffers_taken);
            self.ranks[rank].memory.change(self.now, taken.0, taken.1);
        }
        let activity = &mut self.activities[id as usize];
        if beside_compute {
            activity.remaining = activity.remaining * self.machine.communication_slowdown;
        }
        activity.updated = self.now;
        activity.members = members;
        let end = self.now + activity.remaining;
        activity.ticket = Some(self.agenda.schedule(end, Event::CommunicationEnd { activity: id }));
        self.take_links(id);
        for index in 0..self.activities[id as usize].members.len() {
            let rank = self.activities[id as usize].members[index].rank;
            self.leave_queue(rank as usize, 1, self.now);
        }
    }

    /// A communication is over.
    pub(super) fn communication_end(&mut self, id: u32) {
        self.release_links(id);
        let members = std::mem::take(&mut self.activities[id as usize].members);
        let start = self.activities[id as usize].start;
        // Sender first or second; what ends may let a host go on, which writes spans in between.
        let mut spans: Vec<(u32, SpanId)> = Vec::with_capacity(members.len());
        for member in &members {
            let rank = member.rank as usize;
            self.ranks[rank].active.retain(|&active| active != id);
            self.adjust_compute(rank);
        }
        for member in &members {
            let rank = member.rank as usize;
            let slot = &mut self.ranks[rank].streams[member.stream.index()];
            let Some(queued) = slot.queue.pop_front() else {
                unreachable!("an end without communication on its stream")
            };
            slot.busy = false;
            slot.free_at = self.now;
            let memory = queued.launch.memory;
            let freed = (memory.activations_freed, memory.buffers_freed);
            let none = Bytes::ZERO;
            self.ranks[rank].memory.change(self.now, none - freed.0, none - freed.1);
            let times = [start, member.ready, self.now];
            let span = self.recorder.communication(self.program, rank, &queued, times);
            spans.extend(span.map(|span| (member.rank, span)));
            self.record_event(rank, queued.launch.records, self.now);
            self.try_start(rank, member.stream);
        }
        if let (ActivityKey::Transfer { from, .. }, &[one, other]) =
            (self.activities[id as usize].key, spans.as_slice())
        {
            let (sent, received) = if one.0 == from { (one, other) } else { (other, one) };
            self.recorder.arrow(sent.1, received.1);
        }
    }

    /// The ranks that a rank waits for on a stream, for the report of a deadlock.
    pub(super) fn missing_members(&self, rank: usize, stream: Stream) -> String {
        let waits = |id: &u32| {
            let members = &self.activities[*id as usize].members;
            members.iter().any(|it| it.rank as usize == rank && it.stream == stream)
        };
        let Some(id) = self.gathering.values().find(|id| waits(id)) else {
            return "its end".to_owned();
        };
        let activity = &self.activities[*id as usize];
        let name = |rank: u32| self.program.ranks[rank as usize].rank;
        match activity.key {
            ActivityKey::Transfer { from, to, tag } => {
                let peer = if from as usize == rank { to } else { from };
                format!(
                    "rank {} ({} of micro-batch {})",
                    name(peer),
                    if tag.pass == crate::work::Pass::Forward {
                        "activations"
                    } else {
                        "gradients"
                    },
                    tag.micro_batch
                )
            }
            ActivityKey::Collective { group, .. } => {
                let there: Vec<u32> = activity.members.iter().map(|it| it.rank).collect();
                let missing: Vec<String> = self.program.groups[group as usize]
                    .members
                    .iter()
                    .filter(|&&member| !there.contains(&(member as u32)))
                    .map(|&member| name(member as u32).to_string())
                    .collect();
                let expected = activity.expected;
                format!("ranks {} ({} of {expected} present)", missing.join(", "), there.len())
            }
        }
    }
}
