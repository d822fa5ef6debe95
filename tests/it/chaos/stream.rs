//! Events, good and bad, repeated and odd, for as long as it takes; and a record of what was sent.

use super::dice::Dice;
use crate::support::{
    broker::Vhost,
    world::{customer, plain},
};
use lapin::{
    Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// What marks a customer, wherever it should not be.
pub(super) const MARK: &str = "qzxchaos";

/// How an event must end if nothing else gets in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As an account.
    Good,
    /// As a dead letter: imin refuses it.
    Refused,
    /// As a dead letter: imin makes the account and does not say which.
    Unusable,
    /// As a dead letter: imin fails for as long as anybody tries.
    Hopeless,
    /// As a dead letter, and imin never hears of it.
    Invalid,
}

/// What imin fails for good, with and without an account that comes of it.
const HOPELESS: [&str; 3] = ["+fault-503", "+fault-500-afterx1+fault-503", "+fault-502"];

/// Everything that was sent.
#[derive(Default)]
pub(super) struct Sent {
    /// Event id → kind, e-mail address.
    pub(super) events: BTreeMap<String, (Kind, String)>,
    pub(super) messages: usize,
}

/// The sender.
pub(super) struct Stream {
    stop: watch::Sender<bool>,
    sending: JoinHandle<Sent>,
}

impl Stream {
    pub(super) fn start(vhost: Vhost, dice: Dice) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, sending: tokio::spawn(send(vhost, dice, stopped)) }
    }

    /// Sends no more; what was sent. What it had begun is confirmed by then, so the broker must be there.
    pub(super) async fn end(self) -> Sent {
        self.stop.send_replace(true);
        self.sending.await.expect("no panic")
    }
}

async fn send(vhost: Vhost, mut dice: Dice, stopped: watch::Receiver<bool>) -> Sent {
    let mut sent = Sent::default();
    let mut connection = None;
    while !*stopped.borrow() {
        let number = match dice.below(10) {
            0 if !sent.events.is_empty() => dice.below(sent.events.len() as u64),
            _ => sent.events.len() as u64,
        };
        let (kind, email) = event(number);
        let data = if kind == Kind::Invalid {
            r#"{"customer":{"email":1}}"#.into()
        } else {
            customer(&email).to_string()
        };
        // A sender that hears nothing sends again: the same event.
        while !publish(&vhost, &mut connection, number, data.as_bytes()).await {
            sent.messages += 1;
            sleep(Duration::from_millis(100)).await;
        }
        sent.messages += 1;
        sent.events.insert(id(number), (kind, email));
        sleep(Duration::from_millis(dice.below(60))).await;
    }
    sent
}

/// The same event for the same number, however often it is sent.
fn event(number: u64) -> (Kind, String) {
    let kind = Dice::new(number).below(24);
    let fault = match kind {
        0 | 1 => return (Kind::Invalid, String::new()),
        2 => Dice::new(!number).one(&["+fault-422-echo", "+fault-409", "+fault-410"]),
        3 => Dice::new(!number).one(&["+fault-400-echo", "+fault-413", "+fault-415", "+fault-451"]),
        4 => {
            Dice::new(!number).one(&["+fault-no-identifier", "+fault-gzip", "+fault-endless", "+fault-huge"])
        }
        5 => Dice::new(!number).one(&["+fault-garbage", "+fault-cut", "+fault-drip"]),
        6 => "+fault-503x2",
        7 => "+fault-500-afterx1",
        8 => "+fault-reset-afterx1",
        9 => "+fault-close-beforex1",
        10 => "+fault-429-retry-after-1x1",
        11 => "+fault-timeout-afterx1",
        12 => "+fault-delay-400ms",
        13 if Dice::new(!number).below(6) == 0 => Dice::new(number << 1).one(&HOPELESS),
        _ => "",
    };
    let kind = match kind {
        2 | 3 => Kind::Refused,
        4 | 5 => Kind::Unusable,
        13 if HOPELESS.contains(&fault) => Kind::Hopeless,
        _ => Kind::Good,
    };
    (kind, format!("{MARK}{number}{fault}@example.com"))
}

/// The id of an event.
fn id(number: u64) -> String {
    format!("event-{number:06}")
}

/// Publishes once, on a connection of its own to the broker; whether that was confirmed.
async fn publish(vhost: &Vhost, kept: &mut Option<Connection>, number: u64, body: &[u8]) -> bool {
    let publishing = async {
        let connection = match kept.take() {
            Some(connection) => connection,
            None => Connection::connect(&vhost.url, ConnectionProperties::default()).await.ok()?,
        };
        let channel = connection.create_channel().await.ok()?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.ok()?;
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let (exchange, key) = ("customers".into(), "customer.create".into());
        let sent = channel.basic_publish(exchange, key, options, body, plain(&id(number))).await.ok()?;
        let confirm = sent.await.ok()?;
        let _ = channel.close(200, "done".into()).await;
        *kept = Some(connection);
        Some(confirm.is_ack() && confirm.take_message().is_none())
    };
    timeout(Duration::from_secs(10), publishing).await.ok().flatten().unwrap_or(false)
}
