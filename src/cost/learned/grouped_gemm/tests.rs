//! Tests of the form of grouped products.

use super::*;
use crate::cost::learned::form::Facts;
use crate::work::DType;
use proptest::prelude::*;

/// Of an H100 SXM in bf16, about.
const FACTS: Facts = Facts { sm_count: 132.0, peak: 989e6, bandwidth: 3.35e6, cache_bytes: 5.2e7 };

const COUNT: usize = GroupedGemmForm::PARAMETERS.len();

fn starts() -> Vec<f64> {
    GroupedGemmForm::PARAMETERS.iter().map(|parameter| parameter.start).collect()
}

/// Values between the bounds of the parameters, each from a share of its span.
fn values(shares: &[f64]) -> Vec<f64> {
    GroupedGemmForm::PARAMETERS
        .iter()
        .zip(shares)
        .map(|(parameter, share)| parameter.low * (parameter.high / parameter.low).powf(*share))
        .collect()
}

fn layer(tokens: f64, hidden: f64, inter: f64, ranks: f64) -> GroupedShape {
    let (topk, experts) = (8.0, 256.0);
    let layer = ExpertLayer {
        tokens,
        topk,
        experts,
        local_experts: experts / ranks,
        hidden,
        inter,
        gated: true,
    };
    GroupedShape {
        load: ExpertLoad::balanced(tokens * topk / ranks, experts / ranks),
        work: GroupedWork::Layer(layer),
        operand_bytes: 1.0,
    }
}

fn kernel(m: u64, n: u64, k: u64, batch: u64, layout: GemmLayout) -> Kernel {
    let dtype = DType::Bf16;
    Kernel::Gemm { m, n, k, batch, dtype, output: dtype, layout, accumulate: false }
}

fn product(load: ExpertLoad, n: f64, k: f64, layout: GemmLayout) -> GroupedShape {
    let work = GroupedWork::Product { n, k, layout, result_bytes: 2.0 };
    GroupedShape { load, work, operand_bytes: 2.0 }
}

/// 64 groups of 1,024 rows, n = k = 4,096: 8 x 32 tiles of 128 x 128 a group are 16,384 tiles,
/// 124.1 waves, 124.65 as 0.6 of the started one is paid whole. A tile takes 2 x 128 x 128 x
/// (4,096 + 300) / (0.7 x 7.492 MFLOP/us) = 27.46 us, all 3,423 us. Memory: 64 weights of 33.6 MB,
/// each of 7 further tiles reads 0.1 x 33.6/(33.6 + 52) of them anew: 2.74 GB at 0.8 x 3.35 TB/s,
/// 1,021 us; rows 65,536 x 16 KiB = 1.07 GB at 0.6: 534 us. Together (3,423^4 + 1,555^4)^(1/4) =
/// 3,459 us, launch 20 us and groups 64 x 0.05 us: 3,482 us.
#[test]
fn a_product_is_its_waves_of_tiles() {
    let shape = product(ExpertLoad::balanced(65_536.0, 64.0), 4096.0, 4096.0, GemmLayout::Tn);
    let time = GroupedGemmForm::time_us(&starts(), &FACTS, &shape);
    assert!((time - 3482.0).abs() < 6.0, "{time}");
}

/// Forward is `y[rows, n] = x[rows, k] w[n, k]^T`; of m, n, k of a kernel the rows are m, m and k.
#[test]
fn rows_and_weights_of_a_kernel_are_found_in_every_pass() {
    let forward = GroupedShape::of(&kernel(512, 2048, 4096, 8, GemmLayout::Tn)).unwrap();
    let dgrad = GroupedShape::of(&kernel(512, 4096, 2048, 8, GemmLayout::Nn)).unwrap();
    let wgrad = GroupedShape::of(&kernel(2048, 4096, 512, 8, GemmLayout::Nt)).unwrap();
    for shape in [forward, dgrad, wgrad] {
        assert_eq!(shape.load, ExpertLoad::balanced(4096.0, 8.0));
        let GroupedWork::Product { n, k, .. } = shape.work else { panic!("a product") };
        assert_eq!((n, k), (2048.0, 4096.0));
    }
}

#[test]
fn only_batched_products_are_grouped() {
    assert_eq!(GroupedShape::of(&kernel(512, 512, 512, 1, GemmLayout::Tn)), None);
    let copy = Kernel::Memory {
        kind: crate::work::MemoryKernel::Copy,
        read: crate::units::Bytes::new(1e6),
        write: crate::units::Bytes::new(1e6),
    };
    assert_eq!(GroupedShape::of(&copy), None);
}

/// The rows of the busiest rank are more than the mean.
#[test]
fn a_skewed_layer_takes_longer_than_a_balanced_one() {
    let balanced = layer(8192.0, 7168.0, 2048.0, 16.0);
    let load = ExpertLoad::power_law(1.2, 8192.0, 8.0, 256.0, 16.0);
    let skewed = GroupedShape { load, ..balanced };
    let time = |shape| GroupedGemmForm::time_us(&starts(), &FACTS, shape);
    assert!(time(&skewed) > 1.5 * time(&balanced), "{} {}", time(&skewed), time(&balanced));
}

proptest! {
    #[test]
    fn arithmetic_is_that_of_the_kernel(
        m in 1_u64..10_000, n in 1_u64..1_250, k in 1_u64..1_250, batch in 2_u64..300,
        layout in prop::sample::select(vec![GemmLayout::Tn, GemmLayout::Nn, GemmLayout::Nt]),
    ) {
        // Rows of 16 bytes: others are not answered for.
        let kernel = kernel(m, 8 * n, 8 * k, batch, layout);
        let shape = GroupedShape::of(&kernel).unwrap();
        prop_assert!((shape.flops() / kernel.flops().value() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn times_and_features_are_finite_and_times_positive(
        shares in prop::collection::vec(0.0..=1.0_f64, COUNT),
        rows in 0.0..24.0_f64, groups in 0.0..10.0_f64, n in 0.0..17.0_f64, k in 0.0..17.0_f64,
        tokens in 0.0..18.0_f64,
        layout in prop::sample::select(vec![GemmLayout::Tn, GemmLayout::Nn, GemmLayout::Nt]),
    ) {
        let values = values(&shares);
        let load = ExpertLoad::balanced(rows.exp2().floor(), groups.exp2().floor());
        let (n, k, tokens) = (n.exp2().floor(), k.exp2().floor(), tokens.exp2().floor());
        for shape in [product(load, n, k, layout), layer(tokens, n, k, 8.0)] {
            let time = GroupedGemmForm::time_us(&values, &FACTS, &shape);
            prop_assert!(time.is_finite() && time > 0.0, "{time}");
            let features = GroupedGemmForm::features(&values, &FACTS, &shape, time);
            prop_assert!(features.iter().all(|feature| feature.is_finite()), "{features:?}");
        }
    }

    #[test]
    fn more_tokens_never_take_less(
        shares in prop::collection::vec(0.0..=1.0_f64, COUNT),
        tokens in 5.0..17.0_f64, more in 1.0..8.0_f64, hidden in 9.0..14.0_f64,
    ) {
        let values = values(&shares);
        let (tokens, hidden) = (tokens.exp2().floor(), hidden.exp2().floor());
        let time = |tokens| {
            GroupedGemmForm::time_us(&values, &FACTS, &layer(tokens, hidden, 1024.0, 8.0))
        };
        prop_assert!(time((tokens * more).floor()) >= time(tokens) * (1.0 - 1e-9));
    }
}
