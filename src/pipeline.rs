//! One event from its delivery to its settlement: read, enter, claim, call, record, publish, settle.
//!
//! Owns the order of these steps, which is what the promises rest on: the attempt is on record before
//! the first byte goes out, the account is on record before its event, the event is confirmed before
//! the ack. What to do about an outcome is `outcome::decide`'s; the log line, the metric and the
//! broker's verb are all read from its one answer.

use crate::{
    broker::{Delivery, Names, Publication, PublishError, Publisher},
    clock,
    event::{self, Event, EventKey, Trace},
    failpoint::kill_point,
    gate::{Gate, Pause, Place, Refused},
    imin::{self, Accounts, Create},
    ledger::{Begun, Finish, Intent, Ledger, Recorded},
    letters::{self, Failure, Resolution, Travel},
    message::Message,
    metrics::Metrics,
    outcome::{Account, Ambiguity, Ambiguous, Answer, Disposition, Outcome, Policy, Reason, Spent, decide},
    retry::Schedule,
    shutdown::Shutdown,
    spans::{Span, Spans, messaging::Received},
};
use jiff::Timestamp;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tireless::Tireless;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{Instrument, debug, info, info_span, warn};

mod open;
mod replays;
mod tireless;

/// How many probes in a row are made with one message.
const PROBES: u32 = 3;
/// The first wait for another worker's call for the same event.
const HELD_FIRST: Duration = Duration::from_millis(20);

/// The numbers and names of the pipeline.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names on the broker.
    pub names: Names,
    /// This worker's mark on its events.
    pub instance: String,
    /// When to give up.
    pub policy: Policy,
    /// When to try again.
    pub schedule: Schedule,
    /// The longest wait in this process; a longer one is spent in a delay queue.
    pub in_process_max: Duration,
    /// How long a delivery may be held in all: well below the broker's consumer timeout.
    pub hold_max: Duration,
}

/// Everything an event passes through.
pub struct Pipeline {
    /// imin.
    pub accounts: Arc<dyn Accounts>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Where messages go.
    pub publisher: Arc<dyn Publisher>,
    /// The gate before every call.
    pub gate: Arc<Gate>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is traced.
    pub spans: Spans,
    /// The numbers.
    pub settings: Settings,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// How an event ended here.
struct Verdict {
    disposition: Disposition,
    /// The publication that must be confirmed before the ack; none for what is confirmed already.
    publication: Option<Publication>,
    /// The account was recorded, and its event is now to be noted as confirmed.
    records: bool,
    /// The publication's span, where it names that itself.
    sending: Option<Span>,
}

impl Verdict {
    /// One without an account of its own to announce.
    const fn of(disposition: Disposition, publication: Option<Publication>) -> Self {
        Self { disposition, publication, records: false, sending: None }
    }
}

/// Since when an event has been under way.
#[derive(Clone, Copy)]
struct Times {
    /// Here.
    started: Instant,
    /// At all, where it says so.
    made: Option<Timestamp>,
}

/// One event on its way.
struct Journey<'a> {
    pipeline: &'a Pipeline,
    delivery: &'a Delivery,
    message: &'a Message,
    event: &'a Event,
    span: &'a Span,
    travel: Travel,
    deadline: Instant,
    /// How long to wait for whoever else calls for this event.
    held: Duration,
    /// How often it has tried imin for all, and failed.
    probes: u32,
}

/// One step of a journey.
#[expect(clippy::large_enum_variant, reason = "one at a time, and moved once")]
enum Step {
    /// It is over.
    End(Verdict),
    /// Wait in this process, then go on.
    Wait(Duration),
}

