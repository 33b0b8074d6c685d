//! From files, names and overrides to a checked scenario, or to all that is wrong with them.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;

mod decode;
mod explain;
mod fits;
mod overrides;
mod resolve;
mod sources;
mod suggest;
mod tree;

#[cfg(test)]
mod tests;

use super::check::{Parts, check_parts};
use super::problem::{Place, Problem, Problems, SourceFile};
use super::{Fit, Gpu, MeasuredFit, Scenario};
use explain::{typed, typed_part, unknown_key};
use resolve::Resolver;
use tree::{Entry, Node, Table, Value, parse};

pub use overrides::Override;
pub use sources::{DataSources, Kind, ReadFile};

/// Keys of a scenario.
const SCENARIO_KEYS: [&str; 7] = ["name", "model", "cluster", "fit", "stack", "plan", "training"];

/// Loads a scenario from a path, or by the name of one that ships (with or without `configs/` and
/// `.toml`) where no such file can be read.
///
/// # Errors
/// All that is wrong with it.
pub fn load(
    sources: &DataSources,
    path: &Path,
    overrides: &[Override],
) -> Result<Scenario, Problems> {
    let file = match sources.at_path(path) {
        Ok(file) => file,
        Err(error) => {
            shipped_scenario(sources, path).ok_or_else(|| unreadable(sources, path, &error))?
        }
    };
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    load_file(sources, &file, stem, overrides)
}

/// Loads a scenario from text; `file_name` stands in messages.
///
/// # Errors
/// All that is wrong with it.
pub fn load_text(
    sources: &DataSources,
    file_name: &str,
    text: &str,
    overrides: &[Override],
) -> Result<Scenario, Problems> {
    let file = Arc::new(SourceFile {
        name: file_name.to_owned(),
        text: text.to_owned(),
        folder: Some(Path::new("").to_path_buf()),
    });
    load_file(sources, &file, None, overrides)
}

/// Loads one named part, such as a model.
///
/// # Errors
/// All that is wrong with it.
pub fn load_part<T: DeserializeOwned + JsonSchema>(
    sources: &DataSources,
    kind: Kind,
    name: &str,
) -> Result<T, Problems> {
    let key = kind.name().to_lowercase();
    let argument = Arc::new(SourceFile {
        name: "command line".to_owned(),
        text: name.to_owned(),
        folder: Some(Path::new("").to_path_buf()),
    });
    let place = Place { file: argument, span: 0..name.len() };
    let node = Node { value: Value::Text(name.to_owned()), place };
    let mut resolver = Resolver::new(sources);
    let resolved = resolver.part(kind, &key, node);
    let mut problems = resolver.problems;
    let part = resolved.and_then(|node| typed_part::<T>(&key, &node, &mut problems));
    Problems::check(problems)?;
    part.ok_or_else(|| Problem::new(key, "could not be read").into())
}

/// A GPU by the name of its file, its own name or an alias, whatever the case, with the fits that
/// answer for it.
///
/// # Errors
/// When there is none of the name, or a file is wrong.
pub fn load_gpu(sources: &DataSources, name: &str) -> Result<(Gpu, Vec<MeasuredFit>), Problems> {
    let is = |known: &str| known.eq_ignore_ascii_case(name);
    for file in sources.names(Kind::Gpu) {
        let gpu: Gpu = load_part(sources, Kind::Gpu, &file)?;
        if is(&file) || is(&gpu.name) || gpu.aliases.iter().any(|alias| is(alias)) {
            let fits = fits::measured(sources, &gpu, &Fit::default())?;
            return Ok((gpu, fits));
        }
    }
    let problem = Problem::new("", format!("no GPU `{name}` is known"));
    Err(problem.hint("`stepcast list gpus` shows those that are").into())
}

fn shipped_scenario(sources: &DataSources, path: &Path) -> Option<Arc<SourceFile>> {
    let text = path.to_str()?;
    let name = text.strip_prefix("configs/").unwrap_or(text);
    sources.named(Kind::Scenario, name.strip_suffix(".toml").unwrap_or(name))
}

fn unreadable(sources: &DataSources, path: &Path, error: &str) -> Problem {
    let names = sources.names(Kind::Scenario);
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let problem = Problem::new("", format!("cannot read {}: {error}", path.display()));
    match suggest::nearest(&stem, names.iter().map(String::as_str)) {
        Some(near) => problem.hint(format!("did you mean `configs/{near}.toml`, which ships?")),
        None => problem
            .hint("give the path of a scenario; `stepcast list scenarios` shows those that ship"),
    }
}

fn load_file(
    sources: &DataSources,
    file: &Arc<SourceFile>,
    stem: Option<String>,
    overrides: &[Override],
) -> Result<Scenario, Problems> {
    let mut root = match parse(file) {
        Ok(root) => root,
        Err(problems) => {
            Problems::check(problems)?;
            return Err(Problem::new("", "not valid TOML").into());
        }
    };
    if let Value::Table(table) = &mut root.value {
        for change in overrides {
            change.apply(table);
        }
    }
    let mut loader = Loader {
        resolver: Resolver::new(sources),
        resolved: Node::empty_table(root.place.clone()),
        root,
    };
    let parts = loader.parts();
    let findings = check_parts(&parts);
    let mut problems = loader.resolver.problems;
    problems.extend(findings.into_iter().map(|problem| place(problem, &loader.resolved)));
    Problems::check(problems)?;
    let mut scenario =
        parts.into_scenario(stem).ok_or_else(|| Problem::new("", "could not be read"))?;
    scenario.measured = fits::measured(sources, &scenario.cluster.gpu, &scenario.fit)?;
    Ok(scenario)
}

