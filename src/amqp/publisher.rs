//! The publisher: a connection and a channel of its own, owned by one task.
//!
//! Several threads on one channel can swap confirms, and the broker's flow control stops a whole
//! connection, so nobody else publishes or consumes here. Every publish is mandatory, persistent and
//! answered: by the confirm, or by an error after a bounded time.

use super::{
    Endpoint,
    confirms::{Confirms, Reply},
    connection::Reconnect,
    topology::Topology,
};
use crate::broker::{Publication, PublishError, Publisher};
use futures_util::future::{BoxFuture, FutureExt};
use lapin::{
    Channel, Confirmation, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{info, warn};

/// How many publications may be under way on the channel.
const WINDOW: usize = 4096;
/// The shortest time between two declarations of the topology.
const MEND_EVERY: Duration = Duration::from_secs(1);
/// How often a connection is asked whether the broker has blocked it, and whether confirms are overdue.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// From how many publications under way on their confirms are looked for now and then.
const CROWD: usize = 16;
/// How often, then.
const GLANCE: Duration = Duration::from_millis(2);

/// What the observer of a connection is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// The connection is there, and can be used.
    Up,
    /// It is not; why.
    Down(String),
}

/// Who is told of a connection's state.
pub type Observer = Arc<dyn Fn(Link) + Send + Sync>;

struct Command {
    publication: Arc<Publication>,
    reply: Reply,
}

/// A handle on the publishing task; the task ends when the last handle is gone.
#[derive(Clone)]
pub struct AmqpPublisher {
    commands: mpsc::Sender<Command>,
    patience: Duration,
}

impl AmqpPublisher {
    /// Starts the task. `confirm_timeout` bounds each publish from its writing to its confirm. Where a
    /// message finds no queue or no exchange, `mend` is declared again: someone has deleted a part of it.
    pub fn start(
        endpoint: Endpoint,
        confirm_timeout: Duration,
        observer: Observer,
        mend: Option<Topology>,
    ) -> Self {
        let (commands, receiver) = mpsc::channel(WINDOW);
        let task = Task { endpoint, confirm_timeout, observer, mend, mended: None, commands: receiver };
        tokio::spawn(task.run());
        // The task answers within the timeout; the rest is for a task that is starved.
        Self { commands, patience: confirm_timeout * 2 }
    }
}

impl Publisher for AmqpPublisher {
    fn publish(&self, publication: Arc<Publication>) -> BoxFuture<'_, Result<(), PublishError>> {
        let (reply, answer) = oneshot::channel();
        async move {
            let gone = || PublishError::Connection("the publisher has stopped".into());
            let asked = async {
                self.commands.send(Command { publication, reply }).await.map_err(|_| gone())?;
                answer.await.map_err(|_| gone())?
            };
            timeout(self.patience, asked).await.unwrap_or(Err(PublishError::Timeout(self.patience)))
        }
        .boxed()
    }
}

struct Task {
    endpoint: Endpoint,
    confirm_timeout: Duration,
    observer: Observer,
    mend: Option<Topology>,
    /// When that was last done.
    mended: Option<Instant>,
    commands: mpsc::Receiver<Command>,
}

/// A publication under way, whose type has no name.
type Confirm = BoxFuture<'static, lapin::Result<Confirmation>>;

/// Why a session on a channel ended.
enum End {
    /// Every handle is gone.
    Closed,
    /// The connection or the channel is of no more use.
    Lost(String),
}

impl Task {
    async fn run(mut self) {
        let mut reconnect = Reconnect::default();
        loop {
            let reason = match self.connect().await {
                Ok((connection, channel)) => {
                    reconnect.reset();
                    info!("publisher connected");
                    (self.observer)(Link::Up);
                    match self.session(&connection, &channel).await {
                        End::Closed => {
                            let _ = timeout(self.confirm_timeout, connection.close(200, "done".into())).await;
                            return;
                        }
                        End::Lost(reason) => {
                            // The broker closed the channel alone: an exchange is missing, most likely.
                            if connection.status().connected() && !channel.status().connected() {
                                self.mend(&connection).await;
                            }
                            reason
                        }
                    }
                }
                Err(reason) => reason,
            };
            warn!(%reason, "publisher has no connection, trying again");
            (self.observer)(Link::Down(reason.clone()));
            if self.refuse_while(reconnect.wait(), &reason).await.is_none() {
                return;
            }
        }
    }

    async fn connect(&mut self) -> Result<(Connection, Channel), String> {
        let endpoint = self.endpoint.clone();
        let opening = async {
            let connection = endpoint.connect("publisher").await?;
            let channel = connection.create_channel().await.map_err(|error| error.to_string())?;
            let options = ConfirmSelectOptions::default();
            channel.confirm_select(options).await.map_err(|error| error.to_string())?;
            Ok((connection, channel))
        };
        let bounded = async {
            timeout(self.confirm_timeout.max(Duration::from_secs(10)), opening)
                .await
                .unwrap_or_else(|_| Err("the broker did not open a channel in time".into()))
        };
        bounded.await
    }

