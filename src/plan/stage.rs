//! Which layers run on which stage.

use super::error::{PlanError, divide};
use crate::spec::{Model, PipelineBalance, Plan, Scenario};

/// What each stage of a pipeline holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stages {
    /// Layers by stage and chunk.
    pub layers: Vec<Vec<u64>>,
    /// The stage of final norm, output projection and loss. Stages after it are idle.
    pub head: usize,
}

/// What each stage holds, as the plan says or else as the stack balances it.
///
/// # Errors
///
/// When the layers do not divide over the chunks and nothing says how they are spread.
pub fn stages(scenario: &Scenario) -> Result<Stages, PlanError> {
    let (plan, model) = (&scenario.plan, &scenario.model);
    let by_compute = scenario.stack.pipeline_balance == PipelineBalance::Compute
        && plan.stage_layers.is_none()
        && plan.virtual_stages == 1;
    if by_compute {
        return Ok(balanced(model, plan.pp as usize));
    }
    let layers = stage_layers(plan, model)?;
    let last = layers.len() - 1;
    Ok(Stages { layers, head: last })
}

/// Layers in turn, each stage until what is placed exceeds its share of all; embedding, norms and
/// loss count nothing, a layer and the output projection their matrices. The output projection
/// comes after the last layers where a stage is left, and with them where none is.
fn balanced(model: &Model, stage_count: usize) -> Stages {
    let (layer, head) = (model.layer_matrices(), model.head_parameters());
    let total = layer * model.layer_count as f64 + head;
    let share = |stage: usize| total * ((stage + 1) as f64 / stage_count as f64);
    let mut layers = vec![vec![0]; stage_count];
    let (mut stage, mut placed, mut last) = (0, 0.0, 0);
    for _ in 0..model.layer_count {
        layers[stage][0] += 1;
        placed += layer;
        last = stage;
        // Sums of equal numbers may pass the last share by rounding.
        if placed > share(stage) && stage + 1 < stage_count {
            stage += 1;
        }
    }
    Stages { layers, head: (last + 1).min(stage_count - 1) }
}

/// Layers by stage and chunk, `[stage][chunk]`; chunk `c` of stage `s` is the `c * pp + s`-th of
/// the model (Narayanan et al. 2021, section 2.2).
///
/// # Errors
///
/// When the layers do not divide over the chunks and `plan.stage_layers` does not say how.
pub fn stage_layers(plan: &Plan, model: &Model) -> Result<Vec<Vec<u64>>, PlanError> {
    let chunk_count = plan.pp * plan.virtual_stages;
    let in_order = match &plan.stage_layers {
        Some(layers) => given(layers, chunk_count, model.layer_count)?,
        None => even(plan, model, chunk_count)?,
    };
    let stages = (0..plan.pp)
        .map(|stage| {
            (0..plan.virtual_stages)
                .map(|chunk| in_order[(chunk * plan.pp + stage) as usize])
                .collect()
        })
        .collect();
    Ok(stages)
}

fn given(layers: &[u64], chunks: u64, layer_count: u64) -> Result<Vec<u64>, PlanError> {
    let sum = layers.iter().fold(0u64, |sum, &layers| sum.saturating_add(layers));
    if layers.len() as u64 != chunks || sum != layer_count {
        return Err(PlanError::StageLayers {
            found: layers.len(),
            sum,
            chunks,
            layers: layer_count,
        });
    }
    Ok(layers.to_vec())
}

fn even(plan: &Plan, model: &Model, chunk_count: u64) -> Result<Vec<u64>, PlanError> {
    let extra = if plan.count_embedding_and_head { 2 } else { 0 };
    let each = divide(
        if extra > 0 { "model.layer_count with embedding and head" } else { "model.layer_count" },
        model.layer_count + extra,
        "plan.pp x plan.virtual_stages",
        chunk_count,
    )?;
    let mut layers = vec![each; chunk_count as usize];
    if extra > 0 {
        let last = layers.len() - 1;
        // On a single chunk both come off the same number.
        layers[0] -= 1;
        layers[last] = layers[last].saturating_sub(1);
    }
    Ok(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(layer_count: u64) -> Model {
        toml::from_str(&format!(
            "name='m'\nlayer_count={layer_count}\nhidden_size=64\nffn_size=256\nhead_count=4\n\
             vocabulary_size=100\nactivation='gelu'\nnorm='layernorm'\nposition='rotary'"
        ))
        .unwrap()
    }

    #[test]
    fn interleaved_chunks_go_round_the_stages() {
        let plan = Plan {
            pp: 2,
            virtual_stages: 2,
            stage_layers: Some(vec![1, 2, 3, 4]),
            ..Plan::default()
        };
        assert_eq!(stage_layers(&plan, &model(10)).unwrap(), [[1, 3], [2, 4]]);
        assert!(stage_layers(&plan, &model(11)).is_err());
    }

    #[test]
    fn a_stage_is_full_once_it_holds_more_than_its_share() {
        // A layer has 4 x 64^2 + 2 x 64 x 256 = 49,152, a head of 2,304 rows 147,456: three layers.
        let mut model = model(8);
        model.vocabulary_size = 2304;
        // Shares of 11/4: 3 and 6 layers' worth pass the first two, and 8 are less than the third.
        let stages = balanced(&model, 4);
        assert_eq!((stages.layers, stages.head), (vec![vec![3], vec![3], vec![2], vec![0]], 3));
        // Shares of 11/2: six layers, then two and the head.
        let stages = balanced(&model, 2);
        assert_eq!((stages.layers, stages.head), (vec![vec![6], vec![2]], 1));
        // Shares of 11/8 are passed by 2, 3, 5, 6 and 7 layers: the head has the seventh stage, and
        // nothing is left for the eighth.
        let stages = balanced(&model, 8);
        let counts: Vec<u64> = stages.layers.iter().map(|chunks| chunks[0]).collect();
        assert_eq!((counts, stages.head), (vec![2, 1, 2, 1, 1, 1, 0, 0], 6));
    }

    #[test]
    fn embedding_and_head_take_a_layer_each() {
        let plan =
            Plan { pp: 16, virtual_stages: 8, count_embedding_and_head: true, ..Plan::default() };
        let layers = stage_layers(&plan, &model(126)).unwrap();
        assert_eq!((layers[0][0], layers[1][0], layers[15][7]), (0, 1, 0));
    }
}
