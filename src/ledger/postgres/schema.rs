//! The tables in PostgreSQL, migrated by one worker at a time.

use super::connect::Failure;
use deadpool_postgres::Client;

/// Each brings the schema one version further.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE imin_customer_worker_ledger (
        key uuid PRIMARY KEY,
        state text NOT NULL,
        attempt bigint NOT NULL,
        at bigint NOT NULL,
        possible_duplicate boolean NOT NULL,
        owner uuid,
        identifier text,
        account_id text,
        published boolean NOT NULL,
        words bytea
    ) WITH (fillfactor = 70); -- room beside each row for its next state
    CREATE TABLE imin_customer_worker_ledger_lease (
        owner uuid PRIMARY KEY,
        until timestamptz NOT NULL
    );
"];

/// The advisory lock under which a schema is made: the same number for every worker.
const LOCK: i64 = 0x696d_696e_6c65_6467;

/// The schema's version and the newest that is known here; none where there is no schema.
pub(super) async fn version(client: &Client) -> Result<Option<(i64, i64)>, Failure> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let exists = "SELECT to_regclass('imin_customer_worker_ledger_meta') IS NOT NULL";
    if !client.query_one(exists, &[]).await?.try_get(0)? {
        return Ok(None);
    }
    let version = "SELECT version FROM imin_customer_worker_ledger_meta";
    Ok(Some((client.query_one(version, &[]).await?.try_get(0)?, known)))
}

/// Brings the schema to the newest version, all or nothing.
pub(super) async fn migrate(client: &mut Client) -> Result<(), Failure> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let exists = "SELECT to_regclass('imin_customer_worker_ledger_meta') IS NOT NULL";
    let found = if transaction.query_one(exists, &[]).await?.try_get(0)? {
        let version = "SELECT version FROM imin_customer_worker_ledger_meta";
        transaction.query_one(version, &[]).await?.try_get(0)?
    } else {
        // Asked for only where it is missing: a worker without the right to create may go on.
        let create = "CREATE TABLE imin_customer_worker_ledger_meta (version bigint NOT NULL);
                      INSERT INTO imin_customer_worker_ledger_meta VALUES (0)";
        transaction.batch_execute(create).await?;
        0
    };
    if found > known {
        return Err(Failure::Newer { found, known });
    }
    for (migration, version) in MIGRATIONS.iter().zip(1_i64..).skip(usize::try_from(found).unwrap_or(0)) {
        transaction.batch_execute(migration).await?;
        let step = "UPDATE imin_customer_worker_ledger_meta SET version = $1";
        transaction.execute(step, &[&version]).await?;
    }
    Ok(transaction.commit().await?)
}
