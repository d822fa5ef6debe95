//! `dead-letters show`.

use super::{desk::Desk, words};
use crate::{
    cli::print,
    dead_letters::{
        export,
        letter::{Letter, Why},
        mask,
        select::{Filter, KeyPart, Named},
    },
    message::{Headers, Message, Properties, ShortString},
    outcome::Reason,
};
use serde_json::json;
use std::fmt::Write as _;

const EXAMPLES: &str = "\
Examples:
  imin-customer-worker dead-letters show 15855196-ff0d
  imin-customer-worker dead-letters show 15855196-ff0d --reveal

--reveal shows the customer, and leaves an audit line that says who looked.";

/// What to show.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The key, or its beginning from six characters on.
    #[arg(value_name = "KEY")]
    key: KeyPart,
    /// Show the customer, too.
    #[arg(long)]
    reveal: bool,
    /// As JSON; with --reveal in the form that `export` writes.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(desk: &Desk<'_>, arguments: &Args) -> anyhow::Result<()> {
    let mut found = Vec::new();
    let filter = Filter { keys: vec![arguments.key.clone()], ..Filter::default() };
    let mut named = Named::new(&filter);
    desk.each(true, |held, letter| {
        named.see(letter.key);
        // The same event may be here several times; nobody reads more of it than this.
        if filter.matches(letter, desk.now) && found.len() < 20 {
            found.push((held.message.clone(), letter.clone()));
        }
        true
    })
    .await?;
    named.check()?;
    for (at, (message, letter)) in found.iter().enumerate() {
        if arguments.reveal && at == 0 {
            desk.note_reveal(letter)?;
        }
        let text = match (arguments.json, arguments.reveal) {
            (true, true) => export::line(letter.key, message)? + "\n",
            (true, false) => object(desk, letter, message) + "\n",
            (false, reveal) => text(desk, letter, message, reveal),
        };
        print(&text)?;
    }
    Ok(())
}

fn object(desk: &Desk<'_>, letter: &Letter, message: &Message) -> String {
    let headers = message.properties.headers().as_ref().map(|headers| {
        let masked = headers
            .inner()
            .iter()
            .map(|(name, value)| (name.to_string(), mask::header(name.as_str(), value).into()));
        masked.collect::<serde_json::Map<_, _>>()
    });
    let mut object = words::object(letter, desk.now);
    if let Some(fields) = object.as_object_mut() {
        fields.insert("headers".into(), json!(headers.unwrap_or_default()));
        fields.insert("body_masked".into(), mask::body(&message.body).into());
    }
    object.to_string()
}

fn text(desk: &Desk<'_>, letter: &Letter, message: &Message, reveal: bool) -> String {
    let mut out = format!("{}\n", desk.terminal.bold(&letter.key.to_string()));
    summary(&mut out, desk, letter);
    section(&mut out, desk, "Properties", properties(&message.properties, reveal));
    let headers = message.properties.headers().as_ref().map(Headers::inner);
    let shown = |(name, value): (&ShortString, _)| {
        let value = if reveal { mask::full(value) } else { mask::header(name.as_str(), value) };
        (name.to_string(), value)
    };
    section(&mut out, desk, "Headers", headers.into_iter().flatten().map(shown).collect());
    let (title, body) = if reveal {
        ("Body", String::from_utf8_lossy(&message.body).into_owned())
    } else {
        ("Body, masked (--reveal shows it)", mask::body(&message.body))
    };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}\n{}", desk.terminal.bold(title), mask::plain(&body));
    let _ = writeln!(out, "{}", desk.terminal.bold("What to do"));
    out.push_str(&advice(letter));
    out
}

fn summary(out: &mut String, desk: &Desk<'_>, letter: &Letter) {
    let mut fields = vec![("reason".to_owned(), letter.why.to_string())];
    if let Some(at) = letter.at {
        fields.push(("dead since".to_owned(), format!("{at} ({} ago)", words::age(at, desk.now))));
    }
    let first = letter.first_attempt_at.map(|at| format!(", the first at {at}")).unwrap_or_default();
    fields.push(("attempts".to_owned(), format!("{}{first}", letter.attempts)));
    fields.push(("replays".to_owned(), letter.replays.to_string()));
    if let Some(what) = letter.what().filter(|_| letter.problems.is_empty()) {
        fields.push(("what".to_owned(), what));
    }
    let description = letter.detail.get("description").and_then(serde_json::Value::as_str);
    fields.extend(description.map(|text| ("imin says".to_owned(), text.to_owned())));
    fields.extend(letter.hint.iter().map(|hint| ("customer".to_owned(), hint.clone())));
    for problem in &letter.problems {
        let part = serde_json::to_value(problem.part).unwrap_or_default();
        let part = part.as_str().unwrap_or_default();
        fields.push(("problem".to_owned(), format!("{part} {} {}", problem.pointer, problem.rule)));
    }
    for (name, value) in fields {
        out.push_str(&words::wrap(&mask::plain(&value), &format!("  {name:11} "), 14));
    }
}

fn section(out: &mut String, desk: &Desk<'_>, title: &str, fields: Vec<(String, String)>) {
    let _ = writeln!(out, "{}", desk.terminal.bold(title));
    for (name, value) in fields {
        out.push_str(&words::wrap(&mask::plain(&value), &format!("  {} ", mask::plain(&name)), 4));
    }
}

/// The properties that are set; those in which a sender may write what he likes are masked.
fn properties(properties: &Properties, reveal: bool) -> Vec<(String, String)> {
    let open = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
    let masked = |text: &Option<ShortString>| {
        text.as_ref().map(|text| if reveal { text.to_string() } else { mask::MASK.to_owned() })
    };
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let all = [
        ("content_type", open(properties.content_type())),
        ("content_encoding", open(properties.content_encoding())),
        ("delivery_mode", number(properties.delivery_mode().map(u64::from))),
        ("priority", number(properties.priority().map(u64::from))),
        ("timestamp", number(*properties.timestamp())),
        ("app_id", open(properties.app_id())),
        ("message_id", masked(properties.message_id())),
        ("correlation_id", masked(properties.correlation_id())),
        ("reply_to", masked(properties.reply_to())),
        ("type", masked(properties.kind())),
        ("user_id", masked(properties.user_id())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// What helps with a letter of this kind.
fn advice(letter: &Letter) -> String {
    let key = &letter.key.to_string()[..13];
    let command = |rest: &str| format!("  imin-customer-worker dead-letters {}\n", rest.replace("KEY", key));
    match letter.why {
        Why::Known(Reason::InvalidEvent) => {
            let at = letter.problems.first().map_or("/customer/email", |problem| &problem.pointer);
            command(&format!("edit KEY --set {at}=…")) + &command("edit KEY")
        }
        Why::Known(Reason::RejectedByApi) => command("edit KEY") + &command("replay KEY"),
        Why::Known(Reason::OutcomeUnknown) => {
            "  Look at imin whether the account is there, then one of:\n".to_owned()
                + &command("resolve KEY --identifier …")
                + &command("resolve KEY --not-created")
        }
        Why::Known(Reason::UnusableResponse) => {
            "  The account exists. Ask imin for its identifier, then:\n".to_owned()
                + &command("resolve KEY --identifier …")
        }
        Why::Known(Reason::RetriesExhausted | Reason::DeliveryLimit) | Why::Expired => {
            "  Mend what made it fail, then:\n".to_owned() + &command("replay KEY")
        }
        Why::Foreign => {
            "  Nobody says why it is here. If it is a create-customer event:\n".to_owned()
                + &command("replay KEY")
        }
    }
}
