//! What kernels are and what frames are for, by their names: a table that users can put their own
//! in front of.

use regex::{RegexSet, RegexSetBuilder};
use serde::Deserialize;
use toml::Spanned;

use crate::spec::Problem;
use crate::timeline::FramePurpose;
use crate::work::{Axis, Class, CollectiveKind};

/// The table that ships.
const SHIPPED: &str = include_str!("kernel_classes.toml");

/// What a kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelClass {
    /// Its class.
    pub class: Class,
    /// The operation, of communication whose name says it.
    pub operation: Option<CollectiveKind>,
}

/// Rules from names of kernels to classes, and from names of frames to purposes; the first that
/// matches counts.
#[derive(Clone, Debug)]
pub struct Classes {
    patterns: RegexSet,
    classes: Vec<KernelClass>,
    /// How many of the rules are a user's own.
    own_count: usize,
    frame_patterns: RegexSet,
    purposes: Vec<FramePurpose>,
}

/// Purposes of frames as the table names them.
const PURPOSES: [(&str, FramePurpose); 3] = [
    ("data_loading", FramePurpose::DataLoading),
    ("range", FramePurpose::Range),
    ("library", FramePurpose::Library),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    rule: Vec<Rule>,
    #[serde(default)]
    frame: Vec<FrameRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrameRule {
    purpose: Spanned<String>,
    pattern: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    class: Spanned<String>,
    operation: Option<Spanned<String>>,
    pattern: Spanned<String>,
}

impl Classes {
    /// The table that ships.
    ///
    /// # Panics
    ///
    /// Never: a test reads it.
    pub fn shipped() -> Self {
        Self::read("kernel_classes.toml", None).expect("the table that ships is right")
    }

    /// A user's table, `(file, text)`, in front of the one that ships.
    ///
    /// # Errors
    ///
    /// When the table is not TOML, or names a class, an operation or a pattern that is none.
    pub fn with(file: &str, text: &str) -> Result<Self, Problem> {
        Self::read(file, Some(text))
    }

    fn read(file: &str, own: Option<&str>) -> Result<Self, Problem> {
        let (mut classes, mut patterns) = (Vec::new(), Vec::new());
        let mut own_count = 0;
        let (mut purposes, mut frame_patterns) = (Vec::new(), Vec::new());
        let texts = own.map(|text| (file, text)).into_iter().chain([("shipped", SHIPPED)]);
        for (file, text) in texts {
            let table: Table = toml::from_str(text)
                .map_err(|error| Problem::new("", format!("{file}: {}", error.message())))?;
            for rule in table.rule {
                classes.push(rule.class(file, text)?);
                check_pattern(file, text, &rule.pattern)?;
                patterns.push(rule.pattern.into_inner());
                own_count += usize::from(own.is_some_and(|own| own == text));
            }
            for rule in table.frame {
                purposes.push(rule.purpose(file, text)?);
                check_pattern(file, text, &rule.pattern)?;
                frame_patterns.push(rule.pattern.into_inner());
            }
        }
        let set = |patterns: &[String]| {
            RegexSetBuilder::new(patterns)
                .case_insensitive(true)
                .size_limit(1 << 26)
                .build()
                .map_err(|error| Problem::new("", format!("{file}: {error}")))
        };
        let (patterns, frame_patterns) = (set(&patterns)?, set(&frame_patterns)?);
        Ok(Self { patterns, classes, own_count, frame_patterns, purposes })
    }

    /// What a kernel of this name is.
    pub fn class(&self, name: &str) -> KernelClass {
        // A set gives its matches in order of the rules.
        match self.patterns.matches(name).iter().next() {
            Some(rule) => self.classes[rule],
            None => KernelClass { class: Class::OtherKernel, operation: None },
        }
    }

    /// Whether a rule of the user's own says what a kernel of this name is.
    pub fn is_own(&self, name: &str) -> bool {
        let first = self.patterns.matches(name).iter().next();
        first.is_some_and(|rule| rule < self.own_count)
    }

    /// What a frame of this name is for, where a rule says it.
    pub fn purpose(&self, name: &str) -> Option<FramePurpose> {
        let first = self.frame_patterns.matches(name).iter().next();
        first.map(|rule| self.purposes[rule])
    }
}

impl FrameRule {
    fn purpose(&self, file: &str, text: &str) -> Result<FramePurpose, Problem> {
        let name = self.purpose.get_ref();
        PURPOSES.iter().find(|known| known.0 == name).map(|known| known.1).ok_or_else(|| {
            let names = PURPOSES.map(|known| known.0).join(", ");
            wrong(file, text, &self.purpose, &format!("no purpose `{name}`; there are {names}"))
        })
    }
}

impl Rule {
    fn class(&self, file: &str, text: &str) -> Result<KernelClass, Problem> {
        let communication = Class::Communication(Axis::Unstated);
        let known: Vec<Class> =
            Class::COMPUTE.into_iter().chain([communication, Class::OtherKernel]).collect();
        let name = self.class.get_ref();
        let Some(class) = known.iter().copied().find(|class| class.name() == name) else {
            let names: Vec<&str> = known.iter().map(|class| class.name()).collect();
            let what = format!("no class `{name}`; there are {}", names.join(", "));
            return Err(wrong(file, text, &self.class, &what));
        };
        let Some(operation) = &self.operation else {
            return Ok(KernelClass { class, operation: None });
        };
        let name = operation.get_ref();
        let known = CollectiveKind::ALL.into_iter().find(|kind| kind.name() == name);
        if known.is_none() || class != communication {
            let names = CollectiveKind::ALL.map(CollectiveKind::name).join(", ");
            let what = format!("no operation `{name}` of communication; there are {names}");
            return Err(wrong(file, text, operation, &what));
        }
        Ok(KernelClass { class, operation: known })
    }
}

fn check_pattern(file: &str, text: &str, pattern: &Spanned<String>) -> Result<(), Problem> {
    regex::Regex::new(pattern.get_ref()).map(|_| ()).map_err(|error| {
        let last = error.to_string();
        let last = last.lines().last().unwrap_or("not a pattern").to_owned();
        wrong(file, text, pattern, &last)
    })
}

/// A problem with the line of a value.
fn wrong(file: &str, text: &str, value: &Spanned<String>, what: &str) -> Problem {
    let line = text.get(..value.span().start).map_or(0, |before| before.matches('\n').count()) + 1;
    Problem::new("", format!("{file}:{line}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_of_several_makers_find_their_classes() {
        let classes = Classes::shipped();
        let communication = Class::Communication(Axis::Unstated);
        for (name, class) in [
            ("ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)", communication),
            ("void dpsk::ep::internode::cached_notify<false>(int, int)", communication),
            ("volta_sgemm_64x64_nt", Class::Gemm),
            ("void fbgemm_gpu::permute_2D_lengths_kernel<int>(int)", Class::Elementwise),
            ("void cutlass::device_kernel<fbgemm_gpu::f8f8bf16>(int)", Class::Gemm),
            ("Cijk_Ailk_Bljk_HHS_BH_MT128x128x16", Class::Gemm),
            ("void flash_fwd_kernel<Flash_fwd_kernel_traits<128>>", Class::Attention),
            ("void cudnn::bn_fw_tr_1C11_kernel_NCHW<float>", Class::Norm),
            ("void at::native::vectorized_elementwise_kernel<4>", Class::Elementwise),
            ("my_very_own", Class::OtherKernel),
        ] {
            assert_eq!(classes.class(name).class, class, "{name}");
        }
        let reduce = classes.class("ncclKernel_AllReduce_RING_LL_Sum_float(ncclWorkElem)");
        assert_eq!(reduce.operation, Some(CollectiveKind::AllReduce));
    }

    #[test]
    fn a_table_of_ones_own_comes_first() {
        let own = "[[rule]]\nclass = \"communication\"\npattern = 'my_very'\n";
        let classes = Classes::with("own.toml", own).unwrap();
        assert_eq!(classes.class("my_very_own").class, Class::Communication(Axis::Unstated));
        assert!(classes.is_own("my_very_own") && !classes.is_own("volta_sgemm_64x64_nt"));
        assert_eq!(classes.class("volta_sgemm_64x64_nt").class, Class::Gemm);
    }

    #[test]
    fn frames_that_load_data_enclose_or_belong_to_a_library_are_known() {
        let classes = Classes::shipped();
        for (name, purpose) in [
            ("enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", "data_loading"),
            ("torch/utils/data/dataloader.py(630): __next__", "data_loading"),
            ("train.py(40): get_batch", "data_loading"),
            ("Optimizer.step#SGD.step", "range"),
            ("ProfilerStep#7", "range"),
            ("torch/nn/modules/module.py(1500): _call_impl", "library"),
            ("<built-in method conv2d of type object at 0x7f>", "library"),
            ("train.py(52): train", ""),
            ("aten::cudnn_batch_norm", ""),
        ] {
            let expected = PURPOSES.iter().find(|known| known.0 == purpose).map(|known| known.1);
            assert_eq!(classes.purpose(name), expected, "{name}");
        }
    }

    #[test]
    fn a_table_of_ones_own_may_say_what_loads_data_and_nothing_else() {
        let own = "[[frame]]\npurpose = \"data_loading\"\npattern = '^feed_me$'\n";
        let classes = Classes::with("own.toml", own).unwrap();
        assert_eq!(classes.purpose("feed_me"), Some(FramePurpose::DataLoading));
        assert_eq!(classes.class("volta_sgemm_64x64_nt").class, Class::Gemm);
        let wrong = own.replace("data_loading", "loading");
        let message = Classes::with("own.toml", &wrong).unwrap_err().to_string();
        assert!(message.contains("own.toml:2: no purpose `loading`; there are"), "{message}");
    }

    #[test]
    fn a_wrong_table_says_where() {
        let check = |text: &str| Classes::with("own.toml", text).unwrap_err().to_string();
        let class = check("[[rule]]\nclass = \"gem\"\npattern = 'a'\n");
        assert!(class.contains("own.toml:2: no class `gem`"), "{class}");
        let pattern = check("[[rule]]\nclass = \"gemm\"\npattern = '(a'\n");
        assert!(pattern.contains("own.toml:3: "), "{pattern}");
        let operation = "[[rule]]\nclass = \"gemm\"\noperation = \"all_reduce\"\npattern = 'a'\n";
        assert!(check(operation).contains("own.toml:3: no operation"));
    }
}
