//! Everything outside the worker, in one place: queues, imin's accounts, the rows of the ledger, what
//! is to go wrong next; and a record of all that happened, for the checker.

use super::plan::{Call, Case, Class, LedgerFault, PublishFault};
use crate::{
    broker::{Names, Publication},
    clock,
    event::{self, EventKey},
    ledger::{
        Begun, Finish, Intent, Ledger as _,
        memory::{MemoryLedger, Store},
    },
    message::{Headers, Message, Properties, long},
    shutdown::Shutdown,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, futures::Notified, mpsc},
    time::sleep,
};
use uuid::Uuid;

/// How long an acknowledgement waits to be written: one that is under way when the session breaks is lost.
const ACK_LINGER: Duration = Duration::from_millis(5);

/// The world of one case.
pub(super) struct World {
    state: Mutex<State>,
    /// A message has become ready, or a worker crashed.
    changed: Notify,
    crashed: mpsc::UnboundedSender<()>,
    store: Arc<Store>,
    pub(super) prefetch: usize,
}

#[derive(Default)]
pub(super) struct State {
    ready: VecDeque<Item>,
    delayed: usize,
    sessions: Vec<Session>,
    instances: Vec<Instance>,
    templates: Vec<Message>,
    publishes: VecDeque<PublishFault>,
    ledger: VecDeque<LedgerFault>,
    calls: BTreeMap<EventKey, VecDeque<Call>>,
    dead: VecDeque<(EventKey, Message)>,
    identifiers: usize,
    pub(super) runs: Vec<Run>,
    pub(super) records: BTreeMap<EventKey, Record>,
    pub(super) violations: Vec<String>,
}

#[derive(Clone)]
struct Item {
    key: EventKey,
    message: Message,
}

struct Session {
    instance: usize,
    alive: bool,
    unacked: BTreeMap<usize, Item>,
}

struct Instance {
    ledger: Option<Arc<MemoryLedger>>,
    shutdown: Shutdown,
    crashed: bool,
    closed: bool,
    ended: bool,
}

/// One delivery of a message.
pub(super) struct Run {
    pub(super) key: EventKey,
    session: usize,
    /// Publications that arrived.
    pub(super) arrived: usize,
    /// Those of them that the worker was not told of.
    pub(super) unheard: usize,
    confirmed: usize,
}

/// What happened for one event.
#[derive(Default)]
pub(super) struct Record {
    pub(super) valid: bool,
    pub(super) answers: Vec<Class>,
    /// Calls that a worker let go of.
    pub(super) dropped: usize,
    pub(super) accounts: Vec<String>,
    /// Attempts that ended without anybody knowing how.
    pub(super) doubts: usize,
    /// The words that operators gave.
    pub(super) words: usize,
    /// Created events: identifier and flag.
    pub(super) created: Vec<(String, bool)>,
    pub(super) dead: Vec<Dead>,
    calls: usize,
    in_flight: BTreeSet<(usize, usize)>,
    open: BTreeSet<usize>,
    settled: bool,
    confirmed: bool,
}

/// A dead letter.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) reason: String,
    pub(super) detail: Value,
    /// How many created events came before it.
    pub(super) after: usize,
}

impl World {
    pub(super) fn new(case: &Case, crashed: mpsc::UnboundedSender<()>) -> Arc<Self> {
        let mut state = State {
            publishes: case.publishes.iter().copied().collect(),
            ledger: case.ledger.iter().copied().collect(),
            ..State::default()
        };
        for (at, event) in case.events.iter().enumerate() {
            let message = message(at, event.valid);
            let key = key(&message);
            state.calls.insert(key, event.calls.iter().copied().collect());
            state.records.insert(key, Record { valid: event.valid, ..Record::default() });
            state.templates.push(message);
        }
        let (store, prefetch) = (Arc::default(), case.prefetch);
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new(), crashed, store, prefetch })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // After a panic the drops of what is under way still come here: that panic is what counts.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn violation(&self, what: String) {
        self.lock().violations.push(what);
    }

    /// Waits for a message, or anything else that may concern whoever waits for one.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// A sender sends an event, perhaps again.
    pub(super) fn send(&self, event: usize) {
        let mut state = self.lock();
        let message = state.templates[event].clone();
        state.ready.push_back(Item { key: key(&message), message });
        drop(state);
        self.changed.notify_waiters();
    }

    /// Nothing goes wrong any more but at imin.
    pub(super) fn calm(&self) {
        let mut state = self.lock();
        state.publishes.clear();
        state.ledger.clear();
        state.calls.values_mut().flatten().for_each(|call| call.crash = None);
    }

    /// Whether every message has come to an end.
    pub(super) fn is_quiet(&self) -> bool {
        let state = self.lock();
        let held = state.sessions.iter().any(|session| session.alive && !session.unacked.is_empty());
        state.ready.is_empty() && state.delayed == 0 && !held
    }

    /// Takes the oldest dead letter.
    pub(super) fn take_dead(&self) -> Option<(EventKey, Message)> {
        self.lock().dead.pop_front()
    }

    /// What an operator finds at imin.
    pub(super) fn account_of(&self, key: EventKey) -> Option<String> {
        self.lock().records[&key].accounts.last().cloned()
    }

    /// Puts a dead letter back into the work queue, with an operator's word.
    pub(super) fn replay(&self, letter: Message, word: &[(&str, &str)]) {
        let key = key(&letter);
        let mut headers = Headers::default();
        for (name, value) in word {
            headers.insert((*name).into(), long(value));
        }
        let properties = letter.properties.clone().with_headers(headers);
        let mut state = self.lock();
        state.record(key).words += usize::from(!word.is_empty());
        let (exchange, routing_key) = ("".into(), "work".into());
        let message = Message { properties, exchange, routing_key, ..letter };
        state.ready.push_back(Item { key, message });
        drop(state);
        self.changed.notify_waiters();
    }
}

