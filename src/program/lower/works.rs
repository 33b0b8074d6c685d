//! The table of works, each once.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use crate::program::{Work, WorkId, WorkKind};
use crate::work::{Kernel, Pass};

/// Works by what they are.
#[derive(Debug, Default)]
pub(super) struct WorkTable {
    works: Vec<Work>,
    by_label: FxHashMap<(&'static str, Pass), Vec<WorkId>>,
}

impl WorkTable {
    /// The id of a work, new or known.
    pub(super) fn intern(&mut self, label: &'static str, pass: Pass, kind: WorkKind) -> WorkId {
        self.intern_calls(label, pass, kind, 1)
    }

    /// The id of a work that the host launches with several calls.
    pub(super) fn intern_calls(
        &mut self,
        label: &'static str,
        pass: Pass,
        kind: WorkKind,
        launches: u32,
    ) -> WorkId {
        let candidates = self.by_label.entry((label, pass)).or_default();
        let known = candidates.iter().find(|id| {
            let work = &self.works[id.0 as usize];
            work.kind == kind && work.launches == launches
        });
        if let Some(&id) = known {
            return id;
        }
        let id = WorkId(self.works.len() as u32);
        self.works.push(Work { label: label.into(), pass, kind, launches });
        candidates.push(id);
        id
    }

    /// The id of a kernel.
    pub(super) fn kernel(&mut self, label: &'static str, pass: Pass, kernel: Kernel) -> WorkId {
        self.intern(label, pass, WorkKind::Kernel(kernel))
    }

    /// Label, pass and kernel behind an id; `None` where it is no kernel.
    pub(super) fn kernel_of(&self, id: WorkId) -> Option<(&'static str, Pass, Kernel)> {
        let work = &self.works[id.0 as usize];
        match (&work.kind, &work.label) {
            (WorkKind::Kernel(kernel), Cow::Borrowed(label)) => Some((label, work.pass, *kernel)),
            _ => None,
        }
    }

    pub(super) fn finish(self) -> Vec<Work> {
        self.works
    }
}
