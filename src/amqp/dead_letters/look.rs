//! One look through the queue.
//!
//! A window bounds what lies fetched in this process, and since nothing is acknowledged, a full window
//! stands still: so each window is a consumer of its own, and its end the beginning of the next. At the
//! end everything is given back in order, a few at a time, and the look ends when the queue has it. A look
//! that ends in the middle, or is killed, leaves the same letters in another order, which matters to none:
//! each is an event of its own.

use super::{lost, outstanding::Outstanding, refused};
use crate::{
    dead_letters::shelf::{Held, Shelf, ShelfError},
    message::Message,
};
use futures_util::{
    StreamExt,
    future::{BoxFuture, FutureExt},
};
use lapin::{
    Channel, Consumer,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How many letters lie fetched, at most.
const WINDOW: u16 = 256;
/// How long the queue may be silent before it is asked whether it has any more.
const SILENCE: Duration = Duration::from_secs(1);
/// How often it may be silent although it says that it has.
const PATIENCE: u32 = 30;
/// How many portions are given back before the queue must have them: with more under way than
/// `quorum_commands_soft_limit` (32), RabbitMQ puts them together, and the order is lost.
const AT_ONCE: usize = 16;
/// How long the queue may take to have everything back, where others look or work on it, too.
const RETURN: Duration = Duration::from_mins(1);

/// What the queue says of itself.
struct State {
    /// Messages that nobody holds.
    ready: u64,
    consumers: u32,
}

/// A look.
pub(super) struct Look {
    channel: Channel,
    queue: String,
    depth: u64,
    shared: bool,
    letters: mpsc::Receiver<Result<Held, ShelfError>>,
    hand: Arc<Mutex<Outstanding>>,
    reader: JoinHandle<()>,
    stop: CancellationToken,
    _stops: DropGuard,
}

impl Look {
    /// Begins at the front of the queue.
    pub(super) async fn begin(channel: Channel, queue: &str) -> Result<Self, ShelfError> {
        let state = ask(&channel, queue).await.map_err(refused)?;
        channel.basic_qos(WINDOW, BasicQosOptions::default()).await.map_err(lost)?;
        let (sender, letters) = mpsc::channel(1);
        let (stop, hand) = (CancellationToken::new(), Arc::default());
        let reader = Reader {
            channel: channel.clone(),
            queue: queue.to_owned(),
            left: state.ready,
            letters: sender,
            hand: Arc::clone(&hand),
            stop: stop.clone(),
        };
        Ok(Self {
            channel,
            queue: queue.to_owned(),
            depth: state.ready,
            shared: state.consumers > 0,
            letters,
            hand,
            reader: tokio::spawn(reader.run()),
            _stops: stop.clone().drop_guard(),
            stop,
        })
    }

    async fn give_back(mut self) -> Result<(), ShelfError> {
        self.stop.cancel();
        // A reader that panicked has left its deliveries to the end of the channel.
        let _ = (&mut self.reader).await;
        let portions = lock(&self.hand).portions();
        self.give_back_all(&portions).await.map_err(lost)?;
        self.channel.close(200, "done".into()).await.map_err(lost)
    }

    async fn give_back_all(&self, portions: &[(u64, u64)]) -> lapin::Result<()> {
        let until = Instant::now() + RETURN;
        let mut ready = ask(&self.channel, &self.queue).await?.ready;
        for some in portions.chunks(AT_ONCE) {
            for (tag, count) in some {
                let options = BasicNackOptions { multiple: true, requeue: true };
                self.channel.basic_nack(*tag, options).await?;
                ready += count;
            }
            // Not for ever: somebody else may take them meanwhile.
            while ask(&self.channel, &self.queue).await?.ready < ready && Instant::now() < until {
                sleep(Duration::from_millis(2)).await;
            }
        }
        Ok(())
    }
}

async fn ask(channel: &Channel, queue: &str) -> lapin::Result<State> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = channel.queue_declare(queue.into(), passive, FieldTable::default()).await?;
    Ok(State { ready: queue.message_count().into(), consumers: queue.consumer_count() })
}

