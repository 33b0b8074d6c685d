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

/// Trees whose leaves are added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trees {
    splits: Vec<Split>,
    leaves: Vec<i16>,
    /// Depth of each tree.
    depths: Vec<u8>,
}

impl Trees {
    /// Adds a tree.
    ///
    /// Panics when the tree does not have a leaf for each way of answering.
    pub fn push(&mut self, tree: &Tree) {
        assert!(tree.splits.len() <= DEPTH_MAX, "a tree of {} levels", tree.splits.len());
        assert_eq!(tree.leaves.len(), 1 << tree.splits.len(), "leaves of a tree");
        self.splits.extend(&tree.splits);
        self.leaves.extend(&tree.leaves);
        self.depths.push(tree.splits.len() as u8);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.depths.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.depths.is_empty()
    }

    /// Sum of the leaves that some features reach; zero without trees.
    pub fn value(&self, features: &Features) -> f64 {
        let (mut splits, mut leaves) = (self.splits.as_slice(), self.leaves.as_slice());
        let mut sum = 0_i64;
        for &depth in &self.depths {
            let (asked, more) = splits.split_at(usize::from(depth));
            let mut leaf = 0_usize;
            for (bit, split) in asked.iter().enumerate() {
                let feature = features[usize::from(split.feature) % FEATURES_MAX];
                leaf |= usize::from(feature > split.threshold) << bit;
            }
            sum += i64::from(leaves[leaf]);
            splits = more;
            leaves = &leaves[1 << depth..];
        }
        sum as f64 * f64::from(LEAF_UNIT)
    }

    /// One line a tree: `feature>threshold …: leaf …`, features by name.
    pub fn to_lines(&self, names: &[&str]) -> Vec<String> {
        let (mut splits, mut leaves) = (self.splits.as_slice(), self.leaves.as_slice());
        let mut lines = Vec::with_capacity(self.len());
        for &depth in &self.depths {
            let (asked, more) = splits.split_at(usize::from(depth));
            let (reached, others) = leaves.split_at(1 << depth);
            let questions: Vec<String> = asked
                .iter()
                .map(|split| format!("{}>{}", names[usize::from(split.feature)], split.threshold))
                .collect();
            let values: Vec<String> = reached.iter().map(i16::to_string).collect();
            lines.push(format!("{}: {}", questions.join(" "), values.join(" ")));
            (splits, leaves) = (more, others);
        }
        lines
    }

    /// Reads what [`Trees::to_lines`] wrote.
    ///
    /// # Errors
    /// What is wrong with a line, and which one.
    pub fn from_lines(lines: &[String], names: &[&str]) -> Result<Self, String> {
        let mut trees = Self::default();
        for (index, line) in lines.iter().enumerate() {
            let tree = parse(line, names).map_err(|why| format!("tree {}: {why}", index + 1))?;
            trees.push(&tree);
        }
        Ok(trees)
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
        let mut trees = Trees::default();
        let split = |feature, threshold| Split { feature, threshold };
        trees.push(&Tree {
            splits: vec![split(0, 1.5), split(1, -2.0)],
            leaves: vec![1, 20, 300, 4000],
        });
        trees.push(&Tree { splits: vec![], leaves: vec![-7] });
        trees
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
