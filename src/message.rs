//! A message as AMQP 0-9-1 carries it: the vocabulary of bodies, properties and headers.
//!
//! Owns the names of AMQP's data types and small readers of them. The types are lapin's, since
//! a copy of ours could lose a header on the way; nothing that talks to a broker belongs here.

use bytes::Bytes;
pub use lapin::BasicProperties as Properties;
pub use lapin::types::{AMQPValue as Value, DecimalValue, FieldTable as Headers, ShortString};

/// A message as it was delivered.
#[derive(Debug, Clone)]
pub struct Message {
    /// The body, byte for byte.
    pub body: Bytes,
    /// The properties, headers included, as they came.
    pub properties: Properties,
    /// The exchange it was published to; empty for the default exchange.
    pub exchange: ShortString,
    /// The routing key it was published with.
    pub routing_key: ShortString,
    /// Whether the broker says that it may have been delivered before.
    pub redelivered: bool,
}

impl From<lapin::message::Delivery> for Message {
    fn from(delivery: lapin::message::Delivery) -> Self {
        Self {
            body: delivery.data.into(),
            properties: delivery.properties,
            exchange: delivery.exchange,
            routing_key: delivery.routing_key,
            redelivered: delivery.redelivered,
        }
    }
}

impl Message {
    /// The value of a header, where there is one.
    pub fn header(&self, name: &str) -> Option<&Value> {
        self.properties.headers().as_ref()?.inner().get(name)
    }

    /// A header's text: a short or long string that is UTF-8.
    pub fn header_text(&self, name: &str) -> Option<&str> {
        text(self.header(name)?)
    }

    /// A header's whole number, of whichever width the sender's client chose.
    pub fn header_number(&self, name: &str) -> Option<u64> {
        number(self.header(name)?)
    }
}

/// The text of a header value: a short or long string that is UTF-8.
pub fn text(value: &Value) -> Option<&str> {
    match value {
        Value::ShortString(text) => Some(text.as_str()),
        Value::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        _ => None,
    }
}

/// The whole number of a header value, of whichever width the sender's client chose.
pub fn number(value: &Value) -> Option<u64> {
    match *value {
        Value::ShortShortInt(n) => u64::try_from(n).ok(),
        Value::ShortShortUInt(n) => Some(n.into()),
        Value::ShortInt(n) => u64::try_from(n).ok(),
        Value::ShortUInt(n) => Some(n.into()),
        Value::LongInt(n) => u64::try_from(n).ok(),
        Value::LongUInt(n) => Some(n.into()),
        Value::LongLongInt(n) => u64::try_from(n).ok(),
        Value::Timestamp(n) => Some(n),
        _ => None,
    }
}

/// A long string, the type that every client uses for a header's text.
pub fn long(text: &str) -> Value {
    Value::LongString(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_in_whichever_width_it_comes() {
        for value in [
            Value::ShortShortInt(7),
            Value::ShortShortUInt(7),
            Value::ShortInt(7),
            Value::ShortUInt(7),
            Value::LongInt(7),
            Value::LongUInt(7),
            Value::LongLongInt(7),
            Value::Timestamp(7),
        ] {
            assert_eq!(number(&value), Some(7), "{value:?}");
        }
        for value in [Value::LongInt(-1), Value::Double(7.0), Value::Boolean(true), long("7")] {
            assert_eq!(number(&value), None, "{value:?}");
        }
    }
}
