//! The data files that ship, embedded so that the binary works from any folder.

use include_dir::{Dir, include_dir};

use super::load::Kind;

static MODELS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/models");
static HARDWARE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/hardware");
static VALIDATION: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/validation");
static CONFIGS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/configs");

/// The embedded folder of a kind.
fn folder(kind: Kind) -> Option<&'static Dir<'static>> {
    match kind {
        Kind::Model => Some(&MODELS),
        Kind::Gpu => HARDWARE.get_dir("gpus"),
        Kind::Cluster => HARDWARE.get_dir("clusters"),
        Kind::Fit => HARDWARE.get_dir("fits"),
        Kind::Stack => CONFIGS.get_dir("stacks"),
        Kind::Scenario => Some(&CONFIGS),
    }
}

/// Names of what ships of a kind.
pub(super) fn names(kind: Kind) -> impl Iterator<Item = String> {
    let files = folder(kind).into_iter().flat_map(Dir::files);
    files.filter_map(|file| {
        let name = file.path().file_name()?.to_str()?;
        name.strip_suffix(".toml").map(str::to_owned)
    })
}

/// Text of a shipped file; `None` where nothing of this name ships.
pub(super) fn text(kind: Kind, name: &str) -> Option<&'static str> {
    let wanted = format!("{name}.toml");
    let mut files = folder(kind)?.files();
    let file = files.find(|file| {
        file.path().file_name().is_some_and(|file_name| file_name.to_str() == Some(&wanted))
    })?;
    file.contents_utf8()
}

/// Name and text of each shipped file of published runs, by name.
pub fn published_runs() -> Vec<(String, &'static str)> {
    let files = VALIDATION.files().filter_map(|file| {
        let name = file.path().file_name()?.to_str()?;
        Some((name.strip_suffix(".toml")?.to_owned(), file.contents_utf8()?))
    });
    let mut files: Vec<_> = files.filter(|(name, _)| name != "peers").collect();
    files.sort();
    files
}
