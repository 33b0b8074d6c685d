//! Calls of NCCL around a launch at 820, alone and in groups, with and without payloads.

use super::*;
use crate::trace::Communication;
use crate::work::CollectiveKind;

/// Columns and schemas of newer exports: a communicator and a size; a communicator and its ranks.
const NEWER: &str = "ALTER TABLE NVTX_EVENTS ADD COLUMN binaryData BLOB;
    ALTER TABLE NVTX_EVENTS ADD COLUMN jsonText TEXT;
    CREATE TABLE NVTX_PAYLOAD_SCHEMA_ENTRIES (domainId INTEGER, schemaId INTEGER, idx INTEGER,
        type INTEGER, name TEXT, offset INTEGER);
    INSERT INTO NVTX_PAYLOAD_SCHEMA_ENTRIES VALUES (1, 5, 0, 18, 'NCCL communicator ID', NULL),
        (1, 5, 1, 22, 'Message size [bytes]', 8), (1, 6, 0, 18, 'NCCL communicator ID', NULL),
        (1, 6, 1, 5, 'No. of ranks', 8);
    DELETE FROM NVTX_EVENTS WHERE textId = 7;";

/// A payload of a communicator and a number, as bytes with their head.
fn payload(schema: u32, communicator: u64, number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    [1, 0, schema, 0].iter().for_each(|word: &u32| bytes.extend(word.to_le_bytes()));
    [16, 48, communicator, number].iter().for_each(|long: &u64| bytes.extend(long.to_le_bytes()));
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A range with a payload of bytes.
fn range(name: &str, (start, end): (u64, u64), payload: &[u8]) -> String {
    let payload = if payload.is_empty() { "NULL".into() } else { format!("x'{}'", hex(payload)) };
    format!(
        "INSERT INTO NVTX_EVENTS VALUES
             ({start}, {end}, 59, '{name}', NULL, {TID}, NULL, {payload}, NULL);"
    )
}

/// What is known of the only kernel that communicates.
fn heard(kernel: &str, ranges: &[String]) -> Communication {
    let tables = tables().replace("ncclDevKernel_AllReduce", kernel);
    let recording = read(&(tables + NEWER + &ranges.concat())).unwrap();
    assert_eq!(recording.partial, Vec::<String>::new());
    assert_eq!(recording.communications.len(), 1);
    recording.communications[0].clone()
}

fn bytes(said: &Communication) -> Option<f64> {
    said.bytes.map(|bytes| bytes.value())
}

const GENERIC: &str = "ncclDevKernel_Generic";

#[test]
fn a_call_says_its_operation_and_its_payload_how_much() {
    let plain = heard(GENERIC, &[range("ncclAllReduce", (816, 834), &[])]);
    assert_eq!((plain.kind, bytes(&plain)), (Some(CollectiveKind::AllReduce), None));
    let call = range("ncclAllReduce", (816, 834), &payload(5, 171, 4096));
    let said = heard(GENERIC, &[call]);
    assert_eq!((said.kind, bytes(&said)), (Some(CollectiveKind::AllReduce), Some(4096.0)));
    assert!(said.communicator.is_some());
    let json = r#"{"NCCL communicator ID": 171, "Message size [bytes]": "4096"}"#;
    let call = format!(
        "INSERT INTO NVTX_EVENTS VALUES
             (816, 834, 59, 'ncclBroadcast', NULL, {TID}, NULL, NULL, '{json}');"
    );
    let said = heard(GENERIC, &[call]);
    assert_eq!((said.kind, bytes(&said)), (Some(CollectiveKind::Broadcast), Some(4096.0)));
}

#[test]
fn payloads_that_are_not_laid_out_as_their_schema_say_nothing() {
    let whole = payload(5, 171, 4096);
    let unknown = payload(9, 171, 4096);
    let mut long = whole.clone();
    long.push(0);
    for payload in [&whole[..40], &unknown, &long, &whole[..3]] {
        let said = heard(GENERIC, &[range("ncclAllReduce", (816, 834), payload)]);
        assert_eq!((bytes(&said), said.communicator), (None, None));
    }
}

#[test]
fn the_message_of_a_gather_is_a_shard_of_as_many_as_the_communicator_has_ranks() {
    let call = range("ncclAllGather", (816, 834), &payload(5, 171, 4096));
    let alone = heard(GENERIC, std::slice::from_ref(&call));
    assert_eq!((alone.kind, bytes(&alone)), (Some(CollectiveKind::AllGather), None));
    let made = range("ncclCommInitRankConfig", (100, 200), &payload(6, 171, 8));
    let both = heard(GENERIC, &[made, call]);
    assert_eq!((both.group_size, bytes(&both)), (Some(8), Some(32768.0)));
}

#[test]
fn a_group_is_launched_by_its_end_and_is_what_was_called_in_it() {
    let call = |name: &str, at: u64, size: u64| range(name, (at, at + 1), &payload(5, 171, size));
    let start = range("ncclGroupStart", (796, 797), &[]);
    let end = range("ncclGroupEnd", (818, 834), &[]);
    let one = [start.clone(), call("ncclAllReduce", 800, 64), end.clone()];
    let said = heard(GENERIC, &one);
    assert_eq!((said.kind, bytes(&said)), (Some(CollectiveKind::AllReduce), Some(64.0)));
    let several = [
        start.clone(),
        call("ncclAllReduce", 800, 64),
        call("ncclAllReduce", 802, 32),
        end.clone(),
    ];
    assert_eq!(bytes(&heard(GENERIC, &several)), Some(96.0));
    let mixed = [
        start.clone(),
        call("ncclAllReduce", 800, 64),
        call("ncclBroadcast", 802, 32),
        end.clone(),
    ];
    let said = heard(GENERIC, &mixed);
    assert_eq!((said.kind, bytes(&said)), (None, None));
    // One message there and one back; and an exchange, which the framework's range names.
    let message =
        [start.clone(), call("ncclSend", 800, 64), call("ncclRecv", 802, 64), end.clone()];
    let said = heard("ncclDevKernel_SendRecv", &message);
    assert_eq!((said.kind, bytes(&said)), (Some(CollectiveKind::SendReceive), Some(64.0)));
    let mut exchange = vec![start];
    for at in [800, 804] {
        exchange.extend([call("ncclSend", at, 64), call("ncclRecv", at + 2, 64)]);
    }
    exchange.push(end);
    let said = heard("ncclDevKernel_SendRecv", &exchange);
    assert_eq!((said.kind, bytes(&said)), (Some(CollectiveKind::SendReceive), None));
    exchange.push(range("nccl:all_to_all, op_id = 991144", (790, 835), &[]));
    let said = heard("ncclDevKernel_SendRecv", &exchange);
    assert_eq!((said.kind, bytes(&said)), (Some(CollectiveKind::AllToAll), Some(128.0)));
    assert!(!said.is_uneven);
}

#[test]
fn sizes_of_the_framework_s_range_count_in_the_format_that_the_kernel_names() {
    let range = range("nccl:all_reduce, op_id = 7, sizes = [[4, 8]]", (790, 835), &[]);
    let kernel = "ncclDevKernel_AllReduce_Sum_f16_RING_LL";
    let said = heard(kernel, std::slice::from_ref(&range));
    assert_eq!((said.kind, bytes(&said)), (Some(CollectiveKind::AllReduce), Some(64.0)));
    assert_eq!(bytes(&heard(GENERIC, &[range])), None);
}
