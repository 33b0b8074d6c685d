//! Predicted against measured step times as SVG.

use plotters::prelude::*;
use plotters::style::FontDesc;

use crate::analysis::{Run, Validation};

/// Width and height, in pixels.
const SIZE: (u32, u32) = (900, 720);
/// Room for names of families, in pixels.
const LEGEND_WIDTH: u32 = 190;
/// Share of the range that is left free at its ends.
const MARGIN: f64 = 1.3;

/// Predicted against measured step times on logarithmic axes, a colour a family, with the diagonal
/// and lines 20 % off it. Nothing where no run has a prediction.
///
/// # Errors
/// What the drawing library says.
pub fn scatter(validation: &Validation) -> Result<String, String> {
    let mut svg = String::new();
    draw(validation, &mut svg).map_err(|error| error.to_string())?;
    Ok(svg)
}

fn draw(validation: &Validation, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let runs: Vec<(&Run, f64)> =
        validation.runs.iter().filter_map(|run| Some((run, run.predicted_step_time_s?))).collect();
    let times = runs.iter().flat_map(|(run, predicted)| [run.measured_step_time_s, *predicted]);
    let times: Vec<f64> = times.filter(|time| *time > 0.0).collect();
    if times.is_empty() {
        return Ok(());
    }
    let low = times.iter().copied().fold(f64::INFINITY, f64::min) / MARGIN;
    let high = times.iter().copied().fold(0.0, f64::max) * MARGIN;
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (area, legend) = root.split_horizontally(SIZE.0 - LEGEND_WIDTH);
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d((low..high).log_scale(), (low..high).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("measured step time, s")
        .y_desc("predicted step time, s")
        .x_label_formatter(&|time| label(*time))
        .y_label_formatter(&|time| label(*time))
        .light_line_style(WHITE)
        .draw()?;
    for (factor, shade) in [(1.0, 0.8), (1.2, 0.25), (1.0 / 1.2, 0.25)] {
        let ends = [low.max(low / factor), high.min(high / factor)];
        let points = ends.map(|measured| (measured, measured * factor));
        chart.draw_series(LineSeries::new(points, BLACK.mix(shade).stroke_width(1)))?;
    }
    let font = FontDesc::new(FontFamily::SansSerif, 13.0, FontStyle::Normal);
    let families: Vec<_> = validation.families.iter().filter(|family| family.n > 0).collect();
    for (index, family) in families.iter().enumerate() {
        let color = color(index, families.len());
        let own = runs.iter().filter(|(run, _)| run.family == family.family);
        let points = own.map(|(run, predicted)| (run.measured_step_time_s, *predicted));
        chart.draw_series(points.map(|at| Circle::new(at, 3, color.mix(0.7).filled())))?;
        let row = 24 + 20 * index as i32;
        legend.draw(&Circle::new((10, row), 5, color.filled()))?;
        legend.draw(&Text::new(family.family.clone(), (22, row - 6), font.clone()))?;
    }
    root.present()?;
    Ok(())
}

/// Seconds without needless digits.
fn label(time: f64) -> String {
    if time >= 1.0 { format!("{time:.0}") } else { format!("{time}") }
}

/// Colours around the circle, neighbours of different lightness.
fn color(index: usize, count: usize) -> RGBColor {
    let hue = index as f64 / count.max(1) as f64;
    let lightness = if index.is_multiple_of(2) { 0.42 } else { 0.58 };
    let (red, green, blue) = HSLColor(hue, 0.75, lightness).to_backend_color().rgb;
    RGBColor(red, green, blue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_times_have_no_needless_digits() {
        assert_eq!(["10", "1", "0.1"], [10.0, 1.0, 0.1].map(label));
    }
}
