//! What the simulator asks learned models of passes over memory and of grouped products.
//!
//! How near to the memory bandwidth a norm or an activation comes is a property of the software:
//! serving kernels reach 33-57 % (vidur@7d47513), generated and fused ones more. The stack's file
//! says it, and the public tables hold the kernels of other stacks: they do not answer for those.
//! They answer for what is the GPU's alone, plain streams and conversions. Who measures the kernels
//! of their own stack names the operation as the simulator does (`norm`, `activation`, `rotary`,
//! ...), and then that answers.

use super::elementwise::{ElementwiseForm, ElementwiseShape};
use super::form::{Facts, Form};
use super::grouped_gemm::{GroupedGemmForm, GroupedShape};
use super::model::{Answer, Learned};
use crate::cost::book::Evidence;
use crate::cost::kernel::{KernelModel, Prediction};
use crate::spec::{Gpu, LearnedModel, LearnedTrees};
use crate::units::Seconds;
use crate::work::{DType, Kernel, MemoryKernel};

/// Columns of the matrix that a pass of so many bytes is taken for: a usual width of models.
const COLUMNS: f64 = 4096.0;

/// Operations of public tables that stand for a kind, the best first, with the bytes of an element
/// that they read and write.
const fn public_operations(kind: MemoryKernel) -> &'static [(&'static str, f64)] {
    match kind {
        MemoryKernel::Copy | MemoryKernel::Cast => {
            &[("add, 16-bit", 6.0), ("mulu, 32-bit", 8.0), ("addu, 32-bit", 8.0)]
        }
        MemoryKernel::Quantise => &[("fp8_cast, 16-bit", 3.0)],
        _ => &[],
    }
}

/// Learned models of passes over memory, by kind.
#[derive(Clone, Debug, Default)]
pub struct LearnedPasses {
    by_kind: Vec<(MemoryKernel, f64, Learned<ElementwiseForm>)>,
}

impl LearnedPasses {
    /// From the models of a fit, on a GPU.
    ///
    /// # Errors
    /// When a model cannot be read.
    pub fn new(models: &[LearnedModel], gpu: &Gpu) -> Result<Self, String> {
        let mut by_kind = Vec::new();
        for kind in MemoryKernel::ALL {
            let own = ["16-bit", "32-bit"].map(|width| format!("{}, {width}", kind.name()));
            let own = own.iter().zip([4.0, 8.0]).map(|(name, bytes)| (name.as_str(), bytes));
            let public = public_operations(kind).iter().copied();
            let found = own.chain(public).find_map(|(case, element_bytes)| {
                Some((find::<ElementwiseForm>(models, case)?, element_bytes))
            });
            if let Some((model, element_bytes)) = found {
                let model = Learned::new(&busy_only(model, gpu), Facts::of(gpu, DType::Bf16))?;
                by_kind.push((kind, element_bytes, model));
            }
        }
        Ok(Self { by_kind })
    }

    /// Whether no kind has a model.
    pub fn is_empty(&self) -> bool {
        self.by_kind.is_empty()
    }

    /// Time of a pass that reads and writes so many bytes; `None` where the stack's word counts.
    pub fn answer(&self, kind: MemoryKernel, bytes: f64) -> Option<Answer> {
        let (_, element_bytes, model) = self.by_kind.iter().find(|known| known.0 == kind)?;
        let bytes = bytes.max(1.0);
        let rows = (bytes / (element_bytes * COLUMNS)).ceil().max(1.0);
        Some(model.predict(&ElementwiseShape { rows, columns: COLUMNS, bytes }))
    }
}

impl KernelModel for LearnedPasses {
    fn name(&self) -> &'static str {
        "learned passes over memory"
    }

    fn predict(&self, kernel: &Kernel) -> Option<Prediction> {
        let Kernel::Memory { kind, .. } = *kernel else { return None };
        let answer = self.answer(kind, kernel.bytes().value())?;
        // A longer stream than any measured is the same stream, a shorter one is all launch.
        Some(prediction(Answer { outside: 0.0, ..answer }))
    }
}

/// Formats of operands, and what cases of grouped products call them.
const FORMATS: [(DType, &str); 6] = [
    (DType::Bf16, "16-bit"),
    (DType::Fp16, "16-bit"),
    (DType::Fp8Rowwise, "fp8 rowwise, quantising"),
    (DType::Fp8Blockwise, "fp8 blockwise, quantising"),
    (DType::Mxfp8, "mxfp8, quantising"),
    (DType::Nvfp4, "nvfp4, quantising"),
];

