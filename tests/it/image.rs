//! The Dockerfile against the package: its layer of dependencies is built for stand-ins of our sources,
//! and Cargo refuses a package that lacks one.

use std::fs;

fn read(file: &str) -> String {
    fs::read_to_string([env!("CARGO_MANIFEST_DIR"), file].join("/")).unwrap()
}

#[test]
fn the_dockerfile_stands_in_for_every_target() {
    let (dockerfile, package) = (read("Dockerfile"), read("Cargo.toml"));
    let targets: toml::Table = package.parse().unwrap();
    let mut paths =
        vec!["src/lib.rs".to_owned(), "src/main.rs".to_owned(), "src/bin/imin-sandbox.rs".to_owned()];
    for kind in ["bin", "test", "example", "bench"] {
        let listed = targets.get(kind).and_then(toml::Value::as_array).into_iter().flatten();
        paths.extend(listed.filter_map(|target| Some(target.get("path")?.as_str()?.to_owned())));
    }
    assert!(paths.len() > 4, "{paths:?}");
    for path in paths {
        assert!(dockerfile.contains(&path), "the Dockerfile has no stand-in for {path}");
    }
}
