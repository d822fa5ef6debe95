//! The way back: from a dead letter to the message that an operator has tried again.
//!
//! Pure. Owns which headers are moved aside, what an operator's word looks like on a message, and how
//! the worker tells whoever replays how it ended. Who may be replayed is `dead_letters`' to say.

use super::{
    FIRST_ATTEMPT_AT, ORIGINAL_EXCHANGE, ORIGINAL_ROUTING_KEY, REPLAY_COUNT, RESOLUTION, RESOLUTION_ID,
    RESOLUTION_IDENTIFIER, Resolution, TRAVELLING, Table, carry, death::Death, fit, is_ours,
};
use crate::{
    broker::{Names, Publication},
    event::EventKey,
    message::{Headers, Message, Properties, ShortString, Value, long},
};
use bytes::Bytes;
use uuid::Uuid;

/// The queue on which whoever replays listens to how it ends.
pub const WATCHED_BY: &str = "replay-watched-by";
/// What stands before the name of a header that told of the failure before the replay.
pub const PREVIOUSLY: &str = "previous-";
/// The headers that tell of a failure.
const FAILURE: [&str; 8] = [
    "failure-reason",
    "failure-detail",
    "failure-status",
    "failure-attempts",
    "failure-at",
    FIRST_ATTEMPT_AT,
    "event-key",
    "worker-version",
];
/// The headers of an operator's word.
const WORD: [&str; 3] = [RESOLUTION, RESOLUTION_ID, RESOLUTION_IDENTIFIER];

/// What goes with a replay.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// The queue on which somebody waits for its outcome.
    pub watched_by: Option<String>,
    /// An operator's word on an unknown outcome.
    pub word: Option<Resolution>,
}

/// How a replayed event ended, as the worker tells whoever watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The event.
    pub key: Uuid,
    /// The label of `outcomes_total`.
    pub outcome: String,
}

impl Ended {
    /// Reads the word.
    pub fn read(properties: &Properties) -> Option<Self> {
        let text = |property: &Option<ShortString>| property.as_ref().map(ToString::to_string);
        Some(Self { key: text(properties.message_id())?.parse().ok()?, outcome: text(properties.kind())? })
    }
}

/// The dead letter for another try, straight into the work queue, since others who listen to the
/// exchange have had the event. Body and properties as they are; what told of the failure is moved
/// aside, and the schedule starts anew.
pub fn replayed(names: &Names, letter: &Message, order: &Order) -> Publication {
    // What the broker dead-lettered may have come straight from a sender.
    let believed = Death::of(letter).is_none_or(|death| death.exchange.is_empty());
    let (properties, mut headers) = carry(letter, believed);
    if (!believed || letter.header(ORIGINAL_ROUTING_KEY).is_none())
        && let Some(death) = Death::of(letter)
    {
        headers.insert(ORIGINAL_EXCHANGE.into(), long(&death.exchange));
        headers.insert(ORIGINAL_ROUTING_KEY.into(), long(&death.routing_key));
    }
    move_aside(letter, &mut headers);
    for name in TRAVELLING.iter().filter(|name| order.word.is_some() || !WORD.contains(name)) {
        headers.remove(*name);
    }
    if let Some(word) = &order.word {
        say(word, &mut headers);
    }
    headers.remove(WATCHED_BY);
    if let Some(queue) = &order.watched_by {
        headers.insert(WATCHED_BY.into(), long(queue));
    }
    let replays = i64::try_from(replays(letter)).unwrap_or(i64::MAX).saturating_add(1);
    headers.insert(REPLAY_COUNT.into(), Value::LongLongInt(replays));
    fit(&mut headers);
    Publication {
        exchange: ShortString::default(),
        routing_key: names.queue.as_str().into(),
        properties: properties.with_headers(headers.into()),
        body: letter.body.clone(),
    }
}

/// The dead letter as it was, for the queue it was taken from: what `export` wrote, sent back. Only what
/// the broker would act upon once more is renamed or left out, as in every dead letter of the worker's.
pub fn restored(names: &Names, letter: &Message) -> Publication {
    let (properties, mut headers) = carry(letter, true);
    let own = letter.properties.headers().as_ref();
    for (name, value) in own.into_iter().flat_map(Headers::inner) {
        // The queue has no dead-letter exchange of its own, so that this one is only read.
        if name.as_str() == "x-death" {
            headers.insert(name.clone(), value.clone());
        }
    }
    for name in [ORIGINAL_EXCHANGE, ORIGINAL_ROUTING_KEY] {
        if letter.header(name).is_none() {
            headers.remove(name);
        }
    }
    fit(&mut headers);
    Publication {
        exchange: ShortString::default(),
        routing_key: names.dead_queue.as_str().into(),
        properties: properties.with_headers(headers.into()),
        body: letter.body.clone(),
    }
}

/// How often a message was replayed.
pub fn replays(message: &Message) -> u64 {
    message.header_number(REPLAY_COUNT).unwrap_or(0)
}

/// A name for the queue on which one watches.
pub fn watch_queue(names: &Names, watcher: Uuid) -> String {
    format!("{}.replay.{watcher}", names.queue)
}

/// The word to whoever watches a replayed message. None where nobody does: only a queue with the name of
/// one made for watching is believed, so that no sender can have the worker write elsewhere.
pub fn ended(names: &Names, message: &Message, key: EventKey, outcome: &str) -> Option<Publication> {
    let queue = message.header_text(WATCHED_BY).filter(|_| is_ours(message) && replays(message) > 0)?;
    let watcher: Uuid = queue.strip_prefix(&names.queue)?.strip_prefix(".replay.")?.parse().ok()?;
    Some(Publication {
        exchange: ShortString::default(),
        routing_key: watch_queue(names, watcher).as_str().into(),
        properties: Properties::default().with_message_id(key.to_string().into()).with_type(outcome.into()),
        body: Bytes::new(),
    })
}

fn move_aside(letter: &Message, headers: &mut Table) {
    for name in FAILURE {
        let aside: ShortString = format!("{PREVIOUSLY}{name}").as_str().into();
        headers.remove(aside.as_str());
        if let Some(value) = headers.remove(name) {
            headers.insert(aside, value);
        }
    }
    if letter.header("failure-reason").is_none()
        && let Some(death) = Death::of(letter)
    {
        headers.insert(format!("{PREVIOUSLY}failure-reason").as_str().into(), long(&death.reason));
    }
}

fn say(word: &Resolution, headers: &mut Table) {
    let mut set = |name: &'static str, text: &str| headers.insert(name.into(), long(text));
    match word {
        Resolution::Created(identifier) => {
            set(RESOLUTION, "created");
            set(RESOLUTION_IDENTIFIER, identifier);
        }
        Resolution::NotCreated(id) => {
            set(RESOLUTION, "not-created");
            set(RESOLUTION_ID, &id.to_string());
        }
    }
}
