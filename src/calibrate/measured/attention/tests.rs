//! Parameters are found again in tables that were made from them, noise and outliers included.

use super::*;
use crate::calibrate::learn::learn;
use crate::cost::{Facts, Form};

/// Near H100 SXM: FLOP/us, bytes/us.
const FACTS: Facts =
    Facts { sm_count: 132.0, peak: 989e6, bandwidth: 3.35e6, cache_bytes: 50.0 * 1048576.0 };

/// Sequence of even numbers from 0 to 1 (Marsaglia's xorshift).
struct Even(u64);

impl Even {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A factor: 3 % of scatter, and one of fifty rows 1.4 to 3 times as long.
    fn disturbance(&mut self) -> f64 {
        // Twelve even numbers have the variance of one.
        let normal = (0..12).map(|_| self.next()).sum::<f64>() - 6.0;
        let outlier = if self.next() < 0.02 { 1.4 + 1.6 * self.next() } else { 1.0 };
        (0.03 * normal).exp() * outlier
    }
}

fn observation<S>(shape: S, time_us: f64) -> Observation<S> {
    Observation {
        line: 0,
        gpu: "H100-SXM".to_owned(),
        dtype: "bf16".to_owned(),
        case: "16-bit causal flash3 prefill".to_owned(),
        source: "made".to_owned(),
        operands: DType::Bf16,
        shape,
        time_us,
    }
}

fn forward_shapes() -> Vec<AttentionShape> {
    let mut shapes = Vec::new();
    for batch in [1.0, 2.0, 8.0, 32.0] {
        for length in [128.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16_384.0] {
            for (heads, kv_heads) in
                [(1.0, 1.0), (8.0, 2.0), (16.0, 16.0), (40.0, 8.0), (64.0, 8.0)]
            {
                for head_dim in [64.0, 128.0, 256.0] {
                    shapes.push(AttentionShape {
                        batch,
                        query_length: length,
                        key_length: length,
                        heads,
                        kv_heads,
                        head_dim,
                        causal: true,
                        cache_store: true,
                    });
                }
            }
        }
    }
    shapes
}

fn starts<F: Form>() -> Vec<f64> {
    F::PARAMETERS.iter().map(|parameter| parameter.start).collect()
}

/// Panics unless the parameters that `bounds` names are found within a factor of 1 + bound.
fn hold(found: &std::collections::BTreeMap<String, f64>, truth: &[(&str, f64, f64)]) {
    let wrong: Vec<String> = truth
        .iter()
        .filter(|(name, value, bound)| (found[*name] / value).ln().abs() > bound.ln_1p())
        .map(|(name, value, _)| format!("{name} is {}, was {value}", found[*name]))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("; "));
}

#[test]
fn forward_parameters_are_found_again_in_a_disturbed_table() {
    let truth = [9.0, 0.7, 380.0, 0.25, 0.6, 45.0, 0.3, 90.0, 0.3, 0.12, 6000.0, 0.9, 0.4];
    let mut even = Even(88_172_645_463_325_252);
    let rows: Vec<_> = forward_shapes()
        .into_iter()
        .map(|shape| {
            let time_us = AttentionForward::time_us(&truth, &FACTS, &shape);
            observation(shape, time_us * even.disturbance())
        })
        .collect();
    let rows: Vec<_> = rows.iter().collect();
    let model = learn::<AttentionForward>(&rows, &FACTS, &starts::<AttentionForward>(), false);
    // Those that decide the time of training shapes, in fractions of their value.
    hold(
        &model.parameters,
        &[
            ("launch_us", 9.0, 0.05),
            ("efficiency", 0.7, 0.03),
            ("overhead_keys", 380.0, 0.12),
            ("last_wave", 0.25, 0.4),
            ("width_overhead", 45.0, 0.15),
            ("store_bandwidth", 0.9, 0.1),
            ("throttle", 0.12, 0.4),
        ],
    );
    let held_out = &model.residuals["held_out"];
    // Scatter of 3 % has a median of 2 %.
    assert!(held_out.median_ape < 0.03, "{held_out:?}");
    let wrong: Vec<_> = forward_shapes()
        .into_iter()
        .filter(|shape| shape.query_length >= 1024.0)
        .map(|shape| {
            let learned = crate::cost::Learned::<AttentionForward>::new(&model, FACTS)
                .expect("a model of this version")
                .predict(&shape);
            (learned.time_us / AttentionForward::time_us(&truth, &FACTS, &shape)).ln().abs()
        })
        .collect();
    let mean = wrong.iter().sum::<f64>() / wrong.len() as f64;
    assert!(mean < 0.02, "times without their disturbance are {mean} off in the mean");
}

