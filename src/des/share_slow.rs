//! Max-min fair rates, the obvious way: the judge of `share.rs`.

use super::Activity;

/// Levels closer than this, relative, count as one stop.
const TIE: f64 = 1e-12;

/// The max-min fair rate of each activity, as [`super::solve`] gives it, by looking at everything
/// at every stop; cubic.
pub fn solve_slow(capacities: &[f64], activities: &[Activity]) -> Vec<f64> {
    let mut rates: Vec<Option<f64>> = vec![None; activities.len()];
    while rates.iter().any(Option::is_none) {
        let levels: Vec<f64> = capacities
            .iter()
            .enumerate()
            .map(|(resource, capacity)| level(resource, *capacity, activities, &rates))
            .collect();
        let reach = |activity: &Activity| {
            let demands = activity.demands.iter().filter(|demand| demand.1 > 0.0);
            demands.map(|demand| levels[demand.0]).fold(activity.limit.max(0.0), f64::min)
        };
        let running = activities.iter().zip(&rates).filter(|(_, rate)| rate.is_none());
        let stop = running.map(|(activity, _)| reach(activity)).fold(f64::INFINITY, f64::min);
        for (activity, rate) in activities.iter().zip(&mut rates) {
            if rate.is_none() && reach(activity) <= stop * (1.0 + TIE) {
                *rate = Some(reach(activity));
            }
        }
    }
    rates.into_iter().map(Option::unwrap_or_default).collect()
}

/// The rate of its running users at which a resource is full.
fn level(resource: usize, capacity: f64, activities: &[Activity], rates: &[Option<f64>]) -> f64 {
    let (mut weight, mut used) = (0.0, 0.0);
    for (activity, rate) in activities.iter().zip(rates) {
        let demands = activity.demands.iter();
        for demand in demands.filter(|demand| demand.0 == resource && demand.1 > 0.0) {
            match rate {
                Some(rate) => used += rate * demand.1,
                None => weight += demand.1,
            }
        }
    }
    if weight > 0.0 { (capacity.max(0.0) - used).max(0.0) / weight } else { f64::INFINITY }
}
