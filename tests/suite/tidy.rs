//! House rules, as tests. What they say is in ARCHITECTURE.md (floors, homes) and CONTRIBUTING.md.

mod source;

use source::{File, files, functions, is_data, line, root, rust_files, words};

/// A floor: its modules, and what must stay absent from them.
struct Floor {
    modules: &'static [&'static str],
    absent: &'static str,
}

/// The library from the ground up. A module imports only from floors below its own; neighbours on
/// a floor do not import each other.
const FLOORS: &[Floor] = &[
    Floor { modules: &["units"], absent: "everything but quantities" },
    Floor { modules: &["work", "des"], absent: "`des` knows no GPU, no rank, no byte: only units" },
    Floor { modules: &["spec"], absent: "behaviour: it is data and checks" },
    Floor {
        modules: &["timeline", "topology", "graph"],
        absent: "`graph` knows no cluster, `timeline` no plan and no cost model",
    },
    Floor {
        modules: &["plan", "cost", "trace", "analysis"],
        absent: "`plan` knows no seconds, `cost` no plan, `analysis` not who made the timeline",
    },
    Floor {
        modules: &["program", "report", "calibrate"],
        absent: "`program` prices nothing, `report` computes nothing",
    },
    Floor { modules: &["sim"], absent: "transformers and plans: it sees instructions only" },
    Floor { modules: &["predict", "replay", "lib"], absent: "anything longer than the story" },
    Floor { modules: &["validate", "explore"], absent: "printing" },
];

/// Where a dependency may be used outside of tests: its crate name, and path prefixes.
const HOMES: &[(&str, &[&str])] = &[
    ("petgraph", &["src/topology"]),
    ("nalgebra", &["src/calibrate"]),
    ("rand", &["src/sim", "src/explore"]),
    ("rand_pcg", &["src/sim", "src/explore"]),
    ("dary_heap", &["src/des"]),
    ("toml", &["src/spec", "src/validate", "src/trace"]),
    ("schemars", &["src/spec", "src/units", "src/work"]),
    ("strsim", &["src/spec", "src/units"]),
    ("include_dir", &["src/spec"]),
    ("serde_path_to_error", &["src/spec"]),
    ("annotate_snippets", &["src/spec", "src/cli"]),
    ("serde_json", &["src/spec", "src/report", "src/trace", "src/cli"]),
    ("regex", &["src/trace", "src/explore"]),
    ("csv", &["src/report", "src/cli", "src/calibrate", "src/validate"]),
    ("flate2", &["src/cli", "src/trace"]),
    ("comfy_table", &["src/report", "src/cli"]),
    ("clap", &["src/cli", "src/main.rs"]),
    ("indicatif", &["src/cli"]),
    ("anstream", &["src/cli"]),
    ("tempfile", &["src/cli"]),
    ("rusqlite", &["src/trace"]),
    ("anyhow", &["src/cli", "src/main.rs"]),
];

/// Registries: the folder, its trait, the file and the constant that lists it.
const REGISTRIES: &[(&str, &str, &str, &str)] = &[
    ("src/plan/schedule/", "PipelineSchedule", "src/plan/schedule.rs", "SCHEDULES"),
    ("src/cost/collective/", "CollectiveAlgorithm", "src/cost/collective.rs", "ALGORITHMS"),
    ("src/report/", "Report", "src/report.rs", "REPORTS"),
    ("src/trace/formats/", "TraceFormat", "src/trace/formats.rs", "FORMATS"),
];

const LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

/// Files that may be longer, with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Fails with all violations at once.
fn none(violations: Vec<String>) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.modules.contains(&module))
}

