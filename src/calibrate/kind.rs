//! Kinds of costs that can be learned and checked, listed in [`KINDS`].

use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use super::accuracy::Checked;
use super::hardware::Hardware;
use super::learn::learn;
use super::measured::{Measured, Observation};
use super::table::{Fault, Row, Table};
use crate::cost::{self, Estimator, Facts, MeasuredOn};
use crate::spec::{Fit, Gpu, LearnedModel};

/// No last-level cache is this much faster than memory: 16 times is the most of any row, on L40S
/// (aiconfigurator@095f58a).
const CACHE_OVER_MEMORY: f64 = 32.0;

/// Is told of models as they are learned; `total` grows while tables are read.
pub type Progress<'a> = dyn Fn(&str) + Sync + 'a;

/// What was learned from tables, and the rows that were left out.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    /// The GPU's file and its model.
    pub models: Vec<(String, LearnedModel)>,
    /// Rows that were left out.
    pub faults: Vec<Fault>,
}

/// How tables are learned from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LearnOptions {
    /// The GPU of tables that do not say; of others, the only one whose rows are used.
    pub gpu: Option<String>,
    /// Whether measured times are kept in the fit, to answer before the form.
    pub keep_rows: bool,
}

/// How tables are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// The GPU of tables that do not say; of others, the only one whose rows are checked.
    pub gpu: Option<String>,
    /// Whether each GPU is predicted from the models of the others.
    pub leave_gpu_out: bool,
}

/// A kind of cost.
pub trait Kind: Sync {
    /// Name, as `--kind` takes it.
    fn name(&self) -> &'static str;

    /// Whether a table holds measurements of this kind.
    fn recognises(&self, table: &Table) -> bool;

    /// Columns that such a table has.
    fn columns(&self) -> &'static [&'static str];

    /// Learns a model for each GPU and case in the tables.
    ///
    /// # Errors
    /// When a table cannot be used at all.
    fn learn(
        &self,
        tables: &[&Table],
        hardware: &Hardware,
        options: &LearnOptions,
        progress: &Progress<'_>,
    ) -> Result<Learned, Fault>;

    /// Predicts every row of a table.
    ///
    /// # Errors
    /// When the table cannot be used at all.
    fn check(
        &self,
        table: &Table,
        hardware: &Hardware,
        fits: &[Fit],
        options: &CheckOptions,
    ) -> Result<(Vec<Checked>, Vec<Fault>), Fault>;
}

/// All kinds, one line each.
pub const KINDS: &[&dyn Kind] = &[
    &Of::<cost::GemmForm>::new(),
    &Of::<cost::AttentionForward>::new(),
    &Of::<cost::AttentionBackward>::new(),
    &Of::<cost::GroupedGemmForm>::new(),
    &Of::<cost::ElementwiseForm>::new(),
    &super::network::Collectives,
    &Of::<cost::AllToAllForm>::new(),
];

/// The kinds of measurements that a table holds; `wanted` narrows them.
///
/// # Errors
/// When there are none.
pub fn kinds_of(table: &Table, wanted: Option<&str>) -> Result<Vec<&'static dyn Kind>, Fault> {
    // `attention` is also what `attention-backward` is of.
    let is = |kind: &str, name: &str| {
        kind.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let all = KINDS.iter().copied().filter(|kind| wanted.is_none_or(|name| is(kind.name(), name)));
    let found: Vec<_> = all.clone().filter(|kind| kind.recognises(table)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let lacks = |kind: &&dyn Kind| -> Vec<&'static str> {
        kind.columns().iter().copied().filter(|column| !table.has(column)).collect()
    };
    // Most of the columns of a kind, and one or two that are wrong: that is what was meant.
    let near = all.clone().filter(|kind| 2 * lacks(kind).len() < kind.columns().len());
    if let Some(kind) = near.min_by_key(|kind| lacks(kind).len()) {
        return Err(table.fault(format!(
            "looks like {}, but has no column {}; it has {}",
            kind.name(),
            lacks(&kind).join(", "),
            table.columns().join(", ")
        )));
    }
    let known: Vec<String> =
        all.map(|kind| format!("{}: {}", kind.name(), kind.columns().join(","))).collect();
    Err(table.fault(format!(
        "the columns {} are those of no kind of measurement; wanted are gpu (or --gpu) and, for {}",
        table.columns().join(","),
        known.join("; for ")
    )))
}

/// A kind whose models are forms.
pub(super) struct Of<F>(PhantomData<F>);

