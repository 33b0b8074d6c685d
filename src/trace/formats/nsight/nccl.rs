//! Calls of NCCL, as its NVTX ranges tell them: which operation, how much, which communicator.
//!
//! A call on its own launches its kernel itself; calls between `ncclGroupStart` and `ncclGroupEnd`
//! are launched by the latter, maybe many of them as one kernel. What ranges carry as payload
//! (`src/include/nvtx_payload_schemas.h` and `src/collectives.cc` of NVIDIA/nccl): the hash of the
//! communicator, which is the same on all of its ranks, and the size of one message.

use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

use super::host::thread;
use super::payload::Payload;
use crate::trace::{Announcement, Builder, CollectiveArguments};

/// What calls of NCCL begin with.
const PREFIX: &str = "nccl";
/// Calls that send data.
const CALLS: [&str; 9] = [
    "AllReduce",
    "AllGather",
    "ReduceScatter",
    "Broadcast",
    "Bcast",
    "Reduce",
    "AlltoAll",
    "Send",
    "Recv",
];
/// Names of the fields of payloads.
const COMMUNICATOR: &str = "NCCL communicator ID";
const MESSAGE: &str = "Message size [bytes]";
const RANKS: &str = "No. of ranks";

/// A call of NCCL.
#[derive(Clone, Debug, PartialEq)]
struct Call {
    start_ns: i64,
    end_ns: i64,
    what: What,
    communicator: Option<u64>,
    bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    GroupStart,
    GroupEnd,
    /// Index into [`CALLS`].
    Sends(usize),
}

/// Calls of all threads.
#[derive(Default)]
pub(super) struct Calls {
    by_thread: BTreeMap<i64, Vec<Call>>,
    /// Ranks of communicators whose making was recorded.
    sizes: FxHashMap<u64, u64>,
}

impl Calls {
    /// Takes a range, if it is a call of NCCL.
    pub(super) fn take(
        &mut self,
        name: &str,
        global: i64,
        (start_ns, end_ns): (i64, i64),
        payload: impl FnOnce() -> Payload,
    ) {
        let Some(name) = name.strip_prefix(PREFIX) else { return };
        let sends = CALLS.iter().position(|call| name.eq_ignore_ascii_case(call));
        let what = match name {
            "GroupStart" => What::GroupStart,
            "GroupEnd" => What::GroupEnd,
            _ if name.starts_with("Comm") => {
                let payload = payload();
                if let (Some(communicator), Some(ranks)) =
                    (payload.number(COMMUNICATOR), payload.number(RANKS))
                {
                    self.sizes.insert(communicator, ranks);
                }
                return;
            }
            _ => match sends {
                Some(call) => What::Sends(call),
                None => return,
            },
        };
        let payload = payload();
        let communicator = payload.number(COMMUNICATOR).filter(|&it| it != 0);
        let bytes = payload.number(MESSAGE);
        let call = Call { start_ns, end_ns, what, communicator, bytes };
        self.by_thread.entry(global).or_default().push(call);
    }

    /// Tells the builder what was sent, by the ranges that launched it.
    pub(super) fn announce(mut self, builder: &mut Builder<'_>) {
        for (global, mut calls) in std::mem::take(&mut self.by_thread) {
            calls.sort_by_key(|call| (call.start_ns, std::cmp::Reverse(call.end_ns)));
            let mut depth = 0_u32;
            let mut group: Vec<Call> = Vec::new();
            for call in calls {
                match call.what {
                    What::GroupStart => {
                        // A group whose end is not in the recording says nothing of the next one.
                        if depth == 0 {
                            group.clear();
                        }
                        depth += 1;
                    }
                    What::GroupEnd => {
                        depth = depth.saturating_sub(1);
                        if depth == 0 {
                            self.tell(global, (call.start_ns, call.end_ns), &group, builder);
                            group.clear();
                        }
                    }
                    What::Sends(_) if depth > 0 => group.push(call),
                    What::Sends(_) => {
                        let extent = (call.start_ns, call.end_ns);
                        self.tell(global, extent, &[call], builder);
                    }
                }
            }
        }
    }

