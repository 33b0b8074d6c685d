//! Operators and annotations of PyTorch's process groups: what they say of the collective that
//! they send.
//!
//! Three nest around a launch (`torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp`): the operator
//! of the dispatcher, `c10d::allreduce_`; `record_param_comms`, whose arguments since 2.2 say all
//! there is to say, and before that are the tensor that goes in and numbers; and the annotation
//! `nccl:all_reduce`, with the tensors that go in as its arguments. Old versions name process
//! groups by an address, which tells nothing to other ranks and is not kept.

use serde_json::Value;

use super::arguments::Rare;
use crate::trace::CollectiveArguments;
use crate::trace::formats::frames::{PARAM_COMMS, by_backend, by_name};

/// What arguments with names say, of kernels and of `record_param_comms`.
pub(super) fn named<'a>(rare: &'a Rare<'_>) -> CollectiveArguments<'a> {
    let group = rare.group.text();
    let ranks = rare.ranks.text();
    // Groups may share a description, so it tells numbers apart only with the ranks.
    let is_told_apart = group.is_some() || ranks.is_some();
    let splits = [&rare.split_in, &rare.split_out];
    CollectiveArguments {
        name: rare.collective.text(),
        elements_in: rare.elements_in.count(),
        elements_out: rare.elements_out.count(),
        dtype: rare.dtype.text(),
        group_size: rare.group_size.count(),
        group: group.or_else(|| rare.group_description.text()),
        ranks,
        sequence: rare.sequence.count().filter(|_| is_told_apart),
        is_uneven: splits.into_iter().filter_map(|split| split.text()).any(is_uneven),
        ..CollectiveArguments::default()
    }
}

/// Whether parts of a buffer, `[96, 224]`, differ; none are equal ones.
fn is_uneven(parts: &str) -> bool {
    let parts = parts.trim_matches(['[', ']']);
    let mut parts = parts.split(',').filter_map(|part| part.trim().parse::<u64>().ok());
    let first = parts.next();
    parts.any(|part| Some(part) != first)
}

/// What a frame says.
pub(super) fn of<'a>(name: &'a str, rare: Option<&'a Rare<'_>>) -> CollectiveArguments<'a> {
    let Some(rare) = rare else { return by_name(name) };
    let tensors = Tensors::of(rare);
    if name == PARAM_COMMS {
        let mut said = named(rare);
        if said.elements_in.is_none() && said.elements_out.is_none() {
            tensors.first().put_in(&mut said);
        }
        said.group_size = said.group_size.or_else(|| last_number(rare));
        return said;
    }
    let mut said = by_name(name);
    if by_backend(name).is_some() {
        tensors.put_in(&mut said);
    } else if name.ends_with("_base_") {
        // `_allgather_base_(output, input, …)`, and so those of reduce-scatter and all-to-all.
        tensors.second().put_in(&mut said);
        let mut out = CollectiveArguments::default();
        tensors.first().put_in(&mut out);
        (said.elements_out, said.bytes_out) = (out.elements_in, out.bytes_in);
    }
    said
}

/// The number of ranks that `record_param_comms` has as its last argument, behind those for the
/// lengths of parts and the first rank and stride of the group (2.2 and later).
fn last_number(rare: &Rare<'_>) -> Option<u64> {
    let types = rare.dtypes.as_ref()?.as_array()?;
    let ends = ["ScalarList", "ScalarList", "Scalar", "Scalar", "Scalar"];
    let tail = types.get(types.len().checked_sub(ends.len())?..)?;
    let is_known = tail.iter().zip(ends).all(|(found, end)| found.as_str() == Some(end));
    let values = rare.values.as_ref().filter(|_| is_known)?.as_array()?;
    let last = values.get(types.len() - 1)?;
    last.as_u64().or_else(|| last.as_str()?.trim().parse().ok()).filter(|&count| count > 0)
}

/// Arguments of a frame with their types.
struct Tensors<'a> {
    arguments: Vec<(&'a Value, &'a str)>,
}

impl<'a> Tensors<'a> {
    fn of(rare: &'a Rare<'_>) -> Self {
        let list = |value: &'a Option<Value>| value.as_ref().and_then(Value::as_array);
        let (shapes, types) = (list(&rare.shapes), list(&rare.dtypes));
        let types = types.into_iter().flatten().map(|name| name.as_str().unwrap_or_default());
        Self { arguments: shapes.into_iter().flatten().zip(types).collect() }
    }

    /// The argument at a place alone.
    fn only(&self, place: usize) -> Self {
        Self { arguments: self.arguments.get(place).copied().into_iter().collect() }
    }

    fn first(&self) -> Self {
        self.only(0)
    }

    fn second(&self) -> Self {
        self.only(1)
    }

    /// Writes the size of all together as what goes in, and their format if they have one; nothing
    /// unless all are tensors.
    fn put_in(&self, said: &mut CollectiveArguments<'a>) {
        let Some(&(_, dtype)) = self.arguments.first() else { return };
        let is_one_format = self.arguments.iter().all(|argument| argument.1 == dtype);
        let mut elements = 0_u64;
        for &(shape, dtype) in &self.arguments {
            let is_list = dtype == "TensorList";
            let is_scalar = dtype.is_empty() || dtype.starts_with("Scalar") || is_list;
            let count = if is_list { of_list(shape) } else { of_tensor(shape) };
            match count.filter(|_| is_list || !is_scalar) {
                Some(count) => elements = elements.saturating_add(count),
                None => return,
            }
        }
        if is_one_format {
            said.elements_in = Some(elements);
            said.dtype = said.dtype.or(Some(dtype).filter(|it| *it != "TensorList"));
        }
    }
}

/// Elements of a tensor of this shape.
fn of_tensor(shape: &Value) -> Option<u64> {
    let lengths = shape.as_array()?.iter().map(Value::as_u64);
    lengths.into_iter().try_fold(1_u64, |product, length| product.checked_mul(length?))
}

/// Elements of a list of tensors; `None` where their shapes were not recorded.
fn of_list(shapes: &Value) -> Option<u64> {
    let shapes = shapes.as_array().filter(|shapes| !shapes.is_empty())?;
    shapes.iter().map(of_tensor).try_fold(0_u64, |sum, count| sum.checked_add(count?))
}
