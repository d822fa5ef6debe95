//! What every ledger must do, whatever it is made of.

use super::{GO, GO_DESPITE, Worker, account, despite, intent, key, on_word};
use futures_util::future::join_all;
use imin_customer_worker::{
    event::EventKey,
    ledger::{Begun, Finish, Recorded},
    outcome::Account,
};
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

/// A place for a ledger, which outlives the workers that open it.
pub(super) trait Fixture: Sized {
    async fn new() -> Self;
    /// A worker that keeps settled rows for `retention`.
    async fn open_keeping(&self, retention: Duration) -> Worker;
    /// As by SIGKILL, and long enough ago for the others to notice.
    async fn kill(&self, worker: Worker);

    async fn open(&self) -> Worker {
        self.open_keeping(Duration::from_hours(1)).await
    }
}

/// Runs the suite on a fixture.
macro_rules! conforms {
    ($fixture:ty) => {
        crate::ledger::conformance::conforms!($fixture:
            a_new_event_may_go_once, one_of_many_goes, many_events_go_at_once, created_is_told_for_ever,
            an_account_without_id_is_told_so, nothing_made_leaves_no_trace, a_dead_worker_leaves_doubt,
            doubt_outlives_its_retry, unusable_is_never_called_again, a_word_counts_once, created_stands_without_an_attempt,
            the_first_account_stands, finish_can_be_repeated, a_caller_that_gives_up_blocks_nothing,
            old_rows_go_open_ones_stay, a_closed_ledger_says_so, a_check_passes
        );
    };
    ($fixture:ty: $($name:ident),+) => {
        $(
            #[tokio::test]
            async fn $name() {
                use crate::ledger::conformance::{self, Fixture as _};
                conformance::$name(&<$fixture>::new().await).await;
            }
        )+
    };
}
/// Runs the part of the suite that needs several workers at once.
macro_rules! conforms_shared {
    ($fixture:ty) => {
        crate::ledger::conformance::conforms!($fixture:
            a_living_workers_attempt_is_held, one_worker_of_two_goes, what_a_worker_closes_the_next_may_doubt,
            a_row_taken_over_is_its_new_owners, a_late_account_learns_which_one_stands
        );
    };
}
pub(super) use {conforms, conforms_shared};

fn created(account: &Account, published: bool, possible_duplicate: bool) -> Begun {
    Begun::Created(Recorded { account: account.clone(), published, possible_duplicate })
}

async fn begin(worker: &Worker, intent: imin_customer_worker::ledger::Intent) -> Begun {
    worker.begin(intent).await.expect("an answer")
}

async fn finish(worker: &Worker, key: EventKey, how: Finish) {
    worker.finish(key, how).await.expect("a record");
}

pub(super) async fn a_new_event_may_go_once(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    let key = key();
    assert_eq!(begin(&worker, intent(key)).await, GO);
    assert_eq!(begin(&worker, intent(key)).await, Begun::Held);
    assert_eq!(begin(&worker, despite(key)).await, Begun::Held);
    assert_eq!(begin(&worker, on_word(key, Uuid::new_v4())).await, Begun::Held);
}

pub(super) async fn one_of_many_goes(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    let key = key();
    let answers = join_all((0..50).map(|_| begin(&worker, despite(key)))).await;
    assert_eq!(answers.iter().filter(|begun| **begun == GO).count(), 1);
    assert_eq!(answers.iter().filter(|begun| **begun == Begun::Held).count(), 49);
}

pub(super) async fn many_events_go_at_once(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    let keys: Vec<_> = (0..500).map(|_| key()).collect();
    let all = keys.iter().map(|&key| {
        let worker = &worker;
        async move {
            assert_eq!(begin(worker, intent(key)).await, GO);
            finish(worker, key, Finish::Created(account(&key.to_string()))).await;
            begin(worker, intent(key)).await
        }
    });
    for (key, begun) in keys.iter().zip(join_all(all).await) {
        assert_eq!(begun, created(&account(&key.to_string()), false, false));
    }
}

