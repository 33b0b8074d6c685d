//! Rebuilds the crate when a shipped data file comes, goes or changes: `include_dir!` alone does
//! not notice new files.

fn main() {
    for folder in ["models", "hardware", "configs", "validation"] {
        println!("cargo:rerun-if-changed={folder}");
    }
}
