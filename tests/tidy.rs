//! Rules that the compiler cannot check: layers, file heads; prints the largest files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::show;

/// Top first, as DESIGN section 3 has it. A module may import only from the rows below its own:
/// row mates never import each other.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["app"],
    &["config"],
    &["listen", "collect", "output", "web"],
    &["intake", "relay", "process", "sink", "store", "query"],
    &["stats", "tls"],
];

fn level(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|row| row.contains(&module))
        .unwrap_or_else(|| panic!("`{module}` has no layer; add it to LAYERS in tests/tidy.rs"))
}

fn sources(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn all_sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for dir in ["src", "proto/src", "journal/src", "simulator/src", "tests"] {
        sources(&root().join(dir), &mut found);
    }
    assert!(found.len() > 20, "the walk found only {} files", found.len());
    found
}

#[test]
fn imports_point_down() {
    let mut found = Vec::new();
    sources(&root().join("src"), &mut found);
    let mut seen = 0;
    for (path, text) in found {
        let inside = path.strip_prefix(root().join("src")).unwrap();
        let module = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = module.trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        for rest in text.split("crate::").skip(1) {
            let used = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            let path = inside.display();
            assert!(!used.is_empty(), "{path}: import one module per line, not `crate::{{..}}`");
            assert!(
                used == module || level(used) > level(module),
                "{path}: `{module}` must not import `{used}`, which is not below it"
            );
            seen += 1;
        }
    }
    assert!(seen > 0, "no import was checked");
}

#[test]
fn every_file_says_what_it_promises() {
    for (path, text) in all_sources() {
        assert!(text.starts_with("//!"), "{}: no //! at its head", path.display());
    }
}

#[test]
fn the_largest_files_are_known() {
    let mut sizes: Vec<_> =
        all_sources().into_iter().map(|(path, text)| (text.lines().count(), path)).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    for (lines, path) in sizes.iter().take(8) {
        show(&format!("{lines:>5} lines: {}", path.strip_prefix(root()).unwrap().display()));
    }
}
