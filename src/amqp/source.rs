//! The source: a connection of its own with the consumer and its acknowledgements.
//!
//! Anything that ends the flow (an error, a cancel by the server, an ack on a dead channel, a silent
//! connection found by the watchdog) is a loss, and a loss rebuilds everything: connection, channel,
//! quality of service, topology, consumer. For ever, with growing waits.

use super::{
    Endpoint,
    acks::{self, Acks, LINGER},
    connection::Reconnect,
    publisher::{Link, Observer},
    topology::{Topology, TopologyError},
};
use crate::broker::{Delivery, Settle, Source};
use futures_util::{
    StreamExt,
    future::{BoxFuture, FutureExt, try_join_all},
};
use lapin::{
    Channel, Connection, Consumer,
    message::BasicGetMessage,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
        BasicQosOptions, QueueDeclareOptions,
    },
    types::{FieldTable, ShortString},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tracing::{info, warn};

/// How long the broker may take to answer what it should answer at once.
const ANSWER: Duration = Duration::from_secs(10);

/// What the source consumes.
#[derive(Clone)]
pub struct Settings {
    /// The work queue.
    pub queue: String,
    /// How many deliveries are worked on at a time.
    pub in_hand: usize,
    /// What must stand before it can be consumed from.
    pub topology: Topology,
    /// Whether to declare the topology, or only to look whether it is there.
    pub apply: bool,
}

/// The source.
pub struct AmqpSource {
    endpoint: Endpoint,
    settings: Settings,
    observer: Observer,
    reconnect: Reconnect,
    session: Option<Session>,
}

struct Session {
    connection: Connection,
    channel: Channel,
    flow: Flow,
    /// A `basic.get` that the broker has not answered yet.
    getting: Option<BoxFuture<'static, lapin::Result<Option<BasicGetMessage>>>>,
    /// What the consumer had fetched when it was stopped.
    fetched: Vec<Delivery>,
    settled: mpsc::UnboundedSender<Settled>,
    in_hand: usize,
    /// What writes acknowledgements: on the channel, and on earlier ones that still have deliveries out.
    acks: TaskTracker,
    lost: CancellationToken,
    _ends: DropGuard,
}

/// Whether deliveries come. What the broker was asked for is kept until it answers, since whoever waits
/// for that may be called away, and what nobody holds is stuck until its channel ends.
enum Flow {
    Paused,
    Starting(BoxFuture<'static, lapin::Result<Consumer>>),
    Running(Consumer),
    Stopping(Consumer),
}

enum Settled {
    Ack(u64),
    Requeue(u64),
}

struct Handle {
    tag: u64,
    settled: mpsc::UnboundedSender<Settled>,
    lost: CancellationToken,
}

impl Settle for Handle {
    fn ack(self: Box<Self>) {
        // A session that is gone has given the message back; the ledger knows what became of it.
        let _ = self.settled.send(Settled::Ack(self.tag));
    }

    fn requeue(self: Box<Self>) {
        let _ = self.settled.send(Settled::Requeue(self.tag));
    }

    fn lost(&self) -> bool {
        self.lost.is_cancelled()
    }
}

/// Why a session could not be built.
enum Failure {
    Connection(String),
    Topology(TopologyError),
}

impl AmqpSource {
    /// A source that connects at the first `next`.
    pub fn new(endpoint: Endpoint, settings: Settings, observer: Observer) -> Self {
        Self { endpoint, settings, observer, reconnect: Reconnect::default(), session: None }
    }

    /// Waits for the broker and prepares the first session; an error only for what no wait can mend.
    pub async fn prepare(&mut self) -> Result<(), TopologyError> {
        while self.session.is_none() {
            if let Some(error) = self.try_connect().await
                && error.is_final()
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes the acks that wait, in order, and closes the connection. Bounded in time.
    pub async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            let Session { connection, channel, settled, acks, flow, getting, fetched, .. } = session;
            drop((channel, settled, flow, getting, fetched));
            acks.close();
            let closing = async {
                acks.wait().await;
                let _ = connection.close(200, "done".into()).await;
            };
            let _ = timeout(ANSWER, closing).await;
        }
    }

