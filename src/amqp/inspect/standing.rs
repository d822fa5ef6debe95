//! How exchanges and queues stand: whether they are there, and with which arguments.
//!
//! A declaration of what stands already changes nothing, and answers 406 where an argument differs.
//! Owns the comparison; which arguments are wanted is `topology`'s.

use super::{Inspector, NoAnswer, Refusal, bounded};
use crate::amqp::topology::{Exchange, Queue, TopologyError, explain, table};
use lapin::{
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::FieldTable,
};
use serde_json::{Value, json};

/// More arguments than a queue of ours can differ in.
const MOST_DIFFERENCES: usize = 16;

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

impl Inspector {
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
