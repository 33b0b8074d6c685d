//! Properties that every form keeps, and cases computed by hand.

use proptest::prelude::*;

use super::fixture::{a100, stack};
use super::{Roofline, smooth_maximum, waves};
use crate::spec::Gpu;
use crate::units::Bytes;
use crate::work::{AttentionFamily, DType, GemmLayout, Kernel, MemoryKernel, Pass};

/// Time in microseconds on a GPU.
fn time_us(gpu: &Gpu, kernel: &Kernel) -> f64 {
    Roofline::new(gpu, &stack()).estimate(kernel).time.us()
}

fn gemm(m: u64, n: u64, k: u64) -> Kernel {
    Kernel::Gemm {
        m,
        n,
        k,
        batch: 1,
        dtype: DType::Bf16,
        output: DType::Bf16,
        layout: GemmLayout::Tn,
        accumulate: false,
    }
}

fn attention(pass: Pass, family: AttentionFamily, length: u64, head_dim: u64) -> Kernel {
    Kernel::Attention {
        family,
        pass,
        batch: 4,
        query_length: length,
        key_length: length,
        heads: 32,
        kv_heads: 32,
        head_dim,
        causal: true,
        dtype: DType::Bf16,
    }
}

fn pass_over(kind: MemoryKernel, bytes: f64) -> Kernel {
    Kernel::Memory { kind, read: Bytes::new(bytes / 2.0), write: Bytes::new(bytes / 2.0) }
}

fn close(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 1e-3, "found {found}, expected {expected}");
}

#[test]
fn a_large_gemm_takes_waves_times_tiles() {
    // m = n = k = 8192 on an A100, tiles of 256 x 128: 32 x 64 = 2048 tiles on 108 SMs are 18.963
    // even and 19 whole waves, of which q = 0.8: 0.2 x 18.963 + 0.8 x 19 = 18.9926.
    // An SM runs at 312e12 x 0.795 x 1.03 / 108 = 2.36559e12 FLOP/s (fraction 0.81885), so a tile
    // takes 2 x 256 x 128 x (8192 + 120) / 2.36559e12 = 230.275 us; 18.9926 of them 4373.5 us.
    // Traffic: operands of 128 MiB exceed half the cache; blocks are sqrt(108 x 32768) = 1881.2
    // wide, so each is read 8192 / 1881.2 = 4.3546 times: 2 x 4.3546 + 1 = 9.709 x 134.2 MB =
    // 1303 MB at 2.039e12 x 0.84 x 0.85 = 1455.8 GB/s is 895.1 us, and
    // (4373.5^4 + 895.1^4)^(1/4) = 4375.4. With the floor of 2.5 us: 4377.9 us, 251 TFLOP/s.
    close(time_us(&a100(), &gemm(8192, 8192, 8192)), 4377.9);
}

#[test]
fn unfused_attention_scores_are_slowed_by_traffic_and_short_inner_products() {
    // 32 products of [2048, 96] x [96, 2048]: each reads 2 x 0.393 MB, writes 8.389 MB; in all
    // 293.6 MB, 201.7 us at 1455.8 GB/s. Arithmetic: 2 x 2048 x 2048 x 96 x 32 = 25.8 GFLOP; tiles
    // of 256 x 128: 8 x 16 x 32 = 4096 on 108 SMs: 0.2 x 37.926 + 0.8 x 38 = 37.985 waves of
    // 2 x 256 x 128 x (96/0.97 + 120) / 2.36559e12 = 6.0662 us: 230.4 us (0.97: rows of 192 bytes).
    // (230.4^4 + 201.7^4)^(1/4) = 258.6, plus 2.5.
    let kernel = match gemm(2048, 2048, 96) {
        Kernel::Gemm { m, n, k, dtype, output, layout, accumulate, .. } => {
            Kernel::Gemm { m, n, k, batch: 32, dtype, output, layout, accumulate }
        }
        other => other,
    };
    close(time_us(&a100(), &kernel), 261.1);
    let share = Roofline::new(&a100(), &stack()).estimate(&kernel).memory_share;
    assert!((0.3..0.5).contains(&share), "{share}");
}

