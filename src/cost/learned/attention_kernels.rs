//! Attention kernels of a GPU, of any family, from the families that were measured on it.
//!
//! Tables of forward times are a serving framework's. Training runs the bare kernel: the model's
//! time without its write of keys and values to the paged cache. Of the bare kernels that issue
//! threads give, FlashAttention 3 on H100 comes out within 5 % so (five shapes, heads of 64 and
//! 128, 873 to 8778 us) where the framework's time is 10 % more, and FlashAttention 2 on A100
//! within 6 % (`SimuMax`, six shapes).

use super::attention::case_family;
use super::attention_backward::BACKWARD_OVER_FORWARD;
use super::{
    Answer, AttentionBackward, AttentionBackwardShape, AttentionForward, AttentionShape, Facts,
    Form, Learned,
};
use crate::spec::{Gpu, LearnedModel};
use crate::work::{AttentionFamily, DType, Kernel, Pass};

/// Widest head that the measured kernels without a mask (vision encoders) have, padded.
const FULL_WIDTH_MAX: f64 = 96.0;

/// Expected relative error of a ratio between families, one sigma: scatter of the anchors at
/// [`forward_factor`].
const FAMILY_ERROR: f64 = 0.10;

/// Expected relative error of the bare kernel told from the framework's path: see the module.
const BARE_ERROR: f64 = 0.04;

/// Expected relative error of [`BACKWARD_OVER_FORWARD`] where no backward was measured.
const RATIO_ERROR: f64 = 0.12;

/// A model with the family that it was learned of.
#[derive(Clone, Debug)]
struct Of<F: Form> {
    family: String,
    model: Learned<F>,
}

/// What was learned of attention on a GPU.
#[derive(Clone, Debug)]
pub struct AttentionKernels {
    causal: Of<AttentionForward>,
    full: Option<Of<AttentionForward>>,
    backward: Vec<Of<AttentionBackward>>,
}

impl AttentionKernels {
    /// From models in the order of their nearness to the GPU: its own first, then those that stand
    /// in. `None` where there is no forward model.
    ///
    /// # Errors
    /// When a model is of another version or lacks something.
    pub fn new<'a>(
        models: impl IntoIterator<Item = &'a LearnedModel>,
        gpu: &Gpu,
    ) -> Result<Option<Self>, String> {
        // 16-bit formats share models; GPUs without bf16 run fp16.
        let dtype = if gpu.peak_bf16.is_some() { DType::Bf16 } else { DType::Fp16 };
        let facts = Facts::of(gpu, dtype);
        let (mut causal, mut full, mut backward) =
            (None, None, Vec::<Of<AttentionBackward>>::new());
        for model in models {
            let Some(family) = case_family(&model.case) else { continue };
            let family = family.to_owned();
            if model.kind == AttentionForward::KIND {
                let place = if model.case.contains(" causal ") { &mut causal } else { &mut full };
                if place.is_none() {
                    *place = Some(Of { family, model: Learned::new(model, facts)? });
                }
            } else if model.kind == AttentionBackward::KIND
                && backward.iter().all(|known| known.family != family)
            {
                backward.push(Of { family, model: Learned::new(model, facts)? });
            }
        }
        Ok(causal.map(|causal| Self { causal, full, backward }))
    }

    /// Time of an attention kernel of 16-bit operands; `None` for other kernels and formats.
    pub fn predict(&self, kernel: &Kernel) -> Option<Answer> {
        let Kernel::Attention { family, pass, dtype, .. } = *kernel else { return None };
        if !matches!(dtype, DType::Bf16 | DType::Fp16) {
            return None;
        }
        let shape = bare_shape(kernel)?;
        match pass {
            Pass::Forward => Some(self.forward(&shape, family)),
            Pass::Backward => Some(self.backward(&shape, family)),
        }
    }

    fn forward(&self, shape: &AttentionShape, family: AttentionFamily) -> Answer {
        let of = match &self.full {
            Some(full) if !shape.causal && shape.head_dim <= FULL_WIDTH_MAX => full,
            _ => &self.causal,
        };
        let factor = forward_factor(&of.family, family, shape);
        let answer = of.model.predict(shape);
        let family_error = if factor == 1.0 { 0.0 } else { FAMILY_ERROR };
        Answer {
            time_us: answer.time_us * factor,
            relative_error: answer.relative_error.hypot(BARE_ERROR).hypot(family_error),
            outside: answer.outside,
        }
    }

    fn backward(&self, shape: &AttentionShape, family: AttentionFamily) -> Answer {
        let measured = preferred(family)
            .iter()
            .find_map(|name| self.backward.iter().find(|of| of.family == *name));
        let Some(of) = measured else {
            let forward = self.forward(shape, family);
            return Answer {
                time_us: BACKWARD_OVER_FORWARD * forward.time_us,
                relative_error: forward.relative_error.hypot(RATIO_ERROR),
                outside: forward.outside,
            };
        };
        let forward = self.forward(shape, learned_family(&of.family));
        let answer = of.model.predict(&AttentionBackwardShape {
            batch: shape.batch,
            query_length: shape.query_length,
            key_length: shape.key_length,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            head_dim: shape.head_dim,
            value_head_dim: shape.head_dim,
            causal: shape.causal,
            deterministic: false,
            forward_us: forward.time_us,
        });
        let factor = backward_factor(&of.family, &self.causal.family, family);
        let family_error = if factor == 1.0 { 0.0 } else { FAMILY_ERROR };
        // Half of the forward's error: its time counts by a share of 0.1 to 0.5.
        let error = answer.relative_error.hypot(0.5 * forward.relative_error).hypot(family_error);
        Answer {
            time_us: answer.time_us * factor,
            relative_error: error,
            outside: answer.outside.max(forward.outside),
        }
    }
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
fn preferred(family: AttentionFamily) -> &'static [&'static str] {
    match family {
        AttentionFamily::Flash3 => &["flash3", "flash4", "asm", "cudnn", "sdpa", "flash2"],
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
/// - `FlashAttention` 1 over 2: about 1/0.6 (Dao 2023). Unfused attention comes here only in a trace
///   that names it so.
fn forward_factor(learned: &str, family: AttentionFamily, shape: &AttentionShape) -> f64 {
    let second = match learned {
        "flash3" if shape.causal => 1935.0 / 873.0,
        "flash3" => 2972.0 / 1668.0,
        "trtllm" | "flash4" => 2.3,
        _ => 1.0,
    };
    match (family, learned) {
        (AttentionFamily::Flash3, "trtllm") => 0.93,
        (AttentionFamily::Cudnn, "flash3") if shape.head_dim <= 64.0 => 5315.0 / 4642.0,
        (AttentionFamily::Cudnn, "trtllm" | "flash4") => 1.05,
        (AttentionFamily::Flash3 | AttentionFamily::Cudnn, _) => 1.0,
        (AttentionFamily::Flash2, _) => second,
        (AttentionFamily::Flash1 | AttentionFamily::Unfused, _) => second / 0.6,
    }
}

/// Backward time of a family over that of the family that a model of backward was learned of, on
/// a GPU whose fastest family is `best`.
///
/// `FlashAttention` 2 over 3 on H100, 8k tokens, heads of 128: 4788 over 2585 us causal, 9460 over
/// 4962 without a mask (flash-attention issue 1791), 1.88 in the mean. 1 over 2: about 2 (Dao
/// 2023). Before Hopper, 2 is what all run.
fn backward_factor(learned: &str, best: &str, family: AttentionFamily) -> f64 {
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
            2.0 * if learned_second { 1.0 } else { generations }
        }
    }
}

#[cfg(test)]
mod tests;
