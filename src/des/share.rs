//! Max-min fair rates of activities that share resources.
//!
//! Progressive filling: all rates rise together; an activity stops at its own limit or when a
//! resource that it uses is full (Bertsekas and Gallager, Data Networks, section 6.5.2). Instead of
//! looking at every resource at every stop, a heap holds the level at which each one fills. A level
//! only rises as activities stop early, so an old key is a lower bound: refresh it when it surfaces.
//! The obvious form is in `share_slow.rs`; a property test compares the two.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Something that goes on at a rate and uses resources in proportion.
#[derive(Clone, Copy, Debug)]
pub struct Activity<'a> {
    /// Rate that it cannot exceed; may be infinite.
    pub limit: f64,
    /// Resource, by its index, and how much of it a unit of rate uses. Weights that are not
    /// positive use nothing.
    pub demands: &'a [(usize, f64)],
}

/// A level at which a resource fills, in total order.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Level(f64);

impl Eq for Level {}

impl PartialOrd for Level {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Level {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The max-min fair rate of each activity.
///
/// A negative or NaN capacity or limit counts as zero. An activity without demands runs at its
/// limit. Panics if a demand names a resource that is not there.
pub fn solve(capacities: &[f64], activities: &[Activity]) -> Vec<f64> {
    let mut filling = Filling::new(capacities, activities);
    let mut by_limit: Vec<usize> = (0..activities.len()).collect();
    by_limit.sort_by(|&left, &right| {
        activities[left].limit.max(0.0).total_cmp(&activities[right].limit.max(0.0))
    });
    let mut limits = by_limit.into_iter().peekable();
    loop {
        while limits.next_if(|&activity| filling.rates[activity].is_some()).is_some() {}
        let limit = limits.peek().map(|&activity| activities[activity].limit.max(0.0));
        match (limit, filling.next_full()) {
            (Some(limit), Some((level, resource))) if level < limit => {
                filling.fill(resource, level);
            }
            (Some(limit), _) => filling.stop(limits.next().unwrap_or_default(), limit),
            (None, _) => break,
        }
    }
    filling.rates.into_iter().map(Option::unwrap_or_default).collect()
}

/// State of one solution.
struct Filling<'a> {
    activities: &'a [Activity<'a>],
    capacities: &'a [f64],
    /// Users of resource `r`, with their weights: `users[starts[r]..starts[r + 1]]`.
    starts: Vec<usize>,
    users: Vec<(usize, f64)>,
    /// Weight of a resource's running activities, their number, and what the stopped ones use.
    weight: Vec<f64>,
    running: Vec<usize>,
    used: Vec<f64>,
    heap: BinaryHeap<Reverse<(Level, usize)>>,
    rates: Vec<Option<f64>>,
}

