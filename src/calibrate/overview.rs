//! The page about fits: rows, residuals, where each is valid, where it is weak.

use std::fmt::Write;

use crate::spec::{Fit, LearnedModel, Residuals};

/// What calls a model weak: held-out errors above these, or fewer rows than that.
const WEAK_MAPE: f64 = 0.10;
const WEAK_P95: f64 = 0.30;
const WEAK_BIAS: f64 = 0.05;
const FEW_ROWS: u64 = 60;

/// The page in Markdown. `regenerate` is the command that makes all fits anew.
pub fn overview(fits: &[Fit], regenerate: &str) -> String {
    let mut page = format!(
        "# Fits\n\n\
         What calibration learned, one TOML file a GPU: cost models of its kernels and of the \
         collectives between its GPUs, and machine factors where a cluster was measured. A scenario \
         gets those of its cluster's GPU by itself, and others with `fit = \"NAME\"`. Each model \
         names its rows, their public sources and their licences; what `stepcast calibrate` printed \
         is below. This page is generated.\n\n\
         All files are made anew by\n\n```\n{regenerate}\n```\n\n\
         Errors are those of rows that were held out inside (a fifth of the shapes); the models \
         themselves were then learned from all rows. Bias is weighted by time. A model is called \
         weak above {:.0} % MAPE, {:.0} % P95 or {:.0} % bias, or below {FEW_ROWS} rows. Outside of \
         the sizes given, the expected error grows by half for each factor of two.\n",
        100.0 * WEAK_MAPE,
        100.0 * WEAK_P95,
        100.0 * WEAK_BIAS,
    );
    for fit in fits {
        section(&mut page, fit);
    }
    page
}

fn section(page: &mut String, fit: &Fit) {
    let name = fit.gpu.as_deref().unwrap_or(&fit.name);
    let mut text = format!("\n## {name}\n\n");
    if fit.compute_factor != 1.0 || fit.network_factor != 1.0 {
        let _ = writeln!(
            text,
            "Measured over predicted time: compute {}, network {}.\n",
            fit.compute_factor, fit.network_factor
        );
    }
    if !fit.models.is_empty() {
        text.push_str(
            "| kind | case | rows | MAPE | median | P95 | bias | sizes | weak |\n\
             |---|---|---:|---:|---:|---:|---:|---|---|\n",
        );
    }
    for model in &fit.models {
        let found = judged(model);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {:+.1} % | {} | {} |",
            model.kind,
            model.case,
            model.row_count,
            percent(found.mape),
            percent(found.median_ape),
            percent(found.p95_ape),
            100.0 * found.bias_time_weighted,
            sizes(model),
            weaknesses(model)
        );
    }
    page.push_str(&text);
}

/// Residuals of the part that was held out, or of the fitted one where nothing was.
fn judged(model: &LearnedModel) -> Residuals {
    let of = |part: &str| model.residuals.get(part).copied();
    of("held_out").or_else(|| of("fitted")).unwrap_or_default()
}

fn percent(fraction: f64) -> String {
    format!("{:.1} %", 100.0 * fraction)
}

/// Ranges of the sizes, from logarithms to the base of 2.
fn sizes(model: &LearnedModel) -> String {
    let own = |name: &&String| {
        !["log_time", "log_intensity", "log_waves", "log_cache", "log_tasks"]
            .contains(&name.as_str())
    };
    let mut parts: Vec<String> = Vec::new();
    for name in model.domain.keys().filter(own).take(4) {
        let [low, high] = model.domain[name];
        let size = name.trim_start_matches("log_");
        parts.push(format!("{size} {} to {}", short(low.exp2()), short(high.exp2())));
    }
    parts.join(", ")
}

/// `4096`, `2.1e9`.
fn short(number: f64) -> String {
    if (1.0..1e5).contains(&number) { format!("{number:.0}") } else { format!("{number:.1e}") }
}

fn weaknesses(model: &LearnedModel) -> String {
    let found = judged(model);
    let mut weak: Vec<String> = Vec::new();
    if found.mape > WEAK_MAPE {
        weak.push("scatter".to_owned());
    }
    if found.p95_ape > WEAK_P95 {
        weak.push("outliers".to_owned());
    }
    if found.bias_time_weighted.abs() > WEAK_BIAS {
        weak.push("bias of long kernels".to_owned());
    }
    if model.row_count < FEW_ROWS {
        weak.push("few rows".to_owned());
    }
    if !model.residuals.contains_key("held_out") {
        weak.push("nothing held out".to_owned());
    }
    weak.join(", ")
}