impl<F> Of<F> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<F: Measured> Kind for Of<F> {
    fn name(&self) -> &'static str {
        F::KIND
    }

    fn recognises(&self, table: &Table) -> bool {
        F::recognises(table)
    }

    fn columns(&self) -> &'static [&'static str] {
        F::COLUMNS
    }

    fn learn(
        &self,
        tables: &[&Table],
        hardware: &Hardware,
        options: &LearnOptions,
        progress: &Progress<'_>,
    ) -> Result<Learned, Fault> {
        let mut faults = Vec::new();
        let mut observations = Vec::new();
        for table in tables {
            let seen = observe::<F>(table, hardware, options.gpu.as_deref())?;
            observations.extend(seen.observations);
            faults.extend(seen.faults);
        }
        let mut groups: BTreeMap<(&str, &str), Vec<&Seen<F>>> = BTreeMap::new();
        for seen in &observations {
            groups.entry((&seen.file, &seen.observation.case)).or_default().push(seen);
        }
        let (own, dependent): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|((_, case), _)| F::stand_ins(case).is_empty());
        let mut models: Vec<(String, LearnedModel)> = Vec::new();
        for phase in [own, dependent] {
            let found: Vec<_> = phase
                .into_par_iter()
                .map(|((file, case), rows)| {
                    let start = start::<F>(file, case, rows[0].gpu, hardware, &models);
                    let rows_of: Vec<_> = rows.iter().map(|seen| &seen.observation).collect();
                    let facts = Facts::of(rows[0].gpu, rows[0].observation.operands);
                    let mut model = learn::<F>(&rows_of, &facts, &start, options.keep_rows);
                    let tables: BTreeSet<&str> = rows.iter().map(|seen| seen.table).collect();
                    model.tables = tables.into_iter().map(str::to_owned).collect();
                    progress(&format!("{file} {} {case}", F::KIND));
                    (file.to_owned(), model)
                })
                .collect();
            models.extend(found);
        }
        Ok(Learned { models, faults })
    }

    fn check(
        &self,
        table: &Table,
        hardware: &Hardware,
        fits: &[Fit],
        options: &CheckOptions,
    ) -> Result<(Vec<Checked>, Vec<Fault>), Fault> {
        let seen = observe::<F>(table, hardware, options.gpu.as_deref())?;
        let mut models: BTreeMap<(String, String), Option<Estimator<F>>> = BTreeMap::new();
        let mut checked = Vec::new();
        for Seen { file, gpu, observation, .. } in &seen.observations {
            let key = (file.clone(), observation.case.clone());
            if !models.contains_key(&key) {
                let found = estimator::<F>(gpu, observation, hardware, fits, options)
                    .map_err(|why| table.fault(why))?;
                models.insert(key.clone(), found);
            }
            let Some(Some(model)) = models.get(&key) else { continue };
            let answer = model.predict(&observation.shape);
            checked.push(Checked {
                table: table.name.clone(),
                line: observation.line,
                gpu: observation.gpu.clone(),
                kind: F::KIND,
                dtype: observation.dtype.clone(),
                shape: F::describe(&observation.shape),
                measured_us: observation.time_us,
                predicted_us: answer.time_us,
                relative_error: answer.relative_error,
                answered_by: match model.scaled_from() {
                    Some(from) => format!("scaled from {from}"),
                    None if answer.is_measured => "measured table".to_owned(),
                    None => "fit".to_owned(),
                },
                is_training: F::is_training(&observation.shape),
            });
        }
        let mut faults = seen.faults;
        for ((file, case), _) in models.iter().filter(|(_, model)| model.is_none()) {
            faults.push(table.fault(format!(
                "no fit answers for {} {case:?} on {file}: rows left out",
                F::KIND
            )));
        }
        Ok((checked, faults))
    }
}

/// An observation with the GPU that it is of.
struct Seen<'a, F: Measured> {
    table: &'a str,
    file: String,
    gpu: &'a Gpu,
    observation: Observation<F::Shape>,
}

struct Observed<'a, F: Measured> {
    observations: Vec<Seen<'a, F>>,
    faults: Vec<Fault>,
}

/// Reads all rows of a table; those with faults are left out and told.
fn observe<'a, F: Measured>(
    table: &'a Table,
    hardware: &'a Hardware,
    only: Option<&str>,
) -> Result<Observed<'a, F>, Fault> {
    let only = match only {
        None => None,
        Some(name) => Some(known(hardware, name).map_err(|why| table.fault(why))?),
    };
    if only.is_none() && !table.has("gpu") {
        return Err(table.fault("has no column gpu; say which one it is with --gpu"));
    }
    let (mut observations, mut faults) = (Vec::new(), Vec::new());
    for row in table.rows() {
        let one = || -> Result<Vec<Seen<'a, F>>, Fault> {
            row.is_whole()?;
            let name = row.text("gpu").or(only.map(|only| only.0)).unwrap_or_default();
            let (file, gpu) = known(hardware, name).map_err(|why| row.fault(why))?;
            if only.is_some_and(|only| only.0 != file) {
                return Ok(Vec::new());
            }
            let found = F::observe(&row, name)?;
            found.iter().try_for_each(|seen| is_possible::<F>(&row, gpu, seen))?;
            let table = table.name.as_str();
            let seen = |observation| Seen { table, file: file.to_owned(), gpu, observation };
            Ok(found.into_iter().map(seen).collect())
        };
        match one() {
            Ok(found) => observations.extend(found),
            Err(fault) => faults.push(fault),
        }
    }
    if observations.is_empty() || faults.len() > table.rows().len() / 2 {
        let first = faults.first().map_or_else(String::new, |fault| format!(", first {fault}"));
        return Err(table.fault(format!(
            "{} of {} rows cannot be used{first}; times are in us, sizes in elements or bytes",
            faults.len(),
            table.rows().len()
        )));
    }
    Ok(Observed { observations, faults })
}