impl Pipeline {
    /// Takes a delivery to its end: settled, or back with the broker.
    pub async fn process(&self, delivery: Delivery) {
        let started = Instant::now();
        let now = clock::now();
        let read = event::read(&delivery.message, clock::today(now));
        let (key, made, trace) = match &read {
            Ok(event) => (event.key, event.made, &event.trace),
            Err(invalid) => (invalid.key, invalid.made, &invalid.trace),
        };
        let mut traced = self.spans.process(&self.received(&delivery.message, key, trace, now));
        let travel = Travel::read(&delivery.message);
        // All at once: to record a field later costs as much as the span.
        let span = info_span!(
            "message",
            event_key = %key,
            redelivered = delivery.message.redelivered,
            attempt = read.is_ok().then(|| travel.attempts.saturating_add(1)),
        );
        async {
            kill_point("received");
            let verdict = match &read {
                Ok(event) => self.travel(&delivery, event, travel, &traced, started).await,
                Err(invalid) => self.invalid(&delivery.message, invalid, now),
            };
            self.carry_out(delivery, key, verdict, &mut traced, Times { started, made }).await;
        }
        .instrument(span)
        .await;
    }

    fn received<'a>(
        &'a self,
        message: &'a Message,
        key: EventKey,
        trace: &'a Trace,
        at: Timestamp,
    ) -> Received<'a> {
        let Names { queue, routing_key, .. } = &self.settings.names;
        Received { key, trace, exchange: message.exchange.as_str(), routing_key, queue, at }
    }

    /// Gives a delivery back without trying anything: the worker is paused, or stops.
    pub async fn release(&self, delivery: Delivery) {
        let travel = Travel::read(&delivery.message);
        let publication = letters::put_back(&self.settings.names, &delivery.message, &travel, None);
        if !delivery.lost() && self.confirm(&delivery, publication).await {
            kill_point("released");
            self.count(Disposition::Release);
            delivery.ack();
        }
    }

    fn invalid(&self, message: &Message, invalid: &event::Invalid, now: Timestamp) -> Verdict {
        let spent = Spent { attempts: 0, elapsed: Duration::ZERO, probe: false };
        let disposition = decide(&Outcome::Invalid, spent, &self.settings.policy);
        let failure = Failure {
            key: invalid.key,
            reason: Reason::InvalidEvent,
            detail: json!({ "problems": invalid.problems }),
            status: None,
            attempts: 0,
            first_attempt_at: None,
            at: now,
        };
        let publication = Some(letters::dead(&self.settings.names, message, &failure));
        Verdict::of(disposition, publication)
    }

    async fn travel(
        &self,
        delivery: &Delivery,
        event: &Event,
        travel: Travel,
        span: &Span,
        started: Instant,
    ) -> Verdict {
        let mut journey = Journey {
            pipeline: self,
            delivery,
            message: &delivery.message,
            event,
            span,
            travel,
            deadline: started + self.settings.hold_max,
            held: HELD_FIRST,
            probes: 0,
        };
        journey.run().await
    }

    /// Publishes what must be confirmed, and settles.
    async fn carry_out(
        &self,
        delivery: Delivery,
        key: EventKey,
        verdict: Verdict,
        traced: &mut Span,
        times: Times,
    ) {
        let Verdict { disposition, publication, records, sending } = verdict;
        // The broker delivers it again: a dead letter or a copy put back now would be one too many. The
        // created event is due in any case, and the ledger keeps the next delivery from repeating it.
        if delivery.lost() && !records {
            debug!("the broker has the message back already");
            traced.lost();
            return;
        }
        if let Some(publication) = publication {
            if !self.send(&delivery, publication, sending, traced, key).await {
                debug!("the broker has the message back already");
                traced.lost();
                return;
            }
            kill_point(confirmed(disposition));
        }
        if records {
            self.ledger.published(key);
            self.metrics.events_published.inc();
        }
        self.count(disposition);
        Self::tell(disposition);
        traced.settled(disposition);
        if !matches!(disposition, Disposition::Retry { .. } | Disposition::Release) {
            self.observe(times);
        }
        let word = self.count_replay(&delivery.message, key, disposition);
        delivery.ack();
        kill_point("acked");
        if let Some(word) = word {
            self.tell_watcher(word).await;
        }
    }

    /// Publishes until it is confirmed, below a span that is made here where none came along.
    async fn send(
        &self,
        delivery: &Delivery,
        publication: Publication,
        sending: Option<Span>,
        traced: &Span,
        key: EventKey,
    ) -> bool {
        let (exchange, routing_key) = (publication.exchange.as_str(), publication.routing_key.as_str());
        let mut sending = sending.unwrap_or_else(|| traced.parent().send(exchange, routing_key, key));
        let confirmed = self.confirm(delivery, publication).await;
        sending.confirmed(confirmed);
        confirmed
    }

    /// Publishes until it is confirmed. Not confirmed: the broker has the message back, or must get it
    /// back, since the worker aborts.
    async fn confirm(&self, delivery: &Delivery, publication: Publication) -> bool {
        let publication = Arc::new(publication);
        let mut tireless = Tireless::new();
        loop {
            match self.publisher.publish(Arc::clone(&publication)).await {
                Ok(()) => return true,
                Err(PublishError::Connection(_)) => {}
                Err(error) => warn!(%error, "a message was not confirmed, publishing it again"),
            }
            if delivery.lost() {
                return false;
            }
            tokio::select! {
                () = self.shutdown.abort.cancelled() => return false,
                () = tireless.wait() => {}
            }
            // It may have been lost meanwhile: a dead letter now would be one too many.
            if delivery.lost() {
                return false;
            }
        }
    }

    fn count(&self, disposition: Disposition) {
        if let Some(outcome) = disposition.label() {
            self.metrics.outcomes.with_label_values(&[outcome]).inc();
        }
        match disposition {
            Disposition::DeadLetter(reason) => {
                self.metrics.dead_letters.with_label_values(&[reason.as_str()]).inc();
            }
            Disposition::Retry { cause, .. } => {
                self.metrics.retries.with_label_values(&[cause.as_str()]).inc();
            }
            Disposition::Complete(_) | Disposition::Release => {}
        }
    }

    fn tell(disposition: Disposition) {
        let outcome = disposition.label();
        match disposition {
            Disposition::Complete(_) => debug!(outcome, "done"),
            Disposition::DeadLetter(reason) => warn!(outcome, reason = reason.as_str(), "dead letter"),
            Disposition::Retry { cause, .. } => {
                info!(outcome, cause = cause.as_str(), "goes back to the broker to be tried again");
            }
            Disposition::Release => debug!(outcome, "given back"),
        }
    }

    fn observe(&self, times: Times) {
        self.metrics.processing_duration.observe(times.started.elapsed().as_secs_f64());
        if let Some(made) = times.made {
            self.metrics.event_age.observe(clock::now().duration_since(made).as_secs_f64().max(0.0));
        }
    }
}

