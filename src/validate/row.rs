//! Tables of measured runs, one row a run.

use std::collections::BTreeMap;

use super::entry::{Entry, Measured, MemoryKind};
use super::scenario::{Described, Habits};
use super::stand_in::{cluster_for, stack_for};
use crate::calibrate::{Fault, Hardware, Row, Table};
use crate::spec::{DataSources, Gpu, Kind, Problems, Stack, load_part};
use crate::units::{Bytes, Seconds};

/// Columns without which a table is not one of runs.
const COLUMNS: [&str; 9] =
    ["id", "family", "stack", "layers", "hidden", "gpu", "gpus", "global_batch", "step_time_s"];

/// Names that stand in place of those of the rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// The stack of all rows.
    pub stack: Option<String>,
    /// The cluster of all rows.
    pub cluster: Option<String>,
    /// Whether rows that name another stack or cluster are left out, in a table where some name
    /// the assigned one.
    pub selects: bool,
}

impl Assignment {
    /// Whether a row of a table is one of those meant.
    fn means(&self, table: &Table, row: &Row<'_>) -> bool {
        let agrees = |column: &str, assigned: &Option<String>| {
            let assigned = assigned.as_deref();
            row.text(column) == assigned
                || !table.rows().any(|other| other.text(column) == assigned)
        };
        !self.selects || (agrees("stack", &self.stack) && agrees("cluster", &self.cluster))
    }
}

/// The runs of a table. A row that cannot be read stays, with the reason.
///
/// # Errors
/// When the table has not the columns of runs, or a GPU file cannot be read.
pub fn read_runs(
    sources: &DataSources,
    table: &Table,
    assignment: &Assignment,
) -> Result<Vec<Entry>, Problems> {
    for column in COLUMNS {
        if !table.has(column) {
            let fault = table.fault(format!("there is no column `{column}`"));
            let problem = crate::spec::Problem::new("", fault.to_string());
            let wanted = COLUMNS.join(", ");
            return Err(problem.hint(format!("tables of runs have at least {wanted}")).into());
        }
    }
    let mut reader = Reader::new(sources, assignment)?;
    let rows = table.rows().filter(|row| assignment.means(table, row));
    Ok(rows.map(|row| reader.entry(&row)).collect())
}

struct Reader<'a> {
    sources: &'a DataSources,
    assignment: &'a Assignment,
    hardware: Hardware,
    stacks: BTreeMap<String, Option<String>>,
    /// Whether a stack spreads layers over stages itself.
    habits: BTreeMap<String, Habits>,
    clusters: BTreeMap<(String, String), Option<String>>,
}

impl<'a> Reader<'a> {
    fn new(sources: &'a DataSources, assignment: &'a Assignment) -> Result<Self, Problems> {
        let load = |name: String| {
            let gpu = load_part::<Gpu>(sources, Kind::Gpu, &name)?;
            Ok::<_, Problems>((name, gpu))
        };
        let gpus = sources.names(Kind::Gpu).into_iter().map(load);
        let hardware = Hardware::new(gpus.collect::<Result<_, _>>()?);
        Ok(Self {
            sources,
            assignment,
            hardware,
            stacks: BTreeMap::new(),
            habits: BTreeMap::new(),
            clusters: BTreeMap::new(),
        })
    }

