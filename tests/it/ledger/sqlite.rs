//! The ledger in a SQLite file, and what can go wrong with a file.

use super::{
    GO, Worker, account,
    conformance::{Fixture, conforms},
    intent, key,
};
use futures_util::future::join_all;
use imin_customer_worker::ledger::{
    Begun, Finish, Recorded,
    inspect::{Standing, inspect},
    open::{LedgerUrl, OpenError, Options, open},
};
use rusqlite::Connection;
use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use uuid::Uuid;

pub(super) struct Sqlite(TempDir);

impl Fixture for Sqlite {
    async fn new() -> Self {
        Self(TempDir::new().expect("a directory"))
    }

    async fn open_keeping(&self, retention: Duration) -> Worker {
        self.open_with(|options| options.retention = retention).await.expect("a ledger")
    }

    /// Long enough ago also for the rows to be closed as a generation after the next batch.
    async fn kill(&self, worker: Worker) {
        drop(worker);
        self.look().execute("UPDATE ledger SET at = at - 600000", []).expect("older rows");
    }
}

conforms!(Sqlite);

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.0.path().join("ledger.db")
    }

    async fn open_with(&self, change: impl FnOnce(&mut Options)) -> Result<Worker, OpenError> {
        let instance = Uuid::new_v4();
        let mut options = Options::new(instance);
        change(&mut options);
        let url: LedgerUrl = format!("sqlite://{}", self.path().display()).parse().expect("a URL");
        open(&url, options).await.map(|ledger| Worker { instance, ledger })
    }

    async fn refused(&self) -> OpenError {
        match self.open_with(|_| {}).await {
            Ok(_) => panic!("it opened"),
            Err(error) => {
                assert!(!error.may_pass(), "{error}");
                assert!(error.to_string().contains(&self.path().display().to_string()), "{error}");
                error
            }
        }
    }

    /// Another program's look at the file.
    fn look(&self) -> Connection {
        Connection::open(self.path()).expect("a second connection")
    }
}

#[tokio::test]
async fn a_second_worker_is_sent_to_postgresql() {
    let fixture = Sqlite::new().await;
    let worker = fixture.open().await;
    let error = fixture.refused().await;
    assert!(matches!(error, OpenError::InUse { .. }));
    assert!(error.to_string().contains("postgres://"), "{error}");
    assert_eq!(worker.begin(intent(key())).await.expect("unharmed"), GO);
    worker.close().await.expect("closed");
    fixture.open().await;
}

#[tokio::test]
async fn a_look_at_it_keeps_no_worker_from_starting() {
    let fixture = Sqlite::new().await;
    fixture.open().await.close().await.expect("closed");
    let url = || format!("sqlite://{}", fixture.path().display()).parse::<LedgerUrl>().expect("a URL");
    let mut seen = Vec::new();
    // Looks without a pause, so that a start that did not wait for their end would fail sooner or later.
    let (looks, looking) = (AtomicU32::new(0), AtomicU32::new(1));
    let look = async {
        while looking.load(Ordering::Relaxed) == 1 {
            let options = Options::new(Uuid::new_v4());
            seen.push(inspect(&url(), &options).await.expect("a look"));
            looks.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    };
    let start = async {
        for round in 0..20 {
            while looks.load(Ordering::Relaxed) <= round {
                tokio::task::yield_now().await;
            }
            fixture.open().await.close().await.expect("closed");
        }
        looking.store(0, Ordering::Relaxed);
    };
    tokio::join!(look, start);
    assert!(seen.contains(&Standing::Ready { schema: 1, known: 1 }), "{seen:?}");
}

#[tokio::test]
async fn a_start_waits_for_a_look_to_end() {
    let fixture = Sqlite::new().await;
    let lock = fs::File::create(format!("{}.lock", fixture.path().display())).expect("a lock file");
    lock.try_lock().expect("free");
    let (opened, ()) = tokio::join!(fixture.open_with(|_| {}), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(lock);
    });
    opened.expect("a ledger");
}

