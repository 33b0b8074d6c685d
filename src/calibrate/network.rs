//! Measured collectives across nodes: each row against the algorithms on the machine that it names.
//!
//! Nothing is learned here: a table says by GPU and network which shipped cluster was measured, and
//! the algorithms price the operation on it.

use std::collections::BTreeMap;

use super::accuracy::Checked;
use super::hardware::Hardware;
use super::kind::{CheckOptions, Kind, LearnOptions, Learned, Of, Progress};
use super::measured::CollectiveRow;
use super::table::{Fault, Row, Table};
use crate::cost::{CollectiveCost, CollectiveForm};
use crate::spec::{self, Cluster, DataSources, Fit, load_part};
use crate::topology::{Placement, Topology};
use crate::units::{Bytes, BytesPerSecond};
use crate::work::Collective;

/// Collectives: learned within a node, by the algorithms across nodes.
pub(super) struct Collectives;

/// GPUs by what a table's name contains, the shipped cluster that such GPUs stand in, and that with
/// EFA; the first that fits.
const CLUSTERS: &[(&str, &str, &str)] = &[
    ("GB200", "gb200-nvl72", "gb200-nvl72"),
    ("GB300", "gb200-nvl72", "gb200-nvl72"),
    ("V100", "dgx-v100", "dgx-v100"),
    ("A100", "dgx-a100-hdr", "aws-p4d"),
    ("A800", "dgx-a100-hdr", "aws-p4d"),
    ("H100", "dgx-h100-ndr", "aws-p5"),
    ("H200", "dgx-h100-ndr", "aws-p5"),
    ("H800", "dgx-h100-ndr", "aws-p5"),
    ("H20", "dgx-h100-ndr", "aws-p5"),
    ("B200", "dgx-b200-ndr", "aws-p6-b200"),
    ("B300", "dgx-b200-ndr", "aws-p6-b200"),
    ("MI3", "mi300x-node", "mi300x-node"),
    ("L40S", "pcie-node", "pcie-node"),
];

impl Kind for Collectives {
    fn name(&self) -> &'static str {
        WITHIN.name()
    }

    fn recognises(&self, table: &Table) -> bool {
        WITHIN.recognises(table)
    }

    fn columns(&self) -> &'static [&'static str] {
        WITHIN.columns()
    }

    fn learn(
        &self,
        tables: &[&Table],
        hardware: &Hardware,
        options: &LearnOptions,
        progress: &Progress<'_>,
    ) -> Result<Learned, Fault> {
        WITHIN.learn(tables, hardware, options, progress)
    }

    fn check(
        &self,
        table: &Table,
        hardware: &Hardware,
        fits: &[Fit],
        options: &CheckOptions,
    ) -> Result<(Vec<Checked>, Vec<Fault>), Fault> {
        // A table may hold nothing but networks.
        let within = WITHIN.check(table, hardware, fits, options);
        let (mut checked, mut faults) =
            within.as_ref().map_or_else(|_| Default::default(), Clone::clone);
        let mut machines = Machines::default();
        for row in table.rows() {
            let Some(gpu) = gpu_of(&row, hardware, options) else { continue };
            match across(&row, gpu, &mut machines) {
                Ok(found) => checked.extend(found),
                // What is wrong with a row in itself has been told.
                Err(fault) if faults.contains(&fault) => {}
                Err(fault) => faults.push(fault),
            }
        }
        if checked.is_empty() {
            return within;
        }
        checked.sort_by_key(|row| row.line);
        Ok((checked, faults))
    }
}

/// What happens within a node.
const WITHIN: Of<CollectiveForm> = Of::new();

/// Machines by name, changes included.
#[derive(Default)]
struct Machines {
    known: BTreeMap<String, CollectiveCost>,
}

/// The GPU of a row: its own, else that of the options; `None` for one that is not asked for.
fn gpu_of<'a>(row: &Row<'a>, hardware: &Hardware, options: &'a CheckOptions) -> Option<&'a str> {
    let file = |name| hardware.find(name).map(|found| found.0.to_owned());
    match (row.text("gpu"), options.gpu.as_deref()) {
        (Some(own), Some(only)) => (file(own) == file(only)).then_some(own),
        (own, only) => Some(own.or(only).unwrap_or_default()),
    }
}

