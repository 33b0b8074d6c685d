//! Learned collectives for the simulator: which model answers for which group on which cluster.

use super::collective::{CollectiveForm, CollectiveShape, Fabric};
use super::model::Answer;
use super::transfer::{Estimator, MeasuredOn};
use crate::spec::{Cluster, MeasuredFit};
use crate::work::{CollectiveKind, DType};

/// Most ranks that were measured within a node.
const RANKS_MAX: usize = 8;

/// Links this far from those of the measured machines are another machine's.
const SAME_RATE: f64 = 0.05;

/// Bytes of the elements that training communicates, mostly.
const ELEMENT_BYTES: f64 = 2.0;

/// Collectives within a domain of a cluster, as measured on its GPU.
#[derive(Clone, Debug)]
pub struct LearnedCollectives {
    models: Vec<(CollectiveKind, Estimator<CollectiveForm>)>,
    fabric: Fabric,
    in_switch: bool,
}

impl LearnedCollectives {
    /// Models for a cluster; `None` where its GPU was not measured with links like the cluster's.
    ///
    /// Boxes with PCI Express differ by a factor of ten (bus bandwidths of 1.4 to 39 GB/s,
    /// aiconfigurator@095f58a), so what was measured in one says nothing of another.
    ///
    /// # Errors
    /// When a fit cannot be read.
    pub fn new(cluster: &Cluster, measured: &[MeasuredFit]) -> Result<Option<Self>, String> {
        let Some(fabric) = fabric_of(cluster) else { return Ok(None) };
        let own: Vec<MeasuredOn<'_>> = measured
            .iter()
            .filter(|known| known.gpu.name == cluster.gpu.name)
            .map(|known| MeasuredOn { fit: &known.fit, gpu: &known.gpu })
            .collect();
        let mut models = Vec::new();
        for kind in CollectiveKind::ALL {
            // The most trusted first: ways of measuring that are a source's own come after.
            let own_ways = own.iter().flat_map(|known| &known.fit.models).filter(|model| {
                model.case.split_once(", ").is_some_and(|(operation, _)| operation == kind.name())
            });
            let mut cases = vec![kind.name().to_owned()];
            cases.extend(own_ways.map(|model| model.case.clone()));
            if let Some(found) = Estimator::new(&cluster.gpu, DType::Fp16, &cases, &own)? {
                models.push((kind, found));
            }
        }
        let in_switch = cluster.in_switch_reduction;
        Ok((!models.is_empty()).then_some(Self { models, fabric, in_switch }))
    }

    /// Time of an operation of some ranks of one domain; `None` for what was not measured.
    pub fn predict(&self, kind: CollectiveKind, ranks: usize, bytes: f64) -> Option<Answer> {
        if !(2..=RANKS_MAX).contains(&ranks) {
            return None;
        }
        let (_, model) = self.models.iter().find(|(known, _)| *known == kind)?;
        Some(model.predict(&CollectiveShape {
            kind,
            ranks: ranks as f64,
            bytes,
            element_bytes: ELEMENT_BYTES,
            fabric: self.fabric,
            in_switch: self.in_switch,
        }))
    }
}

/// The fabric of a cluster, if its rate is that of the machines that were measured.
fn fabric_of(cluster: &Cluster) -> Option<Fabric> {
    let (fabric, gb_s) = match cluster.gpu.architecture.as_str() {
        "volta" => (Fabric::NvLink2, 150.0),
        "ampere" => (Fabric::NvLink3, 300.0),
        "hopper" => (Fabric::NvLink4, 450.0),
        "blackwell" => (Fabric::NvLink5, 900.0),
        _ => return None,
    };
    let found = cluster.scale_up_bandwidth.value() * 1e-9;
    ((found / gb_s - 1.0).abs() < SAME_RATE).then_some(fabric)
}
