//! Work of devices: kernels, copies, fills, whole graphs; and which device is which.

use std::collections::BTreeMap;

use super::database::{Database, Row};
use crate::trace::{Builder, DeviceEvent, DeviceKind};

/// Where work of devices is.
pub(super) const TABLES: [&str; 4] = [
    "CUPTI_ACTIVITY_KIND_KERNEL",
    "CUPTI_ACTIVITY_KIND_MEMCPY",
    "CUPTI_ACTIVITY_KIND_MEMSET",
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE",
];

/// Bits of a serialised thread that number the thread; those above number process and host
/// (Nsight Systems User Guide, "Serialized GlobalId").
pub(super) const THREAD_BITS: u32 = 24;

/// A stream number that none of the streams seen so far has, apart per owner.
const STREAMS_OF_ANOTHER: i64 = 1_000_000;

/// Which process of the export something belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Processes {
    are_told: bool,
}

impl Processes {
    /// Whether device work says which process launched it.
    pub(super) fn of(database: &Database) -> Self {
        let mut are_told = false;
        for table in TABLES {
            // What is broken is told when the table is read.
            let _ = database.rows(table, &["globalPid"], &[], |row| {
                are_told |= row.int(0).is_some_and(|process| process != 0);
            });
        }
        Self { are_told }
    }

    /// In which correlations are unique, of a serialised process or thread.
    pub(super) fn context(self, global: Option<i64>) -> u64 {
        match global {
            Some(global) if self.are_told => (global as u64) >> THREAD_BITS,
            _ => 0,
        }
    }
}

/// Devices and streams by the numbers that a process gives them.
pub(super) struct Devices {
    /// Number on the host by process and number in the process.
    on_host: BTreeMap<(u64, i64), u64>,
    /// Which process and context a stream of a device belongs to.
    owners: BTreeMap<(u64, i64), (u64, i64)>,
    order: Vec<(u64, i64)>,
}

impl Devices {
    /// Reads which devices there are, and tells their names.
    pub(super) fn read(
        database: &Database,
        builder: &mut Builder<'_>,
        faults: &mut Vec<String>,
    ) -> Self {
        let mut on_host = BTreeMap::new();
        let table = "TARGET_INFO_CUDA_DEVICE";
        let read = database.rows(table, &["gpuId", "cudaId", "pid"], &[], |row| {
            if let (Some(gpu), Some(cuda), Some(pid)) = (row.count(0), row.int(1), row.count(2)) {
                on_host.insert((pid, cuda), gpu);
            }
        });
        faults.extend(read.err());
        let read = database.rows("TARGET_INFO_GPU", &["id", "name"], &[], |row| {
            if let (Some(gpu), Some(name)) = (row.count(0), row.text(1)) {
                builder.device_name(gpu, name);
            }
        });
        faults.extend(read.err());
        Self { on_host, owners: BTreeMap::new(), order: Vec::new() }
    }

    /// Number of a device on its host: processes that see few devices number them from 0.
    pub(super) fn device(&self, global: Option<i64>, device: i64) -> u64 {
        let own = u64::try_from(device).unwrap_or(0);
        // A serialised process has its number in the 24 bits above those of threads.
        let pid = (global.unwrap_or(0) as u64 >> THREAD_BITS) & ((1 << THREAD_BITS) - 1);
        let told = self.on_host.get(&(pid, device)).copied();
        // Work that names no process is on the only device of that number.
        let mut alike = self.on_host.iter().filter(|((_, cuda), _)| *cuda == device);
        let only = alike.next().filter(|_| alike.next().is_none()).map(|(_, &gpu)| gpu);
        told.or(only).unwrap_or(own)
    }

    /// Number of a stream, told apart from streams of other processes and contexts on the device.
    pub(super) fn stream(&mut self, device: u64, owner: (u64, i64), stream: i64) -> i64 {
        if *self.owners.entry((device, stream)).or_insert(owner) == owner {
            return stream;
        }
        let place = self.order.iter().position(|&known| known == owner).unwrap_or_else(|| {
            self.order.push(owner);
            self.order.len() - 1
        });
        stream.saturating_add(STREAMS_OF_ANOTHER.saturating_mul(place as i64 + 1))
    }
}

/// Columns that all tables of device work share, in the order of [`Shared::of`].
const NEEDED: [&str; 4] = ["start", "end", "deviceId", "streamId"];
const WISHED: [&str; 3] = ["contextId", "correlationId", "globalPid"];
/// Where the columns of one table begin.
const OWN: usize = NEEDED.len() + WISHED.len();

