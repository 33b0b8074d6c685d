//! Another GPU: times of kernels by the ratio of two price books.
//!
//! Where the shape of a kernel is known from its operator, both books price it. Where it is not, a
//! kernel of its class is found that takes as long on the recorded GPU, and that one is priced on
//! the other: so a short product is scaled as short products are, and a pass over memory by
//! bandwidth.

use rustc_hash::FxHashMap;

use crate::cost::{KernelBook, LearnedKernels};
use crate::spec::{DataSources, Fit, Gpu, Kind, Stack, load_gpu, load_part};
use crate::units::{Bytes, Seconds};
use crate::work::{AttentionFamily, Class, DType, GemmLayout, Kernel, MemoryKernel, Pass};

/// The software whose kernels a trace of PyTorch without more shows.
const STACK: &str = "torchtitan";

/// A recorded GPU and the one in its place.
#[derive(Debug)]
pub struct GpuSwap {
    from: (Gpu, KernelBook),
    to: (Gpu, KernelBook),
    /// Factors by class, format and time, to the nearest 2 % of time: kernels of a step repeat.
    known: FxHashMap<(Class, DType, i64), f64>,
}

impl GpuSwap {
    /// Between two GPUs by their names, as files, data sheets or drivers call them.
    ///
    /// # Errors
    ///
    /// When a GPU is not known, or a data file is wrong.
    pub fn new(sources: &DataSources, from: &str, to: &str) -> Result<Self, String> {
        let stack: Stack =
            load_part(sources, Kind::Stack, STACK).map_err(|problems| problems.to_string())?;
        let book = |name: &str| {
            let (gpu, fits) = load_gpu(sources, name).map_err(|problems| problems.to_string())?;
            let mut book = KernelBook::new(&gpu, &stack, &Fit::default());
            if let Some(learned) = LearnedKernels::new(&gpu, &fits)? {
                book = book.with_model(Box::new(learned));
            }
            Ok::<_, String>((gpu, book))
        };
        Ok(Self { from: book(from)?, to: book(to)?, known: FxHashMap::default() })
    }

    /// Time of a kernel on the other GPU over its time on the recorded one.
    pub fn factor_of_shape(&self, kernel: &Kernel) -> f64 {
        ratio(self.to.1.price(kernel).time, self.from.1.price(kernel).time)
    }

    /// The same for a kernel that is one of a few: of the one whose price on the recorded GPU is
    /// nearest to its recorded time. `None` of none.
    pub fn factor_of_nearest(&self, kernels: &[Kernel], time: Seconds) -> Option<f64> {
        let off = |kernel: &Kernel| {
            let price = self.from.1.price(kernel).time.value().max(1e-12);
            (time.value().max(1e-12) / price).ln().abs()
        };
        let nearest = kernels.iter().min_by(|one, other| off(one).total_cmp(&off(other)))?;
        Some(self.factor_of_shape(nearest))
    }

    /// The same for a kernel whose shape is not known, by its class, name and recorded time.
    pub fn factor(&mut self, class: Class, name: &str, time: Seconds) -> f64 {
        let dtype = dtype_of(name, &self.from.0);
        let step = (time.value().max(1e-9).ln() * 50.0).round();
        let key = (class, dtype, step as i64);
        if let Some(&known) = self.known.get(&key) {
            return known;
        }
        let factor = match self.equivalent(class, dtype, (step / 50.0).exp()) {
            Some(kernel) => self.factor_of_shape(&kernel),
            None => 1.0,
        };
        self.known.insert(key, factor);
        factor
    }

