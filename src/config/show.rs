//! What is in force, and what there is: the words of `config show` and `config reference`.
//!
//! Secrets are masked here, so that no caller can forget to.

use super::{
    Needs, SettingsError, Surroundings, check_all,
    table::{About, Fallback, TABLE},
};
use serde::Serialize;
use std::{fmt::Write, path::Path};

/// One setting as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The setting's name.
    pub name: &'static str,
    /// Its text, masked where it is secret; none where it is not set.
    pub value: Option<String>,
    /// Where it came from: `environment`, `file`, `secret file PATH` or `default`.
    pub source: String,
}

/// Every setting as it is in force, and what is wrong with them, if anything.
pub fn in_force(outside: &impl Surroundings, file: Option<&Path>) -> (Vec<Shown>, Result<(), SettingsError>) {
    let gathered = check_all(outside, file, Needs::Nothing);
    let shown = TABLE.iter().map(|setting| setting.about()).map(|about| {
        let raw = gathered.texts.get(about.name);
        Shown {
            name: about.name,
            value: raw.map(|raw| about.visible.of(&raw.text)),
            source: raw.map_or_else(|| "default".to_owned(), |raw| raw.origin.to_string()),
        }
    });
    let shown = shown.collect();
    (shown, if gathered.wrong.is_empty() { Ok(()) } else { Err(gathered.into()) })
}

/// The settings as aligned columns: name, value, source.
pub fn columns(settings: &[Shown]) -> String {
    let value = |shown: &Shown| shown.value.clone().unwrap_or_else(|| format!("({})", absent(shown.name)));
    let width = |of: &dyn Fn(&Shown) -> usize| settings.iter().map(of).max().unwrap_or_default();
    let names = width(&|shown| shown.name.len());
    let values = width(&|shown| value(shown).chars().count());
    settings.iter().fold(String::new(), |mut text, shown| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:names$}  {:values$}  {}", shown.name, value(shown), shown.source);
        text
    })
}

/// What it means that a setting is not set.
fn absent(name: &str) -> &'static str {
    TABLE.iter().map(|setting| setting.about()).find(|about| about.name == name).map_or("", |about| {
        match about.default {
            Fallback::Nothing(means) => means,
            Fallback::Text(_) | Fallback::Required => "not set",
        }
    })
}

/// All settings as a Markdown table, for the README.
pub fn reference() -> String {
    let head = "| Setting | Default | Meaning |\n|---|---|---|\n".to_owned();
    TABLE.iter().map(|setting| setting.about()).fold(head, |mut text, about| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{}` | {} | {} |", about.name, default(about), meaning(about));
        text
    })
}

fn default(about: &About) -> String {
    match about.default {
        Fallback::Text(text) => format!("`{text}`"),
        Fallback::Nothing(means) => means.to_owned(),
        Fallback::Required => "**required**".to_owned(),
    }
}

fn meaning(about: &About) -> String {
    let doc = about.doc.trim().replace('|', "\\|");
    if about.secret() { format!("{doc} Also as `{}_FILE`.", about.name) } else { doc }
}
