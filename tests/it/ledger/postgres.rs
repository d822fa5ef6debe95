//! The ledger in PostgreSQL: several workers, leases, and a server that goes away.

use super::{
    GO, GO_DESPITE, Worker, account,
    conformance::{Fixture, conforms, conforms_shared},
    despite, intent, key,
};
use crate::support::postgres::{self, Postgres};
use futures_util::future::join_all;
use imin_customer_worker::{
    event::EventKey,
    ledger::{
        Begun, Finish, Ledger,
        open::{LedgerUrl, OpenError, Options, open},
    },
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

/// Long enough for anything that happens at all.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Database {
    url: String,
    client: tokio_postgres::Client,
}

impl Fixture for Database {
    async fn new() -> Self {
        Self::at(postgres::database().await).await
    }

    async fn open_keeping(&self, retention: Duration) -> Worker {
        self.open_with(|options| options.retention = retention).await.expect("a ledger")
    }

    async fn kill(&self, worker: Worker) {
        let instance = worker.instance;
        drop(worker);
        self.expire(instance).await;
    }
}

conforms!(Database);
conforms_shared!(Database);

impl Database {
    async fn at(url: String) -> Self {
        let client = postgres::connect(&url).await;
        Self { url, client }
    }

    async fn open_with(&self, change: impl FnOnce(&mut Options)) -> Result<Worker, OpenError> {
        let instance = Uuid::new_v4();
        let mut options = Options::new(instance);
        change(&mut options);
        let url: LedgerUrl = self.url.parse().expect("a URL");
        open(&url, options).await.map(|ledger| Worker { instance, ledger })
    }

    /// As if the worker had not been heard of for longer than its lease.
    async fn expire(&self, instance: Uuid) {
        let expire =
            "UPDATE imin_customer_worker_ledger_lease SET until = now() - interval '1 ms' WHERE owner = $1";
        assert_eq!(self.client.execute(expire, &[&instance]).await.expect("the lease"), 1);
    }

    async fn number(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.expect(sql).get(0)
    }
}

