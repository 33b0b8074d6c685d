//! Small recordings made by hand, for tests of what is done with recordings. Times are in
//! microseconds; a launch call takes 2 of them, and on an idle stream its kernel starts 5 after it.

use std::sync::LazyLock;
use stepcast::timeline::FrameKind;
use stepcast::trace::{
    Builder, Classes, CollectiveArguments, DeviceEvent, DeviceKind, HostCall, HostFrame, Recording,
    Synchronization,
};

/// Duration of a launch call.
pub(crate) const CALL: i64 = 2;
/// From the start of a launch call to the start on an idle stream.
pub(crate) const LATENCY: i64 = 5;

/// A recording under construction.
pub(crate) struct Made<'a> {
    builder: Builder<'a>,
    correlation: u64,
}

/// Makes the recording of a rank of a job.
pub(crate) fn made_rank(rank: u64, ranks: u64, build: impl FnOnce(&mut Made<'_>)) -> Recording {
    static CLASSES: LazyLock<Classes> = LazyLock::new(Classes::shipped);
    let builder = Builder::new(&format!("rank{rank}.json"), &CLASSES);
    let mut made = Made { builder, correlation: 0 };
    made.builder.rank(Some(rank), Some(ranks));
    build(&mut made);
    made.builder.finish()
}

/// Makes a recording.
pub(crate) fn made(build: impl FnOnce(&mut Made<'_>)) -> Recording {
    made_rank(0, 1, build)
}

impl Made<'_> {
    /// A call of a thread; gives its correlation.
    pub(crate) fn call(&mut self, thread: u64, name: &str, (from, to): (i64, i64)) -> u64 {
        self.correlation += 1;
        self.builder.host_call(HostCall {
            pid: 1,
            thread,
            name,
            start_ns: from * 1000,
            end_ns: to * 1000,
            correlation: Some(self.correlation),
            context: 0,
        });
        self.correlation
    }

    /// Work of a stream that a call launched.
    pub(crate) fn device(
        &mut self,
        correlation: Option<u64>,
        (kind, name): (DeviceKind, &str),
        stream: i64,
        (from, to): (i64, i64),
        collective: Option<CollectiveArguments<'_>>,
    ) {
        self.builder.device_event(DeviceEvent {
            kind,
            device: 0,
            stream,
            name,
            start_ns: from * 1000,
            end_ns: to * 1000,
            correlation,
            context: 0,
            bytes: None,
            collective,
        });
    }

    /// A kernel and the call that launches it at a time.
    pub(crate) fn kernel_of(
        &mut self,
        thread: u64,
        launched: i64,
        name: &str,
        stream: i64,
        extent: (i64, i64),
    ) {
        let call = self.call(thread, "cudaLaunchKernel", (launched, launched + CALL));
        self.device(Some(call), (DeviceKind::Kernel, name), stream, extent, None);
    }

    /// A kernel of the main thread with so many blocks, on stream 7.
    pub(crate) fn kernel_of_blocks(
        &mut self,
        launched: i64,
        name: &str,
        blocks: u32,
        extent: (i64, i64),
    ) {
        self.kernel_of(1, launched, name, 7, extent);
        self.builder.grid([blocks, 1, 1]);
    }

    /// A kernel of the main thread on stream 7.
    pub(crate) fn kernel(&mut self, launched: i64, name: &str, extent: (i64, i64)) {
        self.kernel_of(1, launched, name, 7, extent);
    }

    /// A collective of a number of ranks, on a stream.
    pub(crate) fn collective(
        &mut self,
        launched: i64,
        (stream, sequence, ranks): (i64, u64, u64),
        extent: (i64, i64),
    ) {
        let call = self.call(1, "cudaLaunchKernel", (launched, launched + CALL));
        let arguments = CollectiveArguments {
            name: Some("allreduce"),
            elements_in: Some(1024),
            elements_out: Some(1024),
            dtype: Some("Float"),
            group_size: Some(ranks),
            group: Some("world"),
            sequence: Some(sequence),
            ..CollectiveArguments::default()
        };
        let name = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgs)";
        self.device(Some(call), (DeviceKind::Kernel, name), stream, extent, Some(arguments));
    }

    /// An event recorded on a stream, for which another is told to wait; the recorder says so.
    pub(crate) fn stated_wait(&mut self, at: i64, waiting: i64, source: i64) {
        let record = self.call(1, "cudaEventRecord", (at, at + 1));
        let wait = self.call(1, "cudaStreamWaitEvent", (at + 1, at + 2));
        self.builder.synchronization(Synchronization {
            stream_waits: true,
            device: 0,
            stream: Some(waiting),
            event_stream: Some(source),
            record: Some(record),
            start_ns: (at + 1) * 1000,
            correlation: Some(wait),
            context: 0,
        });
    }

    /// A step that the recorder marks.
    pub(crate) fn step(&mut self, number: u64, (from, to): (i64, i64)) {
        self.builder.step(1, number, from * 1000, to * 1000);
    }

    /// An operator of the main thread with the shapes of its arguments, all in bf16.
    pub(crate) fn operator(&mut self, name: &str, shapes: &[&[u64]], (from, to): (i64, i64)) {
        let (start_ns, end_ns) = (from * 1000, to * 1000);
        let kind = FrameKind::Operator;
        let frame = HostFrame { pid: 1, thread: 1, kind, name, start_ns, end_ns };
        let frame = self.builder.frame(frame);
        let dtypes = vec!["c10::BFloat16".to_owned(); shapes.len()];
        self.builder.operator(frame, shapes.iter().map(|it| it.to_vec()).collect(), dtypes);
    }

    /// A frame of the main thread.
    pub(crate) fn frame(&mut self, kind: FrameKind, name: &str, (from, to): (i64, i64)) {
        let (start_ns, end_ns) = (from * 1000, to * 1000);
        self.builder.frame(HostFrame { pid: 1, thread: 1, kind, name, start_ns, end_ns });
    }
}
