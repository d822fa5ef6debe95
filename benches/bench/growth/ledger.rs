//! A ledger of millions of rows against an empty one, in turn.

use super::{Fact, Options, usual};
use crate::{tools::Tools, world::World};
use anyhow::{Context, Result};
use imin_customer_worker::{
    event::EventKey,
    ledger::{Finish, Ledger, open, sqlite::SqliteLedger},
    outcome::Account,
};
use rusqlite::Connection;
use std::path::Path;
use uuid::Uuid;

/// The rows are copies of the one that the ledger wrote itself, under other keys, in the order of the
/// tree: anything else takes hours.
const FILL: &str = "
    PRAGMA cache_size = -1000000;
    PRAGMA temp_store = memory;
    BEGIN;
    WITH RECURSIVE
        numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ROWS),
        keys(key) AS (SELECT randomblob(16) FROM numbers ORDER BY 1)
    INSERT OR IGNORE INTO ledger
    SELECT keys.key, state, attempt, at, possible_duplicate, owner, identifier, account_id, published, words
    FROM keys CROSS JOIN (SELECT * FROM ledger LIMIT 1);
    COMMIT;
    PRAGMA wal_checkpoint(TRUNCATE);
";

/// Rates with both, their ratio, the size of the file and the worker's memory.
pub(super) async fn measure(tools: &Tools, options: &Options) -> Result<Vec<Fact>> {
    let directory = tempfile::TempDir::with_prefix_in("rows-", &tools.out)?;
    let path = directory.path().join("ledger.db");
    fill(&path, options.rows).await?;
    #[expect(clippy::cast_precision_loss, reason = "the size of a file")]
    let size = std::fs::metadata(&path)?.len() as f64 / 1024.0 / 1024.0;
    let (mut empty, mut full, mut ratios, mut peaks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds {
        // Other events in every round: the large ledger recognises those that it has seen.
        let first = round as u64 * options.messages;
        let without = run(tools, options.messages, first, None).await?;
        let with = run(tools, options.messages, first, Some(&path)).await?;
        eprintln!("empty {:.0}, {} rows {:.0} events/s", without.0, options.rows, with.0);
        ratios.push(with.0 / without.0);
        empty.push(without.0);
        full.push(with.0);
        peaks.push(with.1);
    }
    let name = |what: &str| format!("a ledger of {} rows: {what}", options.rows);
    Ok(vec![
        Fact::new("an empty ledger: rate", "events/s", empty),
        Fact::new(name("rate"), "events/s", full),
        Fact::new(name("rate ÷ that with an empty one"), "", ratios),
        Fact::new(name("size of the file"), "MiB", vec![size]),
        Fact::new(name("peak memory"), "MiB", peaks),
    ])
}

/// Rate and peak memory of a run with the ledger at `path`, or with a new one.
async fn run(tools: &Tools, messages: u64, first: u64, path: Option<&Path>) -> Result<(f64, f64)> {
    let scenario = usual(messages);
    let mut world = World::start(tools, scenario.api, scenario.latency).await?;
    world.load(first..first + messages).await?;
    let ledger = match path {
        Some(path) => format!("sqlite://{}", path.display()),
        None => scenario.ledger(&world).await,
    };
    let sample = scenario.drain(tools, &mut world, &ledger).await?;
    world.end().await?;
    Ok((sample.rate, sample.peak))
}

/// Makes a ledger of this many rows.
async fn fill(path: &Path, rows: u64) -> Result<()> {
    let ledger = SqliteLedger::open(path.to_owned(), open::Options::new(Uuid::new_v4()))
        .await
        .context("a new ledger")?;
    let key = EventKey(Uuid::new_v4());
    let id = "https://book.imin.co/api/v2/customer-accounts/MAlnTNiZut0".to_owned();
    let account = Account { identifier: "MAlnTNiZut0".into(), id: Some(id) };
    ledger.finish(key, Finish::Created(account)).await?;
    ledger.published(key);
    ledger.close().await?;
    drop(ledger);
    let path = path.to_owned();
    let script = FILL.replace("ROWS", &rows.to_string());
    tokio::task::spawn_blocking(move || Connection::open(path)?.execute_batch(&script)).await??;
    Ok(())
}
