//! How fast a profiler's JSON is read; the bar is 250 MB/s of unpacked text on one core.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::io::Read;

use stepcast::trace::{Classes, Options, open};

/// Bytes of the file that is read; it is made while it is read, and never whole in memory.
const FILE_BYTES: usize = 500_000_000;

/// One round of events as the profiler writes them: operators with shapes, launches, kernels,
/// arrows between them, a function of Python.
fn round() -> String {
    let mut events = String::new();
    for index in 0..1000 {
        let at = format!("17404616795{index:05}.125");
        events += &format!(
            r#"
  {{
    "ph": "X", "cat": "cpu_op", "name": "aten::addmm", "pid": 1166, "tid": 1166,
    "ts": {at}, "dur": 31.750,
    "args": {{
      "External id": {index},"Record function id": 0, "Sequence number": 20613, "Fwd thread id": 0,
      "Concrete Inputs": ["", "", "", "1", "1"], "Input type": ["float", "float", "float", "", ""],
      "Input Dims": [[4096], [8192, 1024], [1024, 4096], [], []], "Ev Idx": {index}
    }}
  }},
  {{
    "ph": "X", "cat": "python_function", "name": "torch/nn/modules/linear.py({index}): forward",
    "pid": 1166, "tid": 1166, "ts": {at}, "dur": 40.250,
    "args": {{ "Python parent id": 11553, "Python id": 11599, "Ev Idx": 19626 }}
  }},
  {{
    "ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": 1166, "tid": 1166,
    "ts": {at}, "dur": 4.500,
    "args": {{ "External id": {index}, "cbid": 211, "correlation": {index} }}
  }},
  {{
    "ph": "s", "id": {index}, "pid": 1166, "tid": 1166, "ts": {at},
    "cat": "ac2g", "name": "ac2g"
  }},
  {{
    "ph": "X", "cat": "kernel", "name": "void gemm_kernel<float, 128, 32, {}>(Params)",
    "pid": 0, "tid": 7, "ts": {at}, "dur": 28.125,
    "args": {{
      "External id": {index}, "queued": 0, "device": 0, "context": 1, "stream": 7,
      "correlation": {index}, "registers per thread": 72, "shared memory": 49152,
      "blocks per SM": 0.945, "warps per SM": 7.5625, "grid": [32, 64, 1], "block": [256, 1, 1],
      "est. achieved occupancy %": 12
    }}
  }},
  {{
    "ph": "f", "id": {index}, "pid": 0, "tid": 7, "ts": {at},
    "cat": "ac2g", "name": "ac2g", "bp": "e"
  }},"#,
            index % 40
        );
    }
    events
}

/// A trace of so many bytes, made of one round again and again.
struct Grown<'a> {
    round: &'a [u8],
    rest: &'a [u8],
    left: usize,
}

impl Read for Grown<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.rest.is_empty() && self.left >= self.round.len() {
            self.left -= self.round.len();
            self.rest = self.round;
        }
        self.rest.read(buffer)
    }
}

fn read(criterion: &mut Criterion) {
    let (round, classes) = (round(), Classes::shipped());
    let mut group = criterion.benchmark_group("trace");
    group.sample_size(10).throughput(Throughput::Bytes(FILE_BYTES as u64));
    for (name, frames) in [("read 500 MB", false), ("read 500 MB with frames", true)] {
        let options = Options { classes: &classes, frames, shapes: false };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let round = round.as_bytes();
                let grown = Grown { round, rest: b"[", left: FILE_BYTES };
                let opened = open("grown.json", grown).expect("a trace");
                black_box(opened.read(None, &options).expect("a recording"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
