//! Every shipped data file parses into its type, sums up to what is published, and says where each
//! of its numbers comes from.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use stepcast::spec::{Cluster, Gpu, Model, Scenario, Stack};
use toml::{Table, Value};

/// Keys whose text is no quantity.
const TEXT_KEYS: [&str; 5] = ["name", "base", "vendor", "architecture", "gpu"];

/// The tables of a folder by file stem.
fn tables(folder: &str) -> BTreeMap<String, Table> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut tables = BTreeMap::new();
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}")) {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).unwrap();
            let table = text.parse().unwrap_or_else(|error| panic!("{path:?}: {error}"));
            tables.insert(path.file_stem().unwrap().to_str().unwrap().to_owned(), table);
        }
    }
    let stems: Vec<String> = tables.keys().cloned().collect();
    stems.into_iter().map(|stem| (stem.clone(), on_its_base(&stem, &tables))).collect()
}

/// A table with what it inherits; a key that it changes needs a source of its own.
fn on_its_base(stem: &str, tables: &BTreeMap<String, Table>) -> Table {
    let mut own = tables[stem].clone();
    let Some(base) = own.remove("base") else { return own };
    let mut table = on_its_base(base.as_str().unwrap(), tables);
    let own_sources = own.remove("sources");
    if let Some(Value::Table(sources)) = table.get_mut("sources") {
        sources.retain(|key, _| !own.contains_key(key));
        if let Some(Value::Table(own_sources)) = own_sources {
            sources.extend(own_sources);
        }
    }
    table.extend(own);
    table
}

/// A table as a type of the specification.
fn typed<T: DeserializeOwned>(stem: &str, table: Table) -> T {
    Value::Table(table).try_into().unwrap_or_else(|error| panic!("{stem}: {error}"))
}

/// The files of a folder as a type of the specification.
fn files<T: DeserializeOwned>(folder: &str) -> BTreeMap<String, T> {
    let parse = |(stem, table): (String, Table)| (stem.clone(), typed(&stem, table));
    whole_tables(folder).into_iter().map(parse).collect()
}

