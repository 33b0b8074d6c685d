//! Rows that each expert of a rank gets: all the same, or drawn from a power law.

/// Classes of equally loaded groups that a load is told in.
pub const LOAD_CLASSES: usize = 8;

/// Draws that an expected load is the mean of.
const DRAWS: usize = 32;

/// Share of the tokens that the most popular expert gets at most, before loads are scaled to their
/// sum: as aiconfigurator@095f58a draws what it measures (`collector/helper.py`).
const MOST_POPULAR: f64 = 0.8;

/// Groups of rows that are multiplied with a weight each, the busiest first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ExpertLoad {
    /// Rows of a group, by class.
    pub rows: [f32; LOAD_CLASSES],
    /// Groups that have any rows, by class; zero in classes that are not used.
    pub groups: [f32; LOAD_CLASSES],
}

impl ExpertLoad {
    /// As many rows for every group; where there are fewer rows than groups, the others have none.
    pub fn balanced(rows: f64, groups: f64) -> Self {
        let rows = rows.max(1.0);
        let groups = groups.max(1.0).min(rows);
        let mut load = Self::default();
        load.rows[0] = (rows / groups) as f32;
        load.groups[0] = groups as f32;
        load
    }

    /// What the busiest of `ranks` expects when the popularity of experts has the density
    /// `x^-exponent` and each token goes to `topk` different ones.
    ///
    /// The mean of draws from a fixed sequence of numbers, so equal questions have equal answers.
    pub fn power_law(exponent: f64, tokens: f64, topk: f64, experts: f64, ranks: f64) -> Self {
        let experts = experts.clamp(1.0, 65_536.0) as usize;
        let local = (experts / (ranks.max(1.0) as usize).min(experts)).max(1);
        let edges = edges(local);
        let (mut rows, mut groups) = ([0.0; LOAD_CLASSES], [0.0; LOAD_CLASSES]);
        let mut random = SplitMix(0);
        for _ in 0..DRAWS {
            let mut loads = draw(exponent, tokens.max(1.0), topk.max(1.0), experts, &mut random);
            let busiest = loads
                .chunks_exact_mut(local)
                .reduce(|best, rank| if total(rank) > total(best) { rank } else { best });
            let Some(busiest) = busiest else { continue };
            busiest.sort_by(|left, right| right.total_cmp(left));
            for (class, edge) in edges.windows(2).enumerate() {
                for load in &busiest[edge[0]..edge[1]] {
                    rows[class] += load;
                    groups[class] += f64::from(u8::from(*load > 0.0));
                }
            }
        }
        let mut load = Self::default();
        let used = (0..LOAD_CLASSES).filter(|class| groups[*class] > 0.0);
        for (place, class) in used.enumerate() {
            load.rows[place] = (rows[class] / groups[class]) as f32;
            load.groups[place] = (groups[class] / DRAWS as f64) as f32;
        }
        if load.groups[0] > 0.0 { load } else { Self::balanced(1.0, 1.0) }
    }

    /// Classes that are used: rows of a group and groups.
    fn classes(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let used = self.rows.iter().zip(&self.groups).take_while(|(_, groups)| **groups > 0.0);
        used.map(|(rows, groups)| (f64::from(*rows), f64::from(*groups)))
    }

    /// Rows of all groups.
    pub fn total_rows(&self) -> f64 {
        self.classes().map(|(rows, groups)| rows * groups).sum()
    }

    /// Groups that have rows.
    pub fn active_groups(&self) -> f64 {
        self.classes().map(|(_, groups)| groups).sum()
    }

    /// Tiles of some height that hold the rows, each group's last one padded.
    pub fn tiles(&self, height: f64) -> f64 {
        self.classes().map(|(rows, groups)| groups * (rows / height).ceil()).sum()
    }

    /// Rows of the busiest group.
    pub fn most_rows(&self) -> f64 {
        f64::from(self.rows[0])
    }
}

fn total(loads: &[f64]) -> f64 {
    loads.iter().sum()
}

/// Where classes of sorted groups begin and end: narrow where loads are high.
fn edges(groups: usize) -> Vec<usize> {
    let classes = LOAD_CLASSES.min(groups);
    if groups <= LOAD_CLASSES {
        return (0..=groups).collect();
    }
    let edge = |class: usize| {
        let share = class as f64 / classes as f64;
        (share * share * groups as f64).round() as usize
    };
    let mut edges: Vec<usize> = (0..=classes).map(edge).collect();
    edges.dedup();
    edges
}