pub(super) async fn created_is_told_for_ever(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    let key = key();
    begin(&worker, intent(key)).await;
    finish(&worker, key, Finish::Created(account("abc"))).await;
    assert_eq!(begin(&worker, despite(key)).await, created(&account("abc"), false, false));
    fixture.kill(worker).await;

    let worker = fixture.open().await;
    assert_eq!(begin(&worker, despite(key)).await, created(&account("abc"), false, false));
    worker.published(key);
    worker.close().await.expect("closed");
    drop(worker);

    let worker = fixture.open().await;
    let told = begin(&worker, on_word(key, Uuid::new_v4())).await;
    assert_eq!(told, created(&account("abc"), true, false));
}

pub(super) async fn an_account_without_id_is_told_so(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    let key = key();
    let account = Account { identifier: "abc".to_owned(), id: None };
    finish(&worker, key, Finish::Created(account.clone())).await;
    assert_eq!(begin(&worker, intent(key)).await, created(&account, false, false));
}

pub(super) async fn nothing_made_leaves_no_trace(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    let key = key();
    for _ in 0..2 {
        assert_eq!(begin(&worker, intent(key)).await, GO);
        finish(&worker, key, Finish::NothingMade).await;
    }
    fixture.kill(worker).await;
    let worker = fixture.open().await;
    assert_eq!(begin(&worker, intent(key)).await, GO);
}

pub(super) async fn a_dead_worker_leaves_doubt(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    let key = key();
    begin(&worker, intent(key)).await;
    fixture.kill(worker).await;

    let worker = fixture.open().await;
    assert_eq!(begin(&worker, intent(key)).await, Begun::Unknown);
    assert_eq!(begin(&worker, intent(key)).await, Begun::Unknown);
    assert_eq!(begin(&worker, despite(key)).await, GO_DESPITE);
    finish(&worker, key, Finish::Created(account("abc"))).await;
    assert_eq!(begin(&worker, intent(key)).await, created(&account("abc"), false, true));
}

pub(super) async fn doubt_outlives_its_retry(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    let key = key();
    begin(&worker, intent(key)).await;
    finish(&worker, key, Finish::Unknown).await;
    assert_eq!(begin(&worker, intent(key)).await, Begun::Unknown);
    assert_eq!(begin(&worker, despite(key)).await, GO_DESPITE);
    finish(&worker, key, Finish::NothingMade).await;
    assert_eq!(begin(&worker, intent(key)).await, Begun::Unknown);
    assert_eq!(begin(&worker, despite(key)).await, GO_DESPITE);
    fixture.kill(worker).await;

    let worker = fixture.open().await;
    assert_eq!(begin(&worker, intent(key)).await, Begun::Unknown);
}

pub(super) async fn unusable_is_never_called_again(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    let key = key();
    begin(&worker, intent(key)).await;
    finish(&worker, key, Finish::Unusable).await;
    let stubborn =
        imin_customer_worker::ledger::Intent { despite_unknown: true, ..on_word(key, Uuid::new_v4()) };
    assert_eq!(begin(&worker, stubborn.clone()).await, Begun::Unusable { possible_duplicate: false });
    fixture.kill(worker).await;

    let worker = fixture.open().await;
    assert_eq!(begin(&worker, stubborn).await, Begun::Unusable { possible_duplicate: false });
    finish(&worker, key, Finish::Created(account("found"))).await;
    assert_eq!(begin(&worker, intent(key)).await, created(&account("found"), false, false));
}

pub(super) async fn a_word_counts_once(fixture: &impl Fixture) {
    let (key, first, second) = (key(), Uuid::new_v4(), Uuid::new_v4());
    let worker = fixture.open().await;
    begin(&worker, intent(key)).await;
    finish(&worker, key, Finish::Unknown).await;
    assert_eq!(begin(&worker, on_word(key, first)).await, GO);
    finish(&worker, key, Finish::NothingMade).await;
    // The word is spent, although nothing came of the attempt; the doubt that it cleared is gone.
    assert_eq!(begin(&worker, on_word(key, first)).await, GO);
    fixture.kill(worker).await;

    let worker = fixture.open().await;
    assert_eq!(begin(&worker, on_word(key, first)).await, Begun::Unknown);
    assert_eq!(begin(&worker, on_word(key, second)).await, GO);
    finish(&worker, key, Finish::Unknown).await;
    assert_eq!(begin(&worker, on_word(key, first)).await, Begun::Unknown);
    assert_eq!(begin(&worker, on_word(key, second)).await, Begun::Unknown);
}