fn lock(hand: &Mutex<Outstanding>) -> MutexGuard<'_, Outstanding> {
    // Each change is a bit and a number, so a panic elsewhere leaves nothing half done.
    hand.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shelf for Look {
    fn depth(&self) -> u64 {
        self.depth
    }

    fn shared(&self) -> bool {
        self.shared
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Option<Held>, ShelfError>> {
        self.letters.recv().map(Option::transpose).boxed()
    }

    fn take_off(&mut self, tag: u64) -> BoxFuture<'_, Result<(), ShelfError>> {
        async move {
            self.channel.basic_ack(tag, BasicAckOptions::default()).await.map_err(lost)?;
            lock(&self.hand).settle(tag);
            Ok(())
        }
        .boxed()
    }

    fn put_back(self: Box<Self>) -> BoxFuture<'static, Result<(), ShelfError>> {
        self.give_back().boxed()
    }
}

/// Who fetches, a window at a time.
struct Reader {
    channel: Channel,
    queue: String,
    /// How many are still to be seen.
    left: u64,
    letters: mpsc::Sender<Result<Held, ShelfError>>,
    hand: Arc<Mutex<Outstanding>>,
    stop: CancellationToken,
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Next {
    Window,
    Nothing,
}

impl Reader {
    async fn run(mut self) {
        let mut window = 0;
        while self.left > 0 {
            window += 1;
            match self.window(window).await {
                Ok(Next::Window) => {}
                Ok(Next::Nothing) => return,
                Err(error) => {
                    let _ = self.letters.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    /// Fetches a window with a consumer of its own. The names rise, so that a broker that gives back
    /// consumer by consumer does it in order.
    async fn window(&mut self, number: u32) -> Result<Next, ShelfError> {
        let (options, name) = (BasicConsumeOptions::default(), format!("look-{number:06}"));
        let consuming = self.channel.basic_consume(
            self.queue.as_str().into(),
            name.as_str().into(),
            options,
            FieldTable::default(),
        );
        let mut consumer = consuming.await.map_err(refused)?;
        let next = self.fill(&mut consumer).await;
        let cancelling = self.channel.basic_cancel(name.as_str().into(), BasicCancelOptions::default());
        cancelling.await.map_err(lost)?;
        // What was on its way when the window closed is before everything of the next.
        while let Some(delivery) = consumer.next().await {
            self.hand_over(delivery.map_err(lost)?).await;
        }
        lock(&self.hand).end_consumer();
        next
    }

    async fn fill(&mut self, consumer: &mut Consumer) -> Result<Next, ShelfError> {
        let (mut got, mut silences) = (0, 0);
        while got < WINDOW && self.left > 0 {
            let next = tokio::select! {
                () = self.stop.cancelled() => return Ok(Next::Nothing),
                next = timeout(SILENCE, consumer.next()) => next,
            };
            match next {
                Ok(Some(delivery)) => {
                    self.hand_over(delivery.map_err(lost)?).await;
                    (got, silences) = (got + 1, 0);
                }
                Ok(None) => return Err(ShelfError::Connection("the broker cancelled the consumer".into())),
                Err(_) => {
                    silences += 1;
                    if self.is_over(silences).await? {
                        return Ok(Next::Nothing);
                    }
                }
            }
        }
        Ok(Next::Window)
    }

    /// Whether the silence means that there are no more: others may have taken what there was.
    async fn is_over(&self, silences: u32) -> Result<bool, ShelfError> {
        let state = ask(&self.channel, &self.queue).await.map_err(lost)?;
        if silences > PATIENCE && state.ready > 0 {
            return Err(ShelfError::Silent);
        }
        Ok(silences > 1 && state.ready == 0)
    }

    /// Notes a delivery, and hands it over if it is one of those to be seen and somebody is still looking.
    async fn hand_over(&mut self, delivery: lapin::message::Delivery) {
        let tag = delivery.delivery_tag;
        lock(&self.hand).deliver(tag);
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let message = Message::from(delivery);
        tokio::select! {
            () = self.stop.cancelled() => {}
            _ = self.letters.send(Ok(Held { message, tag })) => {}
        }
    }
}
