//! Boosted oblivious trees: the correction of a form, small enough to be read in a fit's file.
//!
//! All nodes of a level ask the same question, so a tree of depth d is d questions and 2^d leaves,
//! and looking one up is d comparisons without a branch (Prokhorenkova et al. 2018, CatBoost,
//! section 4).

use super::form::{FEATURES_MAX, Features};

/// Deepest tree.
pub const DEPTH_MAX: usize = 8;

/// Value of a leaf is a whole number of these, so that files stay short.
pub const LEAF_UNIT: f32 = 5e-4;

/// A question: is the feature greater than the threshold?
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Split {
    /// Index of the feature.
    pub feature: u8,
    /// What it is compared with.
    pub threshold: f32,
}

/// One tree: as many leaves as answers to its questions, the first question the lowest bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// Questions.
    pub splits: Vec<Split>,
    /// Leaves, in units of [`LEAF_UNIT`].
    pub leaves: Vec<i16>,
}

/// Most trees of a model.
pub(super) const TREES_MAX: usize = 512;

/// Trees whose answers are put together at once: the bytes of a word.
const LANES: usize = 8;

/// Trees whose leaves are added up.
///
/// Looking them up one after the other takes a microsecond. So the answers of all trees to one
/// feature are worked out beforehand, for each stretch between its thresholds: a byte a tree with
/// the bits of that feature's questions. The leaves of a shape are those bytes put together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trees {
    trees: Vec<Tree>,
    answers: Vec<Answers>,
    /// Leaves of all trees, each given as many as the deepest has.
    leaves: Vec<i16>,
    depth: usize,
}

/// What all trees answer to one feature.
#[derive(Clone, Debug, PartialEq)]
struct Answers {
    feature: usize,
    /// Ascending.
    thresholds: Vec<f32>,
    /// For each stretch between thresholds, a byte a tree, eight trees a word.
    bits: Vec<u64>,
}

impl Trees {
    /// Some trees.
    ///
    /// Panics when there are too many, or when one does not have a leaf for each way of answering.
    pub fn new(trees: Vec<Tree>) -> Self {
        let depth = trees.iter().map(|tree| tree.splits.len()).max().unwrap_or(0);
        assert!(depth <= DEPTH_MAX && trees.len() <= TREES_MAX, "{} trees", trees.len());
        let mut leaves = Vec::with_capacity(trees.len() << depth);
        for tree in &trees {
            assert_eq!(tree.leaves.len(), 1 << tree.splits.len(), "leaves of a tree");
            // What a shallower tree is never asked is never answered with yes.
            leaves.extend(tree.leaves.iter().cycle().take(1 << depth));
        }
        let answers = (0..FEATURES_MAX).filter_map(|feature| Answers::new(&trees, feature));
        Self { answers: answers.collect(), trees, leaves, depth }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.trees.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.trees.is_empty()
    }

    /// Sum of the leaves that some features reach; zero without trees.
    pub fn value(&self, features: &Features) -> f64 {
        let mut reached = [0_u64; TREES_MAX / LANES];
        let reached = &mut reached[..self.trees.len().div_ceil(LANES)];
        for answers in &self.answers {
            for (leaves, bits) in reached.iter_mut().zip(answers.to(features)) {
                *leaves |= bits;
            }
        }
        let reached = reached.iter().flat_map(|leaves| leaves.to_le_bytes());
        let leaves = self.leaves.chunks_exact(1 << self.depth).zip(reached);
        let sum: i32 = leaves.map(|(leaves, leaf)| i32::from(leaves[usize::from(leaf)])).sum();
        f64::from(sum) * f64::from(LEAF_UNIT)
    }

    /// One line a tree: `feature>threshold …: leaf …`, features by name.
    pub fn to_lines(&self, names: &[&str]) -> Vec<String> {
        let question =
            |split: &Split| format!("{}>{}", names[usize::from(split.feature)], split.threshold);
        let line = |tree: &Tree| {
            let questions: Vec<String> = tree.splits.iter().map(question).collect();
            let leaves: Vec<String> = tree.leaves.iter().map(i16::to_string).collect();
            format!("{}: {}", questions.join(" "), leaves.join(" "))
        };
        self.trees.iter().map(line).collect()
    }

