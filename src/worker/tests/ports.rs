//! The ports, on the world: each call goes through, fails, or kills its worker, as the case says.

use super::{
    OUTAGE,
    plan::{Class, Crash, LedgerFault, PublishFault},
    world::World,
};
use crate::{
    broker::{Delivery, Publication, PublishError, Publisher, Settle, Source},
    event::EventKey,
    gate::{Gate, Pause},
    imin::{Accounts, Create},
    ledger::{Begun, Finish, Intent, Ledger, LedgerError, Recorded},
    outcome::Answer,
};
use futures_util::future::BoxFuture;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::sleep;

/// How long a step outside takes, so that others can come in between.
const STEP: Duration = Duration::from_millis(1);

/// imin.
pub(super) struct FakeAccounts {
    world: Arc<World>,
    instance: usize,
}

/// A call under way; dropped, it was let go of.
struct Calling<'a> {
    world: &'a World,
    instance: usize,
    key: EventKey,
    number: usize,
    answer: Option<Class>,
}

impl FakeAccounts {
    pub(super) fn new(world: &Arc<World>, instance: usize) -> Self {
        Self { world: Arc::clone(world), instance }
    }
}

impl Accounts for FakeAccounts {
    fn create(&self, request: Create) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            let (world, instance, key) = (&*self.world, self.instance, request.key);
            world.alive(instance).await;
            let (number, call) = world.called(instance, key);
            let mut calling = Calling { world, instance, key, number, answer: None };
            if call.crash == Some(Crash::Before) {
                world.crash(instance).await;
            }
            let account = call.class.makes().then(|| world.make_account(key));
            sleep(Duration::from_millis(call.latency.into())).await;
            world.alive(instance).await;
            if call.crash == Some(Crash::After) {
                world.crash(instance).await;
            }
            calling.answer = Some(call.class);
            call.class.answer(account)
        })
    }
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        self.world.call_ended(self.instance, self.key, self.number, self.answer);
    }
}

/// The publisher.
pub(super) struct FakePublisher {
    world: Arc<World>,
    instance: usize,
    gate: Arc<Gate>,
}

impl FakePublisher {
    pub(super) fn new(world: &Arc<World>, instance: usize, gate: &Arc<Gate>) -> Self {
        Self { world: Arc::clone(world), instance, gate: Arc::clone(gate) }
    }

    /// What the links of `app` do when the publisher's connection breaks.
    fn breaks(&self) -> PublishError {
        self.gate.suspend(Pause::Broker, "gone");
        let gate = Arc::clone(&self.gate);
        tokio::spawn(async move {
            sleep(OUTAGE).await;
            gate.resume(Pause::Broker);
        });
        PublishError::Connection("gone".into())
    }
}

impl Publisher for FakePublisher {
    fn publish(&self, publication: Arc<Publication>) -> BoxFuture<'_, Result<(), PublishError>> {
        Box::pin(async move {
            let (world, instance) = (&self.world, self.instance);
            world.alive(instance).await;
            world.publishing(&publication);
            sleep(STEP).await;
            world.alive(instance).await;
            let slow = Duration::from_secs(5);
            match world.next_publish() {
                PublishFault::Fine => world.arrive(&publication, true),
                PublishFault::SessionLost => {
                    world.arrive(&publication, true);
                    world.lose_sessions(instance);
                }
                PublishFault::Nack => return Err(PublishError::Nack),
                PublishFault::Returned => {
                    let (exchange, routing_key) = (String::new(), String::new());
                    return Err(PublishError::Returned { exchange, routing_key });
                }
                fault @ (PublishFault::TimeoutLost | PublishFault::TimeoutArrived) => {
                    if fault == PublishFault::TimeoutArrived {
                        world.arrive(&publication, false);
                    }
                    sleep(slow).await;
                    world.alive(instance).await;
                    return Err(PublishError::Timeout(slow));
                }
                PublishFault::ConnectionLost => return Err(self.breaks()),
                PublishFault::ConnectionArrived => {
                    world.arrive(&publication, false);
                    return Err(self.breaks());
                }
                PublishFault::Crash(when) => {
                    if when == Crash::After {
                        world.arrive(&publication, false);
                    }
                    world.crash(instance).await;
                }
            }
            Ok(())
        })
    }
}

/// The ledger.
pub(super) struct FakeLedger {
    world: Arc<World>,
    instance: usize,
}

impl FakeLedger {
    pub(super) fn new(world: &Arc<World>, instance: usize) -> Self {
        Self { world: Arc::clone(world), instance }
    }

    /// The fault that meets this step.
    async fn meet(&self) -> LedgerFault {
        self.world.alive(self.instance).await;
        sleep(STEP).await;
        self.world.alive(self.instance).await;
        let fault = self.world.next_ledger();
        if fault == LedgerFault::Crash(Crash::Before) {
            self.world.crash(self.instance).await;
        }
        fault
    }

