//! That this worker lives: one row for each worker, renewed, by the database's clock.
//!
//! A row of the ledger names its owner, and the owner's lease says whether it may still be calling.
//! So a renewal is one small write, however many calls are under way.

use super::{Shared, connect::Failure};
use deadpool_postgres::Client;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const RENEW: &str = "
    INSERT INTO imin_customer_worker_ledger_lease (owner, until)
    VALUES ($1, clock_timestamp() + $2 * interval '1 second')
    ON CONFLICT (owner) DO UPDATE SET until = excluded.until";

const END: &str = "DELETE FROM imin_customer_worker_ledger_lease WHERE owner = $1";

/// This worker's lease, as it knows it: never longer than the database does.
#[derive(Debug)]
pub(super) struct Lease {
    owner: Uuid,
    length: Duration,
    until: Mutex<Option<Instant>>,
}

impl Lease {
    pub(super) fn new(owner: Uuid, length: Duration) -> Self {
        Self { owner, length, until: Mutex::new(None) }
    }

    /// Whether the database says that this worker lives, for certain.
    pub(super) fn stands(&self) -> bool {
        self.until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| Instant::now() < until)
    }

    /// Takes or renews it. What others took over while it had run out stays theirs.
    pub(super) async fn renew(&self, client: &mut Client) -> Result<(), Failure> {
        // The length counts from before the question, so that the answer's way does not add to it.
        let asked = Instant::now();
        let statement = client.prepare_cached(RENEW).await?;
        client.execute(&statement, &[&self.owner, &self.length.as_secs_f64()]).await?;
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = (*until).max(Some(asked + self.length));
        Ok(())
    }

    /// Gives it up: the others need not wait for its end.
    pub(super) async fn end(&self, client: &mut Client) -> Result<(), Failure> {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = None;
        client.execute(END, &[&self.owner]).await?;
        Ok(())
    }
}

/// Renews the lease after each third of it, and sooner after a failure.
pub(super) async fn keep(shared: Arc<Shared>) {
    let Shared { connections, lease, .. } = &*shared;
    let (third, soon) = (lease.length / 3, lease.length / 12);
    let mut pause = third;
    loop {
        sleep(pause).await;
        // A failure shows itself at the next begin or check, which tell of it.
        let renewed = connections.run(async |client| lease.renew(client).await).await;
        pause = if renewed.is_ok() { third } else { soon.min(Duration::from_secs(1)) };
    }
}
