//! Attention kernels of a GPU, of any family, from the families that were measured on it.
//!
//! Tables of forward times are a serving framework's. Training runs the bare kernel: the model's
//! time without its write of keys and values to the paged cache. Of the bare kernels that issue
//! threads give, FlashAttention 3 on H100 comes out within 5 % so (five shapes, heads of 64 and
//! 128, 873 to 8778 us) where the framework's time is 10 % more, and FlashAttention 2 on A100
//! within 6 % (`SimuMax`, six shapes).

use super::attention::case_family;
use super::attention_backward::BACKWARD_OVER_FORWARD;
use super::kernels::priced;
use super::{
    AttentionBackward, AttentionBackwardShape, AttentionForward, AttentionShape, Estimator, Form,
    MeasuredOn,
};
use crate::cost::book::Evidence;
use crate::cost::kernel::Prediction;
use crate::spec::{Gpu, LearnedModel};
use crate::work::{AttentionFamily, DType, Kernel, Pass};

/// Widest head that the measured kernels without a mask (vision encoders) have, padded.
const FULL_WIDTH_MAX: f64 = 96.0;

/// Width of the heads with which cuDNN was measured beside FlashAttention 3.
const CUDNN_WIDTH: f64 = 64.0;

/// Expected relative error of a ratio between families, one sigma: scatter of the anchors at
/// [`forward_factor`].
const FAMILY_ERROR: f64 = 0.10;

/// Expected relative error of the bare kernel told from the framework's path: see the module.
const BARE_ERROR: f64 = 0.04;

/// Expected relative error of [`BACKWARD_OVER_FORWARD`] where no backward was measured.
const RATIO_ERROR: f64 = 0.12;

/// What answers for a form, with the family that it was learned of.
#[derive(Clone, Debug)]
struct Of<F: Form> {
    family: String,
    model: Estimator<F>,
}

/// What was learned of attention on a GPU, or on those most like it.
#[derive(Clone, Debug)]
pub struct AttentionKernels {
    causal: Of<AttentionForward>,
    full: Option<Of<AttentionForward>>,
    backward: Vec<Of<AttentionBackward>>,
}

impl AttentionKernels {
    /// From fits of the GPU, else of GPUs of the same vendor, nearest first. `None` where there is
    /// no forward under a mask.
    ///
    /// # Errors
    /// When a model is of another version or lacks something.
    pub fn new(gpu: &Gpu, fits: &[MeasuredOn<'_>]) -> Result<Option<Self>, String> {
        // 16-bit formats share models; GPUs without bf16 run fp16.
        let dtype = if gpu.peak_bf16.is_some() { DType::Bf16 } else { DType::Fp16 };
        let mut near: Vec<MeasuredOn<'_>> =
            fits.iter().filter(|known| known.gpu.vendor == gpu.vendor).copied().collect();
        let distance = |known: &MeasuredOn<'_>| {
            if known.gpu.name == gpu.name { -1.0 } else { gpu.distance(known.gpu) }
        };
        near.sort_by(|left, right| distance(left).total_cmp(&distance(right)));
        let forward = |mask: &str| -> Result<Option<Of<AttentionForward>>, String> {
            let Some(case) = near.iter().find_map(|known| forward_case(known, mask)) else {
                return Ok(None);
            };
            let found = Estimator::new(gpu, dtype, &[case.to_owned()], &near)?;
            let family = case_family(case).unwrap_or_default().to_owned();
            Ok(found.map(|model| Of { family, model }))
        };
        let Some(causal) = forward("causal")? else { return Ok(None) };
        let full = forward("full")?;
        let mut backward = Vec::new();
        let is_backward = |model: &&LearnedModel| model.kind == AttentionBackward::KIND;
        let nearest = near.iter().find(|known| known.fit.models.iter().any(|it| is_backward(&it)));
        if let Some(known) = nearest {
            for learned in known.fit.models.iter().filter(is_backward) {
                let Some(family) = case_family(&learned.case) else { continue };
                let cases = [learned.case.clone()];
                if let Some(model) = Estimator::new(gpu, dtype, &cases, &[*known])? {
                    backward.push(Of { family: family.to_owned(), model });
                }
            }
        }
        Ok(Some(Self { causal, full, backward }))
    }