    /// Reads what [`Trees::to_lines`] wrote.
    ///
    /// # Errors
    /// What is wrong with a line, and which one.
    pub fn from_lines(lines: &[String], names: &[&str]) -> Result<Self, String> {
        if lines.len() > TREES_MAX {
            return Err(format!("{} trees, at most {TREES_MAX}", lines.len()));
        }
        let read = |(index, line): (usize, &String)| {
            parse(line, names).map_err(|why| format!("tree {}: {why}", index + 1))
        };
        let trees: Vec<Tree> = lines.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Self::new(trees))
    }
}

impl Answers {
    /// `None` where no tree asks for the feature.
    fn new(trees: &[Tree], feature: usize) -> Option<Self> {
        let asks = |split: &&Split| usize::from(split.feature) == feature;
        let splits = trees.iter().flat_map(|tree| tree.splits.iter().filter(asks));
        let mut thresholds: Vec<f32> = splits.map(|split| split.threshold).collect();
        thresholds.sort_by(f32::total_cmp);
        thresholds.dedup();
        if thresholds.is_empty() {
            return None;
        }
        let mut bits = Vec::with_capacity((thresholds.len() + 1) * trees.len().div_ceil(LANES));
        for stretch in 0..=thresholds.len() {
            // Above as many thresholds as the stretch has below it.
            let is_below = |split: &Split| {
                stretch.checked_sub(1).is_some_and(|last| split.threshold <= thresholds[last])
            };
            for trees in trees.chunks(LANES) {
                let mut lane = [0; LANES];
                for (byte, tree) in lane.iter_mut().zip(trees) {
                    for (bit, split) in tree.splits.iter().enumerate() {
                        *byte |= u8::from(asks(&split) && is_below(split)) << bit;
                    }
                }
                bits.push(u64::from_le_bytes(lane));
            }
        }
        Some(Self { feature, thresholds, bits })
    }

    /// A byte a tree, eight trees a word.
    fn to(&self, features: &Features) -> &[u64] {
        let value = features[self.feature];
        // Counting them all is faster than a search that waits for each of its comparisons.
        let below: u32 = self.thresholds.iter().map(|it| u32::from(value > *it)).sum();
        let lanes = self.bits.len() / (self.thresholds.len() + 1);
        &self.bits[below as usize * lanes..][..lanes]
    }
}

