//! The order of the steps, against a shelf and a broker that only remember.

use super::*;
use crate::{
    dead_letters::samples::{event, names},
    letters::replay::{Order, replayed},
};
use futures_util::future::FutureExt;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

/// Everything that happened, in its order.
type Diary = Arc<Mutex<Vec<String>>>;

struct FakeShelf {
    letters: VecDeque<Held>,
    diary: Diary,
}

impl Shelf for FakeShelf {
    fn depth(&self) -> u64 {
        self.letters.len() as u64
    }
    fn shared(&self) -> bool {
        false
    }
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Held>, ShelfError>> {
        async { Ok(self.letters.pop_front()) }.boxed()
    }
    fn take_off(&mut self, tag: u64) -> BoxFuture<'_, Result<(), ShelfError>> {
        self.diary.lock().expect("diary").push(format!("off {tag}"));
        async { Ok(()) }.boxed()
    }
    fn put_back(self: Box<Self>) -> BoxFuture<'static, Result<(), ShelfError>> {
        async { Ok(()) }.boxed()
    }
}

/// A broker that confirms all but the messages with these ids.
struct FakeBroker {
    diary: Diary,
    refuses: Vec<u64>,
    /// Told of each confirmed one: the worker.
    out: tokio::sync::mpsc::UnboundedSender<u64>,
}

impl Publisher for FakeBroker {
    fn publish(&self, publication: Arc<Publication>) -> BoxFuture<'_, Result<(), PublishError>> {
        let id =
            publication.properties.message_id().as_ref().expect("an id").as_str().parse().expect("a number");
        async move {
            self.diary.lock().expect("diary").push(format!("publish {id}"));
            if self.refuses.contains(&id) {
                return Err(PublishError::Nack);
            }
            let _ = self.out.send(id);
            Ok(())
        }
        .boxed()
    }
}

/// A worker that ends each event as its id says.
struct FakeWatch {
    out: tokio::sync::mpsc::UnboundedReceiver<u64>,
    outcome: fn(u64) -> Option<&'static str>,
}

impl Watch for FakeWatch {
    fn queue(&self) -> &'static str {
        "customers.create.replay.x"
    }
    fn next(&mut self) -> BoxFuture<'_, Ended> {
        async {
            loop {
                let Some(id) = self.out.recv().await else { return pending().await };
                if let Some(outcome) = (self.outcome)(id) {
                    return Ended { key: Uuid::from_u128(id.into()), outcome: outcome.to_owned() };
                }
            }
        }
        .boxed()
    }
}

/// A bench of `count` letters with the tags 0 to `count`.
struct Bench {
    look: FakeShelf,
    broker: FakeBroker,
    watch: FakeWatch,
    diary: Diary,
    stop: CancellationToken,
}

impl Bench {
    fn new(count: u64) -> Self {
        let diary = Diary::default();
        let (out, received) = tokio::sync::mpsc::unbounded_channel();
        let held = |tag: u64| Held { message: event("{}", Some(&tag.to_string())), tag };
        Self {
            look: FakeShelf { letters: (0..count).map(held).collect(), diary: Arc::clone(&diary) },
            broker: FakeBroker { diary: Arc::clone(&diary), refuses: vec![], out },
            watch: FakeWatch { out: received, outcome: |_| Some("created") },
            diary,
            stop: CancellationToken::new(),
        }
    }

    async fn run(&mut self, pace: Pace) -> Tally {
        let run = Run {
            look: &mut self.look,
            publisher: &self.broker,
            watch: Some(&mut self.watch),
            pace,
            stop: self.stop.clone(),
            choose: &mut |held| {
                let publication = replayed(&names(), &held.message, &Order::default());
                Some(Send { key: Uuid::from_u128(held.tag.into()), publication })
            },
            progress: &|_| {},
        };
        run.run().await
    }

    fn diary(&self) -> Vec<String> {
        self.diary.lock().expect("diary").clone()
    }
}

const CAREFUL: Pace =
    Pace { canary: Some(Canary { count: 2, wait: Duration::from_mins(1) }), wait: PATIENT, rate: None };
const PATIENT: Option<Duration> = Some(Duration::from_mins(1));

