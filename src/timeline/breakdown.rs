//! What a span that stands for many kernels is made of.

use crate::units::{Bytes, Seconds};
use crate::work::{Axis, Class};

/// Communication inside a span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Axis along which it runs.
    pub axis: Axis,
    /// Time during which it runs, hidden or not.
    pub total: Seconds,
    /// Bytes, as the collectives count them.
    pub bytes: Bytes,
}

/// Contents of a folded span: its length, told apart by what the critical lane was doing.
///
/// `exclusive` sums to the span's undisturbed length: compute while compute runs, else the
/// communication that compute waits for, else the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Breakdown {
    /// Time by class, each class at most once.
    pub exclusive: Vec<(Class, Seconds)>,
    /// Communication inside, by axis.
    pub traffic: Vec<Traffic>,
}

impl Breakdown {
    /// Adds time to a class.
    pub fn add(&mut self, class: Class, time: Seconds) {
        match self.exclusive.iter_mut().find(|entry| entry.0 == class) {
            Some(entry) => entry.1 += time,
            None => self.exclusive.push((class, time)),
        }
    }

    /// Adds communication along an axis.
    pub fn add_traffic(&mut self, axis: Axis, total: Seconds, bytes: Bytes) {
        match self.traffic.iter_mut().find(|entry| entry.axis == axis) {
            Some(entry) => {
                entry.total += total;
                entry.bytes += bytes;
            }
            None => self.traffic.push(Traffic { axis, total, bytes }),
        }
    }

    /// The undisturbed length.
    pub fn total(&self) -> Seconds {
        self.exclusive.iter().map(|entry| entry.1).sum()
    }
}
