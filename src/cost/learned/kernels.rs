//! Learned forms as a kernel model: which form answers for which kernel.

use super::attention_kernels::AttentionKernels;
use super::form::Form;
use super::gemm::{GemmForm, GemmShape};
use super::model::Answer;
use super::passes::{LearnedPasses, LearnedProducts};
use super::transfer::{Estimator, MeasuredOn};
use crate::cost::book::Evidence;
use crate::cost::kernel::{KernelModel, Prediction};
use crate::spec::{Gpu, MeasuredFit};
use crate::units::Seconds;
use crate::work::{DType, Kernel};

/// Formats whose GEMMs are learned apart.
const GEMM_FORMATS: [DType; 7] = [
    DType::Bf16,
    DType::Tf32,
    DType::Fp8,
    DType::Fp8Rowwise,
    DType::Fp8Blockwise,
    DType::Mxfp8,
    DType::Nvfp4,
];

/// Kernels of one GPU, priced by what was learned of it or of those most like it.
#[derive(Clone, Debug)]
pub struct LearnedKernels {
    gemm: Vec<(DType, Estimator<GemmForm>)>,
    attention: Option<AttentionKernels>,
    passes: LearnedPasses,
    products: LearnedProducts,
    scaled_from: Option<String>,
}

impl LearnedKernels {
    /// Models for a GPU; `None` where the fits hold none of use.
    ///
    /// # Errors
    /// When a fit cannot be read.
    pub fn new(gpu: &Gpu, measured: &[MeasuredFit]) -> Result<Option<Self>, String> {
        let fits: Vec<MeasuredOn<'_>> =
            measured.iter().map(|it| MeasuredOn { fit: &it.fit, gpu: &it.gpu }).collect();
        let mut gemm = Vec::new();
        for dtype in GEMM_FORMATS {
            if gpu.peak(dtype).is_some()
                && let Some(found) = Estimator::new(gpu, dtype, &gemm_cases(dtype), &fits)?
            {
                gemm.push((dtype, found));
            }
        }
        let attention = AttentionKernels::new(gpu, &fits)?;
        // Of this very GPU: what its own file says of streams is better than another's rates.
        let own = measured.iter().find(|it| it.gpu.name == gpu.name);
        let models = own.map_or(&[][..], |it| &it.fit.models);
        let passes = LearnedPasses::new(models, gpu)?;
        let products = LearnedProducts::new(models, gpu)?;
        if gemm.is_empty() && attention.is_none() && passes.is_empty() && products.is_empty() {
            return Ok(None);
        }
        let scaled_from = gemm.iter().find_map(|(_, it)| it.scaled_from().map(str::to_owned));
        Ok(Some(Self { gemm, attention, passes, products, scaled_from }))
    }

    /// The GPU whose models stand in, where nobody measured this one.
    pub fn scaled_from(&self) -> Option<&str> {
        self.scaled_from.as_deref()
    }
}

/// Cases that answer for a format in training, best first: those of training itself, then bare
/// kernels, then the kernels of measurements that quantise, whose quantisation is left out.
///
/// Products scaled by tensor (Transformer Engine's fp8) or by microscales are other kernels than
/// the row- and blockwise ones that serving measured: with those, fp8 steps of 66 published H100
/// runs came out 25 % too slow, with the roofline within 5 %. They answer for themselves only.
fn gemm_cases(dtype: DType) -> Vec<String> {
    let cases: &[&str] = match dtype {
        DType::Fp16 | DType::Bf16 => &["16-bit, training layouts", "16-bit"],
        DType::Fp32 | DType::Tf32 => &["tf32"],
        DType::Fp8 => &["fp8"],
        DType::Fp8Rowwise => &["fp8 rowwise", "fp8 rowwise, quantising"],
        DType::Fp8Blockwise => &["fp8 blockwise", "fp8 blockwise, quantising"],
        DType::Mxfp8 => &["mxfp8"],
        DType::Nvfp4 => &["nvfp4"],
    };
    cases.iter().map(|case| (*case).to_owned()).collect()
}

impl KernelModel for LearnedKernels {
    fn name(&self) -> &'static str {
        "fit"
    }

    fn predict(&self, kernel: &Kernel) -> Option<Prediction> {
        match *kernel {
            Kernel::Gemm { m, n, k, batch: 1, dtype, output, layout, accumulate } => {
                let format = if dtype == DType::Fp16 { DType::Bf16 } else { dtype };
                let model = &self.gemm.iter().find(|(known, _)| *known == format)?.1;
                let shape = GemmShape {
                    m: m as f64,
                    n: n as f64,
                    k: k as f64,
                    layout,
                    operand_bytes: dtype.bytes(),
                    result_bytes: output.bytes() * if accumulate { 2.0 } else { 1.0 },
                    quantises: false,
                    sustained: true,
                };
                (m > 0 && n > 0 && k > 0).then(|| priced(model, &shape))
            }
            Kernel::Gemm { .. } => self.products.predict(kernel),
            Kernel::Memory { .. } => self.passes.predict(kernel),
            Kernel::Attention { .. } => self.attention.as_ref()?.predict(kernel),
        }
    }
}

/// What a model says of a shape, and on what that rests.
pub(super) fn priced<F: Form>(model: &Estimator<F>, shape: &F::Shape) -> Prediction {
    let Answer { time_us, relative_error, outside, is_measured } = model.predict(shape);
    Prediction {
        time: Seconds::from_us(time_us),
        relative_error,
        evidence: match model.scaled_from() {
            Some(_) => Evidence::Scaled,
            None if is_measured => Evidence::MeasuredTable,
            None => Evidence::Fit,
        },
        is_outside: outside > 0.0,
    }
}
