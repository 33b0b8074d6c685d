//! Where measured rows come from: the public sources behind the short names in tables.

/// Prefix of a `source` field, the public source, its licence.
const PUBLIC: &[(&str, &str, &str)] = &[
    ("aic:", "ai-dynamo/aiconfigurator@095f58a", "Apache-2.0"),
    ("vidur:", "microsoft/vidur@7d47513", "MIT"),
    ("NeuSight", "sitar-lab/NeuSight@6945927", "MIT"),
    ("vtrain", "VIA-Research/vTrain@f8dda84", "MIT-style"),
    ("SimuMax", "MooreThreads/SimuMax@4dcaae5", "Apache-2.0"),
    ("ROCm/aiter", "ROCm/aiter@e404860", "MIT"),
    ("stas00/", "stas00/ml-engineering@744d01e", "CC-BY-SA-4.0, facts"),
    ("Azure/", "Azure/AI-benchmarking-guide@8fd0c6e", "MIT"),
    ("coreweave/", "coreweave/nccl-tests@cb86553", "facts"),
    ("awslabs/", "awslabs/awsome-distributed-ai@95b939c", "facts"),
    ("NVIDIA/", "NVIDIA issue threads", "facts"),
    ("Dao-AILab/", "Dao-AILab/flash-attention issue threads", "facts"),
    ("pytorch/", "pytorch issue threads", "facts"),
    ("meta-pytorch/", "meta-pytorch/tritonbench issue threads", "facts"),
    ("facebookexperimental/", "facebookexperimental/triton issue threads", "facts"),
    ("gpu-mode/", "gpu-mode/ring-attention issue threads", "facts"),
];

/// A source field with its public source and licence, where they are known.
pub(super) fn describe(source: &str) -> String {
    match PUBLIC.iter().find(|known| source.starts_with(known.0)) {
        Some((_, public, licence)) => format!("{source}: {public}, {licence}"),
        None => source.to_owned(),
    }
}