#[test]
fn attention_at_the_reference_length_reaches_the_fraction_of_its_gpu() {
    // 128 heads of 64 blocks are 8192, 75.85 waves of 108, rounded up to 76: 0.2 % and the floor
    // above the rate that the file gives.
    for (pass, fraction) in [(Pass::Forward, 0.647), (Pass::Backward, 0.565)] {
        let kernel = attention(pass, AttentionFamily::Flash2, 8192, 128);
        let expected = kernel.flops().value() / (312e12 * fraction) * 1e6;
        let ratio = time_us(&a100(), &kernel) / expected;
        assert!((1.0..1.01).contains(&ratio), "{pass:?}: {ratio}");
    }
}

#[test]
fn attention_backward_takes_nearly_three_times_forward() {
    // 2.5 x 0.647 / 0.565 = 2.863; measured 2.87 (2.73-3.02).
    let time = |pass| time_us(&a100(), &attention(pass, AttentionFamily::Flash2, 8192, 128));
    let ratio = time(Pass::Backward) / time(Pass::Forward);
    assert!((2.8..2.95).contains(&ratio), "{ratio}");
}

#[test]
fn older_attention_kernels_are_slower_and_narrow_heads_less_efficient() {
    let per_flop = |family, head_dim| {
        let kernel = attention(Pass::Forward, family, 4096, head_dim);
        time_us(&a100(), &kernel) / kernel.flops().value()
    };
    let second = per_flop(AttentionFamily::Flash2, 128);
    close(per_flop(AttentionFamily::Flash1, 128) / second, 1.0 / 0.6);
    assert!(per_flop(AttentionFamily::Flash2, 64) > 1.1 * second);
    // Heads of 80 are computed as 96.
    assert!(per_flop(AttentionFamily::Flash2, 80) > per_flop(AttentionFamily::Flash2, 96));
}

#[test]
fn passes_over_memory_take_their_bytes_at_the_fraction_of_their_kind() {
    // 1.71276 GB at 2.039 TB/s x 0.84 are 1000 us, at 0.34 they are 2470.6 us; floor 2.5 us.
    let bytes = 2.039e12 * 0.84 * 1e-3;
    close(time_us(&a100(), &pass_over(MemoryKernel::Copy, bytes)), 1002.5);
    close(time_us(&a100(), &pass_over(MemoryKernel::Residual, bytes)), 1002.5);
    close(time_us(&a100(), &pass_over(MemoryKernel::Norm, bytes)), 2473.1);
    // 20 MiB is half the cache: 1 + 0.8 / 2 = 1.4 times 0.34; 20.97 MB at 970.6 GB/s is 21.6 us.
    close(time_us(&a100(), &pass_over(MemoryKernel::Norm, 20.0 * 1024.0 * 1024.0)), 24.107);
}

#[test]
fn an_odd_vocabulary_slows_its_products() {
    let gpu = a100();
    let (odd, even) = (gemm(8192, 50257, 4096), gemm(8192, 50304, 4096));
    let ratio = time_us(&gpu, &odd) / time_us(&gpu, &even);
    assert!((1.8..2.1).contains(&ratio), "{ratio}");
    // In wgrad, rows of x and dy are what must be aligned; the number of tokens need not be.
    let wgrad = |k| match gemm(4096, 4096, k) {
        Kernel::Gemm { m, n, k, batch, dtype, output, accumulate, .. } => {
            let layout = GemmLayout::Nt;
            Kernel::Gemm { m, n, k, batch, dtype, output, layout, accumulate }
        }
        other => other,
    };
    close(time_us(&gpu, &wgrad(8191)), time_us(&gpu, &wgrad(8192)));
    let ratio = time_us(&gpu, &wgrad(8192)) / time_us(&gpu, &gemm(4096, 4096, 8192));
    assert!((1.03..1.05).contains(&ratio), "{ratio}");
}

