//! What waits in the queues, who consumes, and whether dead letters and unrouted events find their queue.

use super::Finding;
use crate::{
    amqp::inspect::{Depth, Inspector, NoAnswer},
    config::Config,
    ledger::open::LedgerUrl,
};

/// Looks. `letters_are_safe` says that looking at a dead letter cannot delete it.
pub(super) async fn examine(
    config: &Config,
    inspector: &Inspector,
    letters_are_safe: bool,
    findings: &mut Vec<Finding>,
) -> Result<(), NoAnswer> {
    let names = &config.broker.names;
    if let Some(depth) = inspector.depth(&names.queue).await? {
        findings.extend(work(config, depth));
    }
    let dead = Kept {
        check: "dead letters",
        exchange: &names.dead_exchange,
        queue: &names.dead_queue,
        lost: "dead letters would be lost",
        waiting: "dead letters wait",
        remedy: "Look at them: `imin-customer-worker dead-letters list`, and mend, replay or discard them",
    };
    dead.examine(inspector, letters_are_safe.then_some("failure-at"), findings).await?;
    let unrouted = Kept {
        check: "unrouted",
        exchange: &names.unrouted_exchange,
        queue: &names.unrouted_queue,
        lost: "events that nobody subscribes to would be lost",
        waiting: "events came to nobody",
        remedy: "Bind a subscriber's queue to the events exchange, and move what is kept (`rabbitmqadmin`, a shovel)",
    };
    unrouted.examine(inspector, None, findings).await
}

/// Who takes events, and whether they share what they need to share.
fn work(config: &Config, depth: Depth) -> Vec<Finding> {
    let queue = &config.broker.names.queue;
    let Depth { messages, consumers } = depth;
    let sqlite = matches!(config.ledger.url.expose().parse(), Ok(LedgerUrl::Sqlite(_)));
    let mut findings = Vec::new();
    if consumers > 1 && sqlite {
        findings.push(Finding::fail(
            "replicas",
            format!(
                "{queue} has {consumers} consumers, and a SQLite ledger knows only what its own worker did"
            ),
            "Run one worker, or let all of them share a PostgreSQL ledger (LEDGER_URL=postgres://…)",
        ));
    } else {
        findings.push(Finding::ok("replicas", format!("{queue} has {consumers} consumers")));
    }
    if messages > 0 && consumers == 0 {
        findings.push(Finding::warn(
            "work",
            format!("{messages} events wait in {queue}, and nobody takes them"),
            "Start the worker; if it runs, it is paused: its /readyz says why",
        ));
    } else {
        findings.push(Finding::ok("work", format!("{messages} events wait in {queue}")));
    }
    findings
}

/// A queue that keeps what must not be lost, behind an exchange.
struct Kept<'n> {
    check: &'static str,
    exchange: &'n str,
    queue: &'n str,
    lost: &'static str,
    waiting: &'static str,
    remedy: &'static str,
}

impl Kept<'_> {
    async fn examine(
        &self,
        inspector: &Inspector,
        since: Option<&str>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), NoAnswer> {
        let Some(depth) = inspector.depth(self.queue).await? else { return Ok(()) };
        findings.push(match depth {
            Depth { messages: 0, consumers: 0 } => self.probe(inspector).await?,
            Depth { messages: 0, consumers } => {
                Finding::ok(self.check, format!("none; {} has {consumers} consumers", self.queue))
            }
            Depth { messages, .. } => {
                let first = match since {
                    Some(header) => inspector.first(self.queue, header).await?,
                    None => None,
                };
                let first = first.map(|at| format!(", the first in line since {at}")).unwrap_or_default();
                Finding::warn(
                    self.check,
                    format!("{messages} {} in {}{first}", self.waiting, self.queue),
                    self.remedy,
                )
            }
        });
        Ok(())
    }

    /// An empty queue that nobody watches can be tried with a message that expires on arrival.
    async fn probe(&self, inspector: &Inspector) -> Result<Finding, NoAnswer> {
        use crate::amqp::inspect::Right;
        if inspector.may_write(self.exchange).await? != Right::Granted {
            return Ok(Finding::ok(self.check, "none"));
        }
        Ok(if inspector.reaches_a_queue(self.exchange).await? {
            Finding::ok(self.check, format!("none, and {} leads to a queue", self.exchange))
        } else {
            Finding::fail(
                self.check,
                format!("no queue is bound to {}: {}", self.exchange, self.lost),
                format!("Bind {} to it: `imin-customer-worker topology apply`", self.queue),
            )
        })
    }
}
