//! The cost models that go with a scenario's GPU.

use std::sync::Arc;

use super::sources::{DataSources, Kind};
use crate::spec::problem::Problem;
use crate::spec::{Fit, Gpu, MeasuredFit, Scenario};

/// Fits of other GPUs that are kept where nobody measured this one.
const NEIGHBOURS: usize = 3;

/// Fits that answer for the scenario's GPU: the scenario's own where it holds models, the GPU's,
/// else those of the GPUs most like it.
///
/// A fit is of the GPU whose file has the fit's name; so only the fits that are wanted are read.
pub(super) fn measured(
    sources: &DataSources,
    scenario: &Scenario,
) -> Result<Vec<MeasuredFit>, Problem> {
    let own = &scenario.cluster.gpu;
    let mut found = Vec::new();
    if !scenario.fit.models.is_empty() {
        found.push(of_scenario(sources, &scenario.fit)?);
    }
    let mut gpus = Vec::new();
    for name in sources.names(Kind::Fit) {
        // Fits of clusters have no GPU of their name.
        if let Some(gpu) = gpu(sources, &name)? {
            gpus.push((own.distance(&gpu), name, gpu));
        }
    }
    if let Some(place) = gpus.iter().position(|(_, _, gpu)| gpu.name == own.name) {
        gpus = vec![gpus.swap_remove(place)];
    }
    gpus.sort_by(|left, right| left.0.total_cmp(&right.0));
    for (_, name, gpu) in gpus.into_iter().take(NEIGHBOURS) {
        if let Some(fit) = part::<Fit>(sources, Kind::Fit, &name)? {
            found.push(MeasuredFit { fit: Arc::new(fit), gpu });
        }
    }
    Ok(found)
}

fn of_scenario(sources: &DataSources, fit: &Fit) -> Result<MeasuredFit, Problem> {
    let problem = |message: &str| {
        Problem::new("fit.gpu", message).found(format!("{:?}", fit.gpu.as_deref().unwrap_or("")))
    };
    let name = fit.gpu.as_deref();
    let name = name.ok_or_else(|| problem("a fit with models must say which GPU was measured"))?;
    let gpu = gpu(sources, name)?.ok_or_else(|| {
        problem("there is no GPU of this name").hint("`stepcast list gpus` shows those known")
    })?;
    Ok(MeasuredFit { fit: Arc::new(fit.clone()), gpu })
}

fn gpu(sources: &DataSources, name: &str) -> Result<Option<Gpu>, Problem> {
    part(sources, Kind::Gpu, name)
}

/// A data file that stands on no other, without places: many are read and few are wrong.
fn part<T: serde::de::DeserializeOwned>(
    sources: &DataSources,
    kind: Kind,
    name: &str,
) -> Result<Option<T>, Problem> {
    let Some(text) = sources.text_of(kind, name) else { return Ok(None) };
    toml::from_str(&text).map(Some).map_err(|error| {
        let file = format!("{}/{name}.toml", kind.folder());
        Problem::new("", format!("{file}: {}", error.message()))
    })
}
