//! SECURITY.md claims nothing that no test holds: each name in brackets is a test's, or a module's of tests.

use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn every_claim_names_its_test() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(package.join("SECURITY.md")).expect("the page");
    let mut known = BTreeSet::new();
    for below in ["src", "tests"] {
        gather(&package.join(below), &mut known);
    }
    let claimed = claims(&page);
    assert!(claimed.len() > 20, "{claimed:?}");
    let is_known = |name: &str| known.iter().any(|known| known.starts_with(name));
    let missing: Vec<_> =
        claimed.iter().flat_map(|claim| claim.split("::")).filter(|part| !is_known(part)).collect();
    assert!(missing.is_empty(), "SECURITY.md names no test by {missing:?}");
}

/// Whatever stands between backticks in square brackets.
fn claims(page: &str) -> Vec<&str> {
    let brackets = page.split("[`").skip(1).filter_map(|rest| rest.split_once("`]"));
    brackets.flat_map(|(inside, _)| inside.split("`, `")).collect()
}

/// The names of files and functions.
fn gather(folder: &Path, known: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        known.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        if path.is_dir() {
            gather(&path, known);
        } else if let Ok(text) = fs::read_to_string(&path) {
            let named = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            known.extend(named.map(str::to_owned));
        }
    }
}
