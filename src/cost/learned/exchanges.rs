//! Exchanges of tokens for the simulator: what was measured of them, else a closed form.

use super::all_to_all::{AllToAllForm, AllToAllShape};
use super::model::Answer;
use super::transfer::{Estimator, MeasuredOn};
use crate::spec::{Cluster, MeasuredFit};
use crate::work::{DType, Dispatcher, ExchangePhase, TokenExchange};

/// SMs that `DeepEP`'s kernels copy with in training (Megatron-core, `moe_deepep_num_sms`).
const DEEPEP_SMS: f64 = 20.0;

/// Start of a dispatch or combine: counts are exchanged and added up first (`DeepEP`'s `notify`
/// kernel; fits of measured ones find 20-50 us).
const START_US: f64 = 30.0;

/// Share of a link's rate that copies by the bulk engine reach within a domain.
const LINK_SHARE: f64 = 0.72;

/// Expected relative error of the closed form, one sigma.
const CLOSED_FORM_ERROR: f64 = 0.25;

/// What an exchange costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExchangeAnswer {
    /// Time and error.
    pub answer: Answer,
    /// Whether a fit answered.
    pub is_fitted: bool,
    /// Share of a GPU's scale-up port in use.
    pub scale_up_fraction: f64,
    /// Share of a GPU's part of its node's NICs in use.
    pub network_fraction: f64,
}

/// Exchanges of tokens on a cluster.
#[derive(Clone, Debug)]
pub struct LearnedExchanges {
    models: Vec<(ExchangePhase, bool, Estimator<AllToAllForm>)>,
    /// Bytes a microsecond.
    scale_up: f64,
    network: f64,
}

impl LearnedExchanges {
    /// Models for a cluster; those of `DeepEP` across nodes are of 400 Gbit/s a GPU.
    ///
    /// # Errors
    /// When a fit cannot be read.
    pub fn new(cluster: &Cluster, measured: &[MeasuredFit]) -> Result<Self, String> {
        let own: Vec<MeasuredOn<'_>> = measured
            .iter()
            .filter(|known| known.gpu.name == cluster.gpu.name)
            .map(|known| MeasuredOn { fit: &known.fit, gpu: &known.gpu })
            .collect();
        let mut models = Vec::new();
        for (phase, name) in
            [(ExchangePhase::Dispatch, "dispatch"), (ExchangePhase::Combine, "combine")]
        {
            for (across, ending) in [(false, ""), (true, ", across nodes")] {
                let cases = [format!("deepep_normal {name}{ending}")];
                if let Some(found) = Estimator::new(&cluster.gpu, DType::Fp16, &cases, &own)? {
                    models.push((phase, across, found));
                }
            }
        }
        let nics = cluster.nics_per_node as f64 / cluster.gpus_per_node as f64;
        Ok(Self {
            models,
            scale_up: cluster.scale_up_bandwidth.value() * 1e-6,
            network: cluster.nic_bandwidth.value() * cluster.nic_fraction * nics * 1e-6,
        })
    }

    /// Time of an exchange among `ranks` of `domains` scale-up domains.
    pub fn predict(
        &self,
        exchange: &TokenExchange,
        ranks: usize,
        domains: usize,
    ) -> ExchangeAnswer {
        let shape = AllToAllShape {
            ranks: ranks as f64,
            nodes: domains as f64,
            tokens: exchange.tokens,
            token_bytes: exchange.token_bytes,
            topk: exchange.top_k as f64,
            experts: exchange.experts as f64,
            sms: DEEPEP_SMS,
        };
        let (abroad, far) = shape.copies();
        let token_bytes = shape.tokens * shape.token_bytes;
        let (links, network) =
            (token_bytes * abroad / self.scale_up, token_bytes * far / self.network);
        let network = if far > 0.0 { network } else { 0.0 };
        let learned = (exchange.dispatcher == Dispatcher::Deepep)
            .then(|| {
                let known = |it: &&(ExchangePhase, bool, Estimator<AllToAllForm>)| {
                    (it.0, it.1) == (exchange.phase, domains > 1)
                };
                self.models.iter().find(known).map(|it| it.2.predict(&shape))
            })
            .flatten();
        let answer = learned.unwrap_or_else(|| Answer {
            time_us: START_US + (links / LINK_SHARE).max(network),
            relative_error: CLOSED_FORM_ERROR,
            outside: 0.0,
            is_measured: false,
        });
        let share = |busy: f64| (busy / answer.time_us).clamp(0.0, 1.0);
        ExchangeAnswer {
            answer,
            is_fitted: learned.is_some(),
            scale_up_fraction: share(links),
            network_fraction: share(network),
        }
    }
}