/// The files of a folder, each over the file that it names as its `base`.
fn whole_tables(folder: &str) -> BTreeMap<String, Table> {
    let known = tables(folder);
    let whole = |stem: &String| {
        let mut table = known[stem].clone();
        while let Some(Value::String(base)) = table.remove("base") {
            let under = known.get(&base).unwrap_or_else(|| panic!("{stem}: no {folder}/{base}"));
            for (key, value) in under {
                match (table.get_mut(key), value) {
                    (Some(Value::Table(over)), Value::Table(under)) => {
                        for (key, value) in under {
                            over.entry(key.clone()).or_insert_with(|| value.clone());
                        }
                    }
                    (Some(_), _) => {}
                    (None, value) => {
                        table.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (stem.clone(), table)
    };
    known.keys().map(whole).collect()
}

/// Cluster tables with the GPU's table in place of its name.
fn cluster_tables() -> BTreeMap<String, Table> {
    let gpus = tables("hardware/gpus");
    let mut clusters = whole_tables("hardware/clusters");
    for (stem, table) in &mut clusters {
        resolve(stem, table, "gpu", &gpus);
    }
    clusters
}

/// Puts the named table in place of a name, or of a table with a `base`, whose keys then override.
fn resolve(stem: &str, table: &mut Table, key: &str, known: &BTreeMap<String, Table>) {
    let (name, overrides) = match table.get(key) {
        Some(Value::String(name)) => (name.clone(), Table::new()),
        Some(Value::Table(part)) => {
            let mut part = part.clone();
            let base = part.remove("base").unwrap_or_else(|| panic!("{stem}: {key} has no base"));
            (base.as_str().unwrap().to_owned(), part)
        }
        other => panic!("{stem}: {key} is {other:?}"),
    };
    let mut resolved =
        known.get(&name).unwrap_or_else(|| panic!("{stem}: no {key} is called `{name}`")).clone();
    resolved.extend(overrides);
    table.insert(key.to_owned(), Value::Table(resolved));
}

fn assert_shipped<T>(shipped: &BTreeMap<String, T>, expected: &[&str]) {
    for name in expected {
        assert!(shipped.contains_key(*name), "{name} does not ship");
    }
}

#[test]
fn the_models_of_the_manual_ship() {
    #[rustfmt::skip]
    assert_shipped(&tables("models"), &[
        "gpt3-175b", "megatron-22b", "megatron-530b", "megatron-1t", "llama2-7b", "llama2-13b",
        "llama2-70b", "llama3-8b", "llama3-70b", "llama3-405b", "mpt-125m", "mpt-350m", "mpt-760m",
        "mpt-1b", "mpt-3b", "mpt-7b", "mpt-13b", "mpt-30b", "mpt-70b", "qwen3-0.6b", "qwen3-1.7b",
        "qwen3-4b", "qwen3-8b", "qwen3-14b", "qwen3-32b", "bloom-176b", "nemotron4-15b",
        "nemotron4-340b", "mixtral-8x7b", "mixtral-8x22b", "qwen3-30b-a3b", "qwen3-235b-a22b",
        "deepseek-v2", "deepseek-v3", "kimi-k2", "gpt-oss-120b",
    ]);
}

#[test]
fn the_machines_and_stacks_of_the_manual_ship() {
    #[rustfmt::skip]
    assert_shipped(&tables("hardware/gpus"), &[
        "v100-sxm-32gb", "a100-sxm-40gb", "a100-sxm-80gb", "a100-pcie-80gb", "a800-sxm-80gb",
        "h100-sxm-80gb", "h100-pcie-80gb", "h800-sxm-80gb", "h200-sxm-141gb", "b200-sxm-180gb",
        "b300-sxm-288gb", "gb200", "gb300", "l40s", "mi300x", "mi325x", "mi355x", "a40", "h20",
        "l4", "a100-pcie-40gb", "mi100", "mi210", "p100-pcie-16gb", "p4", "rtx-a5000", "t4",
        "rtx-pro-6000", "v100-pcie-32gb",
    ]);
    #[rustfmt::skip]
    assert_shipped(&tables("hardware/clusters"), &[
        "dgx-a100-hdr", "dgx-h100-ndr", "aws-p4d", "aws-p5", "gcp-a3-mega", "gb200-nvl72",
        "mi300x-node", "pcie-node", "generic",
    ]);
    #[rustfmt::skip]
    assert_shipped(&tables("configs/stacks"), &[
        "megatron-deepspeed-2022", "megatron-2022", "megatron-core", "fsdp2-torchtitan",
        "fsdp2-torchtitan-compile", "fsdp1", "nanotron", "deepspeed-zero",
    ]);
}

#[test]
fn every_model_has_the_published_number_of_parameters() {
    for (stem, model) in files::<Model>("models") {
        let published =
            model.parameter_count.unwrap_or_else(|| panic!("{stem}: no published count"));
        let error = model.parameters() / published - 1.0;
        assert!(
            error.abs() <= 0.005,
            "{stem}: {:.0} parameters, {published:.0} published ({:+.2} %)",
            model.parameters(),
            100.0 * error
        );
    }
}

#[test]
fn heads_cut_every_model_evenly() {
    for (stem, model) in files::<Model>("models") {
        assert_eq!(model.head_count % model.kv_heads(), 0, "{stem}: heads over kv heads");
        if model.head_dim.is_none() {
            assert_eq!(model.hidden_size % model.head_count, 0, "{stem}: width over heads");
        }
    }
}

#[test]
fn every_gpu_is_faster_on_narrower_formats() {
    for (stem, gpu) in files::<Gpu>("hardware/gpus") {
        let half = gpu.peak_fp16;
        // The first matrix cores of AMD have half the rate for bf16.
        let expected = if gpu.architecture == "cdna1" { half * 0.5 } else { half };
        let bf16 = gpu.peak_bf16.unwrap_or(expected);
        assert_eq!(bf16, expected, "{stem}: bf16 and fp16 run at one rate");
        let peaks = [Some(gpu.peak_fp32), gpu.peak_tf32, Some(bf16)];
        let narrow = [Some(half), gpu.peak_fp8, gpu.peak_fp4];
        let peaks: Vec<_> = peaks.into_iter().chain(narrow).flatten().collect();
        assert!(peaks.is_sorted(), "{stem}: {peaks:?}");
        assert!(gpu.vendor == "nvidia" || gpu.vendor == "amd", "{stem}: vendor {}", gpu.vendor);
    }
}

/// Names that the tables of measurements use.
#[rustfmt::skip]
const NAMES_IN_TABLES: [&str; 27] = [
    "A100-40G-PCIE", "A100-80G-PCIE", "A100-PCIE", "A100-PCIE-NVLpair", "A100-SXM", "A40",
    "B200-SXM", "B300-SXM", "GB200", "GB300", "H100-PCIE-NVLpair", "H100-SXM", "H20", "H200-SXM",
    "L4", "L40S", "MI100", "MI210", "MI300X", "MI355X", "P100-PCIE", "P4", "RTX-A5000",
    "RTXPRO6000", "T4", "V100-PCIE", "V100-SXM",
];

#[test]
fn a_name_in_a_table_means_one_gpu() {
    let mut claimed = BTreeMap::new();
    for (stem, gpu) in files::<Gpu>("hardware/gpus") {
        assert!(!gpu.aliases.is_empty(), "{stem}: no table can name it");
        for alias in gpu.aliases {
            let other = claimed.insert(alias.to_lowercase(), stem.clone());
            assert_eq!(other, None, "{stem}: `{alias}` is claimed twice");
        }
    }
    for name in NAMES_IN_TABLES {
        assert!(claimed.contains_key(&name.to_lowercase()), "no GPU is listed as {name}");
    }
}

#[test]
fn every_cluster_names_a_gpu_that_ships() {
    for (stem, table) in cluster_tables() {
        let cluster: Cluster = typed(&stem, table);
        assert!(cluster.gpu_count() > 0, "{stem}");
        assert!(cluster.network_latency > cluster.scale_up_latency, "{stem}: network latency");
        assert!(cluster.nic_bandwidth < cluster.scale_up_bandwidth * 1.0001, "{stem}: NIC");
    }
}

#[test]
fn every_stack_slows_what_overlaps() {
    for (stem, stack) in files::<Stack>("configs/stacks") {
        let slowdowns = [
            stack.memory_kernel_slowdown,
            stack.compute_kernel_slowdown,
            stack.communication_slowdown,
        ];
        assert!(slowdowns.iter().all(|slowdown| (1.0..2.0).contains(slowdown)), "{stem}");
        assert_eq!(stack.rank_order.len(), 4, "{stem}: rank_order names each axis once");
    }
}

#[test]
fn every_number_has_a_source_and_every_source_a_number() {
    for folder in ["models", "hardware/gpus", "hardware/clusters", "configs/stacks"] {
        for (stem, mut table) in tables(folder) {
            let Some(Value::Table(sources)) = table.remove("sources") else {
                panic!("{folder}/{stem}: no [sources]");
            };
            for (key, value) in &table {
                let is_number = match value {
                    Value::Integer(_) | Value::Float(_) | Value::Table(_) => true,
                    Value::String(text) => {
                        !TEXT_KEYS.contains(&key.as_str())
                            && text.starts_with(|first: char| first.is_ascii_digit())
                    }
                    _ => false,
                };
                assert_eq!(is_number, sources.contains_key(key), "{folder}/{stem}: {key}");
            }
            for (key, source) in &sources {
                assert!(table.contains_key(key), "{folder}/{stem}: source of absent {key}");
                assert!(source.as_str().is_some_and(|text| text.len() > 5), "{folder}/{stem}");
            }
        }
    }
}

#[test]
fn every_fraction_is_a_share() {
    for folder in ["hardware/gpus", "hardware/clusters", "configs/stacks"] {
        for (stem, table) in tables(folder) {
            for (key, value) in table.iter().filter(|(key, _)| key.ends_with("_fraction")) {
                let fraction = value.as_float().unwrap_or_else(|| panic!("{stem}: {key}"));
                // No overlap at all is a choice; every other share of nothing is a mistake.
                let is_zero_allowed = key == "overlap_tp_fraction" && fraction == 0.0;
                let is_share = fraction > 0.0 && fraction <= 1.2;
                assert!(is_share || is_zero_allowed, "{folder}/{stem}: {key} = {fraction}");
            }
        }
    }
}

#[test]
fn every_example_configuration_fills_its_machine() {
    let (models, stacks) = (tables("models"), whole_tables("configs/stacks"));
    let clusters = cluster_tables();
    let configs = tables("configs");
    #[rustfmt::skip]
    assert_shipped(&configs, &[
        "llama3-70b-64xh100", "llama3-405b-16384xh100", "gpt3-175b-1024xa100",
        "llama3-8b-8xh100-fsdp", "llama3-70b-8xh100-does-not-fit", "qwen3-30b-a3b-8xh100",
    ]);
    for (stem, mut table) in configs {
        resolve(&stem, &mut table, "model", &models);
        resolve(&stem, &mut table, "cluster", &clusters);
        resolve(&stem, &mut table, "stack", &stacks);
        let scenario: Scenario = typed(&stem, table);
        let plan = &scenario.plan;
        assert_eq!(scenario.world_size(), scenario.cluster.gpu_count(), "{stem}: GPUs");
        let batch = scenario.data_parallel() * scenario.training.micro_batch;
        assert_eq!(scenario.training.global_batch % batch, 0, "{stem}: global batch");
        let extra = if plan.count_embedding_and_head { 2 } else { 0 };
        let layers = scenario.model.layer_count + extra;
        assert_eq!(layers % (plan.pp * plan.virtual_stages), 0, "{stem}: layers over chunks");
    }
}
