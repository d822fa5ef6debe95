//! The rule of dependencies, held against the source: which room may name which, which room may use
//! which library, and that every file says what it owns.
//!
//! A room is a module of `src/lib.rs` with everything below it. Tests inside `src/` are exempt: they
//! may stand wherever they like.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Each room, with what it may name of the others: always rooms that stand above it, so that the
/// table cannot hold a circle.
const ROOMS: &[(&str, &[&str])] = &[
    // Pure: values in, values out.
    ("clock", &[]),
    ("failpoint", &[]),
    ("limit", &[]),
    ("message", &[]),
    ("outcome", &[]),
    ("pace", &[]),
    ("problem", &[]),
    ("retry", &[]),
    ("breaker", &["outcome"]),
    ("json", &["problem"]),
    ("customer", &["json", "problem"]),
    ("event", &["customer", "json", "message", "problem"]),
    // Reads one file.
    ("authorities", &[]),
    // Ports, each with the adapters that live below it.
    ("broker", &["message"]),
    ("spans", &["authorities", "event", "outcome", "retry"]),
    ("imin", &["authorities", "clock", "event", "outcome", "spans"]),
    ("ledger", &["clock", "event", "outcome"]),
    // What the ports say, put into messages.
    ("letters", &["broker", "event", "ledger", "message", "outcome"]),
    // The dead letters, with a port of their own: a queue that can be looked through.
    ("dead_letters", &["broker", "clock", "event", "json", "letters", "message", "outcome", "problem"]),
    // What an operator sees.
    ("health", &["clock"]),
    ("metrics", &["outcome"]),
    ("contracts", &["broker", "customer", "event", "letters", "outcome"]),
    ("telemetry", &[]),
    ("shutdown", &[]),
    ("admin", &["health", "metrics"]),
    // One event, and many.
    ("gate", &["breaker", "limit", "outcome", "pace"]),
    (
        "pipeline",
        &[
            "broker",
            "clock",
            "event",
            "failpoint",
            "gate",
            "imin",
            "ledger",
            "letters",
            "message",
            "metrics",
            "outcome",
            "retry",
            "shutdown",
            "spans",
        ],
    ),
    ("worker", &["broker", "gate", "pipeline"]),
    // The adapter of the broker's ports. `letters`: the marks by which it knows the worker's own messages.
    ("amqp", &["broker", "dead_letters", "letters", "message"]),
    // The edge.
    ("config", &["ledger", "telemetry"]),
    (
        "app",
        &[
            "admin",
            "amqp",
            "breaker",
            "broker",
            "config",
            "dead_letters",
            "gate",
            "health",
            "imin",
            "ledger",
            "metrics",
            "outcome",
            "pipeline",
            "retry",
            "shutdown",
            "spans",
            "worker",
        ],
    ),
    ("doctor", &["amqp", "app", "config", "imin", "ledger"]),
    (
        "cli",
        &[
            "admin",
            "app",
            "broker",
            "clock",
            "config",
            "contracts",
            "dead_letters",
            "doctor",
            "event",
            "letters",
            "message",
            "outcome",
            "shutdown",
            "telemetry",
        ],
    ),
    // Aside: it plays imin, and nothing of the product knows it.
    ("sandbox", &["clock"]),
];

/// The concrete adapters, with who may name them besides themselves.
const ADAPTERS: &[(&str, &[&str])] = &[
    // `doctor`: how to look without changing anything is each adapter's own.
    ("amqp", &["app", "doctor"]),
    ("imin::http", &["app", "doctor"]),
    ("ledger::memory", &["ledger"]),
    ("ledger::sqlite", &["ledger"]),
    ("ledger::postgres", &["ledger"]),
    // `config`: whether a text is a ledger's address is for the ledger to say.
    ("ledger::open", &["app", "config", "doctor", "ledger"]),
    ("spans::otlp", &["app", "spans"]),
    ("sandbox", &[]),
];

