//! What no outside system can be made to do: a call that panics, a ledger that fails in between.

use super::*;
use crate::{
    breaker,
    broker::Settle,
    gate,
    ledger::{
        LedgerError,
        memory::{MemoryLedger, Store},
    },
    message::Properties,
};
use futures_util::future::{BoxFuture, FutureExt};
use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};
use uuid::Uuid;

/// imin, where the first call panics.
#[derive(Default)]
struct Panics(AtomicU32);

impl Accounts for Panics {
    fn create(&self, _: Create) -> BoxFuture<'_, Answer> {
        let first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            assert!(!first, "the test wants this panic");
            Answer::Created(Account { identifier: "abc".into(), id: None })
        }
        .boxed()
    }
}

/// The broker: keeps what is published, and how deliveries were settled.
#[derive(Default)]
struct Broker {
    published: Mutex<Vec<Publication>>,
    settled: Mutex<Vec<&'static str>>,
}

impl Publisher for Arc<Broker> {
    fn publish(&self, publication: Arc<Publication>) -> BoxFuture<'_, Result<(), PublishError>> {
        self.published.lock().expect("no panic under it").push((*publication).clone());
        async { Ok(()) }.boxed()
    }
}

struct Handle(Arc<Broker>);

impl Settle for Handle {
    fn ack(self: Box<Self>) {
        self.0.settled.lock().expect("no panic under it").push("ack");
    }

    fn requeue(self: Box<Self>) {
        self.0.settled.lock().expect("no panic under it").push("requeue");
    }

    fn lost(&self) -> bool {
        false
    }
}

/// A ledger that cannot answer the first begin.
struct FailsOnce {
    ledger: MemoryLedger,
    asked: AtomicU32,
}

impl Ledger for FailsOnce {
    fn begin(&self, intent: Intent) -> BoxFuture<'_, Result<Begun, LedgerError>> {
        async move {
            if self.asked.fetch_add(1, Ordering::Relaxed) == 0 {
                return Err(LedgerError { what: "cannot be written", detail: "not just now".into() });
            }
            self.ledger.begin(intent).await
        }
        .boxed()
    }

    fn finish(&self, key: EventKey, how: Finish) -> BoxFuture<'_, Result<Option<Recorded>, LedgerError>> {
        self.ledger.finish(key, how)
    }

    fn published(&self, key: EventKey) {
        self.ledger.published(key);
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        self.ledger.check()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        self.ledger.close()
    }
}

fn memory() -> MemoryLedger {
    MemoryLedger::new(Arc::new(Store::default()), Uuid::new_v4(), Duration::from_hours(1))
}

fn pipeline(accounts: Arc<dyn Accounts>, ledger: Arc<dyn Ledger>, broker: &Arc<Broker>) -> Arc<Pipeline> {
    let second = Duration::from_secs(1);
    let gate = Gate::new(gate::Settings {
        breaker: breaker::Settings {
            failure_rate: 0.5,
            window: second * 10,
            min_calls: 4,
            probe_interval: second,
            misconfigured_probe_interval: second,
            full: 8,
        },
        concurrency: 8,
        adaptive: false,
        rate_limit: None,
        retry_budget: 0.2,
        retry_after_max: second * 60,
    });
    let names = |name: &str| name.to_owned();
    let settings = Settings {
        names: Names {
            queue: names("work"),
            exchange: names("in"),
            routing_key: names("in"),
            events_exchange: names("events"),
            events_routing_key: names("created"),
            unrouted_exchange: names("unrouted"),
            unrouted_queue: names("unrouted"),
            dead_exchange: names("dead"),
            dead_queue: names("dead"),
        },
        instance: names("this"),
        policy: Policy {
            max_attempts: 5,
            max_elapsed: second * 3600,
            ambiguous: Ambiguous::Retry,
            retry_after_max: second * 60,
        },
        schedule: Schedule::new(second, 2.0, 0.0, second * 60).expect("a schedule"),
        in_process_max: second * 10,
        hold_max: second * 600,
    };
    Arc::new(Pipeline {
        accounts,
        ledger,
        publisher: Arc::new(Arc::clone(broker)),
        gate,
        metrics: Arc::new(Metrics::new()),
        spans: Spans::default(),
        settings,
        shutdown: Shutdown::default(),
    })
}

fn delivery(broker: &Arc<Broker>) -> Delivery {
    let body = r#"{"customer": {"email": "geoff@example.com", "givenName": "Geoff", "familyName": "Capes"}}"#;
    let message = Message {
        body: body.into(),
        properties: Properties::default().with_message_id("signup-1".into()),
        exchange: "in".into(),
        routing_key: "in".into(),
        redelivered: false,
    };
    Delivery::new(message, Box::new(Handle(Arc::clone(broker))))
}

/// The events that were published, as JSON.
fn published(broker: &Broker) -> Vec<serde_json::Value> {
    let published = broker.published.lock().expect("no panic under it");
    published.iter().map(|event| serde_json::from_slice(&event.body).expect("JSON")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_panic_gives_the_message_back_and_leaves_a_doubt_but_no_lock() {
    let broker = Arc::new(Broker::default());
    let pipeline = pipeline(Arc::new(Panics::default()), Arc::new(memory()), &broker);
    let (doomed, first) = (Arc::clone(&pipeline), delivery(&broker));
    let panicked = tokio::spawn(async move { doomed.process(first).await }).await;
    assert!(panicked.expect_err("a panic").is_panic());
    assert_eq!(*broker.settled.lock().expect("no panic under it"), ["requeue"]);
    pipeline.process(delivery(&broker)).await;
    assert_eq!(broker.settled.lock().expect("no panic under it").last(), Some(&"ack"));
    let events = published(&broker);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["possibleduplicate"], true, "the first call may have made an account");
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_fails_is_waited_for_with_the_message_in_hand() {
    let broker = Arc::new(Broker::default());
    let ledger = FailsOnce { ledger: memory(), asked: AtomicU32::new(0) };
    let accounts = Panics(AtomicU32::new(1));
    let pipeline = pipeline(Arc::new(accounts), Arc::new(ledger), &broker);
    pipeline.process(delivery(&broker)).await;
    assert!(pipeline.gate.watch().borrow().suspended.contains_key(&Pause::Ledger), "it says so");
    let events = published(&broker);
    assert_eq!(events.len(), 1, "nothing was put back");
    assert!(events[0].get("possibleduplicate").is_none());
}
