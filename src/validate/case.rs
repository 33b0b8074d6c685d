//! Files of published runs, one TOML a family: what its runs have in common, and the cases.

use serde::Deserialize;
use toml::{Table as Toml, Value};

use super::entry::{Entry, Measured, MemoryKind};
use crate::spec::{Problem, Problems};
use crate::units::{Bytes, Seconds};

/// A family of published runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// Name of the family.
    pub family: String,
    /// Where the runs were published.
    pub source: String,
    /// What the source does not say.
    pub assumed: Vec<String>,
    /// How far off predictions of the family may be.
    pub limits: Limits,
    /// What the scenarios of all cases have in common.
    #[serde(default)]
    scenario: Toml,
    /// The runs.
    case: Vec<Case>,
}

/// How far off predictions of a family may be; fractions.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Mean absolute error of step time.
    pub mape: f64,
    /// Mean signed error of step time, either way.
    pub bias: f64,
    /// Mean absolute error of peak memory, where it was measured.
    pub memory_mape: Option<f64>,
}

/// A published run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Where in the source, or another source.
    source: Option<String>,
    measured_step_time: Seconds,
    measured_peak_memory: Option<Bytes>,
    /// `allocated`, `reserved`, `rank0` or `nvidia-smi`.
    memory_kind: Option<String>,
    /// What the scenario has beside, or in place of, that of the family.
    #[serde(default)]
    scenario: Toml,
}

impl CaseFile {
    /// Reads a file; `name` stands in messages.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(name: &str, text: &str) -> Result<Self, Problems> {
        let problem = |message: String| Problem::new("", format!("{name}: {message}"));
        let file: Self = toml::from_str(text).map_err(|error| {
            problem(error.to_string())
                .hint("a file of runs has family, source, assumed, [limits] and [[case]]")
        })?;
        for case in &file.case {
            if case.measured_step_time.value() <= 0.0 {
                let message = format!("{}: measured_step_time must be above 0", case.name);
                return Err(problem(message).into());
            }
            let kind = case.memory_kind.as_deref();
            if case.measured_peak_memory.is_some() && kind.and_then(MemoryKind::of).is_none() {
                let message = format!("{}: memory_kind is {kind:?}", case.name);
                let hint = "say what the peak counts: allocated, reserved, rank0 or nvidia-smi";
                return Err(problem(message).hint(hint).into());
            }
        }
        Ok(file)
    }

    /// The runs.
    pub fn entries(&self) -> Vec<Entry> {
        self.case.iter().map(|case| self.entry(case)).collect()
    }

    fn entry(&self, case: &Case) -> Entry {
        let mut scenario = self.scenario.clone();
        merge(&mut scenario, &case.scenario);
        let kind = case.memory_kind.as_deref().and_then(MemoryKind::of);
        Entry {
            id: case.name.clone(),
            family: self.family.clone(),
            source: case.source.clone().unwrap_or_else(|| self.source.clone()),
            quality: String::new(),
            scenario: toml::to_string(&scenario).map_err(|error| error.to_string()),
            // What the file itself says is known to who reads it.
            assumed: Vec::new(),
            measured: Measured {
                step_time: case.measured_step_time,
                peak_memory: case.measured_peak_memory.zip(kind),
            },
        }
    }
}

/// Puts the keys of one table over those of another, table by table.
fn merge(under: &mut Toml, over: &Toml) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            _ => {
                under.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        family = "f"
        source = "a paper"
        assumed = []
        limits = { mape = 0.05, bias = 0.04 }
        [scenario]
        stack = "megatron-core"
        [scenario.plan]
        tp = 2
        pp = 4
        [[case]]
        name = "one"
        measured_step_time = "2 s"
        scenario = { plan = { tp = 8 } }
    "#;

    #[test]
    fn a_case_is_what_its_family_is_but_for_its_own_keys() {
        let entries = CaseFile::read("f.toml", FILE).expect("a file of runs").entries();
        let scenario: Toml =
            toml::from_str(entries[0].scenario.as_ref().expect("a scenario")).expect("TOML");
        assert_eq!(scenario["plan"]["tp"].as_integer(), Some(8));
        assert_eq!(scenario["plan"]["pp"].as_integer(), Some(4));
        assert_eq!(entries[0].source, "a paper");
    }

    #[test]
    fn a_peak_that_does_not_say_what_it_counts_is_refused() {
        let text = FILE.replace("\"2 s\"", "\"2 s\"\nmeasured_peak_memory = \"10 GiB\"");
        let problem = CaseFile::read("f.toml", &text).expect_err("refused").to_string();
        assert!(problem.contains("memory_kind"), "{problem}");
        let text = FILE.replace("\"2 s\"", "\"0 s\"");
        assert!(CaseFile::read("f.toml", &text).is_err());
        let text = FILE.replace("family", "fmaily");
        let problem = CaseFile::read("f.toml", &text).expect_err("refused").to_string();
        assert!(problem.contains("fmaily"), "{problem}");
    }
}