/// Points a problem of a rule at the key that it names.
fn place(problem: Problem, resolved: &Node) -> Problem {
    let keys: Vec<&str> = problem.key.split('.').collect();
    let found = resolved.find(&keys).clone();
    problem.at(Some(found))
}

struct Loader<'a> {
    resolver: Resolver<'a>,
    /// The scenario as written, overrides applied.
    root: Node,
    /// Each part as one table, for the places of its keys.
    resolved: Node,
}

impl Loader<'_> {
    fn parts(&mut self) -> Parts {
        let Value::Table(root) = std::mem::replace(&mut self.root.value, Value::Boolean(false))
        else {
            return Parts::default();
        };
        self.refuse_unknown(&root);
        let mut root = root;
        let fit = root.remove("fit").or_else(|| self.fit_of_cluster(root.get("cluster")?));
        Parts {
            name: self.name(root.remove("name")),
            model: self.part(Some(Kind::Model), "model", root.remove("model")),
            cluster: self.cluster(root.remove("cluster")),
            fit: match fit {
                None => Some(Fit::default()),
                Some(fit) => self.part(Some(Kind::Fit), "fit", Some(named_inline(fit))),
            },
            stack: self.part(Some(Kind::Stack), "stack", root.remove("stack")),
            plan: match root.remove("plan") {
                None => Some(super::Plan::default()),
                plan => self.part(None, "plan", plan),
            },
            training: self.part(None, "training", root.remove("training")),
        }
    }

    fn refuse_unknown(&mut self, root: &Table) {
        for (key, entry) in root {
            if SCENARIO_KEYS.contains(&key.as_str()) {
                continue;
            }
            let problem = unknown_key("", key, &SCENARIO_KEYS).at(Some(entry.key_place.clone()));
            self.resolver.problems.push(problem);
        }
    }

    fn name(&mut self, entry: Option<Entry>) -> Option<String> {
        let node = entry?.node;
        match node.text() {
            Some(text) => Some(text.to_owned()),
            None => {
                let problem = Problem::new("name", "must be text in quotes").found(node.summary());
                self.resolver.problems.push(problem.at(Some(node.place)));
                None
            }
        }
    }

    /// The fit that goes with a cluster that is named, or stands on one that is: the fit of the
    /// same name, where there is one.
    fn fit_of_cluster(&self, cluster: &Entry) -> Option<Entry> {
        let name = match &cluster.node.value {
            Value::Table(table) => table.get("base")?.node.text()?,
            _ => cluster.node.text()?,
        };
        self.resolver.sources.text_of(Kind::Fit, name).is_some().then(|| {
            let key_place = cluster.key_place.clone();
            let node = Node { value: Value::Text(name.to_owned()), place: key_place.clone() };
            Entry { key_place, node }
        })
    }

    /// The table of a part, kept for places too; `kind` is absent for parts that are inline only.
    fn table(&mut self, kind: Option<Kind>, key: &str, entry: Option<Entry>) -> Option<Node> {
        let Some(Entry { key_place, node }) = entry else {
            self.resolver.problems.push(missing_part(key).at(Some(self.root.place.clone())));
            return None;
        };
        let node = match kind {
            Some(kind) => self.resolver.part(kind, key, node)?,
            None if node.table().is_some() => node,
            None => {
                let problem = Problem::new(key, "must be a table").found(node.summary());
                self.resolver.problems.push(problem.at(Some(node.place)));
                return None;
            }
        };
        if let Value::Table(resolved) = &mut self.resolved.value {
            resolved
                .insert(key.to_owned(), Entry { key_place: key_place.clone(), node: node.clone() });
        }
        // A part's own span is its header; where it has none, its key.
        Some(Node { value: node.value, place: key_place })
    }

    fn part<T: DeserializeOwned + JsonSchema>(
        &mut self,
        kind: Option<Kind>,
        key: &str,
        entry: Option<Entry>,
    ) -> Option<T> {
        let node = self.table(kind, key, entry)?;
        typed_part(key, &node, &mut self.resolver.problems)
    }

    /// The cluster, whose GPU is read first so that both tell all that is wrong with them.
    fn cluster(&mut self, entry: Option<Entry>) -> Option<super::Cluster> {
        let mut node = self.table(Some(Kind::Cluster), "cluster", entry)?;
        let mut is_gpu_told = self.resolver.is_gpu_lost;
        let problems = &mut self.resolver.problems;
        if let Value::Table(table) = &mut node.value
            && let Some(gpu) = table.get("gpu")
        {
            let gpu = Node { value: gpu.node.value.clone(), place: gpu.key_place.clone() };
            if typed_part::<super::Gpu>("cluster.gpu", &gpu, problems).is_none() {
                table.remove("gpu");
                is_gpu_told = true;
            }
        }
        let told: &[&str] = if is_gpu_told { &["gpu"] } else { &[] };
        typed("cluster", &node, problems, told)
    }
}

/// A fit written inline needs no name of its own.
fn named_inline(mut entry: Entry) -> Entry {
    let place = entry.key_place.clone();
    if let Value::Table(table) = &mut entry.node.value
        && !table.contains_key("base")
    {
        table.entry("name".to_owned()).or_insert_with(|| Entry {
            key_place: place.clone(),
            node: Node { value: Value::Text("inline".to_owned()), place },
        });
    }
    entry
}

fn missing_part(key: &str) -> Problem {
    let problem = Problem::new(key, format!("the scenario has no `{key}`"));
    match key {
        "training" => problem.hint(
            "add a table [training] with sequence_length, micro_batch, global_batch, precision",
        ),
        _ => problem.hint(format!(
            "add `{key} = \"NAME\"` (`stepcast list {key}s` shows the names) or a table [{key}]"
        )),
    }
}
