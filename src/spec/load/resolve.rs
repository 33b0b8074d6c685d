//! Names and bases of parts turned into whole tables.

use std::sync::Arc;

use super::sources::{DataSources, Kind};
use super::tree::{Entry, Node, Table, Value, parse};
use crate::spec::problem::{Place, Problem};

/// How many bases may stand on each other.
const BASE_DEPTH: usize = 8;

/// Turns parts into tables without names and bases, and keeps what went wrong.
pub(super) struct Resolver<'a> {
    pub(super) sources: &'a DataSources,
    pub(super) problems: Vec<Problem>,
    /// Whether the cluster's GPU could not be found, which is told.
    pub(super) is_gpu_lost: bool,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(sources: &'a DataSources) -> Self {
        Self { sources, problems: Vec::new(), is_gpu_lost: false }
    }

    /// The whole table of a part; `None` after a problem.
    pub(super) fn part(&mut self, kind: Kind, key: &str, node: Node) -> Option<Node> {
        let mut node = self.unbased(kind, key, node, 0)?;
        if kind == Kind::Cluster
            && let Value::Table(table) = &mut node.value
            && let Some(gpu) = table.remove("gpu")
        {
            match self.part(Kind::Gpu, "cluster.gpu", gpu.node) {
                Some(node) => {
                    let entry = Entry { key_place: gpu.key_place, node };
                    table.insert("gpu".to_owned(), entry);
                }
                None => self.is_gpu_lost = true,
            }
        }
        Some(node)
    }

    /// Follows a name or a `base` until only a table of the part's own keys is left.
    fn unbased(&mut self, kind: Kind, key: &str, node: Node, depth: usize) -> Option<Node> {
        let Node { value, place } = node;
        match value {
            Value::Text(name) => self.named(kind, key, &name, &place, depth),
            Value::Table(mut over) => {
                let Some(base) = over.remove("base") else {
                    return Some(Node { value: Value::Table(over), place });
                };
                let Value::Text(name) = &base.node.value else {
                    let problem = Problem::new(format!("{key}.base"), "must be a name in quotes");
                    self.report(problem.found(base.node.summary()), &base.node.place);
                    return None;
                };
                let base_key = format!("{key}.base");
                let mut under = self.named(kind, &base_key, name, &base.node.place, depth)?;
                if let Value::Table(under) = &mut under.value {
                    note_change(kind, under, &over);
                    merge(kind, under, over);
                }
                Some(Node { value: under.value, place })
            }
            other => {
                let node = Node { value: other, place };
                let message = format!("must be the name of a {} or a table", kind.name());
                self.report(Problem::new(key, message).found(node.summary()), &node.place);
                None
            }
        }
    }

    fn named(
        &mut self,
        kind: Kind,
        key: &str,
        name: &str,
        place: &Place,
        depth: usize,
    ) -> Option<Node> {
        if depth >= BASE_DEPTH {
            let message = format!("more than {BASE_DEPTH} bases stand on each other");
            let hint = "look for a file that is its own base";
            self.report(Problem::new(key, message).found(format!("{name:?}")).hint(hint), place);
            return None;
        }
        let file = match self.sources.referred(kind, key, name, place) {
            Ok(file) => file,
            Err(problem) => {
                self.problems.push(problem);
                return None;
            }
        };
        match parse(&file) {
            Ok(mut node) => {
                // An empty file has nothing to underline but itself.
                node.place = Place { file: Arc::clone(&file), span: 0..0 };
                self.unbased(kind, key, node, depth + 1)
            }
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }

    fn report(&mut self, problem: Problem, place: &Place) {
        self.problems.push(problem.at(Some(place.clone())));
    }
}

/// Puts `over` on top of `under`: tables key by key, everything else replaced.
fn merge(kind: Kind, under: &mut Table, over: Table) {
    for (key, mut entry) in over {
        let Some(old) = under.get_mut(&key) else {
            under.insert(key, entry);
            continue;
        };
        let is_gpu = kind == Kind::Cluster && key == "gpu";
        match (&mut old.node.value, &mut entry.node.value) {
            // Another base (or a table beside another base) replaces the whole GPU.
            (_, Value::Table(new)) if is_gpu && new.contains_key("base") => *old = entry,
            // Keys over a GPU given by name: the name is their base.
            (Value::Text(_), Value::Table(new)) if is_gpu => {
                new.insert("base".to_owned(), old.clone());
                *old = entry;
            }
            (Value::Table(inner), Value::Table(_)) => {
                let inner_kind = if is_gpu { Kind::Gpu } else { Kind::Scenario };
                if let Value::Table(new) = entry.node.value {
                    merge(inner_kind, inner, new);
                }
            }
            _ => *old = entry,
        }
    }
}

/// Keeps a changed part from passing for the original: its name says so, and the published
/// parameter count of the original goes.
fn note_change(kind: Kind, under: &mut Table, over: &Table) {
    // How many nodes one has of a cluster does not make it another one; its GPU has a name itself.
    let is_size = |key: &String| kind == Kind::Cluster && (key == "node_count" || key == "gpu");
    if over.keys().all(is_size) {
        return;
    }
    if !over.contains_key("name")
        && let Some(name) = under.get_mut("name")
        && let Value::Text(text) = &mut name.node.value
        && !text.ends_with(" (changed)")
    {
        text.push_str(" (changed)");
    }
    if kind == Kind::Model && !over.contains_key("parameter_count") {
        under.remove("parameter_count");
    }
}
