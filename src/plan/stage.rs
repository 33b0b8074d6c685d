//! Which layers run on which stage.

use super::error::{PlanError, divide};
use crate::spec::{Model, Plan};

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
    fn embedding_and_head_take_a_layer_each() {
        let plan =
            Plan { pp: 16, virtual_stages: 8, count_embedding_and_head: true, ..Plan::default() };
        let layers = stage_layers(&plan, &model(126)).unwrap();
        assert_eq!((layers[0][0], layers[1][0], layers[15][7]), (0, 1, 0));
    }
}