/// Modules of the crate that a file names: `crate::x`, `crate::{x, y}`, and `super` up to the root.
fn imports(file: &File) -> Vec<(usize, String)> {
    let code = file.code();
    let mut found = Vec::new();
    for at in words(&code, "crate") {
        // `pub(in crate::x)` says who sees, not what is seen.
        let names_path = code[at..].starts_with("crate::") && !code[..at].ends_with("pub(in ");
        if names_path {
            found.extend(names(&code[at + 7..]).into_iter().map(|name| (line(&code, at), name)));
        }
    }
    let tests_at = code.find("mod tests {").unwrap_or(code.len());
    let mut at = 0;
    while let Some(next) = code[at..].find("super::") {
        let start = at + next;
        let chain = code[start..].split("super::").take_while(|part| part.is_empty()).count();
        at = start + 7 * chain;
        let depth = file.module().len() + usize::from(start > tests_at);
        if chain == depth {
            found.extend(names(&code[at..]).into_iter().map(|name| (line(&code, start), name)));
        }
    }
    found
}

/// First names of a path or of a braced list of paths.
fn names(after: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim().chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect()
    };
    let Some(list) = after.strip_prefix('{') else { return vec![name(after)] };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (index, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                found.push(name(&list[start..index]));
                start = index + 1;
                if letter == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

/// Imports of a file that go up or sideways.
fn floor_violations(file: &File) -> Vec<String> {
    let own = file.module()[0];
    let Some(own_floor) = floor(own) else {
        return vec![format!("{}: `{own}` is on no floor; give it one", file.path)];
    };
    let mut violations = Vec::new();
    for (line, other) in imports(file) {
        // Names of no module are items of the façade, which nothing below it may use.
        let other_floor = floor(&other).unwrap_or(FLOORS.len());
        if other != own && other_floor >= own_floor && own != "lib" {
            let absent = FLOORS[own_floor].absent;
            let path = &file.path;
            violations.push(format!("{path}:{line}: `{own}` uses `{other}`; absent: {absent}"));
        }
    }
    violations
}

#[test]
fn modules_import_only_from_lower_floors() {
    let library = rust_files().into_iter().filter(File::is_library);
    none(library.flat_map(|file| floor_violations(&file)).collect());
}

#[test]
fn an_import_from_above_is_found_however_it_is_written() {
    let check = |path: &str, text: &str| floor_violations(&File::new(path, text)).len();
    assert_eq!(check("src/cost/book.rs", "use crate::plan::Layout;"), 1);
    assert_eq!(check("src/cost/book.rs", "use crate::{units::Bytes, program::{A, B}, sim};"), 2);
    assert_eq!(check("src/cost/book.rs", "fn f() { super::super::sim::run() }"), 1);
    assert_eq!(check("src/cost/book.rs", "use crate::simulate;"), 1);
    assert_eq!(check("src/des/share.rs", "use crate::work::Pass;"), 1);
    assert_eq!(check("src/unheard.rs", ""), 1);
    assert_eq!(check("src/cost/book.rs", "use super::kernel; use crate::spec::{Gpu, Fit};"), 0);
    assert_eq!(check("src/cost/book.rs", "/// See [`crate::sim`].\nstruct A;"), 0);
    assert_eq!(check("src/cost/a.rs", "mod tests { use super::super::sim; }"), 0);
}

#[test]
fn heavy_dependencies_stay_at_home() {
    let mut violations = Vec::new();
    for file in rust_files().iter().filter(|file| file.path.starts_with("src/")) {
        let code = file.shipped_code();
        for (dependency, homes) in HOMES {
            let at_home = homes.iter().any(|home| file.path.starts_with(home));
            let path = format!("{dependency}::");
            let used = words(&code, dependency).find(|&at| code[at..].starts_with(&path));
            if let Some(at) = used.filter(|_| !at_home) {
                let line = line(&code, at);
                violations.push(format!("{}:{line}: {dependency} lives in {homes:?}", file.path));
            }
        }
    }
    none(violations);
}

/// Macros and paths that a file may not use, with the reason.
fn forbidden(file: &File) -> &'static [(&'static str, &'static str)] {
    const UNFINISHED: &[(&str, &str)] = &[
        ("todo!", "unfinished"),
        ("unimplemented!", "unfinished"),
        ("dbg!", "left over from debugging"),
    ];
    const LIBRARY: &[(&str, &str)] = &[
        ("todo!", "unfinished"),
        ("unimplemented!", "unfinished"),
        ("dbg!", "left over from debugging"),
        ("println!", "only the binary prints"),
        ("print!", "only the binary prints"),
        ("eprintln!", "only the binary prints"),
        ("eprint!", "only the binary prints"),
        ("std::fs", "only the binary reads and writes files"),
        ("std::env", "only the binary knows its surroundings"),
        ("std::process", "only the binary knows its surroundings"),
        ("std::net", "nothing talks to the network"),
        ("std::time", "same input, same bytes out: the only clock is the simulated one"),
        ("std::collections::HashMap", "its order differs between runs; use FxHashMap or BTreeMap"),
        ("std::collections::HashSet", "its order differs between runs; use FxHashSet or BTreeSet"),
    ];
    if file.is_library() { LIBRARY } else { UNFINISHED }
}

