//! Attention learned from measured tables, judged on shapes that were not fitted. Skipped, and said
//! so, where the tables are absent.

use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use stepcast::calibrate::{CheckOptions, Checked, KINDS, Kind, LearnOptions, Table, residuals};
use stepcast::spec::{Fit, Residuals};

/// GPUs of the issue that asks for these limits.
const GPUS: [&str; 8] =
    ["A100-SXM", "H100-SXM", "H200-SXM", "B200-SXM", "GB200", "B300-SXM", "GB300", "L40S"];

/// One shape of this many is held out.
const HOLD_OUT: u64 = 4;

/// The folder of measured tables, beside the repository or one of the folders that it is in.
fn tables() -> Option<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .skip(1)
        .map(|folder| folder.join("shared/measurements/kernels"))
        .find(|folder| folder.is_dir())
}

/// FNV-1a with its bits mixed.
fn hash(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33
}

/// A table in two parts by its shapes: what is fitted, and what is held out.
fn split(path: &Path, columns: &[&str]) -> (Table, Table) {
    let mut text = String::new();
    let file = File::open(path).expect("the table opens");
    GzDecoder::new(file).read_to_string(&mut text).expect("the table unpacks");
    let mut lines = text.lines();
    let header = lines.next().expect("a header");
    let names: Vec<&str> = header.split(',').collect();
    let places: Vec<usize> = columns
        .iter()
        .map(|name| names.iter().position(|it| it == name).expect("column"))
        .collect();
    let (mut fitted, mut held_out) = (format!("{header}\n"), format!("{header}\n"));
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let key: Vec<&str> = places.iter().map(|place| fields[*place]).collect();
        let part =
            if hash(&key.join("|")).is_multiple_of(HOLD_OUT) { &mut held_out } else { &mut fitted };
        part.push_str(line);
        part.push('\n');
    }
    let read = |name, text: String| Table::read(name, text.as_bytes()).expect("CSV");
    (read("fitted", fitted), read("held out", held_out))
}

/// Learns a kind from one part of a table and predicts the other.
fn judge(kind: &str, file: &str) -> Option<Vec<Checked>> {
    let Some(folder) = tables() else {
        println!("SKIPPED: no ../shared/measurements/kernels, {kind} is not judged");
        return None;
    };
    let columns = ["batch", "seq", "heads", "kv_heads", "head_dim", "causal"];
    let (fitted, held_out) = split(&folder.join(file), &columns);
    let kind: &dyn Kind = *KINDS.iter().find(|it| it.name() == kind).expect("a kind");
    let hardware = crate::calibration::hardware();
    let learned =
        kind.learn(&[&fitted], &hardware, &LearnOptions::default(), &|_| ()).expect("learns");
    let mut fits: BTreeMap<String, Fit> = BTreeMap::new();
    for (gpu, model) in learned.models {
        let fit = fits.entry(gpu.clone()).or_default();
        fit.gpu = Some(gpu);
        fit.models.push(model);
    }
    let fits: Vec<Fit> = fits.into_values().collect();
    let (rows, _) =
        kind.check(&held_out, &hardware, &fits, &CheckOptions::default()).expect("checks");
    Some(rows)
}

fn of(rows: &[&Checked]) -> Residuals {
    residuals(&rows.iter().map(|row| (row.measured_us, row.predicted_us)).collect::<Vec<_>>())
}

#[test]
fn attention_forward_of_training_shapes_is_within_its_limits() {
    let Some(rows) = judge("attention", "attention_fwd.csv.gz") else { return };
    let (mut mape, mut p95) = (0.0, 0.0);
    for gpu in GPUS {
        let rows: Vec<&Checked> =
            rows.iter().filter(|row| row.gpu == gpu && row.is_training).collect();
        assert!(rows.len() > 300, "{gpu}: {} rows", rows.len());
        let found = of(&rows);
        println!("{gpu}: {found:?}");
        assert!(found.bias_time_weighted.abs() < 0.02, "{gpu}: {found:?}");
        let inside =
            rows.iter().filter(|row| row.log_error().abs() < 1.2816 * row.relative_error).count();
        let share = inside as f64 / rows.len() as f64;
        assert!((0.65..0.95).contains(&share), "{gpu}: 80 % intervals hold {share}");
        mape += found.mape / GPUS.len() as f64;
        p95 += found.p95_ape / GPUS.len() as f64;
    }
    println!("mean: MAPE {mape:.4}, P95 {p95:.4}");
    // The limit is 7.5 % and 18 %, the aim 4 % and 11 %.
    assert!(mape < 0.04 && p95 < 0.11, "MAPE {mape}, P95 {p95}");
}

#[test]
fn attention_backward_given_its_forward_is_within_its_limit() {
    let Some(rows) = judge("attention-backward", "attention_fwd_bwd.csv.gz") else { return };
    let rows: Vec<&Checked> = rows.iter().collect();
    let found = of(&rows);
    println!("{found:?}");
    assert!(rows.len() > 40, "{} rows", rows.len());
    // The limit is 9 %, the aim 6 %.
    assert!(found.mape < 0.06, "{found:?}");
}
