//! Reading the source tree: files, their code without comments and strings, and their items.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file of the repository.
pub(super) struct File {
    /// Path from the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl File {
    #[cfg(test)]
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The text without what stands in comments and literals; lines and columns stay in place.
    pub(super) fn code(&self) -> String {
        code_only(&self.text)
    }

    /// The code before the first `#[cfg(test)]` module; files of tests have none.
    pub(super) fn shipped_code(&self) -> String {
        const TEST_FILES: [&str; 2] = ["tests.rs", "fixture.rs"];
        if TEST_FILES.iter().any(|name| self.path.ends_with(name)) {
            return String::new();
        }
        let code = self.code();
        let is_tests = |at: &usize| {
            let next = code[*at..].lines().nth(1);
            next.is_some_and(|line| line.ends_with("mod tests {"))
        };
        let mut marks = code.match_indices("#[cfg(test)]").map(|found| found.0);
        let end = marks.find(is_tests).unwrap_or(code.len());
        code[..end].to_owned()
    }

    /// Module path below the crate root: `src/plan/mesh.rs` is `["plan", "mesh"]`.
    pub(super) fn module(&self) -> Vec<&str> {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.trim_end_matches(".rs").split('/').collect()
    }

    /// Whether it belongs to the library and not to the binary.
    pub(super) fn is_library(&self) -> bool {
        self.path.starts_with("src/") && !matches!(self.module()[0], "main" | "cli")
    }
}

/// The root of the repository.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below some folders (or files) of the repository whose names end in one of `endings`,
/// sorted; folders that do not exist have none.
pub(super) fn files(places: &[&str], endings: &[&str]) -> Vec<File> {
    let mut paths = Vec::new();
    for place in places {
        collect(&root().join(place), &mut paths);
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let name = path.strip_prefix(root()).expect("below the root").to_string_lossy();
        let name = name.replace('\\', "/");
        if endings.iter().any(|ending| name.ends_with(ending)) {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
            found.push(File { path: name, text });
        }
    }
    found
}

/// All Rust files.
pub(super) fn rust_files() -> Vec<File> {
    files(&["src", "tests", "benches", "examples", "build.rs"], &[".rs"])
}

fn collect(path: &Path, paths: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder that can be read") {
            collect(&entry.expect("an entry that can be read").path(), paths);
        }
    } else if path.is_file() {
        paths.push(path.to_owned());
    }
}

/// Blanks out comments and literals; literals of several lines are filled with quotes.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = literal_length(rest, code.chars().last());
        let (token, after) = rest.split_at(length.max(first.len_utf8()));
        if length == 0 {
            code.push_str(token);
        } else {
            let is_text = token.contains('\n') && !token.starts_with('/');
            let fill = if is_text { '"' } else { ' ' };
            code.extend(token.chars().map(|it| if it == '\n' { '\n' } else { fill }));
        }
        rest = after;
    }
    code
}

/// Bytes of the comment or literal at the start of a text; 0 when it starts with something else.
fn literal_length(text: &str, before: Option<char>) -> usize {
    let until = |end: &str, from: usize| {
        text[from..].find(end).map_or(text.len(), |index| from + index + end.len())
    };
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return until("*/", 2);
    }
    if text.starts_with('"') {
        return quoted_length(text, '"');
    }
    let in_name = before.is_some_and(|it| it.is_alphanumeric() || it == '_');
    if text.starts_with('r') && !in_name {
        let hashes = text[1..].chars().take_while(|&it| it == '#').count();
        if text[1 + hashes..].starts_with('"') {
            return until(&format!("\"{}", "#".repeat(hashes)), 2 + hashes);
        }
    }
    if text.starts_with('\'') {
        let mut letters = text.chars().skip(1);
        let (one, two) = (letters.next(), letters.next());
        // A lifetime has no closing quote behind its first letter.
        if one == Some('\\') || two == Some('\'') {
            return quoted_length(text, '\'');
        }
    }
    0
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return index + letter.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// Whether a word of the code is exactly this one, and where.
pub(super) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_name = |it: char| it.is_alphanumeric() || it == '_';
    code.match_indices(word).map(|found| found.0).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

/// The line of a place, from 1.
pub(super) fn line(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Whether a line of code is all inside a literal, such as a snapshot: data and not code.
pub(super) fn is_data(line: &str) -> bool {
    line.trim_start().starts_with('"') && line.trim().chars().all(|it| it == '"')
}

/// Functions of a file: name, first line, lines without data.
pub(super) fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let after = &code[at + 2..];
        let name: String = after
            .trim_start()
            .chars()
            .take_while(|it| it.is_alphanumeric() || *it == '_')
            .collect();
        // A signature ends at its body or, in traits and types, without one.
        let Some(open) = after.find(['{', ';']).filter(|_| !name.is_empty()) else { continue };
        if after[open..].starts_with(';') {
            continue;
        }
        let mut depth = 0;
        let end = after[open..].char_indices().find_map(|(index, letter)| {
            depth += i32::from(letter == '{') - i32::from(letter == '}');
            (depth == 0).then_some(open + index)
        });
        let body = &after[..end.unwrap_or(after.len())];
        let lines = body.split('\n').filter(|line| !is_data(line)).count();
        found.push((name, line(code, at), lines));
    }
    found
}