impl Journey<'_> {
    async fn run(&mut self) -> Verdict {
        if let Some(verdict) = self.operator_found_it().await {
            return verdict;
        }
        if let Some(wait) = self.early() {
            match self.wait(wait) {
                Step::End(verdict) => return verdict,
                Step::Wait(wait) => {
                    if self.interrupted(sleep(wait)).await.is_none() {
                        return self.release();
                    }
                }
            }
        }
        loop {
            match self.attempt().await {
                Step::End(verdict) => return verdict,
                Step::Wait(wait) => {
                    if self.interrupted(sleep(wait)).await.is_none() {
                        return self.release();
                    }
                }
            }
        }
    }

    /// `None` when the worker stops, or has held the message for as long as it may.
    async fn interrupted<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.pipeline.shutdown.drain.cancelled() => None,
            done = timeout_at(self.deadline, what) => done.ok(),
        }
    }

    /// How much of a wait that was begun elsewhere is left.
    fn early(&self) -> Option<Duration> {
        let left = self.travel.not_before?.duration_since(clock::now());
        Duration::try_from(left).ok().filter(|left| !left.is_zero())
    }

    async fn attempt(&mut self) -> Step {
        let retry = self.travel.failures > 0;
        let gate = &self.pipeline.gate;
        let place = match self.interrupted(gate.enter(retry)).await {
            Some(Ok(place)) => place,
            Some(Err(Refused::Paused)) => {
                self.interrupted(gate.stopped()).await;
                return Step::End(self.release());
            }
            None => return Step::End(self.release()),
            Some(Err(Refused::Budget)) => return Step::End(self.leave(Names::DELAYS[0].0)),
        };
        let intent = self.intent();
        let attempt = intent.attempt;
        let Some(begun) = self.begin(intent).await else { return Step::End(self.release()) };
        kill_point("begun");
        match begun {
            // The broker delivers it again, and that may have come to its end before this attempt was
            // on record: nobody would learn of an account that is made now if this worker died.
            Begun::Go { .. } if self.delivery.lost() => {
                self.record(Finish::NothingMade).await;
                Step::End(self.release())
            }
            Begun::Go { possible_duplicate } => self.call(place, attempt, possible_duplicate).await,
            Begun::Created(recorded) => Step::End(self.resume(&recorded)),
            Begun::Unknown => {
                let detail = Ambiguity::OpenAttempt.detail();
                Step::End(self.bury(self.judge(&Outcome::Unknown), None, detail))
            }
            Begun::Unusable { possible_duplicate } => {
                let detail = json!({ "cause": "unusable", "ended": "earlier_attempt" });
                let detail = flagged(detail, possible_duplicate);
                Step::End(self.bury(self.judge(&Outcome::UnusableBefore), None, detail))
            }
            Begun::Held => {
                self.held = (self.held * 2).min(self.pipeline.settings.in_process_max.max(HELD_FIRST));
                self.wait(self.held)
            }
        }
    }

    /// Puts the attempt on record. A ledger that cannot answer is waited for here: the record may have
    /// been made and only the answer be lost, and then every other worker would find the event held by
    /// this one. `None`: the message is to be given back meanwhile, and nobody has called.
    async fn begin(&self, intent: Intent) -> Option<Begun> {
        let mut tireless = Tireless::new();
        loop {
            let error = match self.pipeline.ledger.begin(intent.clone()).await {
                Ok(begun) => return Some(begun),
                Err(error) => error,
            };
            self.pipeline.gate.suspend(Pause::Ledger, &error.to_string());
            if self.interrupted(tireless.wait()).await.is_none() {
                open::take_back(&self.pipeline.ledger, intent, &self.pipeline.shutdown);
                return None;
            }
        }
    }

    fn intent(&self) -> Intent {
        Intent {
            key: self.event.key,
            attempt: self.travel.attempts.saturating_add(1),
            despite_unknown: self.pipeline.settings.policy.ambiguous == Ambiguous::Retry,
            not_created: match self.travel.resolution {
                Some(Resolution::NotCreated(word)) => Some(word),
                _ => None,
            },
        }
    }

    async fn call(&mut self, place: Place, attempt: u32, possible_duplicate: bool) -> Step {
        let now = clock::now();
        let first = *self.travel.first_attempt_at.get_or_insert(now);
        let probe = place.probe();
        let open = open::Open::new(&self.pipeline.ledger, self.event.key);
        let answer = self.ask(place).await;
        kill_point("called");
        let standing = self.record(finish(&answer)).await;
        open.end();
        kill_point("recorded");
        let elapsed = Duration::try_from(clock::now().duration_since(first)).unwrap_or_default();
        let spent = Spent { attempts: attempt, elapsed, probe };
        let disposition = decide(&Outcome::Called(answer.clone()), spent, &self.pipeline.settings.policy);
        match (disposition, answer) {
            (Disposition::Complete(_), Answer::Created(account)) => {
                let made = Recorded { account, published: false, possible_duplicate };
                Step::End(self.complete(disposition, &standing.unwrap_or(made)))
            }
            // It waits at the gate to be the next probe: its own schedule is for its own failures. After a
            // few it is another's turn, since a message may fail while imin is well: this one goes to the
            // end of the queue, and no further, so that an outage makes few events doubtful.
            (Disposition::Retry { .. }, _) if probe => {
                self.probes += 1;
                if self.probes < PROBES {
                    return self.retry(disposition, Duration::ZERO);
                }
                Step::End(Verdict { disposition, ..self.release() })
            }
            (Disposition::Retry { at_least, spent, .. }, _) => {
                if spent {
                    self.travel.attempts += 1;
                    tracing::Span::current().record("attempt", self.travel.attempts.saturating_add(1));
                }
                self.travel.failures = self.travel.failures.saturating_add(1);
                let wait = self.pipeline.settings.schedule.interval(self.travel.failures).max(at_least);
                self.retry(disposition, wait)
            }
            (_, answer) => {
                self.travel.attempts = attempt;
                let (status, detail) = answer.detail();
                Step::End(self.bury(disposition, status, flagged(detail, possible_duplicate)))
            }
        }
    }

    /// Calls, and tells the gate and the metrics. Aborted, the outcome is nobody's to know.
    async fn ask(&self, place: Place) -> Answer {
        let request = Create {
            key: self.event.key,
            body: self.event.request.clone(),
            trace: self.event.trace.clone(),
            parent: self.span.parent(),
            resends: self.travel.failures,
        };
        let started = Instant::now();
        let metrics = &self.pipeline.metrics;
        let answer = tokio::select! {
            biased;
            answer = self.pipeline.accounts.create(request) => answer,
            () = self.pipeline.shutdown.abort.cancelled() => {
                return Answer::Ambiguous { cause: Ambiguity::OpenAttempt };
            }
        };
        let latency = started.elapsed();
        place.report(&answer, latency);
        metrics.api_request_duration.observe(latency.as_secs_f64());
        metrics.api_requests.with_label_values(&[&imin::status_label(&answer)]).inc();
        #[expect(clippy::cast_possible_wrap, reason = "at most a few thousand")]
        metrics.concurrency_limit.set(self.pipeline.gate.limit() as i64);
        answer
    }

    /// Records how an attempt ended; the account that is on record then. What cannot be recorded cannot
    /// be built on, so this goes on until it is. A worker that dies first leaves an open attempt, which
    /// says what is true: nobody knows. One that aborts still tries to publish what it alone knows.
    async fn record(&self, how: Finish) -> Option<Recorded> {
        let mut tireless = Tireless::new();
        loop {
            let error = match self.pipeline.ledger.finish(self.event.key, how.clone()).await {
                Ok(standing) => return standing,
                Err(error) => error,
            };
            self.pipeline.gate.suspend(Pause::Ledger, &error.to_string());
            tokio::select! {
                () = self.pipeline.shutdown.abort.cancelled() => return None,
                () = tireless.wait() => {}
            }
        }
    }

    /// Goes on where a row of the ledger says that an earlier delivery stopped.
    fn resume(&self, recorded: &Recorded) -> Verdict {
        self.complete(self.judge(&Outcome::Duplicate), recorded)
    }

    /// An operator found the account at imin and says so.
    async fn operator_found_it(&self) -> Option<Verdict> {
        let Some(Resolution::Created(identifier)) = &self.travel.resolution else {
            return None;
        };
        let account = Account { identifier: identifier.clone(), id: None };
        let found = match self.record(Finish::Created(account.clone())).await {
            // Another account came on record meanwhile: one event never announces two.
            Some(other) if other.account.identifier != *identifier => other,
            Some(found) => Recorded { possible_duplicate: false, ..found },
            None => Recorded { account, published: false, possible_duplicate: false },
        };
        Some(self.resume(&found))
    }

    /// Publishes the account's event, unless that was confirmed before.
    fn complete(&self, disposition: Disposition, recorded: &Recorded) -> Verdict {
        if recorded.published {
            return Verdict::of(disposition, None);
        }
        let Settings { names, instance, .. } = &self.pipeline.settings;
        let sending =
            self.span.parent().send(&names.events_exchange, &names.events_routing_key, self.event.key);
        let own = sending.trace();
        let trace = own.as_ref().unwrap_or(&self.event.trace);
        let publication =
            letters::created(names, instance, self.event, trace, self.message, recorded, clock::now());
        Verdict { disposition, publication: Some(publication), records: true, sending: Some(sending) }
    }

    /// Decides on an outcome that no call of this delivery brought about.
    fn judge(&self, outcome: &Outcome) -> Disposition {
        let spent = Spent { attempts: self.travel.attempts, elapsed: Duration::ZERO, probe: false };
        decide(outcome, spent, &self.pipeline.settings.policy)
    }

    /// Carries out a disposition that publishes a dead letter, or else gives the message back.
    fn bury(&self, disposition: Disposition, status: Option<u16>, detail: serde_json::Value) -> Verdict {
        let Disposition::DeadLetter(reason) = disposition else {
            return self.release();
        };
        let failure = Failure {
            key: self.event.key,
            reason,
            detail,
            status,
            attempts: self.travel.attempts,
            first_attempt_at: self.travel.first_attempt_at,
            at: clock::now(),
        };
        let publication = Some(letters::dead(&self.pipeline.settings.names, self.message, &failure));
        Verdict::of(disposition, publication)
    }

    /// A retry: in this process if the wait is short, by way of the broker if not.
    fn retry(&mut self, disposition: Disposition, wait: Duration) -> Step {
        let step = self.wait(wait);
        match step {
            Step::Wait(wait) => {
                self.pipeline.count(disposition);
                debug!(?wait, "trying again");
                Step::Wait(wait)
            }
            Step::End(verdict) => Step::End(Verdict { disposition, ..verdict }),
        }
    }

    /// Waits in this process, or gives the message to a delay queue.
    fn wait(&mut self, wait: Duration) -> Step {
        if wait <= self.pipeline.settings.in_process_max && Instant::now() + wait < self.deadline {
            self.travel.not_before = clock::now().checked_add(wait).ok();
            return Step::Wait(wait);
        }
        Step::End(self.leave(wait))
    }

    /// Gives the message to a delay queue.
    fn leave(&mut self, wait: Duration) -> Verdict {
        self.travel.not_before = clock::now().checked_add(wait).ok();
        let names = &self.pipeline.settings.names;
        let publication = letters::put_back(names, self.message, &self.travel, Some(wait));
        Verdict::of(Disposition::Release, Some(publication))
    }

    /// Gives the message back, with no attempt spent.
    fn release(&self) -> Verdict {
        let disposition = self.judge(&Outcome::Interrupted);
        let publication = letters::put_back(&self.pipeline.settings.names, self.message, &self.travel, None);
        Verdict::of(disposition, Some(publication))
    }
}

/// The detail of a dead letter which says, where that is so, that an earlier call than the last may have
/// made an account.
fn flagged(mut detail: serde_json::Value, possible_duplicate: bool) -> serde_json::Value {
    if possible_duplicate && let Some(detail) = detail.as_object_mut() {
        detail.insert("possibleduplicate".into(), true.into());
    }
    detail
}

/// The fail point after the confirm.
const fn confirmed(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Complete(_) => "published",
        Disposition::DeadLetter(_) => "dead-lettered",
        Disposition::Retry { .. } => "delayed",
        Disposition::Release => "released",
    }
}

/// What the ledger is told of an answer.
fn finish(answer: &Answer) -> Finish {
    match answer {
        Answer::Created(account) => Finish::Created(account.clone()),
        Answer::Unusable { .. } => Finish::Unusable,
        Answer::Ambiguous { .. } => Finish::Unknown,
        Answer::Rejected { .. } | Answer::NotDone { .. } | Answer::Misconfigured { .. } => {
            Finish::NothingMade
        }
    }
}

#[cfg(test)]
mod tests;