    async fn try_connect(&mut self) -> Option<TopologyError> {
        match Session::open(&self.endpoint, &self.settings).await {
            Ok(session) => {
                info!(queue = %self.settings.queue, "consuming");
                self.reconnect.reset();
                self.session = Some(session);
                (self.observer)(Link::Up);
                None
            }
            Err(failure) => {
                let (reason, error) = match failure {
                    Failure::Connection(reason) => (reason, None),
                    Failure::Topology(error) => (error.to_string(), Some(error)),
                };
                self.down(reason);
                if error.as_ref().is_none_or(|error| !error.is_final()) {
                    self.reconnect.wait().await;
                }
                error
            }
        }
    }

    fn down(&mut self, reason: String) {
        warn!(%reason, "no consumer, trying again");
        self.session = None;
        (self.observer)(Link::Down(reason));
    }

    async fn receive(&mut self) -> Delivery {
        loop {
            let Some(session) = &mut self.session else {
                if self.try_connect().await.is_some_and(|error| error.is_final()) {
                    self.reconnect.wait().await;
                }
                continue;
            };
            match session.receive(&self.settings.queue).await {
                Ok(delivery) => return delivery,
                Err(reason) => self.down(reason),
            }
        }
    }
}

impl Source for AmqpSource {
    fn next(&mut self) -> BoxFuture<'_, Delivery> {
        self.receive().boxed()
    }

    fn pause(&mut self) -> BoxFuture<'_, Vec<Delivery>> {
        async move {
            let Some(session) = &mut self.session else {
                return Vec::new();
            };
            match timeout(ANSWER, session.pause()).await {
                Ok(Ok(fetched)) => fetched,
                Ok(Err(error)) => {
                    self.down(error.to_string());
                    Vec::new()
                }
                Err(_) => {
                    self.down("the broker did not cancel the consumer in time".into());
                    Vec::new()
                }
            }
        }
        .boxed()
    }

    fn one(&mut self) -> BoxFuture<'_, Option<Delivery>> {
        async move {
            let Some(session) = &mut self.session else {
                let _ = self.try_connect().await;
                return None;
            };
            if session.lost.is_cancelled() {
                self.down("the connection is lost".into());
                return None;
            }
            match timeout(ANSWER, session.get(&self.settings.queue)).await {
                Ok(Ok(delivery)) => delivery,
                Ok(Err(error)) => {
                    self.down(error.to_string());
                    None
                }
                Err(_) => {
                    self.down("the broker did not answer basic.get in time".into());
                    None
                }
            }
        }
        .boxed()
    }

    fn close(&mut self) -> BoxFuture<'_, ()> {
        AmqpSource::close(self).boxed()
    }
}

impl Session {
    async fn open(endpoint: &Endpoint, settings: &Settings) -> Result<Self, Failure> {
        let connection = endpoint.connect("consumer").await.map_err(Failure::Connection)?;
        let opened = timeout(ANSWER * 3, Self::build(&connection, settings)).await;
        let (channel, monitor) = opened.unwrap_or_else(|_| {
            Err(Failure::Connection("the broker did not open the consumer in time".into()))
        })?;
        let lost = CancellationToken::new();
        let acks = TaskTracker::new();
        let settled = settle(&acks, &channel, settings.in_hand, &lost);
        tokio::spawn(watch(monitor, settings.queue.clone(), endpoint.heartbeat(), lost.clone()));
        let ends = lost.clone().drop_guard();
        Ok(Self {
            connection,
            channel,
            flow: Flow::Paused,
            getting: None,
            fetched: Vec::new(),
            settled,
            in_hand: settings.in_hand,
            acks,
            lost,
            _ends: ends,
        })
    }

