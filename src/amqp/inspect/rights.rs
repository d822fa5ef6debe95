//! What the user may do, found out without doing it.
//!
//! A publish, a consumer or a declaration with an argument that cannot be is refused with 403 where the
//! right is missing and with 406 where it is not, since RabbitMQ looks at rights first.

use super::{Inspector, NoAnswer, Refusal, bounded};
use crate::{
    amqp::topology::{Exchange, table},
    message::{Properties, ShortString},
};
use lapin::{
    options::{
        BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
        QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::json;

/// No number and no date: a value that no argument of the broker's takes.
const NONSENSE: &str = "doctor";

/// What came of an attempt at something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Right {
    /// The user may.
    Granted,
    /// The user may not: the broker's words.
    Refused(String),
    /// There is nothing there to have a right to.
    Missing,
}

impl Refusal {
    /// What it says about a right that was asked for with a value that cannot be.
    fn right(self) -> Result<Right, NoAnswer> {
        match self {
            Self::Code(403, words) => Ok(Right::Refused(words)),
            Self::Code(404, _) => Ok(Right::Missing),
            Self::Code(406, _) => Ok(Right::Granted),
            Self::Code(_, words) => Err(NoAnswer(words)),
            Self::None(trouble) => Err(trouble),
        }
    }
}

impl Inspector {
    /// Whether the user may consume from a queue. No consumer comes of it.
    pub async fn may_read(&self, queue: &str) -> Result<Right, NoAnswer> {
        let asked = async {
            let (options, tag) = (BasicConsumeOptions::default(), ShortString::default());
            self.channel().await?.basic_consume(queue.into(), tag, options, nonsense("x-priority")).await?;
            Ok(())
        };
        granted_or(bounded(asked).await)
    }

    /// Whether the user may publish to an exchange. Nothing is published.
    pub async fn may_write(&self, exchange: &str) -> Result<Right, NoAnswer> {
        let asked = async {
            let channel = self.channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let properties = Properties::default().with_expiration(NONSENSE.into());
            let options = BasicPublishOptions::default();
            let publish = channel.basic_publish(exchange.into(), "".into(), options, b"", properties);
            publish.await?.await?;
            Ok(())
        };
        granted_or(bounded(asked).await)
    }

    /// Whether the user may declare a queue that is not there. None comes of it.
    pub async fn may_declare_queue(&self, name: &str) -> Result<Right, NoAnswer> {
        let asked = async {
            let options = QueueDeclareOptions { durable: true, ..Default::default() };
            self.channel().await?.queue_declare(name.into(), options, nonsense("x-message-ttl")).await?;
            Ok(())
        };
        granted_or(bounded(asked).await)
    }

    /// Whether the user may declare an exchange that is not there. None comes of it.
    pub async fn may_declare_exchange(&self, exchange: &Exchange) -> Result<Right, NoAnswer> {
        let mut arguments = FieldTable::default();
        arguments.insert("alternate-exchange".into(), AMQPValue::LongInt(0));
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let asked = async {
            let (name, kind) = (exchange.name.as_str().into(), exchange.kind());
            Ok(self.channel().await?.exchange_declare(name, kind, options, arguments).await?)
        };
        granted_or(bounded(asked).await)
    }

    /// Whether the user may listen to an exchange with a queue of its own, as the worker does where
    /// unrouted events go. The queue is gone with the channel's connection.
    pub async fn may_listen(&self, exchange: &str) -> Result<Right, NoAnswer> {
        let asked = async {
            let channel = self.channel().await?;
            let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
            let name = format!("{exchange}.tap.{}", uuid::Uuid::new_v4());
            let none = FieldTable::default();
            channel.queue_declare(name.as_str().into(), options, none.clone()).await?;
            let (key, bind) = (ShortString::default(), QueueBindOptions::default());
            Ok(channel.queue_bind(name.as_str().into(), exchange.into(), key, bind, none).await?)
        };
        granted_or(bounded(asked).await)
    }
}

fn granted_or(asked: Result<(), Refusal>) -> Result<Right, NoAnswer> {
    asked.map_or_else(Refusal::right, |()| Ok(Right::Granted))
}

fn nonsense(argument: &str) -> FieldTable {
    table(&[(argument, json!(NONSENSE))])
}
