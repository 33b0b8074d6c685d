//! The disk side of data sources: reads scenario files and the folders of `--data`.

use anyhow::Context as _;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use stepcast::spec::{DataSources, Kind, Problem, Problems};

/// Larger files are no inputs of ours.
const MOST_BYTES: u64 = 16 << 20;

/// What ships, the files of `folders`, and a reader for paths.
pub(crate) fn sources(folders: &[PathBuf]) -> anyhow::Result<DataSources> {
    let mut sources = DataSources::shipped().with_reader(read);
    for folder in folders {
        if !folder.is_dir() {
            let problem = Problem::new("", format!("--data {}: not a folder", folder.display()));
            return Err(Problems::from(problem).into());
        }
        for kind in Kind::ALL {
            for below in kind.folders() {
                add_folder(&mut sources, kind, &folder.join(below))?;
            }
        }
    }
    Ok(sources)
}

fn add_folder(sources: &mut DataSources, kind: Kind, folder: &Path) -> anyhow::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "toml") && path.is_file() {
            let text = read(&path)
                .map_err(|error| Problem::new("", format!("{}: {error}", path.display())))
                .map_err(Problems::from)?;
            sources.add(kind, &path, text);
        }
    }
    Ok(())
}

/// The text of a file; the error is for people.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    })?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("it is larger than {} MiB", MOST_BYTES >> 20));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}