    async fn began(&self, intent: Intent) -> Result<Begun, LedgerError> {
        let (world, instance) = (&self.world, self.instance);
        let fault = self.meet().await;
        if !world.has_ledger(instance) {
            // What a process leaves undone when it ends is never done.
            return std::future::pending().await;
        }
        let ledger = world.ledger_of(instance);
        if fault == LedgerFault::Unwritten {
            return Err(unwritten());
        }
        if fault == LedgerFault::Unheard {
            world.begun(instance, &intent, None);
            return Err(ledger.begin_unheard(intent));
        }
        let begun = ledger.begin(intent.clone()).await;
        world.begun(instance, &intent, begun.as_ref().ok());
        if fault == LedgerFault::Crash(Crash::After) {
            world.crash(instance).await;
        }
        begun
    }

    async fn finished(&self, key: EventKey, how: Finish) -> Result<Option<Recorded>, LedgerError> {
        let (world, instance) = (&self.world, self.instance);
        let fault = self.meet().await;
        if !world.has_ledger(instance) {
            // What a process leaves undone when it ends is never done.
            return std::future::pending().await;
        }
        let ledger = world.ledger_of(instance);
        if fault == LedgerFault::Unwritten {
            return Err(unwritten());
        }
        world.finished(instance, key, &how);
        if fault == LedgerFault::Unheard {
            return Err(ledger.finish_unheard(key, how));
        }
        let finished = ledger.finish(key, how).await;
        if fault == LedgerFault::Crash(Crash::After) {
            world.crash(instance).await;
        }
        finished
    }
}

fn unwritten() -> LedgerError {
    LedgerError { what: "cannot be written", detail: "no space".into() }
}

impl Ledger for FakeLedger {
    fn begin(&self, intent: Intent) -> BoxFuture<'_, Result<Begun, LedgerError>> {
        Box::pin(self.began(intent))
    }

    fn finish(&self, key: EventKey, how: Finish) -> BoxFuture<'_, Result<Option<Recorded>, LedgerError>> {
        Box::pin(self.finished(key, how))
    }

    fn published(&self, key: EventKey) {
        if self.world.works(self.instance) {
            self.world.ledger_of(self.instance).published(key);
        }
    }

    fn check(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), LedgerError>> {
        if !self.world.has_ledger(self.instance) {
            return Box::pin(std::future::pending());
        }
        let ledger = self.world.ledger_of(self.instance);
        Box::pin(async move { ledger.close().await })
    }
}

/// The source.
pub(super) struct FakeSource {
    world: Arc<World>,
    instance: usize,
    session: Option<usize>,
    fetched: VecDeque<Delivery>,
}

struct Handle {
    world: Arc<World>,
    session: usize,
    run: usize,
}

impl FakeSource {
    pub(super) fn new(world: &Arc<World>, instance: usize) -> Self {
        Self { world: Arc::clone(world), instance, session: None, fetched: VecDeque::new() }
    }

    /// The session, a new one where the last was lost.
    fn session(&mut self) -> usize {
        match self.session {
            Some(session) if !self.world.is_lost(session) => session,
            _ => {
                self.fetched.clear();
                *self.session.insert(self.world.open_session(self.instance))
            }
        }
    }

    fn fetch(&mut self, most: usize) {
        let session = self.session();
        while self.fetched.len() < most
            && let Some((run, message)) = self.world.fetch(session)
        {
            let handle = Handle { world: Arc::clone(&self.world), session, run };
            self.fetched.push_back(Delivery::new(message, Box::new(handle)));
        }
    }
}

impl Source for FakeSource {
    fn next(&mut self) -> BoxFuture<'_, Delivery> {
        Box::pin(async move {
            let world = Arc::clone(&self.world);
            loop {
                world.alive(self.instance).await;
                let changed = world.changed();
                tokio::pin!(changed);
                changed.as_mut().enable();
                self.fetch(world.prefetch);
                if let Some(delivery) = self.fetched.pop_front() {
                    return delivery;
                }
                changed.await;
            }
        })
    }

    fn pause(&mut self) -> BoxFuture<'_, Vec<Delivery>> {
        Box::pin(async move {
            self.world.alive(self.instance).await;
            self.session();
            std::mem::take(&mut self.fetched).into()
        })
    }

    fn one(&mut self) -> BoxFuture<'_, Option<Delivery>> {
        Box::pin(async move {
            self.world.alive(self.instance).await;
            sleep(STEP).await;
            self.world.alive(self.instance).await;
            self.fetch(1);
            self.fetched.pop_front()
        })
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.world.alive(self.instance).await;
            // Acks that wait are written.
            sleep(Duration::from_millis(10)).await;
            self.world.alive(self.instance).await;
            self.world.close_session(self.instance);
            self.fetched.clear();
        })
    }
}

impl Settle for Handle {
    fn ack(self: Box<Self>) {
        self.world.ack(self.run);
    }

    fn requeue(self: Box<Self>) {
        self.world.requeue(self.run);
    }

    fn lost(&self) -> bool {
        self.world.is_lost(self.session)
    }
}
