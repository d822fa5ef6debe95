//! Chaos: real workers, a broker of their own, imin and the ledger, everything between them breakable, and
//! a seeded schedule that breaks it while events keep coming. Afterwards `check` reads queues, accounts and
//! ledger, and holds the promises. It knows nothing of how the worker keeps them.
//!
//! `make chaos SEED=7 MINUTES=30` plays one seed for as long as is asked for, and without a seed one at
//! random; `make test` plays a minute of `SEED`. Every run says its seed, and the seed decides what is sent
//! and what breaks in which order. An even seed plays two or three workers on PostgreSQL (the third bit of
//! it decides), an odd one a single worker on SQLite; the second bit of it decides `AMBIGUOUS`.

mod check;
mod dice;
mod faults;
mod stage;
mod stream;

use crate::support::worker::poll;
use dice::Dice;
use faults::Fault;
use stage::Stage;
use std::time::Duration;
use stream::{Sent, Stream};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

/// How long everything may take to come to an end once nothing breaks any more.
const SETTLED_WITHIN: Duration = Duration::from_secs(600);

/// What `make test` plays: two workers on PostgreSQL, `AMBIGUOUS=retry`, and every kind of fault.
const SEED: u64 = 20_879_736;

/// What `make chaos` asks for.
#[expect(clippy::disallowed_methods, reason = "not a setting of the product")]
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_breaks_the_promises_hold() {
    let minutes = asked("CHAOS_MINUTES");
    let random = u64::try_from(Uuid::new_v4().as_u128() & 0xffff_ffff).expect("32 bits");
    let seed = asked("CHAOS_SEED").unwrap_or(if minutes.is_some() { random } else { SEED });
    let time = Duration::from_secs(minutes.unwrap_or(1) * 60);
    println!("chaos: seed {seed}; again with: make chaos SEED={seed} MINUTES={}", time.as_secs() / 60);
    let mut dice = Dice::new(seed);
    let mut stage = Stage::start(seed).await;
    let stream = Stream::start(stage.vhost(), dice.fork());
    let end = Instant::now() + time;
    let mut faults = 0;
    while Instant::now() < end {
        sleep(Duration::from_millis(dice.below(1500))).await;
        let fault = Fault::roll(&mut dice, stage.has_a_line_to_its_ledger());
        println!("chaos: {:>6.1?} s left: {fault:?}", (end - Instant::now()).as_secs_f32());
        stage.meet(fault, &mut dice).await;
        faults += 1;
    }
    let (sent, broken_until) = (stream.end().await, Instant::now());
    stage.heal().await;
    let settled = timeout(SETTLED_WITHIN, settle(&mut stage, &sent)).await.is_ok();
    let settling = broken_until.elapsed();
    let books = stage.close().await;
    let mut broken = check::violations(&sent, &books);
    if !settled {
        broken.push(format!("not at an end after {SETTLED_WITHIN:?}: {:?}", books.queues));
    }
    println!(
        "chaos: seed {seed}, {} events in {} messages, {faults} faults, {} accounts, {} created events, {} dead letters, at an end after {:.0?}",
        sent.events.len(),
        sent.messages,
        books.accounts.len(),
        books.created.len(),
        books.dead.len(),
        settling
    );
    println!("chaos: seed {seed}, calls {:?}, dead letters {:?}", books.calls, books.reasons());
    assert!(broken.is_empty(), "seed {seed}: {broken:#?}\n{}", books.log.join("\n"));
}

/// Lets everything come to its end.
async fn settle(stage: &mut Stage, sent: &Sent) {
    stage.clear().await;
    stage.told_of(sent).await;
    // A repeat tells nothing: it is at its end when it is gone.
    while !stage.is_quiet().await {
        poll().await;
    }
}
