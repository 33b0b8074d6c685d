//! `--set plan.tp=4`: keys changed from the command line.

use std::path::PathBuf;
use std::sync::Arc;

use super::tree::{Entry, Node, Table, Value, parse_argument};
use crate::spec::problem::{Place, Problem, SourceFile};

/// One key set to one value.
#[derive(Clone, Debug)]
pub struct Override {
    keys: Vec<String>,
    key_place: Place,
    node: Node,
}

impl Override {
    /// Reads `plan.tp=4`. The value is TOML; what is no TOML is taken as plain text, so that
    /// `model=llama3-8b` and `cluster.nic_bandwidth=400 Gbit/s` need no quotes.
    ///
    /// # Errors
    /// When there is no `=`, or a part of the key is empty.
    pub fn parse(argument: &str) -> Result<Self, Problem> {
        const PREFIX: &str = "--set ";
        // Relative paths given on the command line start from the current folder.
        let file = Arc::new(SourceFile {
            name: "command line".to_owned(),
            text: format!("{PREFIX}{argument}"),
            folder: Some(PathBuf::new()),
        });
        let whole = Place { file: Arc::clone(&file), span: PREFIX.len()..file.text.len() };
        let refused = |message: &str| {
            Problem::new("", message)
                .hint("write KEY=VALUE, such as `--set plan.tp=4`")
                .at(Some(whole.clone()))
        };
        let Some((key, _)) = argument.split_once('=') else {
            return Err(refused("an override needs a key and a value"));
        };
        let keys: Vec<String> = key.split('.').map(|part| part.trim().to_owned()).collect();
        if keys.iter().any(String::is_empty) {
            return Err(refused("a part of the key is empty"));
        }
        if keys.len() > 8 {
            return Err(refused("the key has too many parts"));
        }
        let key_end = PREFIX.len() + key.len();
        let key_place = Place { file: Arc::clone(&file), span: PREFIX.len()..key_end };
        Ok(Self { keys, key_place, node: parse_argument(&file, key_end + 1) })
    }

    /// Dotted key.
    pub fn key(&self) -> String {
        self.keys.join(".")
    }

    /// Sets the key in a scenario's tree. A part given by name becomes that name as `base` and the
    /// key beside it.
    pub(super) fn apply(&self, root: &mut Table) {
        let mut table = root;
        let last = self.keys.len() - 1;
        for key in &self.keys[..last] {
            let entry = table.entry(key.clone()).or_insert_with(|| Entry {
                key_place: self.key_place.clone(),
                node: Node::empty_table(self.key_place.clone()),
            });
            let node = &mut entry.node;
            if node.table().is_none() {
                // A name becomes a base; anything else is replaced, as by a later assignment.
                let base = Entry { key_place: entry.key_place.clone(), node: node.clone() };
                let is_name = node.text().is_some();
                *node = Node::empty_table(node.place.clone());
                if let (true, Value::Table(new)) = (is_name, &mut node.value) {
                    new.insert("base".to_owned(), base);
                }
            }
            let Value::Table(inner) = &mut entry.node.value else {
                unreachable!("made a table just above")
            };
            table = inner;
        }
        let entry = Entry { key_place: self.key_place.clone(), node: self.node.clone() };
        table.insert(self.keys[last].clone(), entry);
    }
}