    /// Time of an attention kernel of 16-bit operands; `None` for other kernels and formats.
    pub fn predict(&self, kernel: &Kernel) -> Option<Prediction> {
        let Kernel::Attention { family, pass, dtype, .. } = *kernel else { return None };
        if !matches!(dtype, DType::Bf16 | DType::Fp16) {
            return None;
        }
        let shape = bare_shape(kernel)?;
        Some(match pass {
            Pass::Forward => self.forward(&shape, family),
            Pass::Backward => self.backward(&shape, family),
        })
    }

    fn forward(&self, shape: &AttentionShape, family: AttentionFamily) -> Prediction {
        let of = match &self.full {
            Some(full) if !shape.causal && shape.head_dim <= FULL_WIDTH_MAX => full,
            _ => &self.causal,
        };
        let factor = forward_factor(&of.family, family, shape);
        let answer = priced(&of.model, shape);
        let told = match answer.evidence {
            // The very kernel, as it is trained with.
            Evidence::MeasuredTable => answer,
            _ => Prediction { relative_error: answer.relative_error.hypot(BARE_ERROR), ..answer },
        };
        times(told, factor)
    }

    fn backward(&self, shape: &AttentionShape, family: AttentionFamily) -> Prediction {
        let known = |name: &&str| self.backward.iter().find(|of| of.family == **name);
        let Some(of) = preferred(family, shape.head_dim).iter().find_map(known) else {
            // The ratio is that of one family; families differ more in backward than in forward.
            let best = &self.causal.family;
            let forward = self.forward(shape, learned_family(best));
            let factor = backward_factor(best, best, family, shape.head_dim);
            return Prediction {
                time: forward.time * BACKWARD_OVER_FORWARD * factor,
                relative_error: forward.relative_error.hypot(RATIO_ERROR),
                evidence: forward.evidence.max(Evidence::Fit),
                ..forward
            };
        };
        let forward = self.forward(shape, learned_family(&of.family));
        let backward = AttentionBackwardShape {
            batch: shape.batch,
            query_length: shape.query_length,
            key_length: shape.key_length,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            head_dim: shape.head_dim,
            value_head_dim: shape.head_dim,
            causal: shape.causal,
            deterministic: false,
            forward_us: forward.time.us(),
        };
        let answer = priced(&of.model, &backward);
        let told = match answer.evidence {
            Evidence::MeasuredTable => answer,
            own => Prediction {
                // Half of the forward's error: its time counts by a share of 0.1 to 0.5.
                relative_error: answer.relative_error.hypot(0.5 * forward.relative_error),
                evidence: own.max(forward.evidence),
                is_outside: answer.is_outside || forward.is_outside,
                ..answer
            },
        };
        times(told, backward_factor(&of.family, &self.causal.family, family, shape.head_dim))
    }
}

/// A prediction for another family, by a factor.
fn times(answer: Prediction, factor: f64) -> Prediction {
    if factor == 1.0 {
        return answer;
    }
    Prediction {
        time: answer.time * factor,
        relative_error: answer.relative_error.hypot(FAMILY_ERROR),
        evidence: answer.evidence.max(Evidence::Fit),
        ..answer
    }
}

/// The case of a fit that answers for forward: bare kernels before those of a framework.
fn forward_case<'a>(known: &MeasuredOn<'a>, mask: &str) -> Option<&'a str> {
    known
        .fit
        .models
        .iter()
        .filter(|model| model.kind == AttentionForward::KIND)
        .map(|model| model.case.as_str())
        .filter(|case| case.split(' ').any(|word| word == mask))
        .min_by_key(|case| case.split(' ').any(|word| word == "prefill"))
}

/// The shape of an attention kernel as training runs it; `None` for other kernels.
fn bare_shape(kernel: &Kernel) -> Option<AttentionShape> {
    let Kernel::Attention {
        batch,
        query_length,
        key_length,
        heads,
        kv_heads,
        head_dim,
        causal,
        ..
    } = *kernel
    else {
        return None;
    };
    Some(AttentionShape {
        batch: batch as f64,
        query_length: query_length as f64,
        key_length: key_length as f64,
        heads: heads as f64,
        kv_heads: kv_heads as f64,
        head_dim: head_dim as f64,
        causal,
        cache_store: false,
    })
}

/// The family whose forward a learned backward was measured beside.
fn learned_family(name: &str) -> AttentionFamily {
    match name {
        "flash1" => AttentionFamily::Flash1,
        "flash2" => AttentionFamily::Flash2,
        "cudnn" | "sdpa" => AttentionFamily::Cudnn,
        _ => AttentionFamily::Flash3,
    }
}