pub(super) async fn created_stands_without_an_attempt(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    let (new, unknown) = (key(), key());
    finish(&worker, new, Finish::Created(account("new"))).await;
    assert_eq!(begin(&worker, intent(new)).await, created(&account("new"), false, false));

    begin(&worker, intent(unknown)).await;
    finish(&worker, unknown, Finish::Unknown).await;
    finish(&worker, unknown, Finish::Created(account("found"))).await;
    assert_eq!(begin(&worker, intent(unknown)).await, created(&account("found"), false, true));
}

pub(super) async fn the_first_account_stands(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    let key = key();
    finish(&worker, key, Finish::Created(account("first"))).await;
    for how in [Finish::Created(account("second")), Finish::Unusable, Finish::NothingMade, Finish::Unknown] {
        finish(&worker, key, how).await;
        assert_eq!(begin(&worker, intent(key)).await, created(&account("first"), false, false));
    }
}

pub(super) async fn finish_can_be_repeated(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    for (how, then) in [
        (Finish::NothingMade, GO),
        (Finish::Unknown, Begun::Unknown),
        (Finish::Unusable, Begun::Unusable { possible_duplicate: false }),
        (Finish::Created(account("abc")), created(&account("abc"), false, false)),
    ] {
        let key = key();
        begin(&worker, intent(key)).await;
        finish(&worker, key, how.clone()).await;
        finish(&worker, key, how.clone()).await;
        assert_eq!(begin(&worker, intent(key)).await, then, "{how:?}");
    }
}

pub(super) async fn a_caller_that_gives_up_blocks_nothing(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    let key = key();
    for _ in 0..20 {
        // Polled once, so that the request is under way, then dropped; unless it was answered at once.
        if let Ok(Ok(GO)) = timeout(Duration::ZERO, worker.begin(intent(key))).await {
            finish(&worker, key, Finish::NothingMade).await;
        }
    }
    let again = async {
        loop {
            match begin(&worker, intent(key)).await {
                // The last request may still be on its way to its answer.
                Begun::Held => tokio::task::yield_now().await,
                begun => return begun,
            }
        }
    };
    let begun = timeout(Duration::from_secs(10), again).await.expect("free again");
    assert_eq!(begun, GO, "nobody called");
}

pub(super) async fn old_rows_go_open_ones_stay(fixture: &impl Fixture) {
    let (old, unknown, unusable, open) = (key(), key(), key(), key());
    let worker = fixture.open_keeping(Duration::ZERO).await;
    finish(&worker, old, Finish::Created(account("abc"))).await;
    begin(&worker, intent(unknown)).await;
    finish(&worker, unknown, Finish::Unknown).await;
    begin(&worker, intent(open)).await;
    begin(&worker, intent(unusable)).await;
    finish(&worker, unusable, Finish::Unusable).await;
    let forgotten = async {
        // Every begin lets the sweep look a little further.
        while begin(&worker, intent(old)).await != GO || begin(&worker, intent(unusable)).await != GO {
            finish(&worker, old, Finish::NothingMade).await;
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), forgotten).await.expect("the sweep comes round");
    assert_eq!(begin(&worker, intent(unknown)).await, Begun::Unknown);
    fixture.kill(worker).await;
    let worker = fixture.open_keeping(Duration::ZERO).await;
    assert_eq!(begin(&worker, intent(open)).await, Begun::Unknown);
}

pub(super) async fn a_closed_ledger_says_so(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    let key = key();
    begin(&worker, intent(key)).await;
    worker.close().await.expect("closed");
    assert!(worker.begin(intent(self::key())).await.is_err());
    assert!(worker.finish(key, Finish::NothingMade).await.is_err());
    assert!(worker.check().await.is_err());
    worker.published(key);
}

