//! Links that communications share: rates are max-min fair where a link has more to do than it can.

use super::communication::ActivityKey;
use super::run::Engine;
use super::state::Event;
use crate::des::{Activity as SharedActivity, solve};
use crate::units::Seconds;

/// Links of a rank: scale-up out and in, network out and in.
const PORT_COUNT: usize = 4;
/// Load from which a link is shared; below it rounding of the shares decides.
const FULL: f64 = 1.0 + 1e-9;

/// The links of all simulated ranks.
#[derive(Debug)]
pub(super) struct Links {
    /// Sum of the shares of what moves now, by link.
    load: Vec<f64>,
    /// What moves now, by link.
    users: Vec<Vec<u32>>,
    /// Place of a link among those that are being solved, by link.
    place: Vec<Option<usize>>,
}

impl Links {
    pub(super) fn new(rank_count: usize) -> Self {
        let count = rank_count * PORT_COUNT;
        Self { load: vec![0.0; count], users: vec![Vec::new(); count], place: vec![None; count] }
    }

    fn is_overloaded(&self, link: u32) -> bool {
        self.load[link as usize] > FULL
    }
}

impl Engine<'_> {
    /// Links that a communication uses, and the share of each. A transfer goes out of one rank and
    /// into the other; the members of a collective send and receive.
    fn link_uses(&self, id: u32) -> Vec<(u32, f64)> {
        let activity = &self.activities[id as usize];
        let ports = self.costs.works[activity.work.0 as usize].ports;
        let mut uses = Vec::new();
        for member in &activity.members {
            let (out, into) = match activity.key {
                ActivityKey::Collective { .. } => (true, true),
                ActivityKey::Transfer { from, to, .. } => (member.rank == from, member.rank == to),
            };
            let shares = [
                (ports.scale_up, out),
                (ports.scale_up, into),
                (ports.network, out),
                (ports.network, into),
            ];
            for (port, (share, used)) in shares.into_iter().enumerate() {
                if used && share > 0.0 {
                    uses.push((member.rank * PORT_COUNT as u32 + port as u32, share));
                }
            }
        }
        uses
    }

    /// A communication begins to use its links.
    pub(super) fn take_links(&mut self, id: u32) {
        let uses = self.link_uses(id);
        for &(link, share) in &uses {
            self.links.load[link as usize] += share;
            self.links.users[link as usize].push(id);
        }
        let shared = uses.iter().any(|&(link, _)| self.links.is_overloaded(link));
        self.activities[id as usize].uses = uses;
        if shared {
            let component = self.component(id);
            self.share_links(&component);
        }
    }

    /// A communication uses its links no more.
    pub(super) fn release_links(&mut self, id: u32) {
        let mut component = self.component(id);
        for (link, share) in std::mem::take(&mut self.activities[id as usize].uses) {
            let link = link as usize;
            self.links.users[link].retain(|&user| user != id);
            // Sums of shares leave crumbs that are no load.
            let unused = self.links.users[link].is_empty();
            self.links.load[link] = if unused { 0.0 } else { self.links.load[link] - share };
        }
        component.retain(|&other| other != id);
        if !component.is_empty() {
            self.share_links(&component);
        }
    }

    /// The communication that is linked to `id` through overloaded links, itself in front.
    fn component(&self, id: u32) -> Vec<u32> {
        let mut found = vec![id];
        let mut next = 0;
        while let Some(&activity) = found.get(next) {
            next += 1;
            for &(link, _) in &self.activities[activity as usize].uses {
                if self.links.is_overloaded(link) {
                    for user in &self.links.users[link as usize] {
                        if !found.contains(user) {
                            found.push(*user);
                        }
                    }
                }
            }
        }
        // The order in which a component is found depends on who asks; its rates must not.
        found.sort_unstable();
        found
    }

    /// Solves the rates of a component. Only overloaded links can hold anything back.
    fn share_links(&mut self, component: &[u32]) {
        let mut solved: Vec<u32> = Vec::new();
        let mut demands: Vec<(usize, f64)> = Vec::new();
        let mut ends: Vec<usize> = Vec::with_capacity(component.len());
        for &id in component {
            for &(link, share) in &self.activities[id as usize].uses {
                if self.links.is_overloaded(link) {
                    let place = self.links.place[link as usize].get_or_insert_with(|| {
                        solved.push(link);
                        solved.len() - 1
                    });
                    demands.push((*place, share));
                }
            }
            ends.push(demands.len());
        }
        for &link in &solved {
            self.links.place[link as usize] = None;
        }
        let mut start = 0;
        let activities: Vec<SharedActivity<'_>> = ends
            .iter()
            .map(|&end| {
                let demands = &demands[std::mem::replace(&mut start, end)..end];
                SharedActivity { limit: 1.0, demands }
            })
            .collect();
        let rates = solve(&vec![1.0; solved.len()], &activities);
        for (&id, rate) in component.iter().zip(rates) {
            self.set_rate(id, rate);
        }
    }

    fn set_rate(&mut self, id: u32, rate: f64) {
        let now = self.now;
        let activity = &mut self.activities[id as usize];
        if (rate - activity.rate).abs() < 1e-12 {
            return;
        }
        let done = (now - activity.updated) * activity.rate;
        activity.remaining = (activity.remaining - done).max(Seconds::ZERO);
        activity.updated = now;
        activity.rate = rate;
        // The solver never stops an activity whose demands are finite.
        let end = now + activity.remaining / rate.max(1e-9);
        if let Some(ticket) = activity.ticket.take() {
            self.agenda.cancel(ticket);
        }
        let event = Event::CommunicationEnd { activity: id };
        self.activities[id as usize].ticket = Some(self.agenda.schedule(end, event));
    }
}
