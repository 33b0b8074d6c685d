fn main() {
    let data = stepcast::spec::DataSources::shipped();
    let path = std::env::args().nth(1).unwrap();
    let details = std::env::args().nth(2).unwrap_or("f".into());
    let overrides: Vec<_> =
        std::env::args().skip(3).map(|a| stepcast::spec::Override::parse(&a).unwrap()).collect();
    let text = std::fs::read_to_string(&path).unwrap();
    let scenario = stepcast::spec::load_text(&data, &path, &text, &overrides)
        .unwrap_or_else(|e| panic!("{}", e.render(false)));
    for d in details.chars() {
        let detail = match d {
            'f' => stepcast::Detail::Folded,
            'k' => stepcast::Detail::Kernels,
            _ => stepcast::Detail::Unfolded,
        };
        let start = std::time::Instant::now();
        match stepcast::simulate(&scenario, detail) {
            Ok(p) => {
                println!(
                    "{detail:?}: {:.4} s, {:.0} tok/s/gpu, {:.1} TF, events {} in {:?}",
                    p.summary.step_time_s,
                    p.summary.tokens_per_s_per_gpu,
                    p.summary.model_tflops_per_gpu,
                    p.event_count,
                    start.elapsed()
                );
                if d == 'f' {
                    for s in &p.summary.memory.stages {
                        println!(
                            "   stage {} peak {:.1} res {:.1} w {:.1} g {:.1} o {:.1} a {:.1} b {:.1}",
                            s.stage,
                            s.peak.value() / 1e9,
                            s.peak_reserved.value() / 1e9,
                            s.weights.value() / 1e9,
                            s.gradients.value() / 1e9,
                            s.optimizer.value() / 1e9,
                            s.activations.value() / 1e9,
                            s.buffers.value() / 1e9
                        );
                    }
                }
            }
            Err(e) => println!("{e}"),
        }
    }
}
