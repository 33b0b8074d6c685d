//! Interned names.

use rustc_hash::FxHashMap;

/// Handle of an interned name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelId(u32);

/// Names, each stored once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
    ids: FxHashMap<String, LabelId>,
}

impl Labels {
    /// The handle of a name, new or known.
    pub fn intern(&mut self, name: &str) -> LabelId {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id = LabelId(self.names.len() as u32);
        self.names.push(name.to_owned());
        self.ids.insert(name.to_owned(), id);
        id
    }

    /// The name behind a handle of this table.
    pub fn name(&self, id: LabelId) -> &str {
        &self.names[id.0 as usize]
    }
}