/// Families whose backward answers for one, nearest first. `sdpa` is Transformer Engine's choice:
/// cuDNN on Hopper and newer, FlashAttention 2 before.
fn preferred(family: AttentionFamily, head_dim: f64) -> &'static [&'static str] {
    match family {
        AttentionFamily::Flash3 => &["flash3", "flash4", "asm", "cudnn", "sdpa", "flash2"],
        // As forward: like FlashAttention 3 with heads wider than those that were measured of it.
        AttentionFamily::Cudnn if head_dim > CUDNN_WIDTH => {
            &["sdpa", "flash3", "cudnn", "flash4", "asm", "flash2"]
        }
        AttentionFamily::Cudnn => &["cudnn", "sdpa", "flash3", "flash4", "asm", "flash2"],
        AttentionFamily::Flash2 | AttentionFamily::Flash1 | AttentionFamily::Unfused => {
            &["flash2", "flash1", "asm", "flash3", "cudnn", "sdpa", "flash4"]
        }
    }
}

/// Forward time of a family over that of the family that a model was learned of.
///
/// - `FlashAttention` 2 over 3 on H100, 8k tokens, heads of 128: 1935 over 873 us causal, 2972 over
///   1668 without a mask (flash-attention issue 1791). Over 4 on B200, heads of 64, 2k to 16k
///   tokens: 1.93, 2.67, 2.33 (issue 1589 over the model of flash4).
/// - cuDNN over `FlashAttention` 3 on H100, 16k tokens, heads of 64: 5315 over 4642 us causal
///   (pytorch issue 137036); alike with heads of 128 (recalled: Shah et al. 2024, figure 5).
///   Over trtllm on B200: 1.05 (`SimuMax` over the model, ten shapes of 16 heads and more).
/// - The newest `FlashAttention` on Blackwell (4) over trtllm: 0.81 to 1.04, geometric mean 0.93
///   (flash-attention issues 2280 and 2605 over the model, six shapes).
/// - `FlashAttention` 1 over 2: about 1/0.6 (Dao 2023). Unfused attention comes here only in a
///   trace that names it so.
fn forward_factor(learned: &str, family: AttentionFamily, shape: &AttentionShape) -> f64 {
    let second = match learned {
        "flash3" if shape.causal => 1935.0 / 873.0,
        "flash3" => 2972.0 / 1668.0,
        "trtllm" | "flash4" => 2.3,
        _ => 1.0,
    };
    match (family, learned) {
        (AttentionFamily::Flash3, "trtllm") => 0.93,
        (AttentionFamily::Cudnn, "flash3") if shape.head_dim <= CUDNN_WIDTH => 5315.0 / 4642.0,
        (AttentionFamily::Cudnn, "trtllm" | "flash4") => 1.05,
        (AttentionFamily::Flash3 | AttentionFamily::Cudnn, _) => 1.0,
        (AttentionFamily::Flash2, _) => second,
        (AttentionFamily::Flash1 | AttentionFamily::Unfused, _) => second / 0.6,
    }
}

/// Backward time of a family over that of the family that a model of backward was learned of, on
/// a GPU whose fastest family is `best`.
///
/// (of the same width of head).
///
/// `FlashAttention` 2 over 3 on H100, 8k tokens, heads of 128: 4788 over 2585 us causal, 9460 over
/// 4962 without a mask (flash-attention issue 1791), 1.88 in the mean. 1 over 2: about 2 (Dao
/// 2023), and a quarter more with heads wider than 64, which spill (1.85 and 2.35 where MPT trains
/// with the Triton kernel of the first generation on A100, mosaicml/llm-foundry@8c8dd48f). Before
/// Hopper, 2 is what all run.
fn backward_factor(learned: &str, best: &str, family: AttentionFamily, head_dim: f64) -> f64 {
    let generations = if best == "flash2" { 1.0 } else { 1.88 };
    let learned_second = matches!(learned, "flash2" | "flash1");
    match family {
        AttentionFamily::Flash3 | AttentionFamily::Cudnn => {
            if learned_second {
                1.0 / generations
            } else {
                1.0
            }
        }
        AttentionFamily::Flash2 => {
            if learned_second {
                1.0
            } else {
                generations
            }
        }
        AttentionFamily::Flash1 | AttentionFamily::Unfused => {
            let first = if head_dim > 64.0 { 2.35 } else { 1.85 };
            first * if learned_second { 1.0 } else { generations }
        }
    }
}

#[cfg(test)]
mod tests;
