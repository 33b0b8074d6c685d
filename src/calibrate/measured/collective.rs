//! Tables of collectives, as nccl-tests counts bytes.

use super::{Measured, Observation, fingerprint};
use crate::calibrate::boost::Growth;
use crate::calibrate::table::{Fault, Row, Table};
use crate::cost::{CollectiveForm, CollectiveShape, Fabric};
use crate::work::{CollectiveKind, DType};

/// Sources that measure in a way of their own (in a CUDA graph, with an old NCCL, a process a rank)
/// on machines of their own: each is a case, which leans on that of all others.
const OWN_WAYS: &[&str] = &["vidur", "vtrain", "stas00", "Azure", "awslabs", "NVIDIA"];

/// From this size on messages are of the size that training moves.
const TRAINING_BYTES: f64 = 16.0 * 1024.0 * 1024.0;

/// Generations of links by what a GPU's name contains; the first that fits.
const FABRICS: &[(&str, Fabric)] = &[
    ("V100", Fabric::NvLink2),
    ("A100", Fabric::NvLink3),
    ("A800", Fabric::NvLink3),
    ("H100", Fabric::NvLink4),
    ("H200", Fabric::NvLink4),
    ("H800", Fabric::NvLink4),
    ("H20", Fabric::NvLink4),
    ("B200", Fabric::NvLink5),
    ("B300", Fabric::NvLink5),
];

/// A row of a table of collectives.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::calibrate) struct CollectiveRow {
    /// The operation.
    pub(in crate::calibrate) kind: CollectiveKind,
    /// Ranks.
    pub(in crate::calibrate) gpus: u64,
    /// Ranks on a node; all where the table does not say.
    pub(in crate::calibrate) gpus_per_node: u64,
    /// As nccl-tests counts them.
    pub(in crate::calibrate) bytes: f64,
    /// Bytes of an element.
    pub(in crate::calibrate) element_bytes: f64,
    /// The number format as the table calls it.
    pub(in crate::calibrate) dtype: String,
    /// What the ranks talk over, as the table calls it; empty where it does not say.
    pub(in crate::calibrate) network: String,
}

impl CollectiveRow {
    /// Reads a row.
    pub(in crate::calibrate) fn read(row: &Row<'_>) -> Result<Self, Fault> {
        let kind = match row.wanted("op")? {
            "all_reduce" => CollectiveKind::AllReduce,
            "all_gather" => CollectiveKind::AllGather,
            "reduce_scatter" => CollectiveKind::ReduceScatter,
            "all_to_all" | "alltoall" => CollectiveKind::AllToAll,
            "send_recv" | "sendrecv" => CollectiveKind::SendReceive,
            other => {
                return Err(row.fault(format!(
                    "op is {other:?}; must be all_reduce, all_gather, reduce_scatter, all_to_all \
                     or send_recv"
                )));
            }
        };
        let gpus = row.count("gpus")? as u64;
        if gpus < 2 {
            return Err(row.fault(format!("gpus is {gpus}; a collective has two or more")));
        }
        let dtype = row.text("dtype").unwrap_or("fp16");
        let element_bytes = match dtype {
            "int8" | "uint8" | "fp8" => 1.0,
            "fp16" | "half" | "bf16" | "bfloat16" => 2.0,
            "fp32" | "float" | "int32" => 4.0,
            "fp64" | "double" | "int64" => 8.0,
            other => {
                return Err(row.fault(format!(
                    "dtype is {other:?}; must be int8, fp8, fp16, bf16, fp32, int32, fp64 or int64"
                )));
            }
        };
        let per_node = row.text("gpus_per_node").map(|_| row.count("gpus_per_node")).transpose()?;
        Ok(Self {
            kind,
            gpus,
            gpus_per_node: per_node.map_or(gpus, |count| count as u64).max(1),
            bytes: row.count("bytes")?,
            element_bytes,
            dtype: dtype.to_owned(),
            network: row.text("network").unwrap_or_default().to_owned(),
        })
    }

    /// What the ranks are linked by if they are on one node; `None` if they talk over a network.
    pub(in crate::calibrate) fn fabric(&self, gpu: &str) -> Option<Fabric> {
        let by_gpu = FABRICS.iter().find(|(name, _)| gpu.to_uppercase().contains(name));
        let fabric = by_gpu.map_or(Fabric::Pcie, |(_, fabric)| *fabric);
        match self.network.to_lowercase().as_str() {
            "" => (self.gpus <= self.gpus_per_node).then_some(fabric),
            "nvlink" => Some(fabric),
            "nvlink2" => Some(Fabric::NvLink2),
            "nvlink3" => Some(Fabric::NvLink3),
            "nvlink4" => Some(Fabric::NvLink4),
            "nvlink5" => Some(Fabric::NvLink5),
            "pcie" => Some(Fabric::Pcie),
            _ => None,
        }
    }
}

/// Whether training moves messages of a size.
pub(in crate::calibrate) fn is_of_training(bytes: f64) -> bool {
    bytes >= TRAINING_BYTES
}

/// The case of a row: its operation, and the source where that measures in a way of its own. Sends
/// are measured by one source only.
fn case(kind: CollectiveKind, source: &str) -> String {
    let own = OWN_WAYS.iter().find(|name| source.starts_with(**name));
    match own.filter(|_| kind != CollectiveKind::SendReceive) {
        Some(name) => format!("{}, {name}", kind.name()),
        None => kind.name().to_owned(),
    }
}

impl Measured for CollectiveForm {
    const COLUMNS: &'static [&'static str] = &["op", "gpus", "bytes", "time_us"];

    /// Rows of a network are another's: rates of a node say nothing of them.
    fn observe(row: &Row<'_>, gpu: &str) -> Result<Vec<Observation<CollectiveShape>>, Fault> {
        let read = CollectiveRow::read(row)?;
        let time_us = row.time_us("time_us")?;
        let Some(fabric) = read.fabric(gpu) else { return Ok(Vec::new()) };
        let source = row.text("source").unwrap_or("unnamed");
        let shape = CollectiveShape {
            kind: read.kind,
            ranks: read.gpus as f64,
            bytes: read.bytes,
            element_bytes: read.element_bytes,
            fabric,
            in_switch: matches!(fabric, Fabric::NvLink4 | Fabric::NvLink5),
        };
        Ok(vec![Observation {
            line: row.line,
            gpu: gpu.to_owned(),
            dtype: read.dtype,
            case: case(read.kind, source),
            source: source.to_owned(),
            operands: DType::Fp16,
            shape,
            time_us,
        }])
    }

    fn recognises(table: &Table) -> bool {
        Self::COLUMNS.iter().all(|column| table.has(column))
    }

    fn is_training(shape: &CollectiveShape) -> bool {
        is_of_training(shape.bytes)
    }

    fn stand_ins(case: &str) -> Vec<String> {
        case.split_once(", ").map(|(operation, _)| operation.to_owned()).into_iter().collect()
    }

    fn growth(rows: usize) -> Growth {
        match rows {
            0..40 => Growth { trees: 0, depth: 0, rate: 0.0, ridge: 1.0, clip: 0.3 },
            _ => Growth { trees: 60, depth: 4, rate: 0.15, ridge: 1.5, clip: 0.3 },
        }
    }

    /// Formats are held out together: they differ by little.
    fn split_key(shape: &CollectiveShape) -> u64 {
        fingerprint(&format!("{}|{}|{}", shape.kind.name(), shape.ranks, shape.bytes))
    }
}