    /// Answers publications with an error for as long as `wait` lasts; `None` when all handles are gone.
    async fn refuse_while(&mut self, wait: impl Future<Output = ()>, reason: &str) -> Option<()> {
        tokio::pin!(wait);
        loop {
            tokio::select! {
                () = &mut wait => return Some(()),
                command = self.commands.recv() => {
                    let _ = command?.reply.send(Err(PublishError::Connection(reason.to_owned())));
                }
            }
        }
    }

    async fn session(&mut self, connection: &Connection, channel: &Channel) -> End {
        let mut confirms = Confirms::default();
        let end = self.pump(connection, channel, &mut confirms).await;
        let reason = match &end {
            End::Closed => "the publisher has stopped".to_owned(),
            End::Lost(reason) => reason.clone(),
        };
        confirms.fail_all(&PublishError::Connection(reason));
        end
    }

    async fn pump(
        &mut self,
        connection: &Connection,
        channel: &Channel,
        confirms: &mut Confirms<Confirm>,
    ) -> End {
        let channel = Arc::new(channel.clone());
        let (mut glance, mut look) = (every(GLANCE), every(LOOK_EVERY.min(self.confirm_timeout / 4)));
        loop {
            tokio::select! {
                biased;
                () = come(confirms, &mut glance) => {
                    if confirms.take_astray() {
                        self.mend(connection).await;
                    }
                    if let Some(reason) = confirms.take_failure() {
                        return self.lost(connection, confirms, reason).await;
                    }
                    if !channel.status().connected() {
                        return End::Lost("the channel was closed".into());
                    }
                }
                command = self.commands.recv(), if confirms.len() < WINDOW => {
                    let Some(Command { publication, reply }) = command else {
                        return End::Closed;
                    };
                    let confirm = publish(Arc::clone(&channel), Arc::clone(&publication)).boxed();
                    confirms.push(confirm, publication, reply, Instant::now() + self.confirm_timeout);
                }
                _ = look.tick() => {
                    let overdue = confirms.deadline().is_some_and(|deadline| deadline <= Instant::now());
                    if overdue || connection.status().blocked() {
                        // It may hang without a close: nothing on it can be believed any more.
                        let reason = format!("the broker did not confirm within {:?}", self.confirm_timeout);
                        return self.lost(connection, confirms, reason).await;
                    }
                    if !channel.status().connected() {
                        return End::Lost("the channel was closed".into());
                    }
                }
            }
        }
    }

    /// The connection is given up: at once, or once the broker takes messages again. A new connection
    /// would seem to work until the first publish on it, and only this one is told of the end.
    async fn lost(
        &mut self,
        connection: &Connection,
        confirms: &mut Confirms<Confirm>,
        reason: String,
    ) -> End {
        if !connection.status().blocked() {
            return End::Lost(reason);
        }
        let blocked = "the broker has blocked this connection: it is short of memory or disk space";
        warn!("publishing is blocked by the broker, which is short of memory or disk space");
        (self.observer)(Link::Down(blocked.into()));
        confirms.fail_all(&PublishError::Connection(blocked.into()));
        while connection.status().connected() && connection.status().blocked() {
            if self.refuse_while(sleep(LOOK_EVERY), blocked).await.is_none() {
                return End::Closed;
            }
        }
        End::Lost("it was blocked by the broker, and no longer is".into())
    }

    /// Declares the topology again, now and then.
    async fn mend(&mut self, connection: &Connection) {
        let Some(topology) = &self.mend else { return };
        if self.mended.is_some_and(|last| last.elapsed() < MEND_EVERY) {
            return;
        }
        self.mended = Some(Instant::now());
        let declaring = async {
            let channel = connection.create_channel().await.map_err(|error| error.to_string())?;
            let declared = topology.apply(&channel).await.map_err(|error| error.to_string());
            let _ = channel.close(200, "done".into()).await;
            declared
        };
        match timeout(self.confirm_timeout, declaring).await {
            Ok(Ok(())) => info!("a message found no queue or no exchange; declared all of them again"),
            Ok(Err(error)) => {
                warn!(%error, "a message found no queue or no exchange, and none can be declared");
            }
            Err(_) => warn!("a message found no queue or no exchange, and none could be declared in time"),
        }
    }
}

/// Publishes on the channel: done when the confirm has come. The first poll numbers the publication and
/// puts its frames in lapin's queue, so that those of a burst go out together.
async fn publish(channel: Arc<Channel>, publication: Arc<Publication>) -> lapin::Result<Confirmation> {
    let Publication { exchange, routing_key, properties, body } = &*publication;
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let (exchange, routing_key) = (exchange.clone(), routing_key.clone());
    channel.basic_publish(exchange, routing_key, options, body, properties.clone()).await?.await
}

/// Waits for confirms and answers whoever waits for them. Each that comes would wake the task, to poll all
/// that are under way: where there are many they are looked for now and then.
async fn come(confirms: &mut Confirms<Confirm>, glance: &mut Interval) {
    loop {
        if confirms.len() < CROWD {
            return poll_fn(|cx| confirms.poll_round(cx)).await;
        }
        glance.tick().await;
        if confirms.poll_round(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
    }
}

/// Ticks with at least so much time in between. A timer that stands: to set one wakes the runtime, by a
/// system call, where it is the next to end.
fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