#[tokio::test]
async fn nobody_else_may_read_it() {
    let fixture = Sqlite::new().await;
    let worker = fixture.open().await;
    worker.check().await.expect("a write");
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let file = format!("{}{suffix}", fixture.path().display());
        let mode = fs::metadata(&file).expect(&file).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn it_commits_durably_and_together() {
    let commits = Arc::new(AtomicU32::new(0));
    let fixture = Sqlite::new().await;
    let counter = Arc::clone(&commits);
    let worker = fixture
        .open_with(|options| {
            options.on_commit = Arc::new(move |_| {
                counter.fetch_add(1, Ordering::Relaxed);
            });
        })
        .await
        .expect("a ledger");
    let begins = (0..300).map(|_| worker.begin(intent(key())));
    for begun in join_all(begins).await {
        assert_eq!(begun.expect("an answer"), GO);
    }
    let commits = commits.load(Ordering::Relaxed);
    assert!((1..=30).contains(&commits), "{commits} commits for 300 begins");
    let rows: u32 =
        fixture.look().query_row("SELECT count(*) FROM ledger", [], |row| row.get(0)).expect("a count");
    assert_eq!(rows, 300, "another process sees them while the worker lives");
}

#[tokio::test]
async fn a_row_is_recognised_in_its_generation() {
    let fixture = Sqlite::new().await;
    let worker = fixture.open().await;
    let (known, open) = (key(), key());
    worker.begin(intent(open)).await.expect("an answer");
    worker.finish(known, Finish::Created(account("abc"))).await.expect("a record");
    fixture.kill(worker).await;

    let worker = fixture.open().await;
    worker.check().await.expect("a batch, after which the old table is closed");
    worker.check().await.expect("it is closed by now");
    let count = |sql: &str| fixture.look().query_row(sql, [], |row| row.get::<_, u32>(0)).expect(sql);
    assert_eq!(count("SELECT count(*) FROM ledger_1"), 1);
    assert_eq!(count("SELECT count(*) FROM ledger WHERE state = 'attempting'"), 1);
    let recorded = |published| {
        Begun::Created(Recorded { account: account("abc"), published, possible_duplicate: false })
    };
    assert_eq!(worker.begin(intent(known)).await.expect("an answer"), recorded(false));
    worker.published(known);
    assert_eq!(worker.begin(intent(known)).await.expect("an answer"), recorded(true));
    assert_eq!(worker.begin(intent(open)).await.expect("an answer"), Begun::Unknown);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let fixture = Sqlite::new().await;
    fixture.open().await.close().await.expect("closed");
    fixture.look().pragma_update(None, "user_version", 99).expect("a newer version");
    assert!(matches!(fixture.refused().await, OpenError::Newer { found: 99, .. }));
    let version: u32 =
        fixture.look().pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
    assert_eq!(version, 99, "it was left alone");
}

#[tokio::test]
async fn another_programs_database_is_refused() {
    let fixture = Sqlite::new().await;
    fixture.look().execute_batch("CREATE TABLE ledger (money REAL)").expect("a table");
    let error = fixture.refused().await;
    assert!(error.to_string().contains("another program's"), "{error}");
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let fixture = Sqlite::new().await;
    fs::write(fixture.path(), "not a database, but long enough for a header of one: ".repeat(9))
        .expect("a file");
    let error = fixture.refused().await;
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(".recover"), "{error}");
}

#[tokio::test]
async fn a_damaged_page_is_refused() {
    let fixture = Sqlite::new().await;
    let worker = fixture.open().await;
    let begins = (0..500).map(|_| worker.begin(intent(key())));
    join_all(begins).await.into_iter().for_each(|begun| assert_eq!(begun.expect("a row"), GO));
    worker.close().await.expect("closed");
    drop(worker);
    // Everything after the schema's page.
    let length = fs::metadata(fixture.path()).expect("a file").len();
    let mut file = fs::OpenOptions::new().write(true).open(fixture.path()).expect("a file");
    file.seek(SeekFrom::Start(4096)).expect("a second page");
    let garbage = vec![0xa5; usize::try_from(length - 4096).expect("a small file")];
    file.write_all(&garbage).expect("damage");
    drop(file);
    assert!(matches!(fixture.refused().await, OpenError::Corrupt { .. }));
}

