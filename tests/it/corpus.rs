//! The fuzz targets' corpus, played back: whatever was once found stays found, without a fuzzer.

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets are another crate, and need it public")]
mod targets;

use std::{fs, path::Path};

fn play(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut played = 0;
    for entry in fs::read_dir(&folder).expect("a corpus") {
        let path = entry.expect("an entry").path();
        // A panic's message does not say which file it was.
        println!("{}", path.display());
        check(&fs::read(path).expect("a file"));
        played += 1;
    }
    assert!(played > 0, "{} is empty", folder.display());
}

#[test]
fn events() {
    play("event", targets::event);
}

#[test]
fn headers() {
    play("headers", targets::headers);
}

#[test]
fn answers() {
    play("answer", targets::answer);
}

#[test]
fn waits() {
    play("retry_after", targets::retry_after);
}

#[test]
fn settings() {
    play("settings", targets::settings);
}