/// Libraries that belong to one room or two, by the paths below `src/` that may name them.
const LIBRARIES: &[(&str, &[&str])] = &[
    // `message` lends its types, `app` passes a connection from one function of `amqp` to another.
    ("lapin", &["amqp", "app.rs", "message.rs"]),
    ("reqwest", &["authorities", "imin/http", "imin/look", "spans/otlp"]),
    ("opentelemetry", &["spans"]),
    ("opentelemetry_sdk", &["spans"]),
    ("opentelemetry_proto", &["spans/otlp"]),
    ("prost", &["spans/otlp"]),
    ("percent_encoding", &["config"]),
    ("rusqlite", &["ledger/sqlite"]),
    ("tokio_postgres", &["ledger/postgres", "ledger/open"]),
    ("deadpool_postgres", &["ledger/postgres"]),
    ("axum", &["admin.rs", "sandbox"]),
    ("hyper", &["imin/http", "sandbox"]),
    ("prometheus", &["metrics.rs"]),
    ("tracing_subscriber", &["telemetry.rs"]),
    ("clap", &["cli", "bin"]),
    ("indicatif", &["cli"]),
    ("toml", &["config"]),
    ("backoff", &["retry.rs"]),
    ("email_address", &["customer"]),
    ("rust_iso3166", &["customer"]),
    // `cli/dead_letters`: the directory for temporary files, where an editor gets its copy.
    ("std::env", &["config", "cli/dead_letters", "failpoint.rs", "main.rs", "bin"]),
];

