//! The GPUs that tables speak of.

use crate::spec::Gpu;

/// GPUs by name.
#[derive(Clone, Debug, Default)]
pub struct Hardware {
    gpus: Vec<(String, Gpu)>,
}

impl Hardware {
    /// GPUs with the names of their files.
    pub fn new(gpus: Vec<(String, Gpu)>) -> Self {
        Self { gpus }
    }

    /// The GPU that a table or a person calls so: by file, name or alias, whatever the case.
    pub fn find(&self, name: &str) -> Option<(&str, &Gpu)> {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        self.gpus
            .iter()
            .find(|(file, gpu)| {
                is(file) || is(&gpu.name) || gpu.aliases.iter().any(|alias| is(alias))
            })
            .map(|(file, gpu)| (file.as_str(), gpu))
    }

    /// Names of files, for messages.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.gpus.iter().map(|(file, _)| file.as_str())
    }

    /// Of some GPUs (files), the one most like another.
    pub fn nearest<'a>(&self, gpu: &Gpu, files: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        files
            .filter_map(|file| {
                let (_, known) = self.gpus.iter().find(|(name, _)| name == file)?;
                Some((file, gpu.distance(known)))
            })
            .min_by(|left, right| left.1.total_cmp(&right.1))
            .map(|(file, _)| file)
    }
}