    /// Tells of a range in which these were launched.
    fn tell(
        &self,
        global: i64,
        (start_ns, end_ns): (i64, i64),
        calls: &[Call],
        builder: &mut Builder<'_>,
    ) {
        let Some(first) = calls.first() else { return };
        let group = first.communicator.map(|it| format!("{it:#018x}"));
        let is_one = calls.iter().all(|call| call.communicator == first.communicator);
        let mut arguments = CollectiveArguments {
            group: group.as_deref().filter(|_| is_one),
            group_size: first.communicator.filter(|_| is_one).and_then(|it| self.size(it)),
            ..CollectiveArguments::default()
        };
        let count = amounts(calls, &mut arguments);
        let (pid, thread) = thread(global);
        builder.announcement(Announcement {
            pid,
            thread,
            start_ns,
            end_ns,
            number: None,
            arguments,
            count,
        });
    }

    fn size(&self, communicator: u64) -> Option<u64> {
        self.sizes.get(&communicator).copied().filter(|&ranks| ranks > 0)
    }
}

/// Writes what calls send together, and gives of how many equal ones that is.
fn amounts(calls: &[Call], arguments: &mut CollectiveArguments<'_>) -> u32 {
    let name = |call: &Call| match call.what {
        What::Sends(index) => CALLS[index],
        What::GroupStart | What::GroupEnd => "",
    };
    let is_message = |call: &Call| matches!(name(call), "Send" | "Recv");
    if calls.iter().all(is_message) {
        messages(calls, name, arguments);
        return 1;
    }
    let Some(first) = calls.first() else { return 1 };
    if calls.iter().any(|call| call.what != first.what) {
        return 1;
    }
    arguments.name = Some(name(first));
    let is_equal = calls.iter().all(|call| call.bytes == first.bytes);
    let sum = calls.iter().map(|call| call.bytes).try_fold(0_u64, |sum, it| sum.checked_add(it?));
    let bytes = if is_equal { first.bytes } else { sum };
    match name(first) {
        // The size of a message is that of the smaller buffer.
        "ReduceScatter" => arguments.bytes_out = bytes,
        "AlltoAll" => arguments.bytes_to_each = bytes,
        _ => arguments.bytes_in = bytes,
    }
    if is_equal { u32::try_from(calls.len()).unwrap_or(u32::MAX) } else { 1 }
}

/// Sends and receives: one message, or an exchange with several ranks.
fn messages(
    calls: &[Call],
    name: impl Fn(&Call) -> &'static str,
    arguments: &mut CollectiveArguments<'_>,
) {
    let sizes = |which: &str| -> Option<Vec<u64>> {
        calls.iter().filter(|call| name(call) == which).map(|call| call.bytes).collect()
    };
    let (Some(sent), Some(received)) = (sizes("Send"), sizes("Recv")) else {
        let is_one = calls.len() == 1;
        arguments.name = is_one.then(|| name(&calls[0]));
        arguments.is_exchange = !is_one;
        return;
    };
    let sum = |sizes: &[u64]| sizes.iter().fold(0_u64, |sum, &size| sum.saturating_add(size));
    let differ = |sizes: &[u64]| sizes.windows(2).any(|pair| pair[0] != pair[1]);
    arguments.bytes_in = (!sent.is_empty()).then(|| sum(&sent));
    arguments.bytes_out = (!received.is_empty()).then(|| sum(&received));
    arguments.is_exchange = sent.len() > 1 || received.len() > 1;
    arguments.is_uneven = differ(&sent) || differ(&received);
    // A message there and one back are one exchange only if they are alike.
    let both = arguments.bytes_in.is_some() && arguments.bytes_out.is_some();
    if !arguments.is_exchange {
        arguments.name = Some("Send");
        if both && arguments.bytes_in != arguments.bytes_out {
            (arguments.bytes_in, arguments.bytes_out) = (None, None);
        }
    }
}