#[test]
fn narrow_formats_are_faster_and_fp32_uses_tf32() {
    let mut gpu = a100();
    let with = |dtype| match gemm(8192, 8192, 8192) {
        Kernel::Gemm { m, n, k, batch, output, layout, accumulate, .. } => {
            Kernel::Gemm { m, n, k, batch, dtype, output, layout, accumulate }
        }
        other => other,
    };
    close(time_us(&gpu, &with(DType::Fp32)), time_us(&gpu, &with(DType::Tf32)));
    gpu.peak_fp8 = Some(gpu.peak_fp16 * 2.0);
    let ratio = time_us(&gpu, &with(DType::Bf16)) / time_us(&gpu, &with(DType::Fp8));
    assert!((1.8..2.0).contains(&ratio), "{ratio}");
    // Volta has neither tf32 nor bf16: the fp32 units do both.
    gpu.peak_tf32 = None;
    gpu.peak_bf16 = None;
    assert!(time_us(&gpu, &with(DType::Fp32)) > 1.0e12 / 19.5e12 * 1e6);
    assert!(time_us(&gpu, &with(DType::Bf16)) > 1.0e12 / 19.5e12 * 1e6);
}

#[test]
fn nothing_to_do_still_takes_the_floor() {
    for kernel in [gemm(0, 0, 0), pass_over(MemoryKernel::Copy, 0.0), gemm(0, 8, 8)] {
        let time = time_us(&a100(), &kernel);
        assert!((2.5..10.0).contains(&time), "{kernel:?}: {time}");
    }
    assert_eq!(smooth_maximum(0.0, 0.0), (0.0, 0.0));
}

#[test]
fn waves_are_softened_between_even_shares_and_whole_waves() {
    assert_eq!(waves(50.0, 100.0, 0.8), 1.0);
    assert_eq!(waves(150.0, 100.0, 0.0), 1.5);
    assert_eq!(waves(150.0, 100.0, 1.0), 2.0);
    assert_eq!(waves(150.0, 100.0, 0.5), 1.75);
}

const DTYPES: [DType; 9] = [
    DType::Fp32,
    DType::Tf32,
    DType::Fp16,
    DType::Bf16,
    DType::Fp8,
    DType::Fp8Rowwise,
    DType::Fp8Blockwise,
    DType::Mxfp8,
    DType::Nvfp4,
];
const FAMILIES: [AttentionFamily; 5] = [
    AttentionFamily::Unfused,
    AttentionFamily::Flash1,
    AttentionFamily::Flash2,
    AttentionFamily::Flash3,
    AttentionFamily::Cudnn,
];

/// A dimension from 1 to a million, small ones as likely as large.
fn dimension() -> impl Strategy<Value = u64> {
    (0.0..6.0f64).prop_map(|exponent| 10f64.powf(exponent) as u64)
}

/// A GPU of an architecture with every format, so that every dtype has its own peak.
fn any_gpu() -> impl Strategy<Value = Gpu> {
    let names =
        prop::sample::select(vec!["volta", "ampere", "ada", "hopper", "blackwell", "cdna3"]);
    (names, 0.2..1.2f64, 0.2..1.2f64, 1..300u64).prop_map(|(name, gemm, attention, sm_count)| {
        let mut gpu = a100();
        gpu.architecture = name.to_owned();
        gpu.gemm_fraction = gemm;
        gpu.attention_forward_fraction = attention;
        gpu.attention_backward_fraction = attention * 0.9;
        gpu.sm_count = sm_count;
        gpu.peak_fp8 = Some(gpu.peak_fp16 * 2.0);
        gpu.peak_fp4 = Some(gpu.peak_fp16 * 4.0);
        gpu
    })
}

fn any_gemm() -> impl Strategy<Value = Kernel> {
    let layout = prop::sample::select(vec![GemmLayout::Tn, GemmLayout::Nn, GemmLayout::Nt]);
    let dtypes = (prop::sample::select(&DTYPES[..]), prop::sample::select(&DTYPES[..4]));
    let sizes = (dimension(), dimension(), dimension(), dimension());
    (sizes, dtypes, layout, any::<bool>()).prop_map(
        |((m, n, k, batch), (dtype, output), layout, accumulate)| Kernel::Gemm {
            m,
            n,
            k,
            batch,
            dtype,
            output,
            layout,
            accumulate,
        },
    )
}