/// Expected relative error, one sigma, of a product alone that is priced from layers around such:
/// the scatter of those products that were measured alone (SimuMax@4dcaae5).
const FROM_LAYERS_ERROR: f64 = 0.15;

/// A shape further outside of what was measured than this, in factors of two of a feature, is left
/// to others: products of attention scores are batched too, and nothing like experts.
const OUTSIDE: f64 = 1.0;

/// Learned models of grouped products, by format of the operands.
#[derive(Clone, Debug, Default)]
pub struct LearnedProducts {
    by_format: Vec<(DType, Learned<GroupedGemmForm>)>,
}

impl LearnedProducts {
    /// From the models of a fit, on a GPU: products that were measured alone, else the part of
    /// measured layers that is products.
    ///
    /// # Errors
    /// When a model cannot be read.
    pub fn new(models: &[LearnedModel], gpu: &Gpu) -> Result<Self, String> {
        let mut by_format = Vec::new();
        for (dtype, name) in FORMATS {
            let case = |ending: &str| {
                find::<GroupedGemmForm>(models, &format!("{name}, {ending}")).cloned()
            };
            let from_layers = |mut model: LearnedModel| {
                // What is corrected there are layers, in which eight kernels are launched.
                model.trees = LearnedTrees::default();
                model.relative_error = model.relative_error.max(FROM_LAYERS_ERROR);
                busy_only(&model, gpu)
            };
            if let Some(model) = case("product").or_else(|| case("balanced").map(from_layers)) {
                by_format.push((dtype, Learned::new(&model, Facts::of(gpu, dtype))?));
            }
        }
        Ok(Self { by_format })
    }

    /// Whether no format has a model.
    pub fn is_empty(&self) -> bool {
        self.by_format.is_empty()
    }

    /// Time of a batched product; `None` where nothing like it was measured.
    pub fn answer(&self, kernel: &Kernel) -> Option<Answer> {
        let Kernel::Gemm { n, k, dtype, .. } = *kernel else { return None };
        // Nobody measured products whose rows are no multiple of 16 bytes.
        let is_aligned = |size: u64| (size as f64 * dtype.bytes()) % 16.0 == 0.0;
        if !(is_aligned(n) && is_aligned(k)) {
            return None;
        }
        let shape = GroupedShape::of(kernel)?;
        let (_, model) = self.by_format.iter().find(|known| known.0 == dtype)?;
        let answer = model.predict(&shape);
        (answer.outside <= OUTSIDE).then_some(answer)
    }
}

impl KernelModel for LearnedProducts {
    fn name(&self) -> &'static str {
        "learned grouped products"
    }

    fn predict(&self, kernel: &Kernel) -> Option<Prediction> {
        self.answer(kernel).map(prediction)
    }
}

/// The model of a case.
fn find<'a, F: Form>(models: &'a [LearnedModel], case: &str) -> Option<&'a LearnedModel> {
    models.iter().find(|model| model.kind == F::KIND && model.case == case)
}

/// A model of the time that the stream is busy. Events around eager calls hold what the host needs
/// to launch too (17 us in NeuSight's tables), which the simulator spends on the host.
fn busy_only(model: &LearnedModel, gpu: &Gpu) -> LearnedModel {
    let mut model = model.clone();
    let floor_us = gpu.kernel_floor.value() * 1e6;
    if let Some(launch_us) = model.parameters.get_mut("launch_us") {
        *launch_us = launch_us.min(floor_us);
    }
    model
}