fn known<'a>(hardware: &'a Hardware, name: &str) -> Result<(&'a str, &'a Gpu), String> {
    hardware.find(name).ok_or_else(|| {
        format!(
            "GPU {name:?} is none of the {} known ones (`stepcast list gpus`) nor an alias of one; \
             add a file in hardware/gpus (or below --data)",
            hardware.names().count()
        )
    })
}

/// Times that exceed what the data sheet allows by more than this are in another unit.
const TOO_SLOW: f64 = 100.0;

/// Kernels that take less than this, us, are bound by their launch.
const LAUNCH_BOUND_US: f64 = 20.0;

/// Whether a row is within what the GPU can do.
fn is_possible<F: Measured>(
    row: &Row<'_>,
    gpu: &Gpu,
    seen: &Observation<F::Shape>,
) -> Result<(), Fault> {
    let flops = F::flops(&seen.shape);
    let facts = Facts::of(gpu, seen.operands);
    if flops / seen.time_us > facts.peak {
        return Err(row.fault(format!(
            "{:.0} TFLOP/s are more than the {:.0} of {}; are the times in us, is it this GPU?",
            flops / seen.time_us * 1e-6,
            facts.peak * 1e-6,
            gpu.name
        )));
    }
    let Some(bytes) = F::bytes(&seen.shape) else { return Ok(()) };
    if bytes / seen.time_us > CACHE_OVER_MEMORY * facts.bandwidth {
        return Err(row.fault(format!(
            "{:.1} TB/s are more than {CACHE_OVER_MEMORY} times the {:.2} of {}; are the times in \
             us, the sizes in bytes?",
            bytes / seen.time_us * 1e-6,
            facts.bandwidth * 1e-6,
            gpu.name
        )));
    }
    let least_us = (flops / facts.peak).max(bytes / facts.bandwidth);
    if least_us > LAUNCH_BOUND_US && seen.time_us > TOO_SLOW * least_us {
        return Err(row.fault(format!(
            "{} us are {:.0} times slower than {} allows; are the times in us?",
            seen.time_us,
            seen.time_us / least_us,
            gpu.name
        )));
    }
    Ok(())
}

/// Where the search for parameters starts: at those of a case that this one leans on, of this GPU
/// or the nearest, else at those of the form.
fn start<F: Measured>(
    file: &str,
    case: &str,
    gpu: &Gpu,
    hardware: &Hardware,
    models: &[(String, LearnedModel)],
) -> Vec<f64> {
    for stand_in in F::stand_ins(case) {
        let of_case = || models.iter().filter(|(_, model)| model.case == stand_in);
        let nearest = hardware.nearest(gpu, of_case().map(|(name, _)| name.as_str()));
        let own = of_case().find(|(name, _)| name == file);
        if let Some((_, model)) =
            own.or_else(|| of_case().find(|(name, _)| Some(name.as_str()) == nearest))
        {
            let value = |parameter: &cost::Parameter| model.parameters[parameter.name];
            return F::PARAMETERS.iter().map(value).collect();
        }
    }
    F::PARAMETERS.iter().map(|parameter| parameter.start).collect()
}

/// What answers for the rows of a GPU and case.
fn estimator<F: Measured>(
    gpu: &Gpu,
    observation: &Observation<F::Shape>,
    hardware: &Hardware,
    fits: &[Fit],
    options: &CheckOptions,
) -> Result<Option<Estimator<F>>, String> {
    let cases = [vec![observation.case.clone()], F::stand_ins(&observation.case)].concat();
    let measured: Vec<MeasuredOn<'_>> = fits
        .iter()
        .filter_map(|fit| {
            let (_, on) = hardware.find(fit.gpu.as_deref()?)?;
            Some(MeasuredOn { fit, gpu: on })
        })
        .filter(|known| !options.leave_gpu_out || known.gpu.name != gpu.name)
        .collect();
    Estimator::new(gpu, observation.operands, &cases, &measured)
}
