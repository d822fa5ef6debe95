//! The events that the contenders work on, and how they get into the queue before one starts.

use anyhow::{Result, ensure};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use std::{collections::VecDeque, ops::Range};
use tokio::task::JoinSet;

/// How long an event is, in bytes.
pub(crate) const EVENT: usize = 900;
/// How many connections publish at the same time.
const SENDERS: u64 = 4;
/// How many events of one connection may be unconfirmed.
const WINDOW: usize = 1_000;

/// Where events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To whoever works.
    Work,
    /// To the dead letters, as refused by imin.
    Dead,
}

/// Publishes events with these numbers, persistent, and returns when the broker has confirmed all.
pub(crate) async fn publish(url: &str, numbers: Range<u64>, to: Destination) -> Result<()> {
    let total = numbers.end - numbers.start;
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let part = |end: u64| numbers.start + total * end / SENDERS;
        senders.spawn(send(url.to_owned(), part(sender)..part(sender + 1), to));
    }
    while let Some(sent) = senders.join_next().await {
        sent??;
    }
    Ok(())
}

async fn send(url: String, numbers: Range<u64>, to: Destination) -> Result<()> {
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut unconfirmed = VecDeque::with_capacity(WINDOW);
    for number in numbers {
        if unconfirmed.len() == WINDOW
            && let Some(oldest) = unconfirmed.pop_front()
        {
            confirmed(oldest).await?;
        }
        unconfirmed.push_back(one(&channel, number, to).await?);
    }
    for confirm in unconfirmed {
        confirmed(confirm).await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

async fn one(channel: &Channel, number: u64, to: Destination) -> Result<PublisherConfirm> {
    let mut properties = BasicProperties::default()
        .with_content_type("application/cloudevents+json".into())
        .with_message_id(format!("bench-{number:08}").into())
        .with_delivery_mode(2);
    if to == Destination::Dead {
        properties = properties.with_headers(refused());
    }
    let (exchange, key) = match to {
        Destination::Work => ("customers", "customer.create"),
        Destination::Dead => ("customers.dead", ""),
    };
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    Ok(channel.basic_publish(exchange.into(), key.into(), options, &event(number), properties).await?)
}

/// What the worker would have written.
fn refused() -> FieldTable {
    let mut headers = FieldTable::default();
    let texts = [
        ("failure-reason", "rejected_by_api"),
        ("failure-detail", r#"{"type":"IncompleteCustomerDetailsError"}"#),
        ("failure-at", "2026-01-01T00:00:00Z"),
        ("original-exchange", "customers"),
        ("original-routing-key", "customer.create"),
    ];
    for (name, text) in texts {
        headers.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    headers.insert("failure-status".into(), AMQPValue::LongInt(400));
    headers.insert("failure-attempts".into(), AMQPValue::LongInt(1));
    headers
}

async fn confirmed(confirm: PublisherConfirm) -> Result<()> {
    let confirmation = confirm.await?;
    ensure!(matches!(confirmation, Confirmation::Ack(None)), "an event was not taken: {confirmation:?}");
    Ok(())
}

/// The documented example as a structured CloudEvent, all fields set, as long as `EVENT` says.
fn event(number: u64) -> Vec<u8> {
    let head = format!(
        r#"{{"specversion":"1.0","type":"CreateCustomer","source":"/bench","id":"{number:08}","subject":"signup-{number:08}","time":"2026-01-01T00:00:00Z","datacontenttype":"application/json","data":{{"@context":"https://openactive.io/","@type":"CustomerAccount","customer":{{"@type":"Person","email":"geoff{number:08}@example.com","telephone":"020 811 8055","givenName":"Geoff","familyName":"Capes","birthDate":"1970-01-01","gender":"https://schema.org/Male","imin:is13OrOver":true,"address":{{"@type":"PostalAddress","streetAddress":"46A West Barnes Lane"#
    );
    let tail = r#"","addressLocality":"New Malden","addressRegion":"London","postalCode":"NW5 3DU","addressCountry":"GB"},"emergencyContact":{"@type":"Person","name":"Ralph Capes","telephone":"020 811 8055"}}}}"#;
    let room = EVENT.saturating_sub(head.len() + tail.len());
    format!("{head}{:.<room$}{tail}", "").into_bytes()
}