#[tokio::test]
async fn a_row_that_nobody_wrote_is_an_error_and_no_answer() {
    let fixture = Sqlite::new().await;
    let worker = fixture.open().await;
    let key = key();
    worker.finish(key, Finish::Created(account("abc"))).await.expect("a record");
    fixture.look().execute("UPDATE ledger SET identifier = NULL", []).expect("damage");
    let error = worker.begin(intent(key)).await.expect_err("which account?");
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[tokio::test]
async fn a_row_that_somebody_took_away_is_an_error_and_no_answer() {
    let fixture = Sqlite::new().await;
    let worker = fixture.open().await;
    let (gone, open) = (key(), key());
    worker.finish(gone, Finish::Created(account("abc"))).await.expect("a record");
    worker.begin(intent(open)).await.expect("an answer");
    fixture.look().execute("DELETE FROM ledger", []).expect("damage");
    worker.begin(intent(gone)).await.expect_err("was it created?");
    worker.finish(open, Finish::Created(account("def"))).await.expect_err("nothing to write over");
    assert_eq!(worker.begin(intent(key())).await.expect("an answer"), GO);
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_refused() {
    let mut fixture = Sqlite::new().await;
    let gone = fixture.0.path().to_owned();
    fixture.0 = TempDir::new().expect("another directory");
    let url: LedgerUrl = format!("sqlite://{}/x.db", gone.display()).parse().expect("a URL");
    match open(&url, Options::new(Uuid::new_v4())).await {
        Ok(_) => panic!("it opened"),
        Err(error) => assert!(matches!(error, OpenError::Unusable { .. }), "{error}"),
    }
}

/// Makes a file read-only, also to root, until it is dropped.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn new(path: PathBuf) -> Self {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("the file's owner");
        if fs::OpenOptions::new().write(true).open(&path).is_ok() {
            // Root may write anything but what is immutable.
            let immutable = Command::new("chattr").arg("+i").arg(&path).status();
            assert!(immutable.is_ok_and(|status| status.success()), "as root, this test needs chattr +i");
        }
        Self(path)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-i").arg(&self.0).stderr(std::process::Stdio::null()).status();
        let _ = fs::set_permissions(&self.0, fs::Permissions::from_mode(0o600));
    }
}

#[tokio::test]
async fn a_read_only_file_is_refused() {
    let fixture = Sqlite::new().await;
    fixture.open().await.close().await.expect("closed");
    let read_only = ReadOnly::new(fixture.path());
    let error = fixture.refused().await;
    assert!(error.to_string().contains("read-only"), "{error}");
    drop(read_only);
    fixture.open().await;
}

#[tokio::test]
async fn a_full_disk_is_an_error_until_there_is_room() {
    let fixture = Sqlite::new().await;
    let worker = fixture.open_with(|options| options.max_pages = Some(30)).await.expect("a ledger");
    let mut last = key();
    let error = loop {
        let next = key();
        match worker.begin(intent(next)).await {
            Ok(begun) => assert_eq!(begun, GO),
            Err(error) => break error,
        }
        worker.finish(next, Finish::Created(account("abc"))).await.expect("room for what is there");
        last = next;
    };
    assert!(error.to_string().contains("full"), "{error}");
    worker.check().await.expect_err("still full");
    // What was told before stands.
    assert!(matches!(worker.begin(intent(last)).await, Ok(Begun::Created(_))));
    fixture.look().execute("DELETE FROM ledger WHERE key <> ?1", [last.0.as_bytes()]).expect("room");
    worker.check().await.expect("room again");
    assert_eq!(worker.begin(intent(key())).await.expect("an answer"), GO);
}

#[tokio::test]
async fn an_attempt_whose_answer_was_an_error_was_not_called() {
    let fixture = Sqlite::new().await;
    let worker = fixture.open().await;
    let blocker = fixture.look();
    blocker
        .execute_batch("CREATE TRIGGER no BEFORE INSERT ON ledger BEGIN SELECT RAISE(ABORT, 'no'); END")
        .expect("a trigger");
    let key = key();
    for _ in 0..2 {
        worker.begin(intent(key)).await.expect_err("the insert is refused");
    }
    blocker.execute_batch("DROP TRIGGER no").expect("no trigger");
    assert_eq!(worker.begin(intent(key)).await.expect("an answer"), GO);

    blocker
        .execute_batch("CREATE TRIGGER no BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'no'); END")
        .expect("a trigger");
    worker.finish(key, Finish::NothingMade).await.expect_err("the delete is refused");
    assert_eq!(worker.begin(intent(key)).await.expect("an answer"), Begun::Held, "until its end is recorded");
    blocker.execute_batch("DROP TRIGGER no").expect("no trigger");
    worker.finish(key, Finish::NothingMade).await.expect("recorded");
    assert_eq!(worker.begin(intent(key)).await.expect("an answer"), GO);
}
