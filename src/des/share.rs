//! Max-min fair rates.

/// Something that moves at a rate and uses resources in proportion to it.
#[derive(Clone, Copy, Debug)]
pub struct Activity<'a> {
    /// Highest rate it can use.
    pub limit: f64,
    /// Resources, and what a rate of one uses of each.
    pub demands: &'a [(usize, f64)],
}

/// Max-min fair rates by progressive filling: all rates rise together until an activity reaches
/// its limit or a resource is used up; those stop, the others go on.
pub fn solve(capacities: &[f64], activities: &[Activity<'_>]) -> Vec<f64> {
    let mut left = capacities.to_vec();
    let mut rates = vec![0.0; activities.len()];
    let mut open: Vec<usize> = (0..activities.len()).collect();
    let mut level = 0.0;
    while !open.is_empty() {
        let mut weight = vec![0.0; capacities.len()];
        for &index in &open {
            for &(resource, share) in activities[index].demands {
                weight[resource] += share;
            }
        }
        let room = weight
            .iter()
            .zip(&left)
            .filter(|(weight, _)| **weight > 0.0)
            .map(|(weight, left)| (left / weight).max(0.0))
            .fold(f64::INFINITY, f64::min);
        let limit =
            open.iter().map(|&index| activities[index].limit - level).fold(f64::INFINITY, f64::min);
        let step = room.min(limit);
        level += step;
        for (left, weight) in left.iter_mut().zip(&weight) {
            *left -= step * weight;
        }
        let full: Vec<bool> = left
            .iter()
            .zip(capacities)
            .zip(&weight)
            .map(|((left, capacity), weight)| *weight > 0.0 && *left <= capacity * 1e-12)
            .collect();
        let before = open.len();
        open.retain(|&index| {
            let stops = activities[index].limit - level <= 1e-12 * activities[index].limit
                || activities[index].demands.iter().any(|&(resource, _)| full[resource]);
            if stops {
                rates[index] = level;
            }
            !stops
        });
        if open.len() == before {
            // Rounding kept all of them a hair below their bounds: they are there.
            open.drain(..).for_each(|index| rates[index] = level);
        }
    }
    rates
}