fn parse(line: &str, names: &[&str]) -> Result<Tree, String> {
    let (questions, leaves) =
        line.split_once(':').ok_or("wants `feature>threshold …: leaf …`, found no colon")?;
    let split = |question: &str| {
        let (name, threshold) =
            question.split_once('>').ok_or_else(|| format!("no threshold in {question:?}"))?;
        let feature = names
            .iter()
            .position(|known| *known == name)
            .ok_or_else(|| format!("no feature {name:?}; there are {}", names.join(", ")))?;
        let threshold =
            threshold.parse::<f32>().map_err(|_| format!("bad number {threshold:?}"))?;
        Ok::<_, String>(Split { feature: feature as u8, threshold })
    };
    let splits: Vec<Split> = questions.split_whitespace().map(split).collect::<Result<_, _>>()?;
    if splits.iter().any(|split| !split.threshold.is_finite()) {
        return Err("a threshold must be finite".to_owned());
    }
    if splits.len() > DEPTH_MAX {
        return Err(format!("{} questions, at most {DEPTH_MAX}", splits.len()));
    }
    let leaf = |text: &str| text.parse::<i16>().map_err(|_| format!("bad leaf {text:?}"));
    let leaves: Vec<i16> = leaves.split_whitespace().map(leaf).collect::<Result<_, _>>()?;
    if leaves.len() != 1 << splits.len() {
        return Err(format!("{} leaves, wants {}", leaves.len(), 1 << splits.len()));
    }
    Ok(Tree { splits, leaves })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Trees {
        let split = |feature, threshold| Split { feature, threshold };
        Trees::new(vec![
            Tree { splits: vec![split(0, 1.5), split(1, -2.0)], leaves: vec![1, 20, 300, 4000] },
            Tree { splits: vec![], leaves: vec![-7] },
        ])
    }

    fn at(first: f32, second: f32) -> Features {
        let mut features = [0.0; FEATURES_MAX];
        (features[0], features[1]) = (first, second);
        features
    }

    #[test]
    fn a_leaf_is_found_by_its_answers() {
        let unit = f64::from(LEAF_UNIT);
        let trees = two();
        assert_eq!(trees.value(&at(0.0, -3.0)), (1.0 - 7.0) * unit);
        assert_eq!(trees.value(&at(2.0, -3.0)), (20.0 - 7.0) * unit);
        assert_eq!(trees.value(&at(0.0, 0.0)), (300.0 - 7.0) * unit);
        assert_eq!(trees.value(&at(2.0, 0.0)), (4000.0 - 7.0) * unit);
        // Neither side is greater: the answer is no.
        assert_eq!(trees.value(&at(1.5, -2.0)), (1.0 - 7.0) * unit);
        assert_eq!(Trees::default().value(&at(1.0, 1.0)), 0.0);
    }

    /// The obvious way.
    fn slow(trees: &Trees, features: &Features) -> f64 {
        let leaf = |tree: &Tree| {
            let yes = |(bit, split): (usize, &Split)| {
                usize::from(features[usize::from(split.feature)] > split.threshold) << bit
            };
            tree.leaves[tree.splits.iter().enumerate().map(yes).sum::<usize>()]
        };
        trees.trees.iter().map(|tree| f64::from(leaf(tree))).sum::<f64>() * f64::from(LEAF_UNIT)
    }

    proptest::proptest! {
        #[test]
        fn trees_looked_up_together_say_what_each_says_alone(
            shapes in proptest::collection::vec(
                (proptest::collection::vec((0_u8..4, -3_i8..3), 0..5), -99_i16..99), 0..20),
            values in proptest::array::uniform4(-4_i8..4),
        ) {
            let tree = |(asked, seed): (Vec<(u8, i8)>, i16)| {
                let leaves = (0..1_i16 << asked.len()).map(|leaf| seed.wrapping_mul(leaf + 1));
                let split = |(feature, threshold)| {
                    Split { feature, threshold: f32::from(threshold) }
                };
                Tree { leaves: leaves.collect(), splits: asked.into_iter().map(split).collect() }
            };
            let trees = Trees::new(shapes.into_iter().map(tree).collect());
            let mut features = [0.0; FEATURES_MAX];
            for (feature, value) in features.iter_mut().zip(values) {
                *feature = f32::from(value);
            }
            proptest::prop_assert_eq!(trees.value(&features), slow(&trees, &features));
        }
    }

    #[test]
    fn lines_read_back_as_they_were() {
        let names = ["log_m", "waves"];
        let lines = two().to_lines(&names);
        assert_eq!(lines[0], "log_m>1.5 waves>-2: 1 20 300 4000");
        assert_eq!(Trees::from_lines(&lines, &names), Ok(two()));
    }

    #[test]
    fn a_broken_line_is_told() {
        let read = |line: &str| Trees::from_lines(&[line.to_owned()], &["a"]).unwrap_err();
        assert_eq!(read("a>1: 1"), "tree 1: 1 leaves, wants 2");
        assert_eq!(read("b>1: 1 2"), "tree 1: no feature \"b\"; there are a");
        assert_eq!(read("a>x: 1 2"), "tree 1: bad number \"x\"");
        assert_eq!(read("a>1: 1 99999"), "tree 1: bad leaf \"99999\"");
        assert!(read("a>1 1 2").contains("no colon"));
        let deep = format!("{}: 1", "a>1 ".repeat(9));
        assert_eq!(read(&deep), "tree 1: 9 questions, at most 8");
    }
}