    fn entry(&mut self, row: &Row<'_>) -> Entry {
        let text = |column: &str| row.text(column).unwrap_or_default().to_owned();
        let line = format!("{}:{}", row.table.name, row.line);
        let id = row.text("id").map_or(line, str::to_owned);
        let mut assumed = Vec::new();
        let measured = measured(row);
        let scenario = measured
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|_| self.scenario(row, &mut assumed))
            .map_err(|fault| fault.message);
        // A row without a time stays, with its reason and no time.
        let nothing = Measured { step_time: Seconds::ZERO, peak_memory: None };
        Entry {
            id,
            family: text("family"),
            source: text("source_ref"),
            quality: text("quality"),
            scenario,
            assumed,
            measured: measured.unwrap_or(nothing),
        }
    }

    fn scenario(&mut self, row: &Row<'_>, assumed: &mut Vec<String>) -> Result<String, Fault> {
        let gpu = row.wanted("gpu")?;
        let (gpu_name, _) = self.hardware.find(gpu).ok_or_else(|| {
            row.fault(format!("gpu is `{gpu}`; `stepcast list gpus` shows those that are known"))
        })?;
        let gpu_name = gpu_name.to_owned();
        let stack = match &self.assignment.stack {
            Some(stack) => stack.clone(),
            None => row.wanted("stack")?.to_owned(),
        };
        let sources = self.sources;
        let known = self.stacks.entry(stack.clone()).or_insert_with(|| stack_for(sources, &stack));
        let Some(stack_file) = known.clone() else {
            return Err(row.fault(format!(
                "there is no stack `{stack}`, nor one of its family; `stepcast list stacks` shows \
                 those that are known, --data adds yours"
            )));
        };
        if stack_file != stack {
            assumed.push(format!("stack `{stack}` is taken for `{stack_file}`"));
        }
        let cluster = match &self.assignment.cluster {
            Some(cluster) => cluster.clone(),
            None => machine_of(row, assumed),
        };
        let key = (cluster.clone(), gpu_name.clone());
        let known = self
            .clusters
            .entry(key)
            .or_insert_with(|| cluster_for(sources, &self.hardware, &cluster, &gpu_name));
        let Some(cluster_file) = known.clone() else {
            return Err(row.fault(format!(
                "there is no cluster `{cluster}`, nor one with such GPUs; give one by --data or \
                 --cluster"
            )));
        };
        if cluster_file != cluster {
            assumed.push(format!("cluster `{cluster}` is taken for `{cluster_file}`"));
        }
        // The factors of a cluster for which another stands in are its own all the same.
        let is_fitted = cluster_file != cluster && sources.names(Kind::Fit).contains(&cluster);
        let fit = is_fitted.then_some(cluster.as_str());
        let habits = *self.habits.entry(stack_file.clone()).or_insert_with(|| {
            let stack = load_part::<Stack>(sources, Kind::Stack, &stack_file);
            stack.map_or_else(|_| Habits::default(), |stack| Habits::of(&stack))
        });
        let (gpu, stack, cluster) = (&*gpu_name, &*stack_file, &*cluster_file);
        Described { row, gpu, stack, habits, cluster, fit }.to_toml(assumed)
    }
}

/// The cluster that a row names; of vTrain's runs, whose table names all DGX A100 alike, the one
/// with the rate between nodes that their configurations give.
fn machine_of(row: &Row<'_>, assumed: &mut Vec<String>) -> String {
    let name = row.text("cluster").unwrap_or_default();
    let is_vtrain = row.text("other").is_some_and(|other| other.starts_with("vTrain validation"));
    if is_vtrain && name == "dgx-a100-hdr" {
        assumed.push("800 Gbit/s between nodes, as vTrain's configurations have it".to_owned());
        return "dgx-a100-4hdr".to_owned();
    }
    name.to_owned()
}

/// What was measured of a row.
fn measured(row: &Row<'_>) -> Result<Measured, Fault> {
    row.is_whole()?;
    let seconds = row.number("step_time_s")?;
    if seconds <= 0.0 {
        return Err(row.fault("step_time_s must be above 0"));
    }
    let step_time = Seconds::new(seconds);
    let kind = match row.text("mem_kind") {
        None | Some("unknown") => None,
        Some(word) => Some(MemoryKind::of(word).ok_or_else(|| {
            row.fault(format!("mem_kind is `{word}`: allocated, reserved, rank0 or nvidia-smi"))
        })?),
    };
    let (Some(kind), Some(_)) = (kind, row.text("peak_mem_gib")) else {
        return Ok(Measured { step_time, peak_memory: None });
    };
    let gib = row.number("peak_mem_gib")?;
    if gib <= 0.0 {
        return Err(row.fault("peak_mem_gib must be above 0"));
    }
    Ok(Measured { step_time, peak_memory: Some((Bytes::new(gib * f64::from(1 << 30)), kind)) })
}