impl<'a> Filling<'a> {
    fn new(capacities: &'a [f64], activities: &'a [Activity<'a>]) -> Self {
        let demands = || {
            activities.iter().enumerate().flat_map(|(activity, one)| {
                let real = one.demands.iter().filter(|demand| demand.1 > 0.0);
                real.map(move |&(resource, weight)| (activity, resource, weight))
            })
        };
        let mut weight = vec![0.0; capacities.len()];
        let mut running = vec![0; capacities.len()];
        for (_, resource, amount) in demands() {
            weight[resource] += amount;
            running[resource] += 1;
        }
        let mut starts = Vec::with_capacity(capacities.len() + 1);
        starts.push(0);
        for (resource, count) in running.iter().enumerate() {
            starts.push(starts[resource] + count);
        }
        let mut ends = starts.clone();
        let mut users = vec![(0, 0.0); starts[capacities.len()]];
        for (activity, resource, amount) in demands() {
            users[ends[resource]] = (activity, amount);
            ends[resource] += 1;
        }
        let mut filling = Self {
            activities,
            capacities,
            starts,
            users,
            weight,
            running,
            used: vec![0.0; capacities.len()],
            heap: BinaryHeap::new(),
            rates: vec![None; activities.len()],
        };
        filling.heap = (0..capacities.len())
            .filter(|&resource| filling.running[resource] > 0)
            .map(|resource| Reverse((filling.level(resource), resource)))
            .collect();
        filling
    }

    fn level(&self, resource: usize) -> Level {
        let left = (self.capacities[resource].max(0.0) - self.used[resource]).max(0.0);
        Level(left / self.weight[resource].max(f64::MIN_POSITIVE))
    }

    /// The resource that fills next, and the level at which it does; it stays on the heap.
    fn next_full(&mut self) -> Option<(f64, usize)> {
        loop {
            let Reverse((old, resource)) = *self.heap.peek()?;
            if self.running[resource] == 0 {
                self.heap.pop();
                continue;
            }
            let level = self.level(resource);
            if level <= old {
                return Some((level.0, resource));
            }
            self.heap.pop();
            self.heap.push(Reverse((level, resource)));
        }
    }

    /// Stops all running users of a full resource.
    fn fill(&mut self, resource: usize, level: f64) {
        // Summed anew, since differences of large sums would leave rounding in a small rest.
        let (mut weight, mut used) = (0.0, 0.0);
        for &(activity, amount) in &self.users[self.starts[resource]..self.starts[resource + 1]] {
            match self.rates[activity] {
                Some(rate) => used += rate * amount,
                None => weight += amount,
            }
        }
        let left = (self.capacities[resource].max(0.0) - used).max(0.0);
        let exact = if weight > 0.0 { left / weight } else { level };
        for index in self.starts[resource]..self.starts[resource + 1] {
            let activity = self.users[index].0;
            if self.rates[activity].is_none() {
                self.stop(activity, exact.min(self.activities[activity].limit));
            }
        }
    }

    fn stop(&mut self, activity: usize, rate: f64) {
        self.rates[activity] = Some(rate);
        for &(resource, amount) in self.activities[activity].demands {
            if amount > 0.0 {
                self.weight[resource] -= amount;
                self.running[resource] -= 1;
                self.used[resource] += rate * amount;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::solve_slow;
    use super::*;
    use proptest::prelude::*;

    type Case = (Vec<f64>, Vec<(f64, Vec<(usize, f64)>)>);

    fn case() -> impl Strategy<Value = Case> {
        (1usize..8).prop_flat_map(|resource_count| {
            let limit = prop_oneof![0.0..5.0, Just(f64::INFINITY)];
            let demands = prop::collection::vec((0..resource_count, 0.1..4.0), 0..5);
            (
                prop::collection::vec(prop_oneof![0.5..10.0, Just(4.0)], resource_count),
                prop::collection::vec((limit, demands), 0..30),
            )
        })
    }

    fn activities(case: &Case) -> Vec<Activity<'_>> {
        case.1.iter().map(|(limit, demands)| Activity { limit: *limit, demands }).collect()
    }

    proptest! {
        #[test]
        fn the_fast_and_the_obvious_algorithm_agree(case in case()) {
            let activities = activities(&case);
            let fast = solve(&case.0, &activities);
            let slow = solve_slow(&case.0, &activities);
            for (left, right) in fast.iter().zip(&slow) {
                let close = (left - right).abs() <= 1e-9 * right.abs().max(1.0);
                prop_assert!(left == right || close, "{fast:?} {slow:?}");
            }
        }

        #[test]
        fn no_resource_overflows_and_nobody_could_go_faster(case in case()) {
            let activities = activities(&case);
            let rates = solve(&case.0, &activities);
            let mut used = vec![0.0; case.0.len()];
            for (activity, rate) in activities.iter().zip(&rates) {
                for &(resource, weight) in activity.demands {
                    used[resource] += weight * rate;
                }
            }
            for (used, capacity) in used.iter().zip(&case.0) {
                prop_assert!(*used <= capacity * (1.0 + 1e-9));
            }
            for (activity, rate) in activities.iter().zip(&rates) {
                let full = |resource: usize| used[resource] >= case.0[resource] * (1.0 - 1e-9);
                let blocked = activity.demands.iter().any(|&(resource, _)| {
                    // Full, and no other user of it is faster: what max-min means.
                    full(resource) && activities.iter().zip(&rates).all(|(other, faster)| {
                        let uses = other.demands.iter().any(|demand| demand.0 == resource);
                        !uses || *faster <= rate * (1.0 + 1e-9)
                    })
                });
                prop_assert!(blocked || *rate == activity.limit);
            }
        }
    }

    #[test]
    fn three_flows_on_two_links_share_as_in_the_textbook() {
        // Links of 10 and 4; A crosses both, B the first, C the second. The second link fills at 2,
        // which stops A and C; B then takes 10 - 2 = 8 of the first.
        let demands: [&[(usize, f64)]; 3] = [&[(0, 1.0), (1, 1.0)], &[(0, 1.0)], &[(1, 1.0)]];
        let flows = demands.map(|demands| Activity { limit: f64::INFINITY, demands });
        assert_eq!(solve(&[10.0, 4.0], &flows), vec![2.0, 8.0, 2.0]);
    }
}
