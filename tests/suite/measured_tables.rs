//! What tests of calibration share: tables that are measured or made, and what is learned of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use stepcast::calibrate::{CheckOptions, Checked, KINDS, Kind, LearnOptions, Table, residuals};
use stepcast::spec::{Fit, LearnedModel, Residuals};

use crate::calibration::hardware;

/// Text of a measured table that does not ship; `None`, said aloud, where it is not there.
pub(crate) fn shared_table(name: &str) -> Option<String> {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().skip(1).take(2);
    let mut paths = folders.map(|folder| folder.join("shared/measurements/kernels").join(name));
    let Some(path) = paths.find(|path| path.is_file()) else {
        eprintln!("SKIPPED: no ../shared/measurements/kernels/{name}; nothing is held to it");
        return None;
    };
    let mut text = String::new();
    let file = fs::File::open(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    Some(text)
}

/// A kind of cost by its name.
pub(crate) fn kind(name: &str) -> &'static dyn Kind {
    *KINDS.iter().find(|kind| kind.name() == name).unwrap_or_else(|| panic!("no kind {name}"))
}

/// Learns from the text of a table.
pub(crate) fn learn(name: &str, text: &str) -> Vec<(String, LearnedModel)> {
    let table = Table::read("table.csv", text.as_bytes()).unwrap();
    let learned =
        kind(name).learn(&[&table], &hardware(), &LearnOptions::default(), &|_| {}).unwrap();
    assert!(learned.faults.is_empty(), "{}", learned.faults[0]);
    learned.models
}

/// A row that was not learned from, with what was predicted for it.
pub(crate) struct HeldOut {
    /// Fields of the row by column.
    pub(crate) row: BTreeMap<String, String>,
    /// Measured and predicted.
    pub(crate) checked: Checked,
}

impl HeldOut {
    /// A field.
    pub(crate) fn text(&self, column: &str) -> &str {
        &self.row[column]
    }

    /// A field as a number.
    pub(crate) fn number(&self, column: &str) -> f64 {
        self.text(column).parse().unwrap()
    }
}

/// Learns from three quarters of the shapes of a table, the same of every GPU, and predicts the
/// others. A shape is what some columns say.
pub(crate) fn held_out(name: &str, text: &str, shape: &[&str]) -> Vec<HeldOut> {
    held_out_fold(name, text, shape, 0)
}

/// As [`held_out`], with another quarter for each of the folds 0 to 3.
pub(crate) fn held_out_fold(name: &str, text: &str, shape: &[&str], fold: u64) -> Vec<HeldOut> {
    let (header, rows) = text.split_once('\n').unwrap();
    let columns: Vec<&str> = header.split(',').collect();
    let places: Vec<usize> = shape
        .iter()
        .map(|column| columns.iter().position(|name| name == column).expect("the column is there"))
        .collect();
    let is_held_out = |row: &&str| {
        let fields: Vec<&str> = row.split(',').collect();
        places.iter().fold(7_u64, |hash, place| {
            fields[*place].bytes().fold(hash ^ 0x9e37, |hash, byte| {
                (hash.rotate_left(7) ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            })
        }) >> 62
            == fold
    };
    let (judged, learned): (Vec<&str>, Vec<&str>) = rows.lines().partition(is_held_out);
    let fits: Vec<Fit> = learn(name, &format!("{header}\n{}\n", learned.join("\n")))
        .into_iter()
        .map(|(gpu, model)| Fit { gpu: Some(gpu), models: vec![model], ..Fit::default() })
        .collect();
    let text = format!("{header}\n{}\n", judged.join("\n"));
    let table = Table::read("judged.csv", text.as_bytes()).unwrap();
    let (checked, faults) =
        kind(name).check(&table, &hardware(), &fits, &CheckOptions::default()).unwrap();
    assert!(faults.is_empty(), "{}", faults[0]);
    let row = |checked: Checked| {
        // Line 1 is the header.
        let fields = judged[checked.line as usize - 2].split(',').map(str::to_owned);
        let row = columns.iter().map(|name| (*name).to_owned()).zip(fields).collect();
        HeldOut { row, checked }
    };
    checked.into_iter().map(row).collect()
}

/// Errors of rows, also said aloud.
pub(crate) fn errors<'a>(what: &str, rows: impl Iterator<Item = &'a HeldOut>) -> Residuals {
    let pairs: Vec<(f64, f64)> =
        rows.map(|row| (row.checked.measured_us, row.checked.predicted_us)).collect();
    let found = residuals(&pairs);
    let percent = |fraction: f64| 100.0 * fraction;
    eprintln!(
        "{what}: {} rows, MAPE {:.2} %, median {:.2} %, P95 {:.1} %, bias {:+.1} %",
        found.n,
        percent(found.mape),
        percent(found.median_ape),
        percent(found.p95_ape),
        percent(found.bias_time_weighted)
    );
    assert!(found.n > 0, "{what}: no rows");
    found
}

/// Multiplies times with what a machine adds: noise of some per cent either way, and for two rows
/// in a hundred a factor of 3. The same every time.
pub(crate) fn disturbed(times: &[f64], noise: f64) -> Vec<f64> {
    let disturb = |(index, time): (usize, &f64)| {
        let mixed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let share = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
        let outlier = if index % 50 == 17 { 3.0 } else { 1.0 };
        time * (1.0 + noise * (2.0 * share - 1.0)) * outlier
    };
    times.iter().enumerate().map(disturb).collect()
}
