//! A ledger of millions of rows against an empty one, in turn.

use super::{Fact, Options, usual};
use crate::{
    contender::Contender,
    run::{Scenario, postgres},
    support::connect,
    tools::Tools,
    world::World,
};
use anyhow::{Context, Result};
use imin_customer_worker::{
    event::EventKey,
    ledger::{
        Finish, Ledger,
        open::{self, LedgerUrl},
        sqlite::SqliteLedger,
    },
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

/// The same for PostgreSQL, some at a time.
const FILL_POSTGRES: &str = "
    INSERT INTO imin_customer_worker_ledger
    SELECT gen_random_uuid(), row.state, row.attempt, row.at, row.possible_duplicate, row.owner, row.identifier,
        row.account_id, row.published, row.words
    FROM generate_series(1, ROWS), (SELECT * FROM imin_customer_worker_ledger LIMIT 1) AS row";

/// Rates with either ledger, full and empty, and the size of the file.
pub(super) async fn measure(tools: &Tools, options: &Options) -> Result<Vec<Fact>> {
    let directory = tempfile::TempDir::with_prefix_in("rows-", &tools.out)?;
    let path = directory.path().join("ledger.db");
    fill(&path, options.rows).await?;
    let mut facts =
        compare(tools, options, Contender::Sqlite, &format!("sqlite://{}", path.display())).await?;
    #[expect(clippy::cast_precision_loss, reason = "the size of a file")]
    let size = std::fs::metadata(&path)?.len() as f64 / 1024.0 / 1024.0;
    facts.push(Fact::new(format!("SQLite, {} rows: size of the file", options.rows), "MiB", vec![size]));
    let database = postgres().database().await;
    fill_postgres(&database, options.rows).await?;
    facts.extend(compare(tools, options, Contender::Postgres, &database).await?);
    Ok(facts)
}

/// Rates with a full ledger and with an empty one, in turn, their ratio, and the worker's memory.
async fn compare(tools: &Tools, options: &Options, who: Contender, url: &str) -> Result<Vec<Fact>> {
    let (mut empty, mut full, mut ratios, mut peaks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds {
        // Other events in every round: the large ledger recognises those that it has seen.
        let first = round as u64 * options.messages;
        let without = run(tools, who, options.messages, first, None).await?;
        let with = run(tools, who, options.messages, first, Some(url)).await?;
        eprintln!("{who:?}: empty {:.0}, {} rows {:.0} events/s", without.0, options.rows, with.0);
        ratios.push(with.0 / without.0);
        empty.push(without.0);
        full.push(with.0);
        peaks.push(with.1);
    }
    let name = |what: &str| format!("{who:?}, {} rows: {what}", options.rows);
    Ok(vec![
        Fact::new(format!("{who:?}, empty: rate"), "events/s", empty),
        Fact::new(name("rate"), "events/s", full),
        Fact::new(name("rate ÷ that with an empty one"), "", ratios),
        Fact::new(name("peak memory"), "MiB", peaks),
    ])
}

/// Rate and peak memory of a run with the ledger at `url`, or with a new one.
async fn run(
    tools: &Tools,
    contender: Contender,
    messages: u64,
    first: u64,
    url: Option<&str>,
) -> Result<(f64, f64)> {
    let scenario = Scenario { contender, ..usual(messages) };
    let mut world = World::start(tools, scenario.api, scenario.latency).await?;
    world.load(first..first + messages).await?;
    let ledger = match url {
        Some(url) => url.to_owned(),
        None => scenario.ledger(&world).await,
    };
    let sample = scenario.drain(tools, &mut world, &ledger).await?;
    world.end().await?;
    Ok((sample.rate, sample.peak))
}

/// Makes the table, and this many rows in it.
async fn fill_postgres(url: &str, rows: u64) -> Result<()> {
    let parsed: LedgerUrl = url.parse().context("the ledger's URL")?;
    let ledger = open::open(&parsed, open::Options::new(Uuid::new_v4())).await.context("the ledger")?;
    write_one(&*ledger).await?;
    ledger.close().await?;
    let client = connect(url).await;
    for _ in 0..rows.div_ceil(PART) {
        client.batch_execute(&FILL_POSTGRES.replace("ROWS", &PART.min(rows).to_string())).await?;
    }
    // Each alone: together they would be a transaction, in which nothing can be vacuumed.
    client.batch_execute("VACUUM ANALYZE imin_customer_worker_ledger").await?;
    Ok(client.batch_execute("CHECKPOINT").await?)
}

/// Writes the row that the others are made of.
async fn write_one(ledger: &dyn Ledger) -> Result<()> {
    let key = EventKey(Uuid::new_v4());
    let id = "https://book.imin.co/api/v2/customer-accounts/MAlnTNiZut0".to_owned();
    let account = Account { identifier: "MAlnTNiZut0".into(), id: Some(id) };
    ledger.finish(key, Finish::Created(account)).await?;
    ledger.published(key);
    Ok(())
}

/// Makes a ledger of this many rows, in the tables that it would have made of them itself.
async fn fill(path: &Path, rows: u64) -> Result<()> {
    for _ in 0..rows.div_ceil(PART) {
        let ledger = open(path).await?;
        // The first closes the table that the last round filled; the row is the next one's first.
        ledger.check().await?;
        write_one(&ledger).await?;
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
