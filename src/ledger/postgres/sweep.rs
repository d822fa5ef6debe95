//! Retention in PostgreSQL: a cursor that goes round the table's pages and removes old rows.
//!
//! No index by age is kept, since every attempt would pay for it, and the pages are read in the
//! order of the disk (a TID range scan, PostgreSQL 14 or newer), so that size does not matter.

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
/// The pages that a step looks at beside those that the attempts begun allow for.
const STEP: u32 = 16;
/// The most pages that one step looks at.
const LONGEST: u32 = 2_000;
/// About as many rows as a page has.
const ROWS_PER_PAGE: u32 = 32;

const PAGES: &str = "
    SELECT pg_relation_size('imin_customer_worker_ledger') / current_setting('block_size')::bigint";

/// Workers that died and were not heard of for a day are forgotten: no lease is none that lives.
const LEASES: &str = "
    DELETE FROM imin_customer_worker_ledger_lease WHERE until < clock_timestamp() - interval '1 day'";

/// Sweeps for as long as the ledger is open.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut page = None;
    loop {
        sleep(PACE).await;
        let rows = shared.begun.swap(0, Ordering::Relaxed).saturating_mul(SWEPT_PER_BEGIN);
        let pages = (rows / ROWS_PER_PAGE).saturating_add(STEP).min(LONGEST);
        let before = horizon(clock::now().as_millisecond(), shared.retention);
        let step =
            shared.connections.run(async |client| step(client, page, shared.instance, pages, before).await);
        // A failure leaves the cursor where it is, and shows itself at the next begin.
        if let Ok(next) = step.await {
            page = Some(next);
        }
    }
}

/// Looks at the next pages; the page that comes then.
async fn step(
    client: &mut Client,
    page: Option<i64>,
    instance: Uuid,
    pages: u32,
    before: i64,
) -> Result<i64, Failure> {
    let all: i64 = client.query_one(PAGES, &[]).await?.try_get(0)?;
    let page = page.unwrap_or_else(|| anywhere(instance, all));
    let next = page + i64::from(pages);
    // Rows that a batch holds are left for the next round.
    let delete = format!(
        "DELETE FROM imin_customer_worker_ledger WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM imin_customer_worker_ledger
             WHERE ctid >= $1::text::tid AND ctid < $2::text::tid AND at < $3 AND state IN {SETTLED}
             FOR UPDATE SKIP LOCKED))"
    );
    let delete = client.prepare_cached(&delete).await?;
    client.execute(&delete, &[&format!("({page},0)"), &format!("({next},0)"), &before]).await?;
    if next < all {
        return Ok(next);
    }
    client.execute(LEASES, &[]).await?;
    Ok(0)
}

/// Where workers that never live for a whole round start, so that they reach every page.
fn anywhere(instance: Uuid, pages: i64) -> i64 {
    let random = u32::try_from(instance.as_u128() & u128::from(u32::MAX)).unwrap_or(0);
    i64::from(random) % pages.max(1)
}