/// Workers.
impl World {
    pub(super) fn open_instance(&self, shutdown: &Shutdown) -> usize {
        let mut state = self.lock();
        let instance = state.instances.len();
        let id = Uuid::from_u128(instance as u128 + 1);
        let ledger = MemoryLedger::new(Arc::clone(&self.store), id, Duration::from_hours(24 * 30));
        let (ledger, shutdown) = (Some(Arc::new(ledger)), shutdown.clone());
        state.instances.push(Instance { ledger, shutdown, crashed: false, closed: false, ended: false });
        instance
    }

    /// Whether a worker runs.
    pub(super) fn works(&self, instance: usize) -> bool {
        let state = self.lock();
        !state.instances[instance].crashed && !state.instances[instance].ended
    }

    /// Never returns for a worker that crashed: it is gone, wherever it was.
    pub(super) async fn alive(&self, instance: usize) {
        let crashed = self.lock().instances[instance].crashed;
        if crashed {
            std::future::pending::<()>().await;
        }
    }

    /// Whether a worker still holds its ledger.
    pub(super) fn has_ledger(&self, instance: usize) -> bool {
        self.lock().instances[instance].ledger.is_some()
    }

    /// The ledger of a worker that lives.
    pub(super) fn ledger_of(&self, instance: usize) -> Arc<MemoryLedger> {
        Arc::clone(self.lock().instances[instance].ledger.as_ref().expect("it lives"))
    }

    /// A worker is gone from one moment to the other.
    pub(super) async fn crash(&self, instance: usize) {
        self.kill(instance);
        std::future::pending().await
    }

    /// The same, from outside.
    pub(super) fn kill(&self, instance: usize) {
        let ledger = {
            let mut state = self.lock();
            if std::mem::replace(&mut state.instances[instance].crashed, true) {
                return;
            }
            state.lose(instance);
            state.let_go(instance);
            for record in state.records.values_mut() {
                record.in_flight.retain(|(_, caller)| *caller != instance);
            }
            state.instances[instance].ledger.take()
        };
        // Whoever is still inside of it, as no real worker could be, does not keep it alive.
        if let Some(ledger) = ledger {
            drop(ledger.close());
        }
        let _ = self.crashed.send(());
        self.changed.notify_waiters();
    }

    /// A worker has ended in order.
    pub(super) fn ended(&self, instance: usize) {
        let mut state = self.lock();
        state.let_go(instance);
        state.instances[instance].ended = true;
    }

