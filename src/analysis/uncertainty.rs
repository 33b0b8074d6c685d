//! How sure a predicted step time is.
//!
//! Two kinds of error add up: what all kernels of a machine have in common (its clocks, its power
//! limit, its library versions; no number of kernels averages that away) and what each shape has
//! for itself. Both are relative, and independent of each other:
//!
//! `sigma^2 = (c m_c)^2 + (c e_c)^2 + (x m_x)^2 + (x e_x)^2`
//!
//! with the shares `c` of the step that compute sets and `x` that exposed communication does, their
//! machine errors `m` and shape errors `e`. Bubbles are others' compute. The interval is
//! `step exp(± 1.28 sigma)`, 80 % of a log-normal error.

use serde::Serialize;

use super::summary::TimeSummary;

/// Half of an 80 % interval of a normal error, in sigmas.
pub const SIGMAS_OF_80_PERCENT: f64 = 1.2816;

/// Expected relative errors, one sigma each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StepErrors {
    /// That all kernels have in common.
    pub machine_compute: f64,
    /// That all communication has in common.
    pub machine_network: f64,
    /// Of the compute time, from errors of single shapes.
    pub kernels: f64,
    /// Of the communication time, from errors of single collectives.
    pub collectives: f64,
}

/// Bounds of the step time that hold it with 80 %, seconds.
pub(super) fn interval(step_time_s: f64, time: &TimeSummary, errors: &StepErrors) -> [f64; 2] {
    if step_time_s <= 0.0 {
        return [step_time_s; 2];
    }
    let exposed = time.exposed_communication_s / step_time_s;
    // What the host spends is no kernel's; its error is not known and not counted.
    let compute = (1.0 - exposed - time.host_bound_s / step_time_s).max(0.0);
    let squares = [
        compute * errors.machine_compute,
        compute * errors.kernels,
        exposed * errors.machine_network,
        exposed * errors.collectives,
    ];
    let sigma = squares.iter().map(|part| part * part).sum::<f64>().sqrt();
    let factor = (SIGMAS_OF_80_PERCENT * sigma).exp();
    [step_time_s / factor, step_time_s * factor]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_shapes_and_of_the_machine_add_as_squares() {
        let time =
            TimeSummary { compute_s: 6.0, exposed_communication_s: 4.0, ..TimeSummary::default() };
        let errors = StepErrors {
            machine_compute: 0.08,
            machine_network: 0.1,
            kernels: 0.06,
            collectives: 0.0,
        };
        // 0.6 x 0.1 and 0.4 x 0.1: sigma = sqrt(0.0036 + 0.0016) = 0.0721.
        let [low, high] = interval(10.0, &time, &errors);
        assert!(((high / 10.0).ln() - 1.2816 * 0.072_111).abs() < 1e-5);
        assert!((low * high - 100.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_unknown_is_a_point_and_an_empty_step_has_no_width() {
        let time = TimeSummary { compute_s: 1.0, ..TimeSummary::default() };
        assert_eq!(interval(1.0, &time, &StepErrors::default()), [1.0, 1.0]);
        assert_eq!(interval(0.0, &time, &StepErrors::default()), [0.0, 0.0]);
    }
}
