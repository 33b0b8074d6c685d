fn main() {
    let data = stepcast::spec::DataSources::shipped();
    let cases = [
        ("22B", "megatron-22b", 1, 8, 1, 1, 4, 1.10, "1f1b", 4),
        ("175B", "gpt3-175b", 8, 8, 8, 3, 64, 13.75, "interleaved", 1),
        ("530B", "megatron-530b", 35, 8, 35, 3, 280, 37.83, "interleaved", 1),
        ("1T", "megatron-1t", 64, 8, 64, 1, 512, 71.49, "1f1b", 1),
    ];
    for (name, model, nodes, tp, pp, v, batch, truth, schedule, mb) in cases {
        for (rec, sp) in [("selective", true), ("full", false)] {
            let text = format!(
                "model = '{model}'\nstack='megatron-2022'\ncluster={{base='dgx-a100-hdr', node_count={nodes}}}\n[plan]\ntp={tp}\npp={pp}\nvirtual_stages={v}\nschedule='{schedule}'\nsequence_parallel={sp}\nrecompute='{rec}'\n[training]\nsequence_length=2048\nmicro_batch={mb}\nglobal_batch={batch}\nprecision='fp16'\ndropout=true\n"
            );
            let scenario = stepcast::spec::load_text(&data, "x.toml", &text, &[])
                .unwrap_or_else(|e| panic!("{}", e.render(false)));
            let start = std::time::Instant::now();
            for detail in [stepcast::Detail::Folded] {
                match stepcast::simulate(&scenario, detail) {
                    Ok(p) => println!(
                        "{name} {rec} {detail:?}: {:.3} s (paper sel {truth}) events {} in {:?} mem {:.1} GiB",
                        p.summary.step_time_s,
                        p.event_count,
                        start.elapsed(),
                        p.summary.memory.stages.iter().map(|s| s.peak.value()).fold(0.0, f64::max)
                            / 1024f64.powi(3)
                    ),
                    Err(e) => println!("{name}: {e}"),
                }
            }
        }
    }
}
