//! The cost models that go with a scenario's GPU.

use std::sync::Arc;

use super::sources::{DataSources, Kind};
use crate::spec::problem::Problem;
use crate::spec::{Fit, Gpu, MeasuredFit};

/// Fits of other GPUs that are kept where nobody measured this one.
const NEIGHBOURS: usize = 3;

/// What a step needs most: kinds and the beginnings of cases. A GPU whose own fit lacks one is
/// helped out by others.
const NEEDED: [(&str, &str); 2] = [("gemm", "16-bit"), ("attention", "16-bit")];

/// Fits that answer for a GPU: `fit`, a scenario's own, where it holds models, the GPU's,
/// and where these lack something, those of the GPUs of its architecture most like it. GPUs of
/// other architectures say less of it than the shares of the peak in its own file.
///
/// A fit is of the GPU whose file has the fit's name; so only the fits that are wanted are read.
pub(super) fn measured(
    sources: &DataSources,
    own: &Gpu,
    fit: &Fit,
) -> Result<Vec<MeasuredFit>, Problem> {
    let mut found = Vec::new();
    if !fit.models.is_empty() {
        found.push(of_scenario(sources, fit)?);
    }
    let mut others = Vec::new();
    for name in sources.names(Kind::Fit) {
        // Fits of clusters have no GPU of their name.
        match gpu(sources, &name)? {
            Some(gpu) if gpu.name == own.name => found.extend(of_gpu(sources, &name, gpu)?),
            Some(gpu) if gpu.architecture == own.architecture => {
                others.push((own.distance(&gpu), name, gpu));
            }
            _ => {}
        }
    }
    let has = |fits: &[MeasuredFit], needed: (&str, &str)| {
        let models = fits.iter().flat_map(|it| &it.fit.models);
        let mut cases = models.filter(|model| model.kind == needed.0);
        cases.any(|model| model.case.starts_with(needed.1))
    };
    let lacking: Vec<_> = NEEDED.into_iter().filter(|needed| !has(&found, *needed)).collect();
    others.sort_by(|left, right| left.0.total_cmp(&right.0));
    let mut helpers = 0;
    for (_, name, gpu) in others {
        if lacking.is_empty() || helpers == NEIGHBOURS {
            break;
        }
        let helper = of_gpu(sources, &name, gpu)?;
        if let Some(helper) =
            helper.filter(|it| lacking.iter().any(|needed| has(std::slice::from_ref(it), *needed)))
        {
            found.push(helper);
            helpers += 1;
        }
    }
    Ok(found)
}

/// The fit of a GPU by the name that both files have.
fn of_gpu(sources: &DataSources, name: &str, gpu: Gpu) -> Result<Option<MeasuredFit>, Problem> {
    let fit = part::<Fit>(sources, Kind::Fit, name)?;
    Ok(fit.map(|fit| MeasuredFit { fit: Arc::new(fit), gpu }))
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
