//! From a JSON object to the message that is published for it.
//!
//! Owns the two encodings that `send` writes. Whether the object is a valid event is the worker's to
//! say, so that a wrong one can be sent on purpose.

use super::Args;
use crate::{
    broker::{Names, Publication},
    dead_letters::export,
    letters::replay::restored,
    message::{Properties, ShortString},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The `type` of what is sent.
const TYPE: &str = "CreateCustomer";

/// A JSON Pointer (RFC 6901) to a text or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer(String);

impl Pointer {
    /// Reads a pointer from the command line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self(text.to_owned()));
        }
        Err("a JSON Pointer starts with a slash, such as /customer/email".to_owned())
    }

    fn find(&self, object: &Value) -> Result<String, String> {
        match object.pointer(&self.0) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            _ => Err(format!("has no text or number at {}", self.0)),
        }
    }
}

/// How objects become messages.
pub(super) struct Encoder<'a> {
    arguments: &'a Args,
    names: &'a Names,
}

/// What says of an object that it is a CloudEvent, or a dead letter that was exported.
#[derive(Deserialize)]
struct Marks<'a> {
    #[serde(borrow)]
    specversion: Option<&'a RawValue>,
    #[serde(borrow)]
    dead_letter: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    time: String,
    datacontenttype: &'static str,
    data: &'a RawValue,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(arguments: &'a Args, names: &'a Names) -> Self {
        Self { arguments, names }
    }

    /// The message for an object, or what is wrong with the object.
    pub(super) fn encode(&self, object: &str, now: Timestamp) -> Result<Publication, String> {
        let marks: Marks<'_> =
            serde_json::from_str(object).map_err(|_| "names specversion or dead_letter twice")?;
        if marks.dead_letter.is_some() {
            return Ok(restored(self.names, &export::read(object)?));
        }
        if marks.specversion.is_some() {
            return Ok(self.publication(properties("application/cloudevents+json", now), object.to_owned()));
        }
        let (id, subject) = self.identify(object)?;
        let short = ShortString::from(id.as_str());
        if self.arguments.plain {
            let properties =
                properties("application/json", now).with_type(TYPE.into()).with_message_id(short);
            return Ok(self.publication(properties, object.to_owned()));
        }
        let event = CloudEvent {
            specversion: "1.0",
            id: &id,
            source: &self.arguments.source,
            r#type: TYPE,
            subject,
            time: now.to_string(),
            datacontenttype: "application/json",
            data: serde_json::from_str(object).map_err(|_| "is not JSON")?,
        };
        let body = serde_json::to_string(&event).map_err(|_| "cannot be written as JSON")?;
        let properties = properties("application/cloudevents+json", now).with_message_id(short);
        Ok(self.publication(properties, body))
    }

    /// The id and the subject: from the object where the command line says so, else a new one and none.
    fn identify(&self, object: &str) -> Result<(String, Option<String>), String> {
        let (id_from, subject_from) = (&self.arguments.id_from, &self.arguments.subject_from);
        if id_from.is_none() && subject_from.is_none() {
            return Ok((Uuid::new_v4().to_string(), None));
        }
        let object: Value = serde_json::from_str(object).map_err(|_| "is nested too deeply to look into")?;
        // Hashed, since the id comes back as `causationid`, and what is unique about a customer is personal.
        let id = match id_from {
            Some(pointer) => digest(&pointer.find(&object)?),
            None => Uuid::new_v4().to_string(),
        };
        let subject = subject_from.as_ref().map(|pointer| pointer.find(&object)).transpose()?;
        Ok((id, subject))
    }

    fn publication(&self, properties: Properties, body: String) -> Publication {
        let (exchange, routing_key) = (self.names.exchange.as_str(), self.names.routing_key.as_str());
        Publication {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            properties,
            body: body.into(),
        }
    }
}

