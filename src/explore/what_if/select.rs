//! What an edit is about: device work and host time by name, class, place.

use regex::{Regex, RegexBuilder};

use crate::work::{Axis, Class};

/// Selects what fits everything that is given; all, where nothing is.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// In the name of the kernel or call, any case.
    pub name: Option<Regex>,
    /// Class of the kernel.
    pub class: Option<ClassOf>,
    /// Name of a frame (operator, annotation, function) that the host was inside of when it
    /// launched or called.
    pub within: Option<Regex>,
    /// Rank.
    pub rank: Option<u64>,
    /// Number of the marked step in which the host launched or called.
    pub step: Option<u64>,
    /// Whether communication ran on the device at the same time, for half of the kernel's time or
    /// more.
    pub beside: Option<bool>,
}

/// Classes of kernels that are selected together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassOf {
    /// All that computes: neither communication nor copies.
    Compute,
    /// One class.
    One(Class),
}

impl ClassOf {
    /// Whether a class of device work is among them.
    pub fn holds(self, class: Class) -> bool {
        match self {
            Self::Compute => !matches!(class, Class::Communication(_) | Class::Copy | Class::Host),
            // Of simulations communication says its axis.
            Self::One(Class::Communication(Axis::Unstated)) => {
                matches!(class, Class::Communication(_))
            }
            Self::One(one) => one == class,
        }
    }
}

impl Selector {
    /// Keys that select, for messages.
    pub const KEYS: [&'static str; 6] = ["name", "class", "within", "rank", "step", "beside"];

    /// Takes a key of an edit; `None` when it does not select.
    ///
    /// # Errors
    ///
    /// What is wrong with the value.
    pub(super) fn take(&mut self, key: &str, value: &str) -> Option<Result<(), String>> {
        let done = match key {
            "name" => pattern(value).map(|it| self.name = Some(it)),
            "within" => pattern(value).map(|it| self.within = Some(it)),
            "class" => class(value).map(|it| self.class = Some(it)),
            "rank" => whole(value).map(|it| self.rank = Some(it)),
            "step" => whole(value).map(|it| self.step = Some(it)),
            "beside" => beside(value).map(|it| self.beside = Some(it)),
            _ => return None,
        };
        Some(done)
    }
}

fn beside(value: &str) -> Result<bool, String> {
    match value {
        "communication" => Ok(true),
        "nothing" => Ok(false),
        _ => Err(format!("`{value}` is neither communication nor nothing")),
    }
}

/// A pattern, any case.
pub(super) fn pattern(value: &str) -> Result<Regex, String> {
    RegexBuilder::new(value).case_insensitive(true).build().map_err(|error| {
        let error = error.to_string();
        let last = error.lines().last().unwrap_or("").trim();
        format!("no pattern `{value}`: {}", last.trim_start_matches("error: "))
    })
}

/// Classes that kernels of traces have.
fn classes() -> impl Iterator<Item = Class> {
    let others = [Class::Communication(Axis::Unstated), Class::Copy, Class::OtherKernel];
    Class::COMPUTE.into_iter().chain(others)
}

fn class(value: &str) -> Result<ClassOf, String> {
    if value == "compute" {
        return Ok(ClassOf::Compute);
    }
    classes().find(|class| class.name() == value).map(ClassOf::One).ok_or_else(|| {
        let names: Vec<&str> = classes().map(Class::name).collect();
        format!("no class `{value}`; there are compute (all that computes), {}", names.join(", "))
    })
}

/// A whole number.
pub(super) fn whole(value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("`{value}` is no whole number"))
}

/// A factor: positive or zero, and finite.
pub(super) fn factor(value: &str) -> Result<f64, String> {
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err(format!("`{value}` is no factor; a number from 0 on, such as 0.5")),
    }
}
