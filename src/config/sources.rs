//! Where the texts of settings come from: environment, settings file, secrets' files, defaults.
//!
//! Owns the order of the sources and the way to the outside. What a text means is `parse`'s.

use super::{
    SettingsError, Wrong,
    table::{About, Fallback, TABLE},
};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, io,
    io::IsTerminal,
    path::{Path, PathBuf},
};

/// What reading settings needs of the world outside.
pub trait Surroundings {
    /// An environment variable.
    fn env(&self, name: &str) -> Option<OsString>;
    /// A file's text.
    fn read(&self, path: &Path) -> io::Result<String>;
    /// Whether log lines go to a terminal.
    fn terminal(&self) -> bool;
}

/// The process's own.
#[derive(Debug, Clone, Copy)]
pub struct Process;

impl Surroundings for Process {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn env(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn terminal(&self) -> bool {
        io::stderr().is_terminal()
    }
}

/// Where a setting's text was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// In an environment variable.
    Environment,
    /// In the settings file.
    File,
    /// In a file that `NAME_FILE` names.
    SecretFile(PathBuf),
    /// In the table.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::File => f.write_str("file"),
            Self::SecretFile(path) => write!(f, "secret file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting's text, not yet parsed.
#[derive(Clone)]
pub(super) struct Raw {
    /// The text.
    pub text: String,
    /// Where it was found.
    pub origin: Origin,
}

/// The text of every setting that has one, and what went wrong on the way.
#[derive(Default)]
pub(super) struct Gathered {
    /// By the setting's name.
    pub texts: BTreeMap<&'static str, Raw>,
    /// Everything that was wrong.
    pub wrong: Vec<Wrong>,
}

/// The texts of one source, by the name that the setting has in the environment; empty texts are left out.
type Layer = BTreeMap<String, String>;

/// Gathers the text of every setting: from the environment, else from the file, else the default.
pub(super) fn gather(outside: &impl Surroundings, file: Option<&Path>) -> Gathered {
    let mut gathered = Gathered::default();
    let environment = environment(outside, &mut gathered.wrong);
    let from_file = file.map_or_else(Layer::new, |path| settings_file(outside, path, &mut gathered.wrong));
    for about in TABLE.iter().map(|setting| setting.about()) {
        let found = pick(outside, about, &environment, Origin::Environment)
            .or_else(|| pick(outside, about, &from_file, Origin::File))
            .or_else(|| default(about));
        match found {
            Some(Ok(raw)) => drop(gathered.texts.insert(about.name, raw)),
            Some(Err(wrong)) => gathered.wrong.push(wrong),
            None => {}
        }
    }
    gathered
}

/// Every name that a text can have: each setting's, and `NAME_FILE` of each secret.
fn names() -> impl Iterator<Item = String> {
    TABLE.iter().map(|setting| setting.about()).flat_map(|about| {
        let file = about.secret().then(|| format!("{}_FILE", about.name));
        std::iter::once(about.name.to_owned()).chain(file)
    })
}

fn environment(outside: &impl Surroundings, wrong: &mut Vec<Wrong>) -> Layer {
    let mut layer = Layer::new();
    for name in names() {
        match outside.env(&name).map(OsString::into_string) {
            Some(Ok(text)) if !text.is_empty() => drop(layer.insert(name, text)),
            Some(Err(_)) => wrong.push(Wrong::new(name, "is not UTF-8", "Set it to plain text.")),
            Some(Ok(_)) | None => {}
        }
    }
    layer
}

fn settings_file(outside: &impl Surroundings, path: &Path, wrong: &mut Vec<Wrong>) -> Layer {
    let shown = path.display().to_string();
    let text = match outside.read(path) {
        Ok(text) => text,
        Err(error) => {
            wrong.push(Wrong::new(
                shown,
                format!("cannot be read: {error}"),
                "Give --config a readable TOML file.",
            ));
            return Layer::new();
        }
    };
    match text.parse::<toml::Table>() {
        Ok(table) => table.into_iter().filter_map(|entry| file_entry(entry, wrong)).collect(),
        Err(error) => {
            // The error's own display quotes the line, and that may hold a secret.
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            let what = format!("is not TOML, from line {line} on");
            wrong.push(Wrong::new(shown, what, "Write one `name = \"value\"` a line."));
            Layer::new()
        }
    }
}

fn file_entry((key, value): (String, toml::Value), wrong: &mut Vec<Wrong>) -> Option<(String, String)> {
    let name = key.to_ascii_uppercase();
    if key != key.to_ascii_lowercase() || !names().any(|known| known == name) {
        wrong.push(Wrong::new(key, "is not a setting", did_you_mean(&name)));
        return None;
    }
    let text = match value {
        toml::Value::String(text) => text,
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(switch) => switch.to_string(),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
            wrong.push(Wrong::new(key, "is not a text, number or switch", "Write it as a quoted text."));
            return None;
        }
    };
    (!text.is_empty()).then_some((name, text))
}

fn did_you_mean(name: &str) -> String {
    let near = names()
        .map(|known| (strsim::jaro(name, &known), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    near.map_or_else(
        || "Remove it; `config reference` lists what there is.".to_owned(),
        |(_, known)| format!("Did you mean {}?", known.to_ascii_lowercase()),
    )
}

fn pick(
    outside: &impl Surroundings,
    about: &About,
    layer: &Layer,
    origin: Origin,
) -> Option<Result<Raw, Wrong>> {
    let file_name = format!("{}_FILE", about.name);
    let file = if about.secret() { layer.get(&file_name) } else { None };
    match (layer.get(about.name), file) {
        (Some(_), Some(_)) => {
            let what = format!("is set, and so is {file_name} (both in the {origin})");
            Some(Err(Wrong::new(about.name, what, "Set one of the two.")))
        }
        (Some(text), None) => Some(Ok(Raw { text: text.clone(), origin })),
        (None, Some(path)) => Some(secret_file(outside, &file_name, Path::new(path))),
        (None, None) => None,
    }
}

fn secret_file(outside: &impl Surroundings, name: &str, path: &Path) -> Result<Raw, Wrong> {
    let shown = path.display();
    let text = outside.read(path).map_err(|error| {
        Wrong::new(
            name,
            format!("names {shown}, which cannot be read: {error}"),
            "Give the worker's user that file.",
        )
    })?;
    // An editor ends a file with a newline; no secret ends with white space.
    let text = text.trim_end();
    if text.is_empty() {
        return Err(Wrong::new(name, format!("names {shown}, which is empty"), "Write the secret into it."));
    }
    Ok(Raw { text: text.to_owned(), origin: Origin::SecretFile(path.to_owned()) })
}

fn default(about: &About) -> Option<Result<Raw, Wrong>> {
    match about.default {
        Fallback::Text(text) => Some(Ok(Raw { text: text.to_owned(), origin: Origin::Default })),
        Fallback::Nothing(_) | Fallback::Required => None,
    }
}

/// Reads the file of each of these settings that is set, so that a wrong path shows at start.
pub(super) fn check_readable(outside: &impl Surroundings, gathered: &mut Gathered, names: &[&'static str]) {
    for &name in names {
        let Some(raw) = gathered.texts.get(name) else { continue };
        if let Err(error) = outside.read(Path::new(&raw.text)) {
            let what = format!("names {}, which cannot be read: {error}", raw.text);
            gathered.wrong.push(Wrong::new(name, what, "Give the worker's user a readable PEM file."));
        }
    }
}

impl From<Gathered> for SettingsError {
    fn from(gathered: Gathered) -> Self {
        Self(gathered.wrong)
    }
}
