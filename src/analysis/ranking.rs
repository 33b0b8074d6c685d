//! Whether predictions put plans in the right order.

use serde::Serialize;

/// A plan's measured and predicted step time.
pub type Timed = (f64, f64);

/// Pairs of plans of one question, by whether prediction and measurement agree on the faster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Pairs in the same order.
    pub concordant: u64,
    /// Pairs in the other order.
    pub discordant: u64,
    /// Pairs that only the prediction ties.
    pub tied_predicted: u64,
}

impl Order {
    /// Of all pairs of a group; pairs that were measured to be equal say nothing.
    pub fn of(group: &[Timed]) -> Self {
        let mut order = Self::default();
        for (index, left) in group.iter().enumerate() {
            for right in &group[index + 1..] {
                let (measured, predicted) = (left.0 - right.0, left.1 - right.1);
                if measured == 0.0 {
                    continue;
                }
                match measured * predicted {
                    product if product > 0.0 => order.concordant += 1,
                    product if product < 0.0 => order.discordant += 1,
                    _ => order.tied_predicted += 1,
                }
            }
        }
        order
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            concordant: self.concordant + other.concordant,
            discordant: self.discordant + other.discordant,
            tied_predicted: self.tied_predicted + other.tied_predicted,
        }
    }

    /// Kendall's tau (variant b of Kendall 1945, with no ties among the measured): 1 where all
    /// pairs agree, -1 where none does; none without pairs.
    pub fn tau(self) -> Option<f64> {
        let told = (self.concordant + self.discordant) as f64;
        let all = told + self.tied_predicted as f64;
        if told == 0.0 {
            return if all > 0.0 { Some(0.0) } else { None };
        }
        Some((self.concordant as f64 - self.discordant as f64) / (told * all).sqrt())
    }
}

/// How much longer the plan predicted to be the fastest takes than the one that is, as a fraction;
/// of several predicted alike, the slowest. None of fewer than two plans.
pub fn regret(group: &[Timed]) -> Option<f64> {
    if group.len() < 2 {
        return None;
    }
    let least = |times: &mut dyn Iterator<Item = f64>| times.fold(f64::INFINITY, f64::min);
    let best = least(&mut group.iter().map(|timed| timed.0));
    let predicted = least(&mut group.iter().map(|timed| timed.1));
    let picked = group.iter().filter(|timed| timed.1 == predicted).map(|timed| timed.0);
    Some(picked.fold(0.0, f64::max) / best - 1.0)
}

/// Agreement on what one changed key does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Pairs {
    /// Pairs of runs that differ in one key.
    pub n: u64,
    /// Share that agree on the faster, of those that were measured to differ by more than 3 %;
    /// absent where none does.
    pub sign_agreement: Option<f64>,
    /// Median of the absolute relative error of the predicted ratio of the two step times.
    pub median_ratio_error: Option<f64>,
}

/// Changes measured to be smaller have no sign: repeats differ by as much.
const LEAST_CHANGE: f64 = 0.03;

impl Pairs {
    /// Of pairs of runs.
    pub fn of(pairs: &[(Timed, Timed)]) -> Self {
        let ratios: Vec<Timed> =
            pairs.iter().map(|(left, right)| (right.0 / left.0, right.1 / left.1)).collect();
        let told: Vec<&Timed> =
            ratios.iter().filter(|ratio| (ratio.0 - 1.0).abs() > LEAST_CHANGE).collect();
        let agree = told.iter().filter(|ratio| (ratio.0 - 1.0) * (ratio.1 - 1.0) > 0.0).count();
        let errors = super::accuracy::Errors::of(&ratios);
        Self {
            n: pairs.len() as u64,
            sign_agreement: (!told.is_empty()).then(|| agree as f64 / told.len() as f64),
            median_ratio_error: errors.map(|errors| errors.median_ape),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tau_is_one_for_the_right_order_and_minus_one_for_the_reverse() {
        let right = [(1.0, 10.0), (2.0, 20.0), (3.0, 30.0)];
        let reverse = right.map(|(measured, predicted)| (measured, -predicted));
        let one_swap = [(1.0, 10.0), (2.0, 30.0), (3.0, 20.0)];
        assert_eq!(Order::of(&right).tau(), Some(1.0));
        assert_eq!(Order::of(&reverse).tau(), Some(-1.0));
        assert!((Order::of(&one_swap).tau().expect("pairs") - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(Order::of(&right[..1]).tau(), None);
        assert_eq!(Order::of(&[(1.0, 5.0), (2.0, 5.0)]).tau(), Some(0.0));
    }

    #[test]
    fn regret_is_what_the_wrong_pick_costs() {
        assert_eq!(regret(&[(1.0, 10.0), (1.5, 9.0)]), Some(0.5));
        assert_eq!(regret(&[(1.0, 8.0), (1.5, 9.0)]), Some(0.0));
        assert_eq!(regret(&[(1.0, 9.0), (1.5, 9.0)]), Some(0.5), "a tie is no pick");
        assert_eq!(regret(&[(1.0, 9.0)]), None);
    }

    #[test]
    fn a_change_below_noise_has_no_sign_but_has_a_ratio() {
        let pairs = Pairs::of(&[((1.0, 1.0), (1.01, 0.9)), ((1.0, 1.0), (2.0, 1.5))]);
        assert_eq!((pairs.n, pairs.sign_agreement), (2, Some(1.0)));
        let expected = (0.25 + (1.0 - 0.9 / 1.01)) / 2.0;
        assert!((pairs.median_ratio_error.expect("pairs") - expected).abs() < 1e-12);
        assert_eq!(Pairs::of(&[]).sign_agreement, None);
    }
}