#[test]
fn backward_parameters_are_found_again_in_a_disturbed_table() {
    let truth = [7.0, 0.55, 300.0, 0.2, 40.0, 0.5, 0.4];
    let mut even = Even(362_436_069_123_456_789);
    let rows: Vec<_> = forward_shapes()
        .into_iter()
        .filter(|shape| shape.query_length >= 512.0)
        .map(|forward| {
            let values = starts::<AttentionForward>();
            // What another machine and software make of the forward.
            let forward_us =
                AttentionForward::time_us(&values, &FACTS, &forward) * (0.8 + 0.5 * even.next());
            let shape = AttentionBackwardShape {
                batch: forward.batch,
                query_length: forward.query_length,
                key_length: forward.key_length,
                heads: forward.heads,
                kv_heads: forward.kv_heads,
                head_dim: forward.head_dim,
                value_head_dim: forward.head_dim,
                causal: true,
                deterministic: false,
                forward_us,
            };
            let time_us = AttentionBackward::time_us(&truth, &FACTS, &shape);
            observation(shape, time_us * even.disturbance())
        })
        .collect();
    let rows: Vec<_> = rows.iter().collect();
    let model = learn::<AttentionBackward>(&rows, &FACTS, &starts::<AttentionBackward>(), false);
    hold(
        &model.parameters,
        &[
            ("launch_us", 7.0, 0.25),
            ("efficiency", 0.55, 0.06),
            ("overhead_queries", 300.0, 0.25),
            ("width_overhead", 40.0, 0.3),
            ("wide_loss", 0.5, 0.3),
            ("forward_share", 0.4, 0.12),
        ],
    );
    assert!(model.residuals["held_out"].median_ape < 0.03);
}

fn read<F: Measured>(text: &str) -> Vec<Result<Vec<Observation<F::Shape>>, Fault>> {
    let table = Table::read("made.csv", text.as_bytes()).expect("CSV");
    assert!(F::recognises(&table));
    table.rows().map(|row| F::observe(&row, "GPU")).collect()
}

#[test]
fn a_forward_row_says_its_case_and_whether_it_wrote_a_cache() {
    let rows = read::<AttentionForward>(
        "gpu,dtype,batch,seq,heads,kv_heads,head_dim,causal,time_us,source\n\
         H100-SXM,bf16,2,8192,16,4,128,1,966,aic:sglang-0.5.14:FA3\n\
         H100-SXM,bf16,2,8192,16,16,72,0,966,aic:vllm-0.24.0:vllm_vit_flash_attn_fa3\n\
         GB200,fp16,2,8192,16,16,72,0,966,aic:sglang-0.5.14:flash_attention_v4\n\
         H100-SXM,bf16,2,8192,16,4,128,1,873,Dao-AILab/flash-attention#1791\n",
    );
    let seen: Vec<_> = rows
        .into_iter()
        .map(|row| row.expect("a sound row").remove(0))
        .map(|row| (row.case, row.shape.cache_store))
        .collect();
    let wanted = [
        ("16-bit causal flash3 prefill", true),
        ("16-bit full flash3", false),
        ("16-bit full flash4", false),
        ("16-bit causal other", false),
    ];
    assert_eq!(seen, wanted.map(|(case, store)| (case.to_owned(), store)));
}

#[test]
fn a_backward_row_without_forward_takes_that_of_its_sizes_or_is_told() {
    let rows = read::<AttentionBackward>(
        "gpu,dtype,batch,seq,heads,kv_heads,head_dim,v_head_dim,causal,fwd_us,bwd_us,note\n\
         MI300X,bf16,1,1024,32,8,128,128,0,50.8,124.8,asm fwd; bwd a16 (bf16 atomics)\n\
         MI300X,bf16,1,1024,32,8,128,128,0,,136.9,bwd a32 (fp32 atomics)\n\
         MI300X,bf16,1,2048,32,8,128,128,0,,300,bwd a32 (fp32 atomics)\n\
         MI300X,bf16,1,2048,32,8,192,128,0,80,,asm\n",
    );
    let case = |row: &Result<Vec<Observation<AttentionBackwardShape>>, Fault>| {
        row.clone().map(|seen| {
            seen.into_iter().map(|it| (it.case, it.shape.forward_us)).collect::<Vec<_>>()
        })
    };
    assert_eq!(case(&rows[0]), Ok(vec![("16-bit asm".to_owned(), 50.8)]));
    assert_eq!(case(&rows[1]), Ok(vec![("16-bit asm fp32-atomics".to_owned(), 50.8)]));
    let fault = case(&rows[2]).expect_err("no forward");
    assert!(fault.to_string().starts_with("made.csv:4: no row of the same sizes"), "{fault}");
    assert_eq!(case(&rows[3]), Ok(Vec::new()));
}

#[test]
fn malformed_rows_are_told_with_their_line() {
    let header = "gpu,dtype,batch,seq,heads,kv_heads,head_dim,causal,time_us\n";
    for (row, why) in [
        ("H100-SXM,int8,2,8192,16,4,128,1,966", "dtype is \"int8\""),
        ("H100-SXM,bf16,2,8192,16,4,128,yes,966", "causal is \"yes\""),
        ("H100-SXM,bf16,2,0,16,4,128,1,966", "seq is 0"),
        ("H100-SXM,bf16,2,8192,16,4,128,1,-3", "time_us is -3"),
        ("H100-SXM,bf16,2,8192,16,4,128,1,NaN", "time_us is \"NaN\""),
    ] {
        let rows = read::<AttentionForward>(&format!("{header}{row}\n"));
        let fault = rows[0].as_ref().expect_err("a fault").to_string();
        assert!(fault.starts_with("made.csv:2: ") && fault.contains(why), "{fault}");
    }
}
