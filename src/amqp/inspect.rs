//! Looks at a broker and leaves it as it was: what stands, with which arguments, and what the user may.
//!
//! AMQP shows none of that, but its refusals do. A declaration of what stands already answers 406 where
//! an argument differs; a publish, a consumer or a declaration with an argument that cannot be answers
//! 403 where the right is missing and 406 where it is not, since RabbitMQ looks at rights first. Each
//! refusal closes its channel, so every question has one of its own. Owns the questions; what an
//! answer means to an operator is the doctor's.

use super::{Endpoint, connection::ConnectError};
use crate::message::{Properties, text};
use lapin::{
    Channel, Connection,
    options::{
        BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    },
    types::FieldTable,
};
use std::time::Duration;
use tokio::time::timeout;

mod rights;
mod standing;

pub use rights::Right;
pub use standing::{Difference, Standing};

/// How long the broker may take to answer one question.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection that asks.
pub struct Inspector {
    connection: Connection,
}

/// What is in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Messages that are ready for delivery.
    pub messages: u32,
    /// Consumers.
    pub consumers: u32,
}

/// Why a question has no answer: the connection's trouble, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the broker did not answer: {0}")]
pub struct NoAnswer(String);

impl From<lapin::Error> for NoAnswer {
    fn from(error: lapin::Error) -> Self {
        Self(error.to_string())
    }
}

/// A refusal by its AMQP code, or no answer.
enum Refusal {
    Code(u16, String),
    None(NoAnswer),
}

impl From<lapin::Error> for Refusal {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            lapin::ErrorKind::ProtocolError(amqp) => {
                Self::Code(amqp.get_id(), amqp.get_message().to_string())
            }
            _ => Self::None(error.into()),
        }
    }
}

/// Bounds an exchange with the broker in time.
async fn bounded<T, E: From<Refusal>>(asked: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let late = || Refusal::None(NoAnswer(format!("nothing came back within {ANSWER:?}"))).into();
    timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(late()))
}

impl From<Refusal> for NoAnswer {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Code(_, words) => Self(words),
            Refusal::None(trouble) => trouble,
        }
    }
}

impl Inspector {
    /// Connects.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, ConnectError> {
        Ok(Self { connection: endpoint.open("doctor").await? })
    }

    /// Says good-bye.
    pub async fn close(self) {
        let _ = timeout(ANSWER, self.connection.close(200, "done".into())).await;
    }

    /// What is in a queue; none where there is no such queue.
    pub async fn depth(&self, queue: &str) -> Result<Option<Depth>, NoAnswer> {
        let asked = async {
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let channel = self.channel().await?;
            let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
            Ok(Depth { messages: queue.message_count(), consumers: queue.consumer_count() })
        };
        match bounded(asked).await {
            Ok(depth) => Ok(Some(depth)),
            Err(Refusal::Code(404, _)) => Ok(None),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Whether what is published to an exchange reaches a queue, by a message that expires where it
    /// arrives. To be asked only of exchanges whose queues are empty and without consumers: behind
    /// another message it would stay, and a consumer would get it.
    pub async fn reaches_a_queue(&self, exchange: &str) -> Result<bool, NoAnswer> {
        let asked = async {
            let channel = self.channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let properties =
                Properties::default().with_expiration("0".into()).with_app_id(crate::NAME.into());
            let publish = channel.basic_publish(exchange.into(), "".into(), options, b"", properties);
            Ok::<_, Refusal>(publish.await?.await?)
        };
        // A returned message is acknowledged all the same.
        Ok(bounded(asked).await?.take_message().is_none())
    }

    /// A header's text of the first message in a queue; none where the queue is empty, the message
    /// lacks it or the user may not look. The message goes back to its place, marked as redelivered.
    pub async fn first(&self, queue: &str, header: &str) -> Result<Option<String>, NoAnswer> {
        let asked = async {
            let channel = self.channel().await?;
            let got = channel.basic_get(queue.into(), BasicGetOptions { no_ack: false }).await?;
            let Some(got) = got else { return Ok(None) };
            let headers = got.properties.headers().as_ref();
            let found = headers.and_then(|headers| headers.inner().get(header)).and_then(text);
            let found = found.map(str::to_owned);
            let options = BasicNackOptions { requeue: true, ..Default::default() };
            channel.basic_nack(got.delivery_tag, options).await?;
            // In order, so that the nack has arrived when this is answered.
            channel.close(200, "done".into()).await?;
            Ok::<_, Refusal>(found)
        };
        match bounded(asked).await {
            Err(Refusal::Code(403, _)) => Ok(None),
            found => Ok(found?),
        }
    }

    async fn channel(&self) -> Result<Channel, Refusal> {
        Ok(self.connection.create_channel().await?)
    }
}
