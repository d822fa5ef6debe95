//! Tables that fill, close, hide their elders and go: nothing that is still needed is lost on the way.

use super::*;
use crate::ledger::{
    row::State,
    sqlite::file::{self, LedgerFile},
};

const RETENTION: i64 = 800;

struct Fixture {
    _directory: tempfile::TempDir,
    file: LedgerFile,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::TempDir::new().expect("a directory");
        let file = file::open(&directory.path().join("ledger.db"), None).expect("a file");
        Self { _directory: directory, file }
    }

    fn put(&mut self, n: u128, row: &Row) {
        let LedgerFile { connection, written, generations, .. } = &mut self.file;
        written.put(connection, key(n), row.clone()).expect("a row");
        written.commit();
        generations.wrote(row.at);
    }

    fn roll(&mut self, at: i64) {
        let LedgerFile { connection, written, generations, .. } = &mut self.file;
        generations.roll(connection, written, at, RETENTION).expect("a roll");
    }

    fn remove(&mut self, before: i64) {
        let LedgerFile { connection, generations, .. } = &mut self.file;
        generations.remove(connection, before).expect("a removal");
    }

    fn found(&self, n: u128) -> Option<Row> {
        let LedgerFile { connection, written, generations, .. } = &self.file;
        let row = written.load(connection, key(n)).expect("a look");
        row.or_else(|| generations.find(connection, key(n)).expect("a look"))
    }

    fn closed(&self) -> usize {
        self.file.generations.closed.len()
    }

    /// Forgets what is in memory.
    fn read_again(&mut self) {
        let LedgerFile { connection, written, generations, .. } = &mut self.file;
        *written = Written::read(connection).expect("the table");
        *generations = Generations::read(connection).expect("the generations");
    }
}

fn key(n: u128) -> EventKey {
    EventKey(Uuid::from_u128(n << 64 | n))
}

fn row(state: State, at: i64) -> Row {
    Row { state, attempt: 1, at, possible_duplicate: false, words: Vec::new() }
}

#[test]
fn a_row_is_found_whatever_became_of_its_table() {
    let mut file = Fixture::new();
    let (old, new) = (row(State::Idle, 100), row(State::Unusable, 300));
    for n in 1..=3 {
        file.put(n, &old);
        file.roll(200);
    }
    assert_eq!(file.closed(), 3);
    file.put(1, &new);
    for _ in 0..2 {
        assert_eq!(file.found(1), Some(new.clone()), "it hides its elder");
        assert_eq!(file.found(3), Some(old.clone()));
        assert_eq!(file.found(4), None);
        file.read_again();
    }
    file.roll(400);
    assert_eq!(file.closed(), 4);
    assert_eq!(file.found(1), Some(new), "also when both are closed");
}

#[test]
fn a_table_is_closed_at_its_age_or_when_it_is_full() {
    let mut file = Fixture::new();
    let idle = row(State::Idle, 1_000);
    file.roll(1_000);
    file.put(1, &idle);
    file.roll(1_099);
    assert_eq!(file.closed(), 0, "too young");
    file.roll(1_100);
    assert_eq!(file.closed(), 1);

    let many = "
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
        INSERT INTO ledger (key, state, attempt, at, possible_duplicate, published)
        SELECT randomblob(16), 'idle', 1, 1000, FALSE, FALSE FROM n";
    file.file.connection.execute(many, [u32::try_from(FULL - 1).expect("small")]).expect("rows");
    file.read_again();
    file.roll(1_000);
    assert_eq!(file.closed(), 1, "not full");
    file.put(2, &idle);
    file.roll(1_000);
    assert_eq!(file.closed(), 2);
    assert_eq!(file.found(2), Some(idle));
}

#[test]
fn an_open_attempt_moves_along_and_never_goes() {
    let mut file = Fixture::new();
    let (attempting, unknown) = (row(State::Attempting(Uuid::nil()), 1), row(State::Unknown, 1));
    file.put(1, &attempting);
    file.put(2, &unknown);
    file.roll(1_000);
    assert_eq!(file.closed(), 0, "no generation of open rows");

    file.put(3, &row(State::Idle, 1_000));
    file.roll(2_000);
    assert_eq!((file.closed(), file.file.written.len()), (1, 2));
    file.remove(2_000);
    assert_eq!(file.closed(), 1, "not old enough");
    for _ in 0..2 {
        file.remove(2_001);
        assert_eq!(file.closed(), 0);
        assert_eq!(file.found(1).as_ref(), Some(&attempting));
        assert_eq!(file.found(2).as_ref(), Some(&unknown));
        assert_eq!(file.found(3), None);
        file.read_again();
    }
}