    /// Waits until a worker has closed its source; for ever, where it crashes.
    pub(super) async fn until_closed(&self, instance: usize) {
        while !self.lock().instances[instance].closed {
            self.alive(instance).await;
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Deliveries.
impl World {
    pub(super) fn open_session(&self, instance: usize) -> usize {
        let mut state = self.lock();
        state.sessions.push(Session { instance, alive: true, unacked: BTreeMap::new() });
        state.sessions.len() - 1
    }

    pub(super) fn is_lost(&self, session: usize) -> bool {
        !self.lock().sessions[session].alive
    }

    pub(super) fn lose_sessions(&self, instance: usize) {
        self.lock().lose(instance);
        self.changed.notify_waiters();
    }

    /// Ends a session in order. What is not settled then goes back, which a worker that has not been
    /// told to abort must not let happen: it counts towards the queue's delivery limit.
    pub(super) fn close_session(&self, instance: usize) {
        let mut state = self.lock();
        let session =
            state.sessions.iter().rev().find(|session| session.instance == instance && session.alive);
        let left = session.map_or(0, |session| session.unacked.len());
        let aborted = state.instances[instance].shutdown.abort.is_cancelled();
        if left > 0 && !aborted {
            state.violations.push(format!("worker {instance} closed with {left} deliveries unsettled"));
        }
        state.lose(instance);
        state.instances[instance].closed = true;
        drop(state);
        self.changed.notify_waiters();
    }

    /// The next message for a session, as a run of its own, which its correlation id names.
    pub(super) fn fetch(&self, session: usize) -> Option<(usize, Message)> {
        let mut state = self.lock();
        let item = state.ready.pop_front()?;
        let run = state.runs.len();
        state.runs.push(Run { key: item.key, session, arrived: 0, unheard: 0, confirmed: 0 });
        let mut message = item.message.clone();
        message.properties = message.properties.clone().with_correlation_id(run.to_string().as_str().into());
        state.sessions[session].unacked.insert(run, item);
        Some((run, message))
    }

    /// Acknowledges, in a moment, if the session lives that long.
    pub(super) fn ack(self: &Arc<Self>, run: usize) {
        self.lock().check_ack(run);
        let world = Arc::clone(self);
        tokio::spawn(async move {
            sleep(ACK_LINGER).await;
            let mut state = world.lock();
            let session = state.runs[run].session;
            state.sessions[session].unacked.remove(&run);
        });
    }

    /// A delivery was dropped unsettled.
    pub(super) fn requeue(&self, run: usize) {
        let mut state = self.lock();
        let session = state.runs[run].session;
        let instance = state.sessions[session].instance;
        let Some(item) = state.sessions[session].unacked.remove(&run) else { return };
        if !state.instances[instance].shutdown.abort.is_cancelled() {
            state.violations.push(format!("run {run} was requeued"));
        }
        state.ready.push_front(again(item));
        drop(state);
        self.changed.notify_waiters();
    }
}

/// Publications.
impl World {
    pub(super) fn next_publish(&self) -> PublishFault {
        self.lock().publishes.pop_front().unwrap_or(PublishFault::Fine)
    }

    /// A worker begins to publish.
    pub(super) fn publishing(&self, publication: &Publication) {
        let mut state = self.lock();
        let run = run_of(publication);
        let lost = !state.sessions[state.runs[run].session].alive;
        if lost && publication.exchange.as_str() != "events" {
            state.violations.push(format!("run {run} publishes although its message is with the broker"));
        }
    }

    /// A publication arrives; the worker is told so or not.
    pub(super) fn arrive(self: &Arc<Self>, publication: &Publication, told: bool) {
        let mut state = self.lock();
        let run = run_of(publication);
        let key = state.runs[run].key;
        state.runs[run].arrived += 1;
        state.runs[run].unheard += usize::from(!told);
        state.runs[run].confirmed += usize::from(told);
        match (publication.exchange.as_str(), publication.routing_key.as_str()) {
            ("events", "customer.account.created") => state.announced(key, publication, told),
            ("dead", "work") => state.buried(key, publication),
            ("", "work") => state.ready.push_back(Item { key, message: message_of(publication) }),
            ("", queue) => {
                let delay = Names::DELAYS.iter().find(|(_, name)| queue == format!("work.retry.{name}"));
                let (delay, _) = delay.expect("a delay queue");
                state.delayed += 1;
                let (world, item) = (Arc::clone(self), Item { key, message: message_of(publication) });
                tokio::spawn(async move {
                    sleep(*delay).await;
                    let mut state = world.lock();
                    state.delayed -= 1;
                    state.ready.push_back(item);
                    drop(state);
                    world.changed.notify_waiters();
                });
            }
            (exchange, key) => panic!("nothing goes to {exchange} with {key}"),
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

/// imin and the ledger.
impl World {
    /// A call goes out: what becomes of it, and its number.
    pub(super) fn called(&self, instance: usize, key: EventKey) -> (usize, Call) {
        let mut state = self.lock();
        let fine = Call { class: Class::Created, latency: 10, crash: None };
        let call = state.calls.get_mut(&key).and_then(VecDeque::pop_front).unwrap_or(fine);
        let record = state.record(key);
        let number = record.calls;
        record.calls += 1;
        let (settled, busy) = (record.settled, !record.in_flight.is_empty());
        record.in_flight.insert((number, instance));
        if settled {
            state.violations.push(format!("{key} is called for although the ledger knows its account"));
        }
        if busy {
            state.violations.push(format!("{key} is called for twice at the same time"));
        }
        (number, call)
    }

    pub(super) fn make_account(&self, key: EventKey) -> String {
        let mut state = self.lock();
        state.identifiers += 1;
        let identifier = format!("account-{}", state.identifiers);
        state.record(key).accounts.push(identifier.clone());
        identifier
    }

    /// A call is over: answered, or let go of.
    pub(super) fn call_ended(&self, instance: usize, key: EventKey, number: usize, answer: Option<Class>) {
        let mut state = self.lock();
        let record = state.record(key);
        if record.in_flight.remove(&(number, instance)) {
            record.dropped += usize::from(answer.is_none());
            record.answers.extend(answer);
        }
    }

    pub(super) fn next_ledger(&self) -> LedgerFault {
        self.lock().ledger.pop_front().unwrap_or(LedgerFault::Fine)
    }

    /// An attempt is on record.
    pub(super) fn begun(&self, instance: usize, intent: &Intent, begun: Option<&Begun>) {
        if matches!(begun, None | Some(Begun::Go { .. })) {
            self.lock().record(intent.key).open.insert(instance);
        }
    }

    /// The end of an attempt is on record.
    pub(super) fn finished(&self, instance: usize, key: EventKey, how: &Finish) {
        let mut state = self.lock();
        let record = state.record(key);
        let open = record.open.remove(&instance);
        match how {
            Finish::Created(_) | Finish::Unusable => record.settled = true,
            Finish::Unknown => record.doubts += usize::from(open),
            Finish::NothingMade => {}
        }
    }
}

impl State {
    fn record(&mut self, key: EventKey) -> &mut Record {
        self.records.get_mut(&key).expect("a known event")
    }

    /// The sessions of a worker are gone, and the broker has the messages back.
    fn lose(&mut self, instance: usize) {
        for session in self.sessions.iter_mut().filter(|session| session.instance == instance) {
            session.alive = false;
            for item in std::mem::take(&mut session.unacked).into_values().rev() {
                self.ready.push_front(again(item));
            }
        }
    }

    /// The attempts that a worker leaves open are in doubt.
    fn let_go(&mut self, instance: usize) {
        for record in self.records.values_mut() {
            record.doubts += usize::from(record.open.remove(&instance));
        }
    }

    /// An acknowledgement needs something that was confirmed.
    fn check_ack(&mut self, run: usize) {
        let Run { key, confirmed, .. } = self.runs[run];
        if confirmed == 0 && !self.record(key).confirmed {
            self.violations.push(format!("run {run} is acknowledged, and nothing was confirmed"));
        }
    }

    fn announced(&mut self, key: EventKey, publication: &Publication, told: bool) {
        let body: Value = serde_json::from_slice(&publication.body).expect("JSON");
        let identifier = body["data"]["identifier"].as_str().expect("an identifier").to_owned();
        let id = publication.properties.message_id().as_ref().map(ToString::to_string);
        if id != Some(key.to_string()) || body["id"] != key.to_string() {
            self.violations.push(format!("{key}: its event has another's id"));
        }
        let record = self.record(key);
        record.confirmed |= told;
        record.created.push((identifier, body["possibleduplicate"] == true));
    }

    fn buried(&mut self, key: EventKey, publication: &Publication) {
        let letter = message_of(publication);
        let detail = letter.header_text("failure-detail").expect("a detail");
        let detail = serde_json::from_str(detail).expect("JSON");
        let reason = letter.header_text("failure-reason").expect("a reason").to_owned();
        if letter.body != self.template(key).body {
            self.violations.push(format!("{key}: its dead letter has another body"));
        }
        let record = self.record(key);
        record.dead.push(Dead { reason, detail, after: record.created.len() });
        self.dead.push_back((key, letter));
    }

    fn template(&self, event: EventKey) -> &Message {
        self.templates.iter().find(|message| key(message) == event).expect("a known event")
    }
}

/// The run that a publication belongs to.
fn run_of(publication: &Publication) -> usize {
    let id = publication.properties.correlation_id().as_ref().expect("it is kept");
    id.as_str().parse().expect("a run")
}

fn message_of(publication: &Publication) -> Message {
    Message {
        body: publication.body.clone(),
        properties: publication.properties.clone(),
        exchange: publication.exchange.clone(),
        routing_key: publication.routing_key.clone(),
        redelivered: false,
    }
}

fn again(mut item: Item) -> Item {
    item.message.redelivered = true;
    item
}

fn message(at: usize, valid: bool) -> Message {
    let body: &'static [u8] = if valid {
        br#"{"customer":{"email":"geoff@example.com","givenName":"Geoff","familyName":"Capes"}}"#
    } else {
        br#"{"customer":{}}"#
    };
    Message {
        body: body.into(),
        properties: Properties::default().with_message_id(format!("event-{at}").as_str().into()),
        exchange: "customers".into(),
        routing_key: "customer.create".into(),
        redelivered: false,
    }
}

fn key(message: &Message) -> EventKey {
    event::read(message, clock::today(clock::now())).map_or_else(|invalid| invalid.key, |event| event.key)
}