    /// A kernel of a class that takes this long on the recorded GPU; none for communication.
    fn equivalent(&self, class: Class, dtype: DType, time_s: f64) -> Option<Kernel> {
        let pass = |kind: MemoryKernel| {
            Box::new(move |size: f64| Kernel::Memory {
                kind,
                read: Bytes::new(size / 2.0),
                write: Bytes::new(size / 2.0),
            }) as Box<dyn Fn(f64) -> Kernel>
        };
        let shape: Box<dyn Fn(f64) -> Kernel> = match class {
            Class::Gemm => Box::new(move |size| gemm(size, dtype)),
            Class::Attention => Box::new(move |size| attention(size, dtype)),
            Class::Norm => pass(MemoryKernel::Norm),
            Class::Embedding => pass(MemoryKernel::Embedding),
            Class::Loss => pass(MemoryKernel::CrossEntropy),
            Class::Cast => pass(MemoryKernel::Cast),
            Class::Optimizer => pass(MemoryKernel::Optimizer),
            Class::Elementwise | Class::OtherKernel => pass(MemoryKernel::Pointwise),
            Class::Copy => pass(MemoryKernel::Copy),
            Class::Communication(_) | Class::Host => return None,
        };
        // Times grow with size, so that halving the range of its logarithm finds it.
        let (mut low, mut high) = (0.0_f64, 45.0_f64);
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            let slower = self.from.1.price(&shape(middle.exp2())).time.value() > time_s;
            if slower { high = middle } else { low = middle }
        }
        Some(shape(low.exp2()))
    }

    /// Names of both.
    pub fn names(&self) -> (&str, &str) {
        (&self.from.0.name, &self.to.0.name)
    }
}

fn ratio(to: Seconds, from: Seconds) -> f64 {
    if from > Seconds::ZERO { to / from } else { 1.0 }
}

/// A square product of about `size` multiplications.
fn gemm(size: f64, dtype: DType) -> Kernel {
    let side = size.cbrt().clamp(1.0, 1e6) as u64;
    Kernel::Gemm {
        m: side,
        n: side,
        k: side,
        batch: 1,
        dtype,
        output: dtype,
        layout: GemmLayout::Tn,
        accumulate: false,
    }
}

/// Causal attention over 2,048 tokens with as many heads as `size` asks for.
fn attention(size: f64, dtype: DType) -> Kernel {
    Kernel::Attention {
        family: AttentionFamily::Flash2,
        pass: Pass::Forward,
        batch: 1,
        query_length: 2048,
        key_length: 2048,
        heads: (size / f64::from(1 << 20)).clamp(1.0, 1e9) as u64,
        kv_heads: (size / f64::from(1 << 20)).clamp(1.0, 1e9) as u64,
        head_dim: 128,
        causal: true,
        dtype,
    }
}

/// Format of the operands, as names of kernels tell it; else the 16-bit format of the GPU.
fn dtype_of(name: &str, gpu: &Gpu) -> DType {
    let name = name.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    let known = if has(&["e4m3", "e5m2", "fp8", "float8"]) {
        DType::Fp8
    } else if has(&["tf32"]) {
        DType::Tf32
    } else if has(&["sgemm", "scudnn", "f32f32_f32f32", "cgemm", "_fp32"]) {
        DType::Fp32
    } else if has(&["bf16", "bfloat16"]) {
        DType::Bf16
    } else if has(&["hgemm", "h884", "fp16", "f16", "half"]) {
        DType::Fp16
    } else {
        DType::Bf16
    };
    let formats = [known, DType::Bf16, DType::Fp16, DType::Fp32];
    formats.into_iter().find(|&dtype| gpu.peak(dtype).is_some()).unwrap_or(DType::Fp32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_products_follow_peak_rates_and_passes_follow_bandwidth() {
        let sources = DataSources::shipped();
        let mut swap =
            GpuSwap::new(&sources, "NVIDIA A100-SXM4-80GB", "NVIDIA H100 80GB HBM3").unwrap();
        let long = swap.factor(Class::Gemm, "bf16_gemm", Seconds::new(5e-3));
        assert!((0.35..0.60).contains(&long), "{long}");
        let pass = swap.factor(Class::Elementwise, "vectorized", Seconds::new(1e-3));
        // 3.35 against 2.04 TB/s, and shares of them.
        assert!((0.5..0.75).contains(&pass), "{pass}");
        let same = swap.factor(
            Class::Communication(crate::work::Axis::Unstated),
            "nccl",
            Seconds::new(1.0),
        );
        assert_eq!(same, 1.0);
        let mut self_swap = GpuSwap::new(&sources, "H100-SXM", "h100-sxm-80gb").unwrap();
        assert_eq!(self_swap.factor(Class::Attention, "flash", Seconds::new(1e-4)), 1.0);
    }

    #[test]
    fn unknown_gpus_are_told() {
        let error = GpuSwap::new(&DataSources::shipped(), "H100-SXM", "H1000").unwrap_err();
        assert!(error.contains("H1000"), "{error}");
    }
}
