//! Retention in PostgreSQL: a cursor that goes round the keys and removes old rows as it goes.

use super::{Shared, connect::Failure};
use crate::{
    clock,
    ledger::row::{SETTLED, SWEPT_PER_BEGIN, horizon},
};
use deadpool_postgres::Client;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::sleep;
use uuid::Uuid;

/// How often a step is made.
const PACE: Duration = Duration::from_secs(1);
/// The rows that a step looks at beside those that the attempts begun allow for.
const STEP: u32 = 512;
/// The most rows that one step looks at.
const LONGEST: u32 = 50_000;

const BOUNDARY: &str = "
    SELECT key FROM imin_customer_worker_ledger WHERE key > $1 ORDER BY key LIMIT 1 OFFSET $2";

/// Workers that died and were not heard of for a day are forgotten: no lease is none that lives.
const LEASES: &str = "
    DELETE FROM imin_customer_worker_ledger_lease WHERE until < clock_timestamp() - interval '1 day'";

/// Sweeps for as long as the ledger is open.
pub(super) async fn run(shared: Arc<Shared>) {
    // It starts anywhere, so that workers which never live for a whole round reach every key.
    let mut cursor = shared.instance;
    loop {
        sleep(PACE).await;
        let begun = shared.begun.swap(0, Ordering::Relaxed);
        let rows = begun.saturating_mul(SWEPT_PER_BEGIN).saturating_add(STEP).min(LONGEST);
        let before = horizon(clock::now().as_millisecond(), shared.retention);
        let step = shared.connections.run(async |client| step(client, cursor, rows, before).await);
        // A failure leaves the cursor where it is, and shows itself at the next begin.
        if let Ok(next) = step.await {
            cursor = next;
        }
    }
}

/// Looks at the next rows; where the cursor then stands.
async fn step(client: &mut Client, cursor: Uuid, rows: u32, before: i64) -> Result<Uuid, Failure> {
    let boundary = client.prepare_cached(BOUNDARY).await?;
    let last = client.query_opt(&boundary, &[&cursor, &(i64::from(rows) - 1)]).await?;
    let last: Option<Uuid> = last.map(|row| row.try_get(0)).transpose()?;
    // Rows that a batch holds are left for the next round.
    let delete = format!(
        "DELETE FROM imin_customer_worker_ledger WHERE key IN (
             SELECT key FROM imin_customer_worker_ledger
             WHERE key >= $1 AND key <= $2 AND at < $3 AND state IN {SETTLED}
             ORDER BY key FOR UPDATE SKIP LOCKED)"
    );
    let delete = client.prepare_cached(&delete).await?;
    client.execute(&delete, &[&cursor, &last.unwrap_or(Uuid::max()), &before]).await?;
    if last.is_none() {
        client.execute(LEASES, &[]).await?;
    }
    Ok(last.unwrap_or_default())
}