/// Predicts a row that crosses nodes; nothing for one that does not.
fn across(row: &Row<'_>, gpu: &str, machines: &mut Machines) -> Result<Option<Checked>, Fault> {
    row.is_whole()?;
    let read = CollectiveRow::read(row)?;
    if read.fabric(gpu).is_some() {
        return Ok(None);
    }
    let time_us = row.time_us("time_us")?;
    let machine = Machine::of(gpu, &read).map_err(|why| row.fault(why))?;
    let cluster = machine.cluster().map_err(|why| row.fault(why))?;
    let per_node = read.gpus_per_node.min(cluster.gpus_per_node);
    let ranks =
        (0..read.gpus).map(|rank| rank / per_node * cluster.gpus_per_node + rank % per_node);
    let cost = machines
        .known
        .entry(format!("{machine:?}"))
        .or_insert_with(|| CollectiveCost::new(&Topology::new(&cluster)));
    let collective = Collective { kind: read.kind, bytes: Bytes::new(read.bytes) };
    let price = cost.price(&collective, &Placement::alone(ranks));
    Ok(Some(Checked {
        table: row.table.name.clone(),
        line: row.line,
        gpu: gpu.to_owned(),
        kind: WITHIN.name(),
        dtype: read.dtype.clone(),
        shape: format!(
            "{} of {} bytes on {} GPUs over {}",
            read.kind.name(),
            read.bytes,
            read.gpus,
            read.network
        ),
        measured_us: time_us,
        predicted_us: price.time.us(),
        relative_error: price.relative_error,
        answered_by: format!("{} on {}", price.algorithm, machine.file),
        is_training: super::measured::is_of_training(read.bytes),
    }))
}

/// A shipped cluster, and how that of a table differs.
#[derive(Clone, Debug, PartialEq)]
struct Machine {
    file: &'static str,
    nodes: u64,
    domain: Option<u64>,
    /// NICs of a node and Gbit/s of each.
    nics: Option<(u64, f64)>,
}

impl Machine {
    fn of(gpu: &str, read: &CollectiveRow) -> Result<Self, String> {
        let network = read.network.to_uppercase();
        let is = |one: &&(&str, &str, &str)| gpu.to_uppercase().contains(one.0);
        let Some((_, plain, efa)) = CLUSTERS.iter().find(is) else {
            return Err(format!(
                "no cluster is known for {gpu:?} over {:?}; GPUs with one: {}",
                read.network,
                CLUSTERS.iter().map(|one| one.0).collect::<Vec<_>>().join(", ")
            ));
        };
        let file = if network.contains("EFA") { *efa } else { *plain };
        let racked = file == "gb200-nvl72";
        // A row of a rack counts the GPUs of its NVLink domain.
        let domain = (racked && network.contains("NVL")).then_some(read.gpus_per_node);
        let per_node = if racked { read.gpus_per_node.min(4) } else { read.gpus_per_node };
        let nodes = read.gpus.div_ceil(per_node);
        // Nodes of A100 whose network is not named send at 7.8 GB/s at most (vidur@7d47513).
        let unnamed = (file == "dgx-a100-hdr" && network == "MULTI-NODE").then_some((4, 100.0));
        Ok(Self { file, nodes, domain, nics: nics(&network).or(unnamed) })
    }

    fn cluster(&self) -> Result<Cluster, String> {
        let sources = DataSources::shipped();
        let mut cluster: Cluster = load_part(&sources, spec::Kind::Cluster, self.file)
            .map_err(|problems| problems.to_string())?;
        cluster.node_count = self.nodes;
        if let Some(domain) = self.domain {
            cluster.scale_up_domain_size = Some(domain);
        }
        if let Some((count, gbit)) = self.nics {
            cluster.nics_per_node = count;
            cluster.nic_bandwidth = BytesPerSecond::new(gbit * 0.125e9);
        }
        Ok(cluster)
    }
}

/// NICs as tables write them: `4x200` is four of 200 Gbit/s.
fn nics(network: &str) -> Option<(u64, f64)> {
    let (before, after) = network.split_once('X')?;
    let digits = |text: &str| text.chars().all(|one| one.is_ascii_digit()) && !text.is_empty();
    let start = before.rfind(|one: char| !one.is_ascii_digit()).map_or(0, |at| at + 1);
    let end = after.find(|one: char| !one.is_ascii_digit()).unwrap_or(after.len());
    let (count, gbit) = (&before[start..], &after[..end]);
    (digits(count) && digits(gbit)).then(|| Some((count.parse().ok()?, gbit.parse().ok()?)))?
}

#[cfg(test)]
mod tests;
