//! Attention learned from measured tables, judged on shapes that were not fitted.

use crate::measured_tables::{HeldOut, errors, held_out, shared_table};

/// GPUs of the issue that asks for these limits.
const GPUS: [&str; 8] =
    ["A100-SXM", "H100-SXM", "H200-SXM", "B200-SXM", "GB200", "B300-SXM", "GB300", "L40S"];

/// What a shape is.
const SHAPE: [&str; 6] = ["batch", "seq", "heads", "kv_heads", "head_dim", "causal"];

/// Half of an 80 % interval of a normal error, in sigmas.
const SIGMAS: f64 = 1.2816;

#[test]
fn attention_forward_of_training_shapes_is_within_its_limits() {
    let Some(text) = shared_table("attention_fwd.csv.gz") else { return };
    let rows = held_out("attention", &text, &SHAPE);
    let (mut mape, mut p95) = (0.0, 0.0);
    for gpu in GPUS {
        let of_gpu = |row: &&HeldOut| row.checked.gpu == gpu && row.checked.is_training;
        let found = errors(gpu, rows.iter().filter(of_gpu));
        assert!(found.n > 300, "{gpu}: {} rows", found.n);
        assert!(found.bias_time_weighted.abs() < 0.02, "{gpu}: {found:?}");
        let inside = rows
            .iter()
            .filter(of_gpu)
            .filter(|row| row.checked.log_error().abs() < SIGMAS * row.checked.relative_error);
        let share = inside.count() as f64 / found.n as f64;
        assert!((0.65..0.95).contains(&share), "{gpu}: 80 % intervals hold {share}");
        mape += found.mape / GPUS.len() as f64;
        p95 += found.p95_ape / GPUS.len() as f64;
    }
    eprintln!("mean of eight GPUs: MAPE {:.2} %, P95 {:.1} %", 100.0 * mape, 100.0 * p95);
    // Rejected above 7.5 % and 18 %; the aim is 4 % and 11 %.
    assert!(mape < 0.04 && p95 < 0.11, "MAPE {mape}, P95 {p95}");
}

#[test]
fn attention_backward_given_its_forward_is_within_its_limit() {
    let Some(text) = shared_table("attention_fwd_bwd.csv.gz") else { return };
    // GPUs that their source does not name: `H100-unspecified`, `GB200/GB300`.
    let is_named = |line: &&str| {
        let gpu = line.split(',').next().unwrap_or_default();
        !gpu.contains("unspecified") && !gpu.contains('/')
    };
    let text: String = text.lines().filter(is_named).map(|line| format!("{line}\n")).collect();
    let found = errors("backward", held_out("attention-backward", &text, &SHAPE).iter());
    assert!(found.n > 40, "{} rows", found.n);
    // Rejected above 9 %; the aim is 6 %.
    assert!(found.mape < 0.06, "{found:?}");
}
