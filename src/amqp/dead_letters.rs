//! The queue of the dead letters: looked through on a channel of its own, without a consumer timeout's
//! worth of anything in this process.
//!
//! A look consumes without an acknowledgement. The broker holds what was delivered, so that it does not
//! come twice, and has it all back when the channel ends, whatever ends it. Owns looking and watching;
//! what is done with a letter is `dead_letters`'.

use super::{
    Endpoint,
    topology::{Topology, TopologyError},
};
use crate::{
    broker::Names,
    dead_letters::shelf::{Shelf, ShelfError, Shelves, Watch},
    letters::replay::{Ended, watch_queue},
    message::ShortString,
};
use futures_util::{
    StreamExt,
    future::{BoxFuture, FutureExt, pending},
};
use lapin::{
    Channel, Connection, Consumer,
    options::{BasicConsumeOptions, QueueDeclareOptions},
    types::FieldTable,
};
use tokio::sync::Mutex;
use uuid::Uuid;

mod look;
mod outstanding;

use look::Look;

/// Looks and watches on one connection, made when it is needed.
pub struct AmqpShelves {
    endpoint: Endpoint,
    names: Names,
    topology: Topology,
    /// Whether to look although looking may use up a delivery limit.
    anyway: bool,
    connection: Mutex<Option<Connection>>,
}

impl AmqpShelves {
    /// On the queue that these names and this topology speak of.
    pub fn new(endpoint: Endpoint, names: Names, topology: Topology, anyway: bool) -> Self {
        Self { endpoint, names, topology, anyway, connection: Mutex::default() }
    }

    async fn channel(&self) -> Result<Channel, ShelfError> {
        let mut connection = self.connection.lock().await;
        if let Some(connection) = connection.as_ref().filter(|connection| connection.status().connected()) {
            return connection.create_channel().await.map_err(lost);
        }
        let new = self.endpoint.connect("dead-letters").await.map_err(ShelfError::Connection)?;
        if !self.anyway {
            self.check_limit(&new).await?;
        }
        connection.insert(new).create_channel().await.map_err(lost)
    }

    /// Looks whether the queue stands with the limit that nobody reaches. Where that is not this user's to
    /// know, whoever declared the queue knows.
    async fn check_limit(&self, connection: &Connection) -> Result<(), ShelfError> {
        let queue = self.names.dead_queue.as_str();
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let channel = connection.create_channel().await.map_err(lost)?;
        channel.queue_declare(queue.into(), passive, FieldTable::default()).await.map_err(refused)?;
        match self.topology.declare_queue(&channel, queue).await {
            Err(TopologyError::Differs { argument, current, .. })
                if argument == "x-delivery-limit" && !is_out_of_reach(&current) =>
            {
                Err(ShelfError::Limit { queue: queue.to_owned(), limit: current })
            }
            Err(TopologyError::Connection(error)) => Err(lost(error)),
            Ok(()) => channel.close(200, "done".into()).await.map_err(lost),
            // The channel is gone with the refusal.
            Err(_) => Ok(()),
        }
    }
}

fn is_out_of_reach(limit: &str) -> bool {
    limit.parse::<i64>().is_ok_and(|limit| limit >= 1_000_000)
}

impl Shelves for AmqpShelves {
    fn look(&self) -> BoxFuture<'_, Result<Box<dyn Shelf>, ShelfError>> {
        async {
            let look = Look::begin(self.channel().await?, &self.names.dead_queue).await?;
            Ok(Box::new(look) as Box<dyn Shelf>)
        }
        .boxed()
    }

    fn watch(&self) -> BoxFuture<'_, Result<Box<dyn Watch>, ShelfError>> {
        async {
            let (channel, queue) = (self.channel().await?, watch_queue(&self.names, Uuid::new_v4()));
            let consumer = listen(&channel, &queue).await.map_err(refused)?;
            Ok(Box::new(Listener { queue, consumer, _channel: channel }) as Box<dyn Watch>)
        }
        .boxed()
    }
}

/// A queue of its own, which goes with the connection.
async fn listen(channel: &Channel, queue: &str) -> lapin::Result<Consumer> {
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..Default::default() };
    channel.basic_consume(queue.into(), ShortString::default(), options, FieldTable::default()).await
}

struct Listener {
    queue: String,
    consumer: Consumer,
    _channel: Channel,
}

impl Watch for Listener {
    fn queue(&self) -> &str {
        &self.queue
    }

    fn next(&mut self) -> BoxFuture<'_, Ended> {
        async {
            while let Some(Ok(delivery)) = self.consumer.next().await {
                if let Some(ended) = Ended::read(&delivery.properties) {
                    return ended;
                }
            }
            pending().await
        }
        .boxed()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn lost(error: lapin::Error) -> ShelfError {
    ShelfError::Connection(error.to_string())
}

/// What the broker says no to, in its own words: `NOT_FOUND - no queue 'customers.create.dead'`.
fn refused(error: lapin::Error) -> ShelfError {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(amqp) => ShelfError::Refused(amqp.get_message().to_string()),
        _ => lost(error),
    }
}

#[cfg(test)]
mod tests {
    use super::is_out_of_reach;

    #[test]
    fn only_a_limit_that_nobody_reaches_is_harmless_on_every_version() {
        for (limit, harmless) in
            [("1000000000", true), ("2000000", true), ("20", false), ("-1", false), ("none", false)]
        {
            assert_eq!(is_out_of_reach(limit), harmless, "{limit}");
        }
    }
}