fn refused(result: Result<Worker, OpenError>) -> OpenError {
    match result {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("done")
}

/// The planner took a new table for small until autovacuum came, and read all of it for each batch.
#[tokio::test]
async fn no_batch_reads_the_whole_table() {
    let database = Database::new().await;
    let worker = database.open().await;
    for _ in 0..20 {
        let keys: Vec<EventKey> = (0..100).map(|_| key()).collect();
        let begun = join_all(keys.iter().map(|key| worker.begin(intent(*key)))).await;
        assert!(begun.into_iter().all(|begun| begun.expect("an answer") == GO));
        let made = keys.iter().map(|key| worker.finish(*key, Finish::Created(account("1"))));
        join_all(made).await.into_iter().for_each(|finished| drop(finished.expect("a record")));
    }
    worker.close().await.expect("closed");
    let stat = |what: &str| {
        format!("SELECT {what} FROM pg_stat_user_tables WHERE relname = 'imin_customer_worker_ledger'")
    };
    // A connection counts what it did at its end.
    let counted = async { while database.number(&stat("n_tup_upd")).await < 2000 {} };
    timeout(PATIENCE, counted).await.expect("all that was done is counted");
    assert_eq!(database.number(&stat("seq_tup_read")).await, 0);
}

#[tokio::test]
async fn a_lease_is_renewed_while_its_worker_lives() {
    let database = Database::new().await;
    let short = Duration::from_millis(1500);
    let one = database.open_with(|options| options.lease = short).await.expect("a ledger");
    let key = key();
    assert_eq!(one.begin(intent(key)).await.expect("an answer"), GO);
    let lease =
        "SELECT max((extract(epoch FROM until) * 1000)::bigint) FROM imin_customer_worker_ledger_lease";
    let first = database.number(lease).await;
    // Renewed past twice its length: without renewal it would have run out.
    let renewed = async { while database.number(lease).await < first + 3000 {} };
    timeout(PATIENCE, renewed).await.expect("renewals");
    let two = database.open().await;
    assert_eq!(two.begin(despite(key)).await.expect("an answer"), Begun::Held);
}

#[tokio::test]
async fn a_lease_that_nobody_renews_runs_out() {
    let database = Database::new().await;
    let one =
        database.open_with(|options| options.lease = Duration::from_millis(1500)).await.expect("a ledger");
    let two = database.open().await;
    let key = key();
    assert_eq!(one.begin(intent(key)).await.expect("an answer"), GO);
    assert_eq!(two.begin(despite(key)).await.expect("an answer"), Begun::Held);
    drop(one);
    let taken_over = async {
        loop {
            match two.begin(despite(key)).await.expect("an answer") {
                Begun::Held => {}
                begun => return begun,
            }
        }
    };
    assert_eq!(timeout(PATIENCE, taken_over).await.expect("the end of a lease"), GO_DESPITE);
}

#[tokio::test]
async fn a_worker_that_may_be_taken_for_dead_begins_nothing() {
    let database = Database::new().await;
    let worker = database
        .open_with(|options| {
            (options.lease, options.timeout) = (Duration::from_secs(1), Duration::from_secs(1));
        })
        .await
        .expect("a ledger");
    // Nobody can renew a lease while this transaction is open.
    let locker = postgres::connect(&database.url).await;
    locker
        .batch_execute("BEGIN; LOCK TABLE imin_customer_worker_ledger_lease IN EXCLUSIVE MODE")
        .await
        .expect("a lock");
    let refused = async {
        let mut attempt = 0;
        while worker.begin(intent(key())).await.is_ok() {
            attempt += 1;
        }
        attempt
    };
    timeout(PATIENCE, refused).await.expect("an error once the lease ran out");
    worker.begin(intent(key())).await.expect_err("still");
    worker.check().await.expect_err("and so says the check");
    locker.batch_execute("ROLLBACK").await.expect("no lock");
    worker.check().await.expect("renewed");
    assert_eq!(worker.begin(intent(key())).await.expect("an answer"), GO);
}

#[tokio::test]
async fn a_batch_is_few_commits() {
    let database = Database::new().await;
    let worker = database.open().await;
    let commits = "SELECT count(DISTINCT xmin::text) FROM imin_customer_worker_ledger";
    for begun in join_all((0..300).map(|_| worker.begin(intent(key())))).await {
        assert_eq!(begun.expect("an answer"), GO);
    }
    assert_eq!(database.number("SELECT count(*) FROM imin_customer_worker_ledger").await, 300);
    let commits = database.number(commits).await;
    assert!((1..=30).contains(&commits), "{commits} transactions for 300 begins");
}

#[tokio::test]
async fn workers_that_start_together_make_one_schema() {
    let database = Database::new().await;
    let workers = join_all((0..8).map(|_| database.open())).await;
    assert_eq!(workers.len(), 8);
    assert_eq!(database.number("SELECT count(*) FROM imin_customer_worker_ledger_meta").await, 1);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = Database::new().await;
    database.open().await.close().await.expect("closed");
    database
        .client
        .batch_execute("UPDATE imin_customer_worker_ledger_meta SET version = 99")
        .await
        .expect("newer");
    let error = refused(database.open_with(|_| {}).await);
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    assert!(!error.may_pass());
}

#[tokio::test]
async fn a_worker_without_the_right_to_create_uses_what_is_there() {
    let database = Database::new().await;
    database.open().await.close().await.expect("closed");
    let role = format!("worker_{}", Uuid::new_v4().simple());
    let grants = format!(
        "CREATE ROLE {role} LOGIN;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
    );
    database.client.batch_execute(&grants).await.expect("a role");
    let unprivileged = Database { url: database.url.replace("postgres@", &format!("{role}@")), ..database };
    let worker = unprivileged.open().await;
    assert_eq!(worker.begin(intent(key())).await.expect("an answer"), GO);
    let read_only = format!("REVOKE INSERT ON ALL TABLES IN SCHEMA public FROM {role}");
    unprivileged.client.batch_execute(&read_only).await.expect("fewer rights");
    worker.begin(intent(key())).await.expect_err("it may not write");
    worker.check().await.expect_err("it may not write");
    let error = refused(unprivileged.open_with(|_| {}).await);
    assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
}

#[tokio::test]
async fn what_is_not_there_is_waited_for_or_not() {
    let database = Database::new().await;
    let nowhere =
        Database { url: "postgres://u:s3cret@127.0.0.1:1/d?sslmode=disable".to_owned(), ..database };
    let error = refused(nowhere.open_with(|_| {}).await);
    assert!(error.may_pass(), "{error}");
    assert!(!error.to_string().contains("s3cret") && error.to_string().contains("127.0.0.1:1"), "{error}");
    let unnamed = Database { url: postgres::database().await.replace("test_", "no_"), ..nowhere };
    let error = refused(unnamed.open_with(|_| {}).await);
    assert!(!error.may_pass() && error.to_string().contains("does not exist"), "{error}");
}

/// Wave upon wave of attempts; of each key, whether it got its `Go`.
async fn begin_until_an_error(ledger: Arc<dyn Ledger>) -> Vec<(EventKey, bool)> {
    let mut answers = Vec::new();
    while answers.iter().all(|(_, went)| *went) {
        let wave = (0..200).map(|_| key()).map(|key| {
            let begin = ledger.begin(intent(key));
            async move { (key, begin.await.is_ok()) }
        });
        answers.extend(join_all(wave).await);
    }
    answers
}

#[tokio::test]
async fn a_server_that_dies_is_an_error_until_it_is_back() {
    let server = blocking(Postgres::start).await;
    let database = Database::at(server.database().await).await;
    let worker = database
        .open_with(|options| {
            (options.lease, options.timeout) = (Duration::from_secs(2), Duration::from_secs(2));
        })
        .await
        .expect("a ledger");
    let (before, under_way) = (key(), key());
    assert_eq!(worker.begin(intent(before)).await.expect("an answer"), GO);
    worker.finish(before, Finish::Created(account("before"))).await.expect("a record");
    assert_eq!(worker.begin(intent(under_way)).await.expect("an answer"), GO);

    // A stream of attempts, into which the server dies.
    let stream = tokio::spawn(begin_until_an_error(worker.ledger.clone()));
    let server = blocking(move || {
        server.kill();
        server
    })
    .await;
    let answers = timeout(PATIENCE, stream).await.expect("bounded in time").expect("answers");
    worker.finish(under_way, Finish::Created(account("abc"))).await.expect_err("nobody there");
    worker.check().await.expect_err("nobody there");
    assert!(worker.begin(intent(key())).await.is_err());

    let server = blocking(move || {
        server.resume();
        server
    })
    .await;
    let back = async { while worker.check().await.is_err() {} };
    timeout(PATIENCE, back).await.expect("the pool connects again");
    worker.finish(under_way, Finish::Created(account("abc"))).await.expect("the same record, again");
    assert!(matches!(worker.begin(intent(before)).await, Ok(Begun::Created(_))));
    // What got an answer stands, what got none was not called: nothing is in doubt.
    for (key, went) in answers {
        let again = worker.begin(intent(key)).await.expect("an answer");
        assert_eq!(again, if went { Begun::Held } else { GO });
    }
    drop(server);
}

/// A certificate for 127.0.0.1 that is its own issuer.
fn certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let (key, certificate) = (directory.join("key.pem"), directory.join("certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=ledger"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (key, certificate)
}

#[tokio::test]
async fn tls_verifies_the_server() {
    let directory = TempDir::new().expect("a directory");
    let (key, certificate) = certificate(directory.path());
    let read = |path: &Path| fs::read(path).expect("a file");
    let (key, pem) = (read(&key), read(&certificate));
    let server = blocking(move || Postgres::start_with_tls(&key, &pem)).await;
    let mut database = Database::at(server.database().await).await;
    for mode in ["require", "prefer", "verify-full"] {
        database.url = server.url("postgres").replace("disable", mode);
        let error = refused(database.open_with(|_| {}).await);
        assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
        assert!(error.to_string().contains("LEDGER_CA_FILE"), "{error}");
        let worker = database
            .open_with(|options| options.ca_file = Some(certificate.clone()))
            .await
            .expect("a ledger");
        assert!(database.number("SELECT count(*) FROM pg_stat_ssl WHERE ssl").await > 0, "{mode}");
        worker.close().await.expect("closed");
    }
    let missing =
        database.open_with(|options| options.ca_file = Some(directory.path().join("none.pem"))).await;
    assert!(refused(missing).to_string().contains("none.pem"));
}

#[tokio::test]
async fn tls_that_is_required_is_not_left_out() {
    let mut database = Database::new().await;
    database.url = database.url.replace("disable", "require");
    let error = refused(database.open_with(|_| {}).await);
    assert!(error.to_string().contains("TLS"), "{error}");
}