fn prediction(answer: Answer) -> Prediction {
    let Answer { time_us, relative_error, outside, is_measured } = answer;
    Prediction {
        time: Seconds::from_us(time_us),
        relative_error,
        evidence: if is_measured { Evidence::MeasuredTable } else { Evidence::Fit },
        is_outside: outside > 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::kernel::fixture;
    use crate::units::Bytes;
    use crate::work::GemmLayout;
    use std::collections::BTreeMap;

    /// A model with the parameters that its form starts from, but for one.
    fn model<F: Form>(case: &str, name: &str, value: f64) -> LearnedModel {
        let mut parameters: BTreeMap<String, f64> = F::PARAMETERS
            .iter()
            .map(|parameter| (parameter.name.to_owned(), parameter.start))
            .collect();
        parameters.insert(name.to_owned(), value);
        LearnedModel {
            kind: F::KIND.to_owned(),
            case: case.to_owned(),
            version: F::VERSION,
            row_count: 100,
            tables: Vec::new(),
            sources: vec!["made".to_owned()],
            parameters,
            domain: BTreeMap::new(),
            relative_error: 0.05,
            residuals: BTreeMap::new(),
            measured_us: BTreeMap::new(),
            trees: LearnedTrees::default(),
        }
    }

    fn stream(case: &str, fraction: f64) -> LearnedModel {
        model::<ElementwiseForm>(case, "bandwidth_fraction", fraction)
    }

    fn pass(kind: MemoryKernel) -> Kernel {
        Kernel::Memory { kind, read: Bytes::new(2e9), write: Bytes::new(2e9) }
    }

    fn product(k: u64) -> Kernel {
        Kernel::Gemm {
            m: 1024,
            n: 2048,
            k,
            batch: 16,
            dtype: DType::Bf16,
            output: DType::Bf16,
            layout: GemmLayout::Tn,
            accumulate: false,
        }
    }

    #[test]
    fn public_tables_answer_for_streams_and_leave_norms_to_the_stack() {
        let gpu = fixture::a100();
        let models = [stream("add, 16-bit", 0.9), stream("rmsnorm, 16-bit", 0.33)];
        let passes = LearnedPasses::new(&models, &gpu).unwrap();
        let rate = |kind| 4e9 / passes.predict(&pass(kind)).unwrap().time.value();
        let bandwidth = gpu.memory_bandwidth.value();
        for kind in [MemoryKernel::Copy, MemoryKernel::Cast] {
            assert!((rate(kind) / bandwidth - 0.9).abs() < 0.005, "{}", rate(kind) / bandwidth);
        }
        for kind in [MemoryKernel::Norm, MemoryKernel::Activation, MemoryKernel::Quantise] {
            assert_eq!(passes.predict(&pass(kind)), None);
        }
    }

    #[test]
    fn who_measures_the_own_stack_names_operations_as_the_simulator_does() {
        let models = [stream("norm, 16-bit", 0.6), stream("add, 16-bit", 0.9)];
        let gpu = fixture::a100();
        let passes = LearnedPasses::new(&models, &gpu).unwrap();
        let time = |kind| passes.predict(&pass(kind)).unwrap().time.value();
        assert!((time(MemoryKernel::Norm) / time(MemoryKernel::Copy) - 1.5).abs() < 0.01);
    }

    #[test]
    fn the_host_s_part_of_a_launch_is_not_the_stream_s() {
        let gpu = fixture::a100();
        let models = [model::<ElementwiseForm>("addu, 32-bit", "launch_us", 17.0)];
        let passes = LearnedPasses::new(&models, &gpu).unwrap();
        let least = passes.answer(MemoryKernel::Copy, 1.0).unwrap();
        assert!(least.time_us <= 2.0 * gpu.kernel_floor.value() * 1e6, "{}", least.time_us);
    }

    #[test]
    fn products_like_nothing_measured_are_left_to_others() {
        let gpu = fixture::a100();
        let mut layers = model::<GroupedGemmForm>("16-bit, balanced", "launch_us", 25.0);
        // Log2 of the length of inner products: 2,048 to 8,192.
        layers.domain.insert("log_hidden".to_owned(), [11.0, 13.0]);
        let products = LearnedProducts::new(&[layers], &gpu).unwrap();
        let answer = products.answer(&product(4096)).unwrap();
        // 16 x 1,024 x 2,048 x 4,096 at 0.7 of the peak, and no launches of a layer.
        let busy = 2.0 * 16.0 * 1024.0 * 2048.0 * 4096.0 / (0.7 * 312e6);
        assert!((busy..1.6 * busy).contains(&answer.time_us), "{} {busy}", answer.time_us);
        assert!(answer.relative_error >= FROM_LAYERS_ERROR);
        assert_eq!(products.answer(&product(128)), None);
        assert_eq!(products.predict(&pass(MemoryKernel::Copy)), None);
    }

    #[test]
    fn a_model_of_another_version_is_told() {
        let mut model = stream("add, 16-bit", 0.9);
        model.version += 1;
        let why = LearnedPasses::new(&[model], &fixture::a100()).unwrap_err();
        assert!(why.contains("calibrate again"), "{why}");
    }
}