fn digest(value: &str) -> String {
    Sha256::digest(value).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn properties(content_type: &str, now: Timestamp) -> Properties {
    Properties::default()
        .with_content_type(content_type.into())
        .with_delivery_mode(2)
        .with_app_id(crate::NAME.into())
        .with_timestamp(now.as_second().try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dead_letters::samples, event::EventKey, outcome::Reason};

    const DATA: &str = r#"{ "customer": {"email":"a@example.com", "n": 7}, "x":1.0 }"#;

    fn arguments() -> Args {
        Args {
            files: vec![],
            plain: false,
            cloudevents: false,
            source: "/test".to_owned(),
            id_from: None,
            subject_from: None,
        }
    }

    fn encode(arguments: &Args, object: &str) -> Result<Publication, String> {
        let names = names();
        Encoder::new(arguments, &names).encode(object, Timestamp::UNIX_EPOCH)
    }

    fn names() -> Names {
        let unused = String::new;
        Names {
            dead_queue: "dead".to_owned(),
            exchange: "e".to_owned(),
            routing_key: "k".to_owned(),
            queue: unused(),
            events_exchange: unused(),
            events_routing_key: unused(),
            unrouted_exchange: unused(),
            unrouted_queue: unused(),
            dead_exchange: unused(),
        }
    }

    fn body(publication: &Publication) -> &str {
        std::str::from_utf8(&publication.body).expect("UTF-8")
    }

    #[test]
    fn data_becomes_a_structured_cloud_event_around_the_same_bytes() {
        let sent = encode(&arguments(), DATA).expect("encoded");
        assert_eq!((sent.exchange.as_str(), sent.routing_key.as_str()), ("e", "k"));
        let content_type = sent.properties.content_type().as_ref().map(ShortString::as_str);
        assert_eq!(content_type, Some("application/cloudevents+json"));
        assert_eq!(sent.properties.delivery_mode(), &Some(2), "persistent");
        assert!(body(&sent).ends_with(&format!("\"data\":{DATA}}}")), "{}", body(&sent));

        let event: Value = serde_json::from_str(body(&sent)).expect("JSON");
        assert_eq!((&event["specversion"], &event["type"]), (&"1.0".into(), &TYPE.into()));
        assert_eq!((&event["source"], &event["time"]), (&"/test".into(), &"1970-01-01T00:00:00Z".into()));
        assert_eq!(event.get("subject"), None);
        let id = event["id"].as_str().expect("id");
        assert_eq!(sent.properties.message_id().as_ref().map(ShortString::as_str), Some(id));
        assert_ne!(body(&encode(&arguments(), DATA).expect("again")), body(&sent), "a fresh id each");
    }

    #[test]
    fn id_and_subject_come_from_where_they_are_said_to_be() {
        let pointer = |text| Some(Pointer::parse(text).expect("pointer"));
        let chosen =
            Args { id_from: pointer("/customer/email"), subject_from: pointer("/customer/n"), ..arguments() };
        let event: Value =
            serde_json::from_str(body(&encode(&chosen, DATA).expect("encoded"))).expect("JSON");
        // The SHA-256 of a@example.com, by sha256sum.
        let id = "08168cd80dfd534ab0f10af10f1303fe00af2d43ab5c1432360d137f8197e17a";
        assert_eq!((&event["id"], &event["subject"]), (&id.into(), &"7".into()));

        let missing = Args { id_from: pointer("/nothing"), ..arguments() };
        assert_eq!(encode(&missing, DATA), Err("has no text or number at /nothing".to_owned()));
        let long = format!(r#"{{"nothing":"{}"}}"#, "x".repeat(256));
        assert!(
            !body(&encode(&missing, &long).expect("encoded")).contains(r#""id":"x"#),
            "no value in an id"
        );
    }

    #[test]
    fn plain_data_stays_as_it_is() {
        let sent = encode(&Args { plain: true, ..arguments() }, DATA).expect("encoded");
        assert_eq!(body(&sent), DATA);
        assert_eq!(sent.properties.kind().as_ref().map(ShortString::as_str), Some(TYPE));
        assert!(sent.properties.message_id().is_some());
    }

    #[test]
    fn an_exported_dead_letter_goes_back_to_where_it_was() {
        let letter = samples::dead(&samples::event("{ }", Some("m-1")), Reason::OutcomeUnknown);
        let line = export::line(EventKey(Uuid::from_u128(1)), &letter).expect("a line");
        let sent = encode(&arguments(), &line).expect("encoded");
        assert_eq!((sent.exchange.as_str(), sent.routing_key.as_str()), ("", "dead"));
        assert_eq!((sent.properties, sent.body), (letter.properties, letter.body));
        let broken = line.replace("\"dead_letter\":1", "\"dead_letter\":9");
        assert!(encode(&arguments(), &broken).is_err_and(|what| what.contains("newer version")));
    }

    #[test]
    fn a_cloud_event_is_sent_as_it_is() {
        let event = r#"{"specversion":"1.0","id":"1","data":{}}"#;
        for plain in [false, true] {
            let sent = encode(&Args { plain, ..arguments() }, event).expect("encoded");
            assert_eq!(body(&sent), event);
            let content_type = sent.properties.content_type().as_ref().map(ShortString::as_str);
            assert_eq!(content_type, Some("application/cloudevents+json"));
        }
    }
}
