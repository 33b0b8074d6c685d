//! Calls of the runtime and driver, what synchronisations waited for, names of threads, memory.

use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

use super::database::{Database, Row};
use super::device::{Devices, Processes, THREAD_BITS};
use crate::trace::{Builder, HostCall, Synchronization};

/// Where calls are; some versions keep those of the driver apart.
const CALLS: [&str; 2] = ["CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_DRIVER"];

/// A stream number that means none, as CUPTI writes it (`CUPTI_SYNCHRONIZATION_INVALID_VALUE`).
const NO_STREAM: i64 = u32::MAX as i64;

/// Process and thread of a serialised thread.
pub(super) fn thread(global: i64) -> (u64, u64) {
    let global = global as u64;
    (global >> THREAD_BITS, global & ((1 << THREAD_BITS) - 1))
}

/// Reads what hosts did.
pub(super) fn read(database: &Database, builder: &mut Builder<'_>, faults: &mut Vec<String>) {
    let processes = Processes::of(database);
    for table in CALLS {
        let needed = ["start", "end", "globalTid"];
        let read = database.rows(table, &needed, &["correlationId", "nameId"], |row| {
            let name = database.first_string(&[row.int(4)]);
            let (Some(start_ns), Some(global)) = (row.int(0), row.int(2)) else { return };
            let (pid, thread) = thread(global);
            builder.host_call(HostCall {
                pid,
                thread,
                name: name.as_deref().unwrap_or("call without a name"),
                start_ns,
                end_ns: row.int(1).unwrap_or(start_ns),
                correlation: row.count(3).filter(|&correlation| correlation != 0),
                context: processes.context(Some(global)),
            });
        });
        faults.extend(read.err());
    }
    let read = database.rows("ThreadNames", &["nameId", "globalTid"], &[], |row| {
        let name = database.first_string(&[row.int(0)]);
        if let (Some(name), Some(global)) = (name, row.int(1)) {
            let (pid, thread) = thread(global);
            builder.thread_name(pid, thread, &name);
        }
    });
    faults.extend(read.err());
    synchronizations(database, processes, builder, faults);
    memory(database, builder, faults);
}

/// Where and by which call an event was recorded.
#[derive(Clone, Copy)]
struct Record {
    stream: i64,
    correlation: Option<u64>,
}

/// Records of events by process and number of the record.
fn records(
    database: &Database,
    processes: Processes,
    faults: &mut Vec<String>,
) -> FxHashMap<(u64, i64), Record> {
    let mut records = FxHashMap::default();
    let table = "CUPTI_ACTIVITY_KIND_CUDA_EVENT";
    let wished = ["eventSyncId", "correlationId", "globalPid"];
    let read = database.rows(table, &["streamId"], &wished, |row| {
        if let (Some(stream), Some(number)) = (row.int(0), row.int(1).filter(|&it| it != 0)) {
            let record = Record { stream, correlation: row.count(2) };
            records.insert((processes.context(row.int(3)), number), record);
        }
    });
    faults.extend(read.err());
    records
}

/// `syncType`: 1 event, 2 stream waits for an event, 3 stream, 4 context
/// (`CUpti_ActivitySynchronizationType`). A wait for an event whose record is not in the file says
/// that a stream waited, and not for what.
fn synchronizations(
    database: &Database,
    processes: Processes,
    builder: &mut Builder<'_>,
    faults: &mut Vec<String>,
) {
    let records = records(database, processes, faults);
    let devices = Devices::read(database, builder, faults);
    let table = "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION";
    let needed = ["start", "deviceId", "streamId", "syncType"];
    let wished = ["correlationId", "globalPid", "eventSyncId"];
    let read = database.rows(table, &needed, &wished, |row| {
        let (Some(start_ns), Some(device), Some(kind)) = (row.int(0), row.int(1), row.int(3))
        else {
            return;
        };
        let global = row.int(5);
        let context = processes.context(global);
        let record = row.int(6).and_then(|number| records.get(&(context, number)));
        let said = Synchronization {
            stream_waits: kind == 2,
            device: devices.device(global, device),
            stream: row.int(2).filter(|&stream| (0..NO_STREAM).contains(&stream)),
            event_stream: record.map(|record| record.stream),
            record: record.and_then(|record| record.correlation),
            start_ns,
            correlation: row.count(4),
            context,
        };
        match (kind, record) {
            (2, None) => builder.wait_for_unknown(said),
            (2, Some(_)) | (3 | 4, _) | (1, Some(_)) => builder.synchronization(said),
            _ => {}
        }
    });
    faults.extend(read.err());
}

/// Device memory over time, where it was recorded (`--cuda-memory-usage`): allocations and
/// deallocations (`ENUM_CUDA_DEV_MEM_EVENT_OPER`), summed up by device.
fn memory(database: &Database, builder: &mut Builder<'_>, faults: &mut Vec<String>) {
    const DEVICE_MEMORY: i64 = 2;
    let devices = Devices::read(database, builder, faults);
    let mut changes: BTreeMap<(u64, i64), f64> = BTreeMap::new();
    let table = "CUDA_GPU_MEMORY_USAGE_EVENTS";
    let needed = ["start", "deviceId", "bytes", "memoryOperationType"];
    let read = database.rows(table, &needed, &["globalPid", "memKind"], |row: &Row<'_, '_>| {
        let (Some(at), Some(device), Some(bytes)) = (row.int(0), row.int(1), row.count(2)) else {
            return;
        };
        if row.int(5).is_none_or(|kind| kind == DEVICE_MEMORY) {
            let sign = if row.int(3) == Some(0) { 1.0 } else { -1.0 };
            let device = devices.device(row.int(4), device);
            *changes.entry((device, at)).or_default() += sign * bytes as f64;
        }
    });
    faults.extend(read.err());
    let mut now: BTreeMap<u64, f64> = BTreeMap::new();
    for ((device, at_ns), change) in changes {
        let held = now.entry(device).or_default();
        // What was allocated before the recording began is given back in it.
        *held = (*held + change).max(0.0);
        builder.memory(device, at_ns, *held);
    }
}
