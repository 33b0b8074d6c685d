#!/usr/bin/env bash
# Learns all fits anew from a folder of measured tables, and writes the page about them.
set -euo pipefail
tables=$(cd "${1:?usage: hardware/fits/regenerate.sh FOLDER}" && pwd)
cd "$(dirname "$0")/../.."

files=()
for name in gemm gemm_amd gemm_train_layouts attention_fwd attention_fwd_bwd \
    grouped_gemm grouped_gemm_train elementwise collectives moe_all_to_all; do
    files+=("$tables/$name.csv.gz")
done
cargo run --release --locked -- calibrate "${files[@]}" --out hardware/fits
STEPCAST_BLESS=1 cargo test --release --locked --test suite -- the_page_about_fits