fn forbidden_uses(file: &File) -> Vec<String> {
    let code = file.shipped_code();
    let mut violations = Vec::new();
    for (what, why) in forbidden(file) {
        let name = what.trim_end_matches('!');
        for at in words(&code, name).filter(|&at| code[at..].starts_with(what)) {
            violations.push(format!("{}:{}: {what}: {why}", file.path, line(&code, at)));
        }
    }
    violations
}

#[test]
fn the_library_does_not_print_read_files_or_ask_the_time() {
    none(rust_files().iter().flat_map(forbidden_uses).collect());
}

#[test]
fn forbidden_macros_are_found_in_code_and_not_in_words_or_tests() {
    let check = |path: &str, text: &str| forbidden_uses(&File::new(path, text)).len();
    assert_eq!(check("src/sim/run.rs", "fn f() { println!(\"x\"); dbg!(1); }"), 2);
    assert_eq!(check("src/cli/list.rs", "fn f() { println!(\"x\"); todo!() }"), 1);
    assert_eq!(check("src/sim/run.rs", "// println!\nconst A: &str = \"println!\";"), 0);
    let tests = "#[cfg(test)]\nmod tests {\n    fn f() { println!(); }\n}";
    assert_eq!(check("src/sim/run.rs", tests), 0);
}

#[test]
fn files_functions_and_lines_are_short() {
    let mut violations = Vec::new();
    for file in rust_files() {
        let path = &file.path;
        let allowed = LONG_FILES.iter().any(|(long, _)| long == path);
        let count = file.text.lines().count();
        if count > LINES_MAX && !allowed {
            violations.push(format!("{path}: {count} lines, at most {LINES_MAX}"));
        }
        let code = file.code();
        for (index, (text, code)) in file.text.lines().zip(code.lines()).enumerate() {
            let columns = text.chars().count();
            if columns > COLUMNS_MAX && !is_data(code) {
                violations.push(format!("{path}:{}: {columns} columns", index + 1));
            }
        }
        for (name, line, lines) in functions(&code) {
            if lines > FUNCTION_LINES_MAX {
                violations.push(format!("{path}:{line}: `{name}` has {lines} lines"));
            }
        }
    }
    none(violations);
}

#[test]
fn functions_are_measured_from_signature_to_closing_brace() {
    let text = "trait T { fn a(&self); }\nfn b<'a>(x: &'a str) -> char {\n    if x == \"}\" {\n\
                '{'\n    } else {\n        '\\''\n    }\n}\nfn c() {}\n";
    let measured = functions(&File::new("src/a.rs", text).code());
    assert_eq!(measured, [("b".to_owned(), 2, 7), ("c".to_owned(), 9, 1)]);
}

#[test]
fn every_file_says_what_it_is() {
    let mut violations = Vec::new();
    for file in rust_files() {
        let words: usize = file
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .map(|line| line.trim_start_matches("//!").split_whitespace().count())
            .sum();
        if words == 0 && file.path != "build.rs" {
            violations.push(format!("{}: no module doc at its top", file.path));
        }
    }
    none(violations);
}