/// What every row of device work says.
struct Shared {
    start_ns: i64,
    end_ns: i64,
    device: u64,
    stream: i64,
    correlation: Option<u64>,
    context: u64,
}

impl Shared {
    fn of(row: &Row<'_, '_>, devices: &mut Devices, processes: Processes) -> Option<Self> {
        let global = row.int(6);
        let context = processes.context(global);
        let device = devices.device(global, row.int(2)?);
        let owner = (context, row.int(4).unwrap_or(0));
        Some(Self {
            start_ns: row.int(0)?,
            end_ns: row.int(1)?,
            device,
            stream: devices.stream(device, owner, row.int(3)?),
            correlation: row.count(5).filter(|&correlation| correlation != 0),
            context,
        })
    }

    fn event<'a>(&self, kind: DeviceKind, name: &'a str, bytes: Option<u64>) -> DeviceEvent<'a> {
        DeviceEvent {
            kind,
            device: self.device,
            stream: self.stream,
            name,
            start_ns: self.start_ns,
            end_ns: self.end_ns,
            correlation: self.correlation,
            context: self.context,
            bytes,
            collective: None,
        }
    }
}

/// Reads all work of devices and gives how many rows there were.
pub(super) fn read(
    database: &Database,
    builder: &mut Builder<'_>,
    faults: &mut Vec<String>,
) -> u64 {
    let processes = Processes::of(database);
    let mut devices = Devices::read(database, builder, faults);
    let [kernels, copies, fills, graphs] = TABLES;
    let mut count = 0;
    let mut read = |table: &str, own: &[&str], add: &mut dyn FnMut(&Shared, &Row<'_, '_>)| {
        let wished: Vec<&str> = WISHED.iter().chain(own).copied().collect();
        let mut unreadable = 0;
        let rows = database.rows(table, &NEEDED, &wished, |row| {
            match Shared::of(row, &mut devices, processes) {
                Some(shared) => {
                    count += 1;
                    add(&shared, row);
                }
                None => unreadable += 1,
            }
        });
        faults.extend(rows.err());
        if unreadable > 0 {
            faults.push(format!("table {table}: {unreadable} rows without times or place"));
        }
    };
    let of_kernels = ["demangledName", "shortName", "mangledName", "gridX", "gridY", "gridZ"];
    read(kernels, &of_kernels, &mut |shared, row| {
        let name = database.first_string(&[row.int(OWN), row.int(OWN + 1), row.int(OWN + 2)]);
        let name = name.as_deref().unwrap_or("kernel without a name");
        builder.device_event(shared.event(DeviceKind::Kernel, name, None));
        let blocks = |index| row.int(OWN + index).and_then(|blocks| u32::try_from(blocks).ok());
        if let (Some(x), Some(y), Some(z)) = (blocks(3), blocks(4), blocks(5)) {
            builder.grid([x, y, z]);
        }
    });
    read(copies, &["bytes", "copyKind", "srcKind", "dstKind"], &mut |shared, row| {
        let name = copy_name(row.int(OWN + 1), row.int(OWN + 2), row.int(OWN + 3));
        builder.device_event(shared.event(DeviceKind::Copy, &name, row.count(OWN)));
    });
    read(fills, &["bytes"], &mut |shared, row| {
        builder.device_event(shared.event(DeviceKind::Fill, "Memset (Device)", row.count(OWN)));
    });
    read(graphs, &["graphId"], &mut |shared, row| {
        let name = row.int(OWN).map_or("CUDA graph".to_owned(), |id| format!("CUDA graph {id}"));
        builder.device_event(shared.event(DeviceKind::Kernel, &name, None));
    });
    count
}

/// Name of a copy in the words of the PyTorch profiler, so that both read alike; numbers as in
/// `ENUM_CUDA_MEMCPY_OPER` and `ENUM_CUDA_MEM_KIND` of exports.
fn copy_name(kind: Option<i64>, from: Option<i64>, to: Option<i64>) -> String {
    let way = match kind {
        Some(1 | 11) => "HtoD",
        Some(2 | 12) => "DtoH",
        Some(8 | 13) => "DtoD",
        Some(9) => "HtoH",
        Some(10) => "PtoP",
        _ => return "Memcpy".to_owned(),
    };
    let memory = |kind: Option<i64>| match kind {
        Some(0) => Some("Pageable"),
        Some(1) => Some("Pinned"),
        Some(2 | 5) => Some("Device"),
        Some(3) => Some("Array"),
        Some(4 | 6) => Some("Managed"),
        _ => None,
    };
    match (memory(from), memory(to)) {
        (Some(from), Some(to)) => format!("Memcpy {way} ({from} -> {to})"),
        _ => format!("Memcpy {way}"),
    }
}
