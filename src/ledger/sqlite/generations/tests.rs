use super::*;
use crate::ledger::{row::State, sqlite::file};

const RETENTION: i64 = 800;

fn key(n: u128) -> EventKey {
    EventKey(Uuid::from_u128(n << 64 | n))
}

fn row(state: State, at: i64) -> Row {
    Row { state, attempt: 1, at, possible_duplicate: false, words: Vec::new() }
}

fn file() -> (tempfile::TempDir, Connection) {
    let directory = tempfile::TempDir::new().expect("a directory");
    let file = file::open(&directory.path().join("ledger.db"), None).expect("a file");
    (directory, file.connection)
}

fn put(generations: &mut Generations, connection: &Connection, n: u128, row: Row) {
    let at = row.at;
    rows::put(connection, key(n), row).expect("a row");
    generations.wrote(1, at);
}

fn found(generations: &Generations, connection: &Connection, n: u128) -> Option<Row> {
    let young = rows::load(connection, rows::WRITTEN, key(n)).expect("a look");
    young.or_else(|| generations.find(connection, key(n)).expect("a look"))
}

/// One step, as between two batches.
fn step(generations: &mut Generations, connection: &Connection, before: i64) -> Removed {
    generations.allow_step();
    let removed = generations.remove(connection, before).expect("a step");
    generations.removed(removed);
    removed
}

#[test]
fn a_row_is_found_whatever_became_of_its_table() {
    let (_directory, mut connection) = file();
    let mut generations = Generations::read(&connection).expect("a fresh file");
    for n in 1..=3 {
        put(&mut generations, &connection, n, row(State::Idle, 100));
        generations.roll(&mut connection, 200, RETENTION).expect("a roll");
    }
    assert_eq!(generations.closed.len(), 3);
    put(&mut generations, &connection, 1, row(State::Unusable, 300));
    let again = Generations::read(&connection).expect("what was written");
    for generations in [&generations, &again] {
        assert_eq!(found(generations, &connection, 1), Some(row(State::Unusable, 300)), "it hides its elder");
        assert_eq!(found(generations, &connection, 3), Some(row(State::Idle, 100)));
        assert_eq!(found(generations, &connection, 4), None);
    }
    generations.roll(&mut connection, 400, RETENTION).expect("a roll");
    assert_eq!(
        found(&generations, &connection, 1),
        Some(row(State::Unusable, 300)),
        "also when both are closed"
    );
}

#[test]
fn a_table_is_closed_at_its_age_or_when_it_is_full() {
    let (_directory, mut connection) = file();
    let mut generations = Generations::read(&connection).expect("a fresh file");
    generations.roll(&mut connection, 1_000, RETENTION).expect("nothing to roll");
    put(&mut generations, &connection, 1, row(State::Idle, 1_000));
    generations.roll(&mut connection, 1_099, RETENTION).expect("too young");
    assert_eq!(generations.closed.len(), 0);
    generations.roll(&mut connection, 1_100, RETENTION).expect("a roll");
    assert_eq!(generations.closed.len(), 1);

    put(&mut generations, &connection, 2, row(State::Idle, 1_100));
    generations.wrote(FULL - 1, 1_100);
    generations.roll(&mut connection, 1_100, RETENTION).expect("a roll");
    assert_eq!(generations.closed.len(), 2);
}

#[test]
fn an_open_attempt_moves_along_and_never_goes() {
    let (_directory, mut connection) = file();
    let mut generations = Generations::read(&connection).expect("a fresh file");
    let attempting = row(State::Attempting(Uuid::nil()), 1);
    let unknown = row(State::Unknown, 1);
    put(&mut generations, &connection, 1, attempting.clone());
    put(&mut generations, &connection, 2, unknown.clone());
    generations.roll(&mut connection, 1_000, RETENTION).expect("no generation of open rows");
    assert_eq!(generations.closed.len(), 0);

    put(&mut generations, &connection, 3, row(State::Idle, 1_000));
    generations.roll(&mut connection, 2_000, RETENTION).expect("a roll");
    assert_eq!((generations.rows, generations.carried), (2, 2));
    assert_eq!(step(&mut generations, &connection, 2_000), Removed::Nothing);
    assert_eq!(step(&mut generations, &connection, 2_001), Removed::Generation);
    assert_eq!(found(&generations, &connection, 1), Some(attempting));
    assert_eq!(found(&generations, &connection, 2), Some(unknown));
    assert_eq!(found(&generations, &connection, 3), None);
}

#[test]
fn a_generation_goes_in_small_steps() {
    let (_directory, mut connection) = file();
    let mut generations = Generations::read(&connection).expect("a fresh file");
    let transaction = connection.transaction().expect("a transaction");
    for n in 0..1_200 {
        put(&mut generations, &transaction, n, row(State::Idle, 1));
    }
    transaction.commit().expect("rows");
    generations.roll(&mut connection, 1_000, RETENTION).expect("a roll");
    let left = |connection: &Connection| -> u32 {
        connection.query_row("SELECT count(*) FROM ledger_1", [], |row| row.get(0)).expect("a count")
    };
    generations.allow(STEP - 1);
    assert_eq!(generations.remove(&connection, 1_001).expect("a step"), Removed::Nothing, "not worth it");
    generations.credit = 0;
    assert_eq!(step(&mut generations, &connection, 1_001), Removed::Rows);
    assert_eq!(left(&connection), 1_200 - 513);
    assert_eq!(step(&mut generations, &connection, 1_001), Removed::Rows);
    assert_eq!(step(&mut generations, &connection, 1_001), Removed::Generation);
    assert_eq!(Generations::read(&connection).expect("a file").closed.len(), 0);
}