pub(super) async fn a_check_passes(fixture: &impl Fixture) {
    let worker = fixture.open().await;
    for _ in 0..3 {
        worker.check().await.expect("writable");
    }
}

pub(super) async fn a_living_workers_attempt_is_held(fixture: &impl Fixture) {
    let (one, two) = (fixture.open().await, fixture.open().await);
    let key = key();
    assert_eq!(begin(&one, intent(key)).await, GO);
    assert_eq!(begin(&two, despite(key)).await, Begun::Held);
    finish(&one, key, Finish::NothingMade).await;
    assert_eq!(begin(&two, intent(key)).await, GO);
    assert_eq!(begin(&one, despite(key)).await, Begun::Held);
    fixture.kill(two).await;
    assert_eq!(begin(&one, intent(key)).await, Begun::Unknown);
    assert_eq!(begin(&one, despite(key)).await, GO_DESPITE);
}

pub(super) async fn one_worker_of_two_goes(fixture: &impl Fixture) {
    let workers = [fixture.open().await, fixture.open().await];
    let keys: Vec<_> = (0..200).map(|_| key()).collect();
    // The same keys at the same time, in opposite orders.
    let there = keys.iter().map(|&key| begin(&workers[0], despite(key)));
    let back = keys.iter().rev().map(|&key| begin(&workers[1], despite(key)));
    let (there, mut back) = tokio::join!(join_all(there), join_all(back));
    back.reverse();
    for (one, two) in there.into_iter().zip(back) {
        assert!(
            [(GO, Begun::Held), (Begun::Held, GO)].contains(&(one.clone(), two.clone())),
            "{one:?} {two:?}"
        );
    }
}

pub(super) async fn what_a_worker_closes_the_next_may_doubt(fixture: &impl Fixture) {
    let (one, two) = (fixture.open().await, fixture.open().await);
    let key = key();
    assert_eq!(begin(&one, intent(key)).await, GO);
    one.close().await.expect("closed");
    assert_eq!(begin(&two, despite(key)).await, GO_DESPITE);
}

pub(super) async fn a_row_taken_over_is_its_new_owners(fixture: &impl Fixture) {
    for how in [Finish::NothingMade, Finish::Unknown] {
        let (one, two) = (fixture.open().await, fixture.open().await);
        let key = key();
        assert_eq!(begin(&one, intent(key)).await, GO);
        // The others take it for dead, but it goes on.
        let still = Worker { instance: one.instance, ledger: one.ledger.clone() };
        fixture.kill(one).await;
        assert_eq!(begin(&two, despite(key)).await, GO_DESPITE);
        // Late, it must not touch the row of the one that is calling now.
        let _ = still.finish(key, how).await;
        let three = fixture.open().await;
        assert_eq!(begin(&three, despite(key)).await, Begun::Held);
        finish(&two, key, Finish::Created(account("abc"))).await;
        assert_eq!(begin(&three, intent(key)).await, created(&account("abc"), false, true));
    }
}

pub(super) async fn a_late_account_learns_which_one_stands(fixture: &impl Fixture) {
    let (one, two) = (fixture.open().await, fixture.open().await);
    let key = key();
    assert_eq!(begin(&one, intent(key)).await, GO);
    let still = Worker { instance: one.instance, ledger: one.ledger.clone() };
    fixture.kill(one).await;
    assert_eq!(begin(&two, despite(key)).await, GO_DESPITE);
    let standing = two.finish(key, Finish::Created(account("second"))).await.expect("a record");
    assert_eq!(standing.map(Begun::Created), Some(created(&account("second"), false, true)));
    // The first one's account exists as well, but one event announces one account.
    if let Ok(standing) = still.finish(key, Finish::Created(account("first"))).await {
        assert_eq!(standing.map(Begun::Created), Some(created(&account("second"), false, true)));
    }
    assert_eq!(two.finish(super::key(), Finish::NothingMade).await.expect("a record"), None);
}
