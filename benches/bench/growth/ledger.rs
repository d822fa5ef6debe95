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

/// The rows are copies of the one that the ledger wrote itself, under other keys.
const FILL: &str = "
    BEGIN;
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ROWS)
    INSERT INTO ledger (key, state, attempt, at, possible_duplicate, owner, identifier, account_id, published, words)
    SELECT randomblob(16), state, attempt, at, possible_duplicate, owner, identifier, account_id, published, words
    FROM numbers CROSS JOIN (SELECT * FROM ledger LIMIT 1);
    COMMIT;
";

/// As many rows as the ledger itself lets into the table that is written before it closes that.
const PART: u64 = 1 << 17;

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

/// Makes a ledger of this many rows, in the tables that it would have made of them itself.
async fn fill(path: &Path, rows: u64) -> Result<()> {
    for _ in 0..rows.div_ceil(PART) {
        let ledger = open(path).await?;
        // The first closes the table that the last round filled; the row is the next one's first.
        ledger.check().await?;
        let key = EventKey(Uuid::new_v4());
        let id = "https://book.imin.co/api/v2/customer-accounts/MAlnTNiZut0".to_owned();
        let account = Account { identifier: "MAlnTNiZut0".into(), id: Some(id) };
        ledger.finish(key, Finish::Created(account)).await?;
        ledger.published(key);
        ledger.close().await?;
        drop(ledger);
        let path = path.to_owned();
        let script = FILL.replace("ROWS", &(PART.min(rows) - 1).to_string());
        tokio::task::spawn_blocking(move || Connection::open(path)?.execute_batch(&script)).await??;
    }
    let ledger = open(path).await?;
    ledger.check().await?;
    Ok(ledger.close().await?)
}

async fn open(path: &Path) -> Result<SqliteLedger> {
    let options = open::Options::new(Uuid::new_v4());
    SqliteLedger::open(path.to_owned(), options).await.context("the ledger")
}