#[test]
fn rooms_name_only_what_they_may() {
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        named.entry(source.room()).or_default().extend(source.named().into_iter().map(|path| head(&path)));
    }
    let mut wrong = Vec::new();
    for (room, names) in named {
        let Some((_, allowed)) = ROOMS.iter().find(|(known, _)| *known == room) else {
            assert!(["lib", "main", "bin"].contains(&&*room), "the room {room} is not in the table");
            continue;
        };
        let is_room = |name: &String| ROOMS.iter().any(|(known, _)| known == name);
        for name in names.into_iter().filter(|name| *name != room && is_room(name)) {
            if !allowed.contains(&&*name) {
                wrong.push(format!("{room} names {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "against the rule of src/lib.rs: {}", wrong.join(", "));
}

#[test]
fn the_table_runs_downwards_and_allows_nothing_that_is_not_used() {
    let mut above = BTreeSet::new();
    let used: BTreeMap<String, BTreeSet<String>> =
        sources().into_iter().fold(BTreeMap::new(), |mut used, source| {
            used.entry(source.room()).or_default().extend(source.named().into_iter().map(|path| head(&path)));
            used
        });
    for (room, allowed) in ROOMS {
        for name in *allowed {
            assert!(above.contains(name), "{room} may name {name}, which does not stand above it");
            assert!(used[*room].contains(*name), "{room} may name {name}, and does not");
        }
        assert!(above.insert(room), "{room} stands twice");
    }
}

#[test]
fn the_map_shows_every_room() {
    let lib = fs::read_to_string(root().join("lib.rs")).expect("src/lib.rs");
    let declared: BTreeSet<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert_eq!(declared, ROOMS.iter().map(|(room, _)| *room).collect());
    let map: String = lib.lines().filter(|line| line.starts_with("//!")).collect();
    let words: BTreeSet<&str> = map.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let missing: Vec<_> = declared.difference(&words).collect();
    assert!(missing.is_empty(), "the map in src/lib.rs does not show {missing:?}");
}

#[test]
fn adapters_are_named_by_app_and_doctor_alone() {
    for source in sources() {
        for path in source.named() {
            for (adapter, allowed) in ADAPTERS {
                let inside = source.is_below(&adapter.replace("::", "/"));
                let names = path == *adapter || path.starts_with(&format!("{adapter}::"));
                assert!(
                    !names || inside || allowed.contains(&&*source.room()),
                    "{} names {adapter}",
                    source.path.display()
                );
            }
        }
    }
}

#[test]
fn libraries_stay_in_their_rooms() {
    for source in sources() {
        for (library, rooms) in LIBRARIES {
            assert!(
                !source.uses(library) || rooms.iter().any(|room| source.is_below(room)),
                "{} uses {library}",
                source.path.display()
            );
        }
    }
}

#[test]
fn every_file_opens_with_what_it_owns() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    for below in ["src", "tests", "benches", "deploy", "fuzz"] {
        for path in files(&package.join(below)) {
            let text = fs::read_to_string(&path).expect("UTF-8");
            assert!(text.starts_with("//! "), "{} does not open with //!", path.display());
        }
    }
}

/// The reader that the other tests stand on.
#[test]
fn paths_are_found_however_they_are_written() {
    let text = "use crate::{\n    a::{self, B},\n    c, d::E as F,\n};\nuse crate::g::H;\nfn x() -> crate::i::J { crate::k() }";
    let paths: Vec<String> = paths(text).into_iter().collect();
    assert_eq!(paths, ["a::B", "a::self", "c", "d::E", "g::H", "i::J", "k"]);
    assert_eq!(
        code("//! crate::x\nlet a = 1; // crate::y\n#[cfg(test)]\nmod tests { crate::z }").trim(),
        "let a = 1;"
    );
}

/// One file of `src/`, without its comments and tests.
struct Source {
    /// Below `src/`.
    path: PathBuf,
    code: String,
}

impl Source {
    /// The module of `src/lib.rs` that it belongs to.
    fn room(&self) -> String {
        let first = self.path.iter().next().expect("a path").to_string_lossy().into_owned();
        first.trim_end_matches(".rs").to_owned()
    }

    /// Whether it is this file or folder, or lies in it.
    fn is_below(&self, path: &str) -> bool {
        self.path.starts_with(path) || self.path == Path::new(&format!("{path}.rs"))
    }

    /// Whatever it names of the crate: `ledger::open::Options`.
    fn named(&self) -> BTreeSet<String> {
        let mut named = paths(&self.code);
        // In a file directly below `src/`, the parent is the crate.
        if self.path.components().count() == 1 {
            assert!(!self.code.contains("super::"), "{}: say crate::, not super::", self.path.display());
        }
        named.remove("");
        named
    }

    /// Whether it names a library.
    fn uses(&self, library: &str) -> bool {
        let path = format!("{library}::");
        self.code.match_indices(&path).any(|(at, _)| {
            let before = self.code[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
        })
    }
}

/// Every file of the product.
fn sources() -> Vec<Source> {
    let read = |path: PathBuf| {
        let code = code(&fs::read_to_string(&path).expect("UTF-8"));
        Source { path: path.strip_prefix(root()).expect("below src").to_owned(), code }
    };
    let is_test = |path: &PathBuf| path.iter().any(|part| part == "tests" || part == "tests.rs");
    files(&root()).into_iter().filter(|path| !is_test(path)).map(read).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every Rust file in a folder and below; none where there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// A source without comments and without its tests, which stand at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    text.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The first name of a path.
fn head(path: &str) -> String {
    path.split("::").next().unwrap_or(path).to_owned()
}

/// Every path below `crate::`, those inside braces too.
fn paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        // `imin_customer_worker::` is not ours to read, `$crate::` is a macro's.
        if !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            tree(&code[at + start.len()..], "", &mut found);
        }
    }
    found
}

/// Reads one `use` tree, and says how many bytes it took.
fn tree(text: &str, prefix: &str, found: &mut BTreeSet<String>) -> usize {
    let skip = text.len() - text.trim_start().len();
    let text = &text[skip..];
    if text.starts_with('{') {
        return skip + braces(text, prefix, found);
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(text.len());
    let path = if prefix.is_empty() { text[..end].to_owned() } else { format!("{prefix}::{}", &text[..end]) };
    if let Some(rest) = text[end..].strip_prefix("::") {
        return skip + end + 2 + tree(rest, &path, found);
    }
    found.insert(path);
    skip + end
}

/// Reads what stands between braces, both braces included.
fn braces(text: &str, prefix: &str, found: &mut BTreeSet<String>) -> usize {
    let mut at = 1;
    loop {
        at += tree(&text[at..], prefix, found);
        // Behind a name: `as Other`, a comma, or the end.
        let next = text[at..].find([',', '}']).map_or(text.len(), |next| at + next);
        match text.as_bytes().get(next) {
            Some(b',') if !text[next + 1..].trim_start().starts_with('}') => at = next + 1,
            Some(b',') => return next + 1 + text[next + 1..].find('}').map_or(0, |end| end + 1),
            _ => return (next + 1).min(text.len()),
        }
    }
}