/// Rows of every expert, one draw. No expert gets a token twice; what would be too much goes to
/// the least popular ones, as in the collector of aiconfigurator@095f58a.
fn draw(exponent: f64, tokens: f64, topk: f64, experts: usize, random: &mut SplitMix) -> Vec<f64> {
    let assignments = tokens * topk.min(experts as f64);
    let (low, high) = if assignments > experts as f64 {
        (1.0, (MOST_POPULAR * tokens).max(1.0))
    } else {
        (0.01, 2.0)
    };
    // Inverse of the distribution function of a bounded power law; an exponent of 1 is its limit.
    let power = if (exponent - 1.0).abs() < 1e-6 { 1e-6 } else { 1.0 - exponent };
    let (low, high) = (f64::powf(low, power), f64::powf(high, power));
    let mut loads: Vec<f64> =
        (0..experts).map(|_| ((high - low) * random.unit() + low).powf(1.0 / power)).collect();
    let scale = assignments / total(&loads);
    let mut surplus = 0.0;
    for load in &mut loads {
        let wanted = (*load * scale).round();
        surplus += (wanted - tokens).max(0.0);
        *load = wanted.min(tokens);
    }
    while surplus > 0.0 {
        let least = loads.iter_mut().reduce(|best, load| if *load < *best { load } else { best });
        let Some(least) = least.filter(|least| **least < tokens) else { break };
        let more = surplus.min(tokens - *least);
        *least += more;
        surplus -= more;
    }
    loads
}

/// Numbers that look random (Steele, Lea, Flood 2014, `SplitMix64`).
struct SplitMix(u64);

impl SplitMix {
    /// From 0 up to 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_balanced_load_is_one_class() {
        let load = ExpertLoad::balanced(4096.0, 32.0);
        assert_eq!((load.total_rows(), load.active_groups()), (4096.0, 32.0));
        // 128 rows a group: two tiles of 64, one of 256 that is half empty.
        assert_eq!((load.tiles(64.0), load.tiles(256.0)), (64.0, 32.0));
        assert_eq!(ExpertLoad::balanced(5.0, 8.0).active_groups(), 5.0);
    }

    /// 16 ranks hold 256 experts; on the mean a rank gets 4096 x 8 / 16 = 2,048 rows. One expert
    /// alone may get 0.8 x 4096: the busiest rank has more than twice the mean, and less than half
    /// of all.
    #[test]
    fn the_busiest_rank_has_more_than_the_mean_of_a_power_law() {
        let load = ExpertLoad::power_law(1.2, 4096.0, 8.0, 256.0, 16.0);
        let rows = load.total_rows();
        assert!((2.0 * 2048.0..8.0 * 2048.0).contains(&rows), "{rows}");
        assert!(load.most_rows() > 3.0 * rows / 16.0, "{load:?}");
        assert_eq!(load, ExpertLoad::power_law(1.2, 4096.0, 8.0, 256.0, 16.0));
    }

    #[test]
    fn one_rank_gets_every_assignment_but_for_rounding() {
        let load = ExpertLoad::power_law(1.2, 4096.0, 8.0, 256.0, 1.0);
        assert!((load.total_rows() / 32_768.0 - 1.0).abs() < 0.005, "{}", load.total_rows());
    }

    proptest! {
        #[test]
        fn loads_are_finite_and_no_rank_has_more_than_all(
            exponent in 0.0..3.0_f64, tokens in 0.0..1e5_f64, topk in 0.0..40.0_f64,
            experts in 0.0..600.0_f64, ranks in 0.0..600.0_f64,
        ) {
            let load = ExpertLoad::power_law(exponent, tokens, topk, experts, ranks);
            let rows = load.total_rows();
            prop_assert!(rows.is_finite() && rows > 0.0, "{load:?}");
            let most = tokens.max(1.0) * topk.max(1.0) + experts + 1.0;
            prop_assert!(rows <= most * 1.001, "{rows} of {most}");
            prop_assert!(load.active_groups() <= experts.max(1.0) + 0.01);
            prop_assert!(load.tiles(64.0) >= load.tiles(128.0));
        }
    }
}