    /// The channel to consume on, and the one that declared the topology.
    async fn build(connection: &Connection, settings: &Settings) -> Result<(Channel, Channel), Failure> {
        let broken = |error: lapin::Error| Failure::Connection(error.to_string());
        // A refused declaration closes its channel, so the topology has one of its own.
        let topology = connection.create_channel().await.map_err(broken)?;
        let standing = if settings.apply {
            settings.topology.apply(&topology).await
        } else {
            settings.topology.verify(&topology).await
        };
        standing.map_err(Failure::Topology)?;
        let channel = limited(connection, settings.in_hand).await.map_err(broken)?;
        Ok((channel, topology))
    }

    async fn receive(&mut self, queue: &str) -> Result<Delivery, String> {
        let lost = self.lost.clone();
        let receiving = async {
            match self.running(queue).await?.next().await {
                Some(Ok(delivery)) => Ok(self.wrap(delivery)),
                Some(Err(error)) => Err(error.to_string()),
                None => Err("the broker cancelled the consumer".into()),
            }
        };
        tokio::select! {
            () = lost.cancelled() => Err("the connection is lost".into()),
            received = receiving => received,
        }
    }

    /// The consumer, started where it is not running. Safe to drop and call again.
    async fn running(&mut self, queue: &str) -> Result<&mut Consumer, String> {
        if matches!(self.flow, Flow::Paused) {
            self.flow = Flow::Starting(consume(self.channel.clone(), queue.into()).boxed());
        }
        if let Flow::Starting(starting) = &mut self.flow {
            let started = timeout(ANSWER, starting).await;
            let started = started.map_err(|_| "the broker did not start the consumer in time".to_owned())?;
            self.flow = Flow::Running(started.map_err(|error| error.to_string())?);
        }
        match &mut self.flow {
            Flow::Running(consumer) => Ok(consumer),
            Flow::Paused | Flow::Starting(_) | Flow::Stopping(_) => Err("the consumer was stopped".into()),
        }
    }

    /// Stops the consumer; what it had fetched. Safe to drop and call again.
    async fn pause(&mut self) -> lapin::Result<Vec<Delivery>> {
        if let Some(getting) = &mut self.getting {
            let got = getting.await?;
            self.getting = None;
            self.fetched.extend(got.map(|message| self.wrap(message.delivery)));
        }
        if let Flow::Starting(starting) = &mut self.flow {
            self.flow = Flow::Running(starting.await?);
        }
        self.flow = match std::mem::replace(&mut self.flow, Flow::Paused) {
            Flow::Running(consumer) => Flow::Stopping(consumer),
            other => other,
        };
        if let Flow::Stopping(consumer) = &mut self.flow {
            self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
            while let Some(delivery) = consumer.next().await {
                let delivery = wrap(delivery?, &self.settled, &self.lost);
                self.fetched.push(delivery);
            }
            self.renew().await?;
            self.flow = Flow::Paused;
        }
        Ok(std::mem::take(&mut self.fetched))
    }

    /// Goes on with a new channel. A quorum queue can deliver to a consumer after the broker has said that
    /// it is cancelled (measured on 3.10); lapin drops such a delivery, and it would be stuck for as long as
    /// its channel lives. The old one ends with its last settlement, and gives back what nobody holds.
    async fn renew(&mut self) -> lapin::Result<()> {
        self.channel = limited(&self.connection, self.in_hand).await?;
        self.settled = settle(&self.acks, &self.channel, self.in_hand, &self.lost);
        Ok(())
    }

    /// One message. Safe to drop and call again: what was asked for comes with the next call of this or of `pause`.
    async fn get(&mut self, queue: &str) -> lapin::Result<Option<Delivery>> {
        let (channel, queue) = (self.channel.clone(), queue.into());
        let asking = async move { channel.basic_get(queue, BasicGetOptions { no_ack: false }).await };
        let got = self.getting.get_or_insert_with(|| asking.boxed()).await?;
        self.getting = None;
        Ok(got.map(|message| self.wrap(message.delivery)))
    }

    fn wrap(&self, delivery: lapin::message::Delivery) -> Delivery {
        wrap(delivery, &self.settled, &self.lost)
    }
}

