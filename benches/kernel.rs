//! How long pricing one kernel takes; the bar is 1 us.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

use std::sync::Arc;
use stepcast::cost::{KernelBook, LearnedKernels};
use stepcast::spec::{Fit, Gpu, MeasuredFit, Stack};
use stepcast::units::Bytes;
use stepcast::work::{AttentionFamily, DType, GemmLayout, Kernel, MemoryKernel, Pass};

fn price(criterion: &mut Criterion) {
    let gpu: Gpu =
        toml::from_str(include_str!("../src/cost/kernel/fixture/gpu.toml")).expect("a GPU");
    let stack: Stack =
        toml::from_str(include_str!("../src/cost/kernel/fixture/stack.toml")).expect("a stack");
    let book = KernelBook::new(&gpu, &stack, &Fit::default());
    let gemm = Kernel::Gemm {
        m: 8192,
        n: 7168,
        k: 8192,
        batch: 1,
        dtype: DType::Bf16,
        output: DType::Bf16,
        layout: GemmLayout::Tn,
        accumulate: false,
    };
    let attention = Kernel::Attention {
        family: AttentionFamily::Flash2,
        pass: Pass::Forward,
        batch: 1,
        query_length: 8192,
        key_length: 8192,
        heads: 8,
        kv_heads: 1,
        head_dim: 128,
        causal: true,
        dtype: DType::Bf16,
    };
    let norm =
        Kernel::Memory { kind: MemoryKernel::Norm, read: Bytes::new(1e8), write: Bytes::new(1e8) };
    let gpu: Gpu =
        toml::from_str(include_str!("../hardware/gpus/h100-sxm-80gb.toml")).expect("a GPU");
    let fit: Fit =
        toml::from_str(include_str!("../hardware/fits/h100-sxm-80gb.toml")).expect("a fit");
    let measured = [MeasuredFit { fit: Arc::new(fit), gpu: gpu.clone() }];
    let learned = LearnedKernels::new(&gpu, &measured).expect("it reads").expect("it has models");
    let fitted = KernelBook::new(&gpu, &stack, &Fit::default()).with_model(Box::new(learned));
    for (name, kernel) in [("gemm", gemm), ("attention", attention), ("norm", norm)] {
        criterion.bench_function(&format!("price_kernel_fitted/{name}"), |bencher| {
            bencher.iter(|| fitted.price(black_box(&kernel)));
        });
    }
    for (name, kernel) in [("gemm", gemm), ("attention", attention), ("norm", norm)] {
        criterion.bench_function(&format!("price_kernel/{name}"), |bencher| {
            bencher.iter(|| book.price(black_box(&kernel)));
        });
    }
}

criterion_group!(benches, price);
criterion_main!(benches);
