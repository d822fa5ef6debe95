//! Looks at a broker and leaves it as it was: what stands, with which arguments, and what the user may.
//!
//! AMQP shows none of that, but its refusals do. A declaration of what stands already answers 406 where
//! an argument differs; a publish, a consumer or a declaration with an argument that cannot be answers
//! 403 where the right is missing and 406 where it is not, since RabbitMQ looks at rights first. Each
//! refusal closes its channel, so every question has one of its own. Owns the questions; what an
//! answer means to an operator is the doctor's.

use super::{
    Endpoint,
    connection::ConnectError,
    topology::{Exchange, Queue, TopologyError, explain, table},
};
use crate::message::{Properties, ShortString, text};
use lapin::{
    Channel, Connection,
    options::{
        BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
        ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// How long the broker may take to answer one question.
const ANSWER: Duration = Duration::from_secs(10);
/// More arguments than a queue of ours can differ in.
const MOST_DIFFERENCES: usize = 16;
/// No number and no date: a value that no argument of the broker's takes.
const NONSENSE: &str = "doctor";

/// A connection that asks.
pub struct Inspector {
    connection: Connection,
}

/// How an exchange or queue stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It does not.
    Missing,
    /// With the arguments that it is to have.
    AsWanted,
    /// With others.
    Differs(Vec<Difference>),
    /// It does, but the user has no right to compare its arguments: the broker's words.
    Unseen(String),
}

/// An argument that is not as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub argument: String,
    /// What the broker has; `none` where it has none.
    pub current: String,
    /// What it is to be; `none` where there is to be none.
    pub wanted: String,
}

/// What is in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Messages that are ready for delivery.
    pub messages: u32,
    /// Consumers.
    pub consumers: u32,
}

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

    /// How a queue stands, with every argument that differs.
    pub async fn queue(&self, queue: &Queue) -> Result<Standing, NoAnswer> {
        if self.depth(&queue.name).await?.is_none() {
            return Ok(Standing::Missing);
        }
        let mut arguments: Vec<(String, Value)> =
            queue.all_arguments().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut differences = Vec::new();
        while differences.len() < MOST_DIFFERENCES {
            match self.redeclare_queue(&queue.name, &arguments).await? {
                Ok(()) => return Ok(standing(differences)),
                Err(TopologyError::Differs { argument, current, wanted, .. }) => {
                    // The next try declares it as it stands, to find what else differs.
                    let go_on = adopt(&mut arguments, &argument, &current);
                    differences.push(Difference { argument, current, wanted });
                    if !go_on {
                        break;
                    }
                }
                // A refusal of what it stands with: the differences found so far are what there is to say.
                Err(_) if !differences.is_empty() => break,
                Err(error) => return Ok(Standing::Unseen(words(error))),
            }
        }
        Ok(standing(differences))
    }

    /// How an exchange stands, with the first argument that differs.
    pub async fn exchange(&self, exchange: &Exchange) -> Result<Standing, NoAnswer> {
        if !self.has_exchange(&exchange.name).await? {
            return Ok(Standing::Missing);
        }
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        match self.declare_exchange(exchange, options, table(&exchange.arguments)).await? {
            Ok(()) => Ok(Standing::AsWanted),
            Err(TopologyError::Differs { argument, current, wanted, .. }) => {
                Ok(Standing::Differs(vec![Difference { argument, current, wanted }]))
            }
            Err(error) => Ok(Standing::Unseen(words(error))),
        }
    }

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

    /// A header's text of the first message in a queue; none where the queue is empty or the message
    /// lacks it. The message goes back to its place, marked as redelivered.
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
        Ok(bounded(asked).await?)
    }

    async fn has_exchange(&self, name: &str) -> Result<bool, NoAnswer> {
        let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
        let asked = async {
            let (kind, none) = (lapin::ExchangeKind::Topic, FieldTable::default());
            Ok(self.channel().await?.exchange_declare(name.into(), kind, options, none).await?)
        };
        match bounded(asked).await {
            Ok(()) => Ok(true),
            Err(Refusal::Code(404, _)) => Ok(false),
            Err(refusal) => Err(refusal.into()),
        }
    }

    async fn redeclare_queue(
        &self,
        name: &str,
        arguments: &[(String, Value)],
    ) -> Result<Result<(), TopologyError>, NoAnswer> {
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let asked = async {
            let declared = self.channel().await?.queue_declare(name.into(), options, table(arguments)).await;
            Ok::<_, Refusal>(declared.map(drop).map_err(explain))
        };
        answered(bounded(asked).await?)
    }

    async fn declare_exchange(
        &self,
        exchange: &Exchange,
        options: ExchangeDeclareOptions,
        arguments: FieldTable,
    ) -> Result<Result<(), TopologyError>, NoAnswer> {
        let asked = async {
            let (name, kind) = (exchange.name.as_str().into(), exchange.kind());
            let declared = self.channel().await?.exchange_declare(name, kind, options, arguments).await;
            Ok::<_, Refusal>(declared.map_err(explain))
        };
        answered(bounded(asked).await?)
    }

    async fn channel(&self) -> Result<Channel, Refusal> {
        Ok(self.connection.create_channel().await?)
    }
}

fn granted_or(asked: Result<(), Refusal>) -> Result<Right, NoAnswer> {
    asked.map_or_else(Refusal::right, |()| Ok(Right::Granted))
}

/// A broken connection is no finding about what was declared.
fn answered(declared: Result<(), TopologyError>) -> Result<Result<(), TopologyError>, NoAnswer> {
    match declared {
        Err(TopologyError::Connection(error)) => Err(error.into()),
        finding => Ok(finding),
    }
}

/// The broker's words alone, without the worker's advice.
fn words(error: TopologyError) -> String {
    match error {
        TopologyError::Missing(words) | TopologyError::Refused(words) => words,
        other => other.to_string(),
    }
}

fn standing(differences: Vec<Difference>) -> Standing {
    if differences.is_empty() { Standing::AsWanted } else { Standing::Differs(differences) }
}

/// Takes over an argument as it stands; false where it is none that could be declared otherwise.
fn adopt(arguments: &mut Vec<(String, Value)>, name: &str, current: &str) -> bool {
    if !name.starts_with("x-") {
        return false;
    }
    arguments.retain(|(known, _)| known != name);
    if current != "none" {
        let value = current.parse::<i64>().map_or_else(|_| json!(current), |number| json!(number));
        arguments.push((name.to_owned(), value));
    }
    true
}

fn nonsense(argument: &str) -> FieldTable {
    table(&[(argument, json!(NONSENSE))])
}