#[test]
fn file_names_say_what_is_inside() {
    const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "shared", "misc", "mod"];
    let mut violations = Vec::new();
    for file in rust_files() {
        if file.module().iter().any(|name| EMPTY_NAMES.contains(name)) {
            violations.push(format!("{}: a name that says nothing", file.path));
        }
    }
    none(violations);
}

#[test]
fn every_variant_is_in_its_registry() {
    let mut violations = Vec::new();
    for (folder, kind, registry, constant) in REGISTRIES {
        if !root().join(registry).exists() {
            continue;
        }
        let list = files(&[registry], &[".rs"]).remove(0).code();
        let start = words(&list, constant).next().expect("the registry's constant");
        let list = &list[start..start + list[start..].find("];").expect("its end")];
        let variants = files(&[folder], &[".rs"]);
        for file in variants {
            let code = file.shipped_code();
            let implementation = format!("{kind} for ");
            for at in words(&code, kind).filter(|&at| code[at..].starts_with(&implementation)) {
                let name = names(&code[at + implementation.len()..]).remove(0);
                if words(list, &name).next().is_none() {
                    violations.push(format!("{}: `{name}` is not in {constant}", file.path));
                }
            }
            let all_are_variants = *kind == "PipelineSchedule";
            if all_are_variants && !code.contains(&implementation) {
                violations.push(format!("{}: no {kind} in it", file.path));
            }
        }
    }
    none(violations);
}

/// Texts of the repository other than what is read once and measured.
fn texts() -> Vec<File> {
    let mut places = vec!["src", "tests", "benches", "examples", "models", "hardware", "configs"];
    places.extend(["validation", "docs", ".ci", "build.rs", "deny.toml", "rustfmt.toml"]);
    places.extend(["Cargo.toml", "Cargo.lock", ".gitignore"]);
    places.extend(DOCUMENTS);
    let endings = [".rs", ".toml", ".md", ".csv", ".json", ".snap", ".lock", "run", ".gitignore"];
    files(&places, &endings)
}

const DOCUMENTS: [&str; 5] =
    ["README.md", "ARCHITECTURE.md", "DESIGN.md", "CONTRIBUTING.md", "CHANGELOG.md"];

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    // Split, so that this file passes its own test.
    let paths = [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/")];
    let mut violations = Vec::new();
    for file in texts() {
        for (index, line) in file.text.lines().enumerate() {
            if paths.iter().any(|path| line.contains(path)) {
                violations.push(format!("{}:{}: a path of a machine", file.path, index + 1));
            }
        }
    }
    none(violations);
}

#[test]
fn dependencies_come_from_the_public_registry() {
    let registry = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let lock = files(&["Cargo.lock"], &["Cargo.lock"]).remove(0);
    let sources = lock.text.lines().filter(|line| line.starts_with("source = "));
    none(sources.filter(|line| *line != registry).map(str::to_owned).collect());
}

#[test]
fn documents_name_only_what_exists_and_the_map_names_every_module() {
    const FOLDERS: [&str; 9] =
        ["src", "tests", "benches", "examples", "models", "hardware", "configs", "docs", ".ci"];
    let mut violations = Vec::new();
    for file in files(&DOCUMENTS, &[".md"]) {
        for quoted in file.text.split('`').skip(1).step_by(2) {
            let is_path = quoted.split_once('/').is_some_and(|it| FOLDERS.contains(&it.0));
            let is_pattern = quoted.contains(['*', '<', '{', ' ']) || quoted.contains("NAME");
            if is_path && !is_pattern && !root().join(quoted).exists() {
                violations.push(format!("{}: `{quoted}` does not exist", file.path));
            }
        }
    }
    let map = files(&["ARCHITECTURE.md"], &[".md"]).remove(0).text;
    for file in rust_files().iter().filter(|file| file.path.starts_with("src/")) {
        let module = file.module();
        let named = words(&map, module[module.len().min(2) - 1]).next().is_some();
        if module.len() <= 2 && !named {
            violations.push(format!("ARCHITECTURE.md: the map lacks {}", file.path));
        }
    }
    none(violations);
}
