//! Where named parts come from: what ships, and the user's own folders before it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::spec::problem::{Place, Problem, SourceFile};
use crate::spec::shipped;

/// What a data file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A model.
    Model,
    /// A GPU.
    Gpu,
    /// A cluster.
    Cluster,
    /// What calibration learned.
    Fit,
    /// A software stack.
    Stack,
    /// A whole scenario.
    Scenario,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Model, Self::Gpu, Self::Cluster, Self::Fit, Self::Stack, Self::Scenario];

    /// Name of one, for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Gpu => "GPU",
            Self::Cluster => "cluster",
            Self::Fit => "fit",
            Self::Stack => "stack",
            Self::Scenario => "scenario",
        }
    }

    /// Name of several, as `stepcast list` takes it.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Gpu => "gpus",
            Self::Cluster => "clusters",
            Self::Fit => "fits",
            Self::Stack => "stacks",
            Self::Scenario => "scenarios",
        }
    }

    /// Folder of such files in the repository, and so in a `--data` folder.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Gpu => "hardware/gpus",
            Self::Cluster => "hardware/clusters",
            Self::Fit => "hardware/fits",
            Self::Stack => "configs/stacks",
            Self::Scenario => "configs",
        }
    }

    /// Folders of a `--data` folder that may hold such files, the first to win.
    pub const fn folders(self) -> &'static [&'static str] {
        match self {
            Self::Model => &["models"],
            Self::Gpu => &["hardware/gpus", "gpus"],
            Self::Cluster => &["hardware/clusters", "clusters"],
            Self::Fit => &["hardware/fits", "fits"],
            Self::Stack => &["configs/stacks", "stacks"],
            Self::Scenario => &["configs"],
        }
    }
}

/// Reads a file; the error is text for people.
pub type ReadFile = dyn Fn(&Path) -> Result<String, String> + Send + Sync;

/// The data files that names refer to. This module reads nothing from disk itself: the caller
/// gives a reader and the texts of the user's own files.
pub struct DataSources {
    own: BTreeMap<(Kind, String), Arc<SourceFile>>,
    read: Box<ReadFile>,
}

impl fmt::Debug for DataSources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DataSources").field("own", &self.own.keys()).finish_non_exhaustive()
    }
}

impl Default for DataSources {
    fn default() -> Self {
        Self::shipped()
    }
}

impl DataSources {
    /// What ships, and no access to files.
    pub fn shipped() -> Self {
        Self {
            own: BTreeMap::new(),
            read: Box::new(|_| Err("no files can be read here".to_owned())),
        }
    }

    /// With a reader for paths that scenarios name.
    #[must_use]
    pub fn with_reader(
        mut self,
        read: impl Fn(&Path) -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        self.read = Box::new(read);
        self
    }

    /// Adds a file of the user's; its name is that of the file without `.toml`. A file added
    /// earlier under the same name stays.
    pub fn add(&mut self, kind: Kind, path: &Path, text: String) {
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { return };
        let file = disk_file(path, text);
        self.own.entry((kind, name.to_owned())).or_insert(file);
    }

    /// All names of a kind, sorted.
    pub fn names(&self, kind: Kind) -> Vec<String> {
        let own = self.own.keys().filter(|key| key.0 == kind).map(|key| key.1.clone());
        let mut names: Vec<String> = own.chain(shipped::names(kind)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The file of a name: the user's, else the shipped one.
    pub(super) fn named(&self, kind: Kind, name: &str) -> Option<Arc<SourceFile>> {
        let own = self.own.get(&(kind, name.to_owned())).cloned();
        own.or_else(|| {
            shipped::text(kind, name).map(|text| {
                Arc::new(SourceFile {
                    name: format!("{}/{name}.toml (shipped)", kind.folder()),
                    text: text.to_owned(),
                    folder: None,
                })
            })
        })
    }

    /// The text of a name's file: the user's, else the shipped one.
    pub(super) fn text_of(&self, kind: Kind, name: &str) -> Option<Cow<'static, str>> {
        match self.own.get(&(kind, name.to_owned())) {
            Some(file) => Some(Cow::Owned(file.text.clone())),
            None => shipped::text(kind, name).map(Cow::Borrowed),
        }
    }

    /// The file at a path, read through the caller's reader.
    pub(super) fn at_path(&self, path: &Path) -> Result<Arc<SourceFile>, String> {
        (self.read)(path).map(|text| disk_file(path, text))
    }

    /// The file that a reference in another file means: a name, or a path when it ends in `.toml`.
    pub(super) fn referred(
        &self,
        kind: Kind,
        key: &str,
        reference: &str,
        place: &Place,
    ) -> Result<Arc<SourceFile>, Problem> {
        let problem = |message: String| {
            Problem::new(key, message).found(format!("{reference:?}")).at(Some(place.clone()))
        };
        if reference.ends_with(".toml") {
            let Some(folder) = &place.file.folder else {
                return Err(problem("a shipped file cannot refer to a path".to_owned()));
            };
            let path = folder.join(reference);
            return self
                .at_path(&path)
                .map_err(|error| problem(format!("cannot read {}: {error}", path.display())));
        }
        self.named(kind, reference).ok_or_else(|| {
            let names = self.names(kind);
            let problem = problem(format!("there is no {} of this name", kind.name()));
            let near = super::suggest::nearest(reference, names.iter().map(String::as_str));
            problem.hint(match near {
                Some(near) => {
                    format!("did you mean `{near}`? (`stepcast list {}` shows all)", kind.plural())
                }
                None => format!("`stepcast list {}` shows those that are known", kind.plural()),
            })
        })
    }
}

fn disk_file(path: &Path, text: String) -> Arc<SourceFile> {
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    Arc::new(SourceFile { name: path.display().to_string(), text, folder: Some(folder) })
}
