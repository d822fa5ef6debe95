//! One batch of requests in one transaction of two round trips.
//!
//! First the rows are locked, in the order of their keys so that no two workers wait for each other
//! in a circle; then what becomes of them is written. Owns what makes a claim atomic among workers.

use super::{
    Shared,
    columns::{Columns, arrays, columns, read},
    connect::Failure,
};
use crate::{
    clock,
    event::EventKey,
    ledger::{
        Begun,
        request::Request,
        row::{Change, Row, Scene},
    },
};
use deadpool_postgres::Client;
use futures_util::future::{join3, join4};
use std::collections::{BTreeMap, HashSet};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

const LOCK: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM imin_customer_worker_ledger WHERE key = ANY($1) ORDER BY key FOR UPDATE"
);

/// A statement of its own, after the locks: it sees the lease of whoever had a row before.
const LIVING: &str = "SELECT owner FROM imin_customer_worker_ledger_lease WHERE until > now()";

const INSERT: &str = concat!(
    "INSERT INTO imin_customer_worker_ledger (",
    columns!(),
    ") SELECT * FROM ",
    arrays!(),
    " ORDER BY 1 ON CONFLICT (key) DO NOTHING RETURNING key"
);

const UPDATE: &str = concat!(
    "UPDATE imin_customer_worker_ledger AS row SET state = new.state, attempt = new.attempt, at = new.at,
         possible_duplicate = new.possible_duplicate, owner = new.owner, identifier = new.identifier,
         account_id = new.account_id, published = new.published, words = new.words
     FROM ",
    arrays!(),
    " AS new (",
    columns!(),
    ") WHERE row.key = new.key"
);

const DELETE: &str = "DELETE FROM imin_customer_worker_ledger WHERE key = ANY($1)";

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Committed; a begin with its answer.
    Done(Option<Begun>),
    /// Another worker made a row for the key meanwhile: nothing was done, ask again.
    Raced,
}

/// A row before and after the batch.
#[derive(Default)]
struct Slot {
    before: bool,
    row: Option<Row>,
    changed: bool,
}

/// What is to be written.
#[derive(Default)]
struct Writes {
    insert: Columns,
    inserted: HashSet<EventKey>,
    update: Columns,
    delete: Vec<Uuid>,
}

/// Commits the requests; the outcomes in their order.
pub(super) async fn commit(
    shared: &Shared,
    client: &mut Client,
    requests: &[Request],
) -> Result<Vec<Outcome>, Failure> {
    if !shared.lease.stands() {
        shared.lease.renew(client).await?;
    }
    let (mut slots, living) = lock(client, requests).await?;
    let answers = decide(shared.instance, requests, &mut slots, &living);
    let writes = Writes::of(slots);
    let raced = write(client, &writes).await?;
    let outcomes = requests.iter().zip(answers).map(|(request, begun)| {
        if raced.contains(&request.op.key()) { Outcome::Raced } else { Outcome::Done(begun) }
    });
    Ok(outcomes.collect())
}

/// What becomes of the rows; the answers in the requests' order.
fn decide(
    instance: Uuid,
    requests: &[Request],
    slots: &mut BTreeMap<EventKey, Slot>,
    living: &HashSet<Uuid>,
) -> Vec<Option<Begun>> {
    let at = clock::now().as_millisecond();
    let scene = Scene { instance, at, living: &|owner| living.contains(&owner) };
    let answers = requests.iter().map(|request| {
        let slot = slots.entry(request.op.key()).or_default();
        let (begun, change) = request.op.apply(slot.row.as_ref(), &scene);
        slot.change(change);
        begun
    });
    answers.collect()
}

/// Begins the transaction and locks the rows: what they say, and which workers live.
async fn lock(
    client: &Client,
    requests: &[Request],
) -> Result<(BTreeMap<EventKey, Slot>, HashSet<Uuid>), Failure> {
    let (lock, living) = (client.prepare_cached(LOCK).await?, client.prepare_cached(LIVING).await?);
    let keys: Vec<Uuid> = requests.iter().map(|request| request.op.key().0).collect();
    let parameters: [&(dyn ToSql + Sync); 1] = [&keys];
    // Joined, the three are sent in this order without waiting for each other's answers.
    let (begun, rows, living) = join3(
        client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
        client.query(&lock, &parameters),
        client.query(&living, &[]),
    )
    .await;
    begun?;
    let mut slots = BTreeMap::new();
    for row in rows? {
        let (key, row) = read(&row)?;
        slots.insert(key, Slot { before: true, row: Some(row), changed: false });
    }
    let living = living?.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    Ok((slots, living))
}

/// Writes and commits; the keys that another worker was first to insert. An error in any statement
/// makes the server roll all of them back, also when the commit after it was sent already.
async fn write(client: &Client, writes: &Writes) -> Result<HashSet<EventKey>, Failure> {
    let insert = client.prepare_cached(INSERT).await?;
    let update = client.prepare_cached(UPDATE).await?;
    let delete = client.prepare_cached(DELETE).await?;
    let (insertion, updating, keys) =
        (writes.insert.parameters(), writes.update.parameters(), [&writes.delete as &(dyn ToSql + Sync)]);
    let (inserted, updated, deleted, committed) = join4(
        async {
            if writes.insert.is_empty() { Ok(Vec::new()) } else { client.query(&insert, &insertion).await }
        },
        async { if writes.update.is_empty() { Ok(0) } else { client.execute(&update, &updating).await } },
        async { if writes.delete.is_empty() { Ok(0) } else { client.execute(&delete, &keys).await } },
        client.batch_execute("COMMIT"),
    )
    .await;
    let mut raced = writes.inserted.clone();
    for row in inserted? {
        raced.remove(&EventKey(row.try_get(0)?));
    }
    updated?;
    deleted?;
    committed?;
    Ok(raced)
}

impl Slot {
    fn change(&mut self, change: Change) {
        self.row = match change {
            Change::Keep => return,
            Change::Put(row) => Some(row),
            Change::Delete => None,
        };
        self.changed = true;
    }
}

impl Writes {
    fn of(slots: BTreeMap<EventKey, Slot>) -> Self {
        let mut writes = Self::default();
        for (key, slot) in slots.into_iter().filter(|(_, slot)| slot.changed) {
            match (slot.before, slot.row) {
                (false, Some(row)) => {
                    writes.insert.push(key, row);
                    writes.inserted.insert(key);
                }
                (true, Some(row)) => writes.update.push(key, row),
                (true, None) => writes.delete.push(key.0),
                (false, None) => {}
            }
        }
        writes
    }
}