fn wrap(
    delivery: lapin::message::Delivery,
    settled: &mpsc::UnboundedSender<Settled>,
    lost: &CancellationToken,
) -> Delivery {
    let handle = Handle { tag: delivery.delivery_tag, settled: settled.clone(), lost: lost.clone() };
    Delivery::new(delivery.into(), Box::new(handle))
}

async fn consume(channel: Channel, queue: ShortString) -> lapin::Result<Consumer> {
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    channel.basic_consume(queue, ShortString::default(), options, arguments).await
}

/// A channel with room for so many deliveries in hand, and as many on their way.
async fn limited(connection: &Connection, in_hand: usize) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    let prefetch = u16::try_from(acks::prefetch(in_hand)).unwrap_or(u16::MAX);
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    Ok(channel)
}

/// Starts a task that settles on a channel what its handles say, and closes it when they are gone.
fn settle(
    tasks: &TaskTracker,
    channel: &Channel,
    in_hand: usize,
    lost: &CancellationToken,
) -> mpsc::UnboundedSender<Settled> {
    let (settled, receiver) = mpsc::unbounded_channel();
    tasks.spawn(acknowledge(channel.clone(), receiver, Acks::new(in_hand), lost.clone()));
    settled
}

/// Writes acknowledgements in batches until the channel fails, or every handle is gone: then it closes it.
async fn acknowledge(
    channel: Channel,
    mut settled: mpsc::UnboundedReceiver<Settled>,
    mut acks: Acks,
    lost: CancellationToken,
) {
    // A timer that stands while it runs: setting it for each acknowledgement would cost more than that.
    let mut due = Box::pin(sleep(LINGER));
    loop {
        let wrote = tokio::select! {
            () = lost.cancelled() => return,
            event = settled.recv() => match event {
                Some(Settled::Ack(tag)) => {
                    if acks.waiting() == 0 {
                        due.as_mut().reset(Instant::now() + LINGER);
                    }
                    acks.settle(tag, Instant::now());
                    if acks.due() { write(&channel, &mut acks, false).await } else { Ok(()) }
                }
                Some(Settled::Requeue(tag)) => {
                    acks.gone(tag);
                    channel.basic_nack(tag, BasicNackOptions { requeue: true, ..Default::default() }).await
                }
                None => {
                    if let Err(error) = write(&channel, &mut acks, true).await {
                        warn!(%error, "the last acknowledgements could not be written");
                    }
                    let _ = channel.close(200, "done".into()).await;
                    return;
                }
            },
            () = &mut due, if acks.waiting() > 0 => {
                due.as_mut().reset(Instant::now() + LINGER);
                write(&channel, &mut acks, false).await
            }
        };
        if let Err(error) = wrote {
            warn!(%error, "an acknowledgement could not be written");
            lost.cancel();
            return;
        }
    }
}

async fn write(channel: &Channel, acks: &mut Acks, all: bool) -> lapin::Result<()> {
    let flush = acks.flush(Instant::now(), all);
    if let Some(tag) = flush.up_to {
        channel.basic_ack(tag, BasicAckOptions { multiple: true }).await?;
    }
    // Each ends once its frame is written; together they go out together.
    let alone = flush.alone.into_iter();
    let alone = alone.map(|tag| channel.basic_ack(tag, BasicAckOptions { multiple: false }));
    try_join_all(alone).await.map(drop)
}

/// Asks after the queue once in a heartbeat: finds a connection that hangs without a close, and a
/// queue that is gone without a cancel.
async fn watch(monitor: Channel, queue: String, every: Duration, lost: CancellationToken) {
    loop {
        tokio::select! {
            () = lost.cancelled() => return,
            () = sleep(every) => {}
        }
        let passive = QueueDeclareOptions { passive: true, durable: true, ..Default::default() };
        let asked = monitor.queue_declare(queue.as_str().into(), passive, FieldTable::default());
        let reason = match timeout(every.max(Duration::from_secs(5)), asked).await {
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the broker does not answer".to_owned(),
        };
        warn!(%reason, "the watchdog gives the connection up");
        lost.cancel();
        return;
    }
}

/// An observer that ignores what it is told.
pub fn nobody() -> Observer {
    Arc::new(|_| {})
}