#[tokio::test(start_paused = true)]
async fn a_letter_is_taken_off_only_after_its_confirm() {
    let mut bench = Bench::new(3);
    bench.broker.refuses = vec![1];
    let tally = bench.run(Pace::default()).await;
    assert_eq!(tally.stop, Some(Stop::Unconfirmed(PublishError::Nack)));
    let diary = bench.diary();
    assert!(!diary.contains(&"off 1".to_owned()), "{diary:?}");
    let at = |what: &str| diary.iter().position(|entry| entry == what).expect("it happened");
    assert!(at("publish 0") < at("off 0"), "{diary:?}");
    assert_eq!(tally.done, 1, "and nothing more is taken");
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_ends_well_lets_the_others_go() {
    let mut bench = Bench::new(10);
    let tally = bench.run(CAREFUL).await;
    assert_eq!((tally.done, tally.created(), tally.stop), (10, 10, None));
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_fails_keeps_the_others_where_they_are() {
    let mut bench = Bench::new(10);
    bench.watch.outcome = |id| Some(if id == 1 { "rejected" } else { "created" });
    let tally = bench.run(CAREFUL).await;
    assert_eq!((tally.done, tally.failed_again()), (2, 1));
    assert_eq!(tally.stop, Some(Stop::CanaryFailed));
    assert_eq!(bench.look.letters.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_canary_of_which_nobody_hears_keeps_the_others_too() {
    let mut bench = Bench::new(10);
    bench.watch.outcome = |id| (id == 0).then_some("created");
    let began = Instant::now();
    let tally = bench.run(CAREFUL).await;
    assert_eq!((tally.done, tally.stop), (2, Some(Stop::CanarySilent)));
    assert!(began.elapsed() >= Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_the_canary_stops_nothing() {
    let mut bench = Bench::new(10);
    bench.watch.outcome = |id| Some(if id == 7 { "invalid" } else { "duplicate" });
    let tally = bench.run(CAREFUL).await;
    assert_eq!((tally.done, tally.created(), tally.failed_again(), tally.stop), (10, 9, 1, None));
}

#[tokio::test(start_paused = true)]
async fn it_is_no_faster_than_told() {
    let mut bench = Bench::new(11);
    let began = Instant::now();
    let tally = bench.run(Pace { rate: Some(2.0), ..Pace::default() }).await;
    assert_eq!(tally.done, 11);
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn stopped_it_finishes_what_is_under_way_and_takes_no_more() {
    let mut bench = Bench::new(100);
    let stop = bench.stop.clone();
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        stop.cancel();
    };
    let (tally, ()) = tokio::join!(bench.run(Pace { rate: Some(1.0), ..Pace::default() }), stopping);
    assert_eq!((tally.done, tally.stop), (3, Some(Stop::Interrupted)));
    let diary = bench.diary();
    assert_eq!(diary.iter().filter(|entry| entry.starts_with("publish")).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_the_outcomes_no_longer_than_told() {
    let mut bench = Bench::new(2);
    bench.watch.outcome = |_| None;
    let tally = bench.run(Pace { wait: PATIENT, ..Pace::default() }).await;
    assert_eq!((tally.done, tally.created(), tally.stop), (2, 0, None));
}

#[tokio::test]
async fn what_is_discarded_has_been_kept_before() {
    let mut bench = Bench::new(100);
    let diary = Arc::clone(&bench.diary);
    let tally = discard(
        &mut bench.look,
        &bench.stop,
        &mut |held| held.tag.is_multiple_of(2),
        &mut |batch| {
            let mut diary = diary.lock().expect("diary");
            diary.extend(batch.iter().map(|held| format!("kept {}", held.tag)));
            if batch.iter().any(|held| held.tag == 98) {
                Err(std::io::ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        },
        &|_| {},
    )
    .await;
    assert!(matches!(tally.stop, Some(Stop::Export(_))), "{tally:?}");
    assert_eq!(tally.done, 0, "the one batch could not be kept");
    assert!(!bench.diary().iter().any(|entry| entry.starts_with("off")));
}

#[tokio::test]
async fn a_batch_that_is_kept_is_taken_off() {
    let mut bench = Bench::new(200);
    let tally = discard(&mut bench.look, &bench.stop, &mut |_| true, &mut |_| Ok(()), &|_| {}).await;
    assert_eq!(tally, Tally { done: 200, ..Tally::default() });
    assert_eq!(bench.diary().len(), 200);
}
