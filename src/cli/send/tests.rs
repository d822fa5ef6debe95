//! Sending from end to end, to a publisher that only remembers.

use super::{input::Input, *};
use crate::broker::Names;
use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Semaphore;

/// A broker that confirms so many, and refuses bodies by what they contain.
struct Broker {
    confirms: Semaphore,
    refuses: BTreeMap<&'static str, PublishError>,
    bodies: Mutex<Vec<String>>,
}

impl Broker {
    fn new(confirms: usize) -> Self {
        Self { confirms: Semaphore::new(confirms), refuses: BTreeMap::new(), bodies: Mutex::default() }
    }

    fn refusing(text: &'static str, error: PublishError) -> Self {
        Self { refuses: BTreeMap::from([(text, error)]), ..Self::new(1_000_000) }
    }

    fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Publisher for Broker {
    fn publish(&self, publication: Arc<Publication>) -> BoxFuture<'_, Result<(), PublishError>> {
        let body = String::from_utf8(publication.body.to_vec()).expect("UTF-8");
        Box::pin(async move {
            self.bodies.lock().unwrap_or_else(PoisonError::into_inner).push(body.clone());
            self.confirms.acquire().await.expect("open").forget();
            let refused = self.refuses.iter().find(|(text, _)| body.contains(**text));
            refused.map_or(Ok(()), |(_, error)| Err(error.clone()))
        })
    }
}

fn names() -> Names {
    let name = || "n".to_owned();
    Names {
        queue: name(),
        exchange: name(),
        routing_key: name(),
        events_exchange: name(),
        events_routing_key: name(),
        unrouted_exchange: name(),
        unrouted_queue: name(),
        dead_exchange: name(),
        dead_queue: name(),
    }
}

fn plain() -> Args {
    let source = String::new();
    Args { files: vec![], plain: true, cloudevents: false, source, id_from: None, subject_from: None }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

async fn send(broker: &Broker, files: &[PathBuf]) -> Account {
    let arguments = plain();
    let (names, progress) = (names(), Progress::over(files).await);
    let encoder = Encoder::new(&arguments, &names);
    let mut sending = Sending::new(broker, &encoder, &progress, CancellationToken::new());
    sending.files(files).await;
    sending.account
}

#[tokio::test]
async fn everything_is_accounted_for() {
    let lines = file("{\"a\":1}\nnonsense\n{\"a\":2}\n");
    let array = file("[{\"a\":3}, {\"a\":4}]");
    let files = [lines.path().to_owned(), "/nowhere".into(), array.path().to_owned()];
    let broker = Broker::new(1000);
    let account = send(&broker, &files).await;
    assert_eq!(account, Account { sent: 4, wrong: 1, unconfirmed: 0, unread: 1 });
    assert!(!account.complete());
    assert_eq!(broker.bodies(), ["{\"a\":1}", "{\"a\":2}", "{\"a\":3}", "{\"a\":4}"]);
    assert_eq!(account.to_string(), "4 sent, 1 wrong, 1 of the files not read to the end");
}

#[tokio::test]
async fn a_nack_costs_one_event_and_a_lost_broker_ends_it() {
    let lines = file(&(0..2000).map(|n| format!("{{\"n\":{n}}}")).collect::<Vec<_>>().join("\n"));
    let files = [lines.path().to_owned()];
    let nacked = send(&Broker::refusing("{\"n\":7}", PublishError::Nack), &files).await;
    assert_eq!(nacked, Account { sent: 1999, unconfirmed: 1, ..Account::default() });

    let lost = Broker::refusing("{\"n\":7}", PublishError::Connection("gone".to_owned()));
    let account = send(&lost, &files).await;
    assert_eq!((account.unconfirmed, account.unread), (1, 1));
    assert!(account.sent < 1999, "what was not read is not sent: {account}");
    assert_eq!(usize::try_from(account.sent + account.unconfirmed), Ok(lost.bodies().len()));
}

#[tokio::test]
async fn no_more_than_so_many_are_under_way() {
    let lines = file(&"{}\n".repeat(UNDER_WAY + 10));
    let files = [lines.path().to_owned()];
    let broker = Broker::new(0);
    let sending = send(&broker, &files);
    let confirming = async {
        // Each turn gives the sending time to start whatever it may start.
        while broker.bodies().len() < UNDER_WAY {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(broker.bodies().len(), UNDER_WAY);
        broker.confirms.add_permits(UNDER_WAY + 10);
    };
    let (account, ()) = tokio::join!(sending, confirming);
    assert_eq!(usize::try_from(account.sent), Ok(UNDER_WAY + 10));
}

#[tokio::test]
async fn publications_move_on_while_the_input_waits() {
    let (mut writer, reader) = tokio::io::duplex(64);
    let (broker, arguments, names) = (Broker::new(10), plain(), names());
    let (encoder, progress) = (Encoder::new(&arguments, &names), Progress::over(&[]).await);
    let stop = CancellationToken::new();
    let mut sending = Sending::new(&broker, &encoder, &progress, stop.clone());
    let typing = async {
        tokio::io::AsyncWriteExt::write_all(&mut writer, b"{}\n").await.expect("written");
        while broker.confirms.available_permits() == 10 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    tokio::join!(sending.file(Input::new("pipe", reader)), typing);
    assert_eq!(sending.account, Account { sent: 1, unread: 1, ..Account::default() }, "stopped in mid-file");
}