fn any_attention() -> impl Strategy<Value = Kernel> {
    // Batch and heads up to a thousand: the contract counts elements in 64 bits.
    let few = || 1..1000u64;
    let sizes = (few(), dimension(), dimension(), few(), few(), 1..1024u64);
    let family = prop::sample::select(&FAMILIES[..]);
    let pass = prop::sample::select(vec![Pass::Forward, Pass::Backward]);
    let dtype = prop::sample::select(&DTYPES[..5]);
    (sizes, family, pass, dtype, any::<bool>()).prop_map(
        |(
            (batch, query_length, key_length, heads, kv_heads, head_dim),
            family,
            pass,
            dtype,
            causal,
        )| {
            Kernel::Attention {
                family,
                pass,
                batch,
                query_length,
                key_length,
                heads,
                kv_heads,
                head_dim,
                causal,
                dtype,
            }
        },
    )
}

fn any_memory() -> impl Strategy<Value = Kernel> {
    (prop::sample::select(&MemoryKernel::ALL[..]), 0.0..1e12f64)
        .prop_map(|(kind, bytes)| pass_over(kind, bytes))
}

fn any_kernel() -> impl Strategy<Value = Kernel> {
    prop_oneof![any_gemm(), any_attention(), any_memory()]
}

/// Peak for the products of a kernel: fp32 runs as tf32.
fn peak(gpu: &Gpu, kernel: &Kernel) -> f64 {
    let dtype = match *kernel {
        Kernel::Gemm { dtype, .. } | Kernel::Attention { dtype, .. } => dtype,
        Kernel::Memory { .. } => DType::Fp32,
    };
    let dtype = if dtype == DType::Fp32 { DType::Tf32 } else { dtype };
    gpu.peak(dtype).map_or(f64::NAN, |rate| rate.value())
}

proptest! {
    #[test]
    fn no_kernel_beats_the_peaks_of_its_gpu(gpu in any_gpu(), kernel in any_kernel()) {
        let estimate = Roofline::new(&gpu, &stack()).estimate(&kernel);
        let time = estimate.time.value();
        prop_assert!(time.is_finite() && time >= gpu.kernel_floor.value());
        prop_assert!((0.0..=1.0).contains(&estimate.memory_share));
        prop_assert!(estimate.relative_error > 0.0);
        let least = kernel.flops().value() / peak(&gpu, &kernel);
        prop_assert!(time >= least * (1.0 - 1e-9), "{time} under {least} of arithmetic");
        let least = kernel.bytes() / gpu.memory_bandwidth;
        prop_assert!(time >= least.value() * (1.0 - 1e-9), "{time} under {least} of traffic");
    }

    #[test]
    fn doubling_a_rate_slows_no_kernel(
        gpu in any_gpu(),
        kernel in any_kernel(),
        bandwidth in 1..=2u64,
        compute in 1..=2u64,
    ) {
        let mut fast = gpu.clone();
        fast.memory_bandwidth = fast.memory_bandwidth * bandwidth as f64;
        let twice = compute as f64;
        fast.peak_fp32 = fast.peak_fp32 * twice;
        fast.peak_tf32 = fast.peak_tf32.map(|rate| rate * twice);
        fast.peak_fp16 = fast.peak_fp16 * twice;
        fast.peak_bf16 = fast.peak_bf16.map(|rate| rate * twice);
        fast.peak_fp8 = fast.peak_fp8.map(|rate| rate * twice);
        fast.peak_fp4 = fast.peak_fp4.map(|rate| rate * twice);
        prop_assert!(time_us(&fast, &kernel) <= time_us(&gpu, &kernel) * (1.0 + 1e-9));
    }

    #[test]
    fn more_of_a_dimension_is_hardly_ever_faster(m in 1..20_000u64, n in 8..20_000u64) {
        // Quantisation is kept, so twice the rows never take less; a split may change.
        let (once, twice) = (gemm(m, n, 4096), gemm(2 * m, n, 4096));
        prop_assert!(time_us(&a100(), &twice) >= time_us(&a100(), &once) * 0.999);
    }
}
