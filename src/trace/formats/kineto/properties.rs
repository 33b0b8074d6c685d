//! What the file says of the devices and the job.

use serde_json::Value;

use crate::trace::Builder;

/// A whole number, however it is written.
pub(super) fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn count(value: &Value) -> Option<u64> {
    integer(value).and_then(|value| u64::try_from(value).ok())
}

/// Names of devices (`deviceProperties`).
pub(super) fn devices(devices: Option<&Value>, builder: &mut Builder<'_>) {
    let devices = devices.and_then(Value::as_array);
    for (index, device) in (0..).zip(devices.into_iter().flatten()) {
        let id = device.get("id").and_then(count).unwrap_or(index);
        if let Some(name) = device.get("name").and_then(Value::as_str) {
            builder.device_name(id, name);
        }
    }
}

/// Rank and number of ranks (`distributedInfo`).
pub(super) fn job(job: Option<&Value>, builder: &mut Builder<'_>) {
    let number = |key: &str| job?.get(key).and_then(count);
    builder.rank(number("rank"), number("world_size"));
}

/// Ranks whose processes and devices are numbered by rank (`ranks`, of our own exports of several).
pub(super) fn ranks(ranks: Option<&Value>, builder: &mut Builder<'_>) {
    builder.ranks(ranks.and_then(Value::as_array).into_iter().flatten().filter_map(count));
}
