//! Pages that the program writes about itself are current.
//!
//! `STEPCAST_BLESS=1 cargo test --release generated` writes them anew.

use assert_cmd::Command;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use stepcast::calibrate::overview;
use stepcast::spec::{DataSources, Fit, Kind, load_part};

/// Standard output of the program.
fn stepcast(arguments: &[&str]) -> String {
    let output = Command::cargo_bin("stepcast").unwrap().args(arguments).output().unwrap();
    assert!(output.status.success(), "stepcast {arguments:?} failed");
    String::from_utf8(output.stdout).unwrap()
}

/// Compares a committed page with what it should be, or writes it.
pub(crate) fn check(path: &str, generated: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("STEPCAST_BLESS").is_some() {
        fs::write(&file, generated).unwrap();
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == generated,
        "{path} is not current; run `STEPCAST_BLESS=1 cargo test --release generated`"
    );
}

/// Compares what stands between `<!-- name -->` and `<!-- /name -->` of a page with what should.
pub(crate) fn check_part(path: &str, name: &str, generated: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let page = fs::read_to_string(&file).unwrap();
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let start = page.find(&open).expect("the page has the part") + open.len();
    let end = start + page[start..].find(&close).expect("the part ends");
    check(path, &format!("{}{generated}{}", &page[..start], &page[end..]));
}

#[test]
fn the_schema_that_configs_name_is_current() {
    check("configs/scenario.schema.json", &stepcast(&["schema"]));
}

/// How all fits are made anew: also the text that CONTRIBUTING.md shows.
const REGENERATE: &str = "hardware/fits/regenerate.sh ../shared/measurements/kernels";

#[test]
fn the_page_about_fits_is_current() {
    let sources = DataSources::shipped();
    let load = |name: String| load_part::<Fit>(&sources, Kind::Fit, &name).unwrap();
    let fits: Vec<Fit> = sources.names(Kind::Fit).into_iter().map(load).collect();
    check("hardware/fits/README.md", &overview(&fits, REGENERATE));
}

#[test]
fn the_page_of_the_command_line_is_current() {
    let mut page = "# Command line\n\nGenerated from the program's own help.\n".to_owned();
    let commands: [&[&str]; 19] = [
        &["help"],
        &["help", "simulate"],
        &["help", "compare"],
        &["help", "calibrate"],
        &["help", "calibrate", "check"],
        &["help", "calibrate", "machine"],
        &["help", "calibrate", "runs"],
        &["help", "validate"],
        &["help", "trace"],
        &["help", "trace", "summarize"],
        &["help", "trace", "diff"],
        &["help", "trace", "diagnose"],
        &["help", "trace", "replay"],
        &["help", "trace", "what-if"],
        &["help", "check"],
        &["help", "list"],
        &["help", "schema"],
        &["help", "import"],
        &["help", "import", "hf"],
    ];
    for command in commands {
        let name = command[1..].join(" ");
        let title =
            if name.is_empty() { "stepcast".to_owned() } else { format!("stepcast {name}") };
        let help = stepcast(command);
        write!(page, "\n## {title}\n\n```text\n{}\n```\n", help.trim_end()).unwrap();
    }
    check("docs/command-line.md", &page);
}
