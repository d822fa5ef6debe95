//! A letter as a line of JSON, and back, with nothing lost: the body in Base64, every property, every
//! header with its AMQP type.
//!
//! Owns the form of the lines. Files are `cli`'s; what is published of a line is `letters`'.

use crate::{
    event::EventKey,
    message::{Message, Properties},
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod typed;

use typed::Typed;

/// The version of the form. A reader refuses a newer one.
const VERSION: u32 = 1;

/// By which a line is recognised.
pub const MARK: &str = "dead_letter";

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    dead_letter: u32,
    key: String,
    exchange: String,
    routing_key: String,
    properties: Flat,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<String, Typed>>,
    body_base64: String,
}

/// The properties, without the headers.
#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Flat {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_mode: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
}

/// The line of a letter, without a newline.
pub fn line(key: EventKey, message: &Message) -> Result<String, serde_json::Error> {
    let headers = message.properties.headers().as_ref().map(|headers| {
        headers.inner().iter().map(|(name, value)| (name.to_string(), Typed::of(value))).collect()
    });
    serde_json::to_string(&Line {
        dead_letter: VERSION,
        key: key.to_string(),
        exchange: message.exchange.to_string(),
        routing_key: message.routing_key.to_string(),
        properties: Flat::of(&message.properties),
        headers,
        body_base64: BASE64_STANDARD.encode(&message.body),
    })
}

/// The letter of a line, or what is wrong with the line, without a value of it.
pub fn read(line: &str) -> Result<Message, String> {
    let line: Line = serde_json::from_str(line)
        .map_err(|error| format!("is no exported dead letter (column {})", error.column()))?;
    if line.dead_letter != VERSION {
        return Err(format!(
            "is a dead letter exported by a newer version (its form is {}, this one reads {VERSION})",
            line.dead_letter
        ));
    }
    let body = BASE64_STANDARD.decode(&line.body_base64).map_err(|_| "has a body that is no Base64")?;
    let mut properties = line.properties.properties()?;
    if let Some(headers) = line.headers {
        properties = properties.with_headers(typed::table(headers)?);
    }
    Ok(Message {
        body: body.into(),
        properties,
        exchange: typed::short(&line.exchange)?,
        routing_key: typed::short(&line.routing_key)?,
        redelivered: false,
    })
}

macro_rules! texts {
    ($($field:ident / $with:ident / $get:ident),*) => {
        impl Flat {
            fn of(properties: &Properties) -> Self {
                Self {
                    $($field: properties.$get().as_ref().map(ToString::to_string),)*
                    delivery_mode: *properties.delivery_mode(),
                    priority: *properties.priority(),
                    timestamp: *properties.timestamp(),
                }
            }

            fn properties(self) -> Result<Properties, String> {
                let mut properties = Properties::default();
                $(if let Some(text) = &self.$field {
                    properties = properties.$with(typed::short(text)?);
                })*
                if let Some(mode) = self.delivery_mode {
                    properties = properties.with_delivery_mode(mode);
                }
                if let Some(priority) = self.priority {
                    properties = properties.with_priority(priority);
                }
                if let Some(time) = self.timestamp {
                    properties = properties.with_timestamp(time);
                }
                Ok(properties)
            }
        }
    };
}

texts! {
    content_type / with_content_type / content_type,
    content_encoding / with_content_encoding / content_encoding,
    correlation_id / with_correlation_id / correlation_id,
    reply_to / with_reply_to / reply_to,
    expiration / with_expiration / expiration,
    message_id / with_message_id / message_id,
    r#type / with_type / kind,
    user_id / with_user_id / user_id,
    app_id / with_app_id / app_id,
    cluster_id / with_cluster_id / cluster_id
}

#[cfg(test)]
mod tests;
