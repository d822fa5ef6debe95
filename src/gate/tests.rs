//! The gate on paused time.

use super::*;

const BAD: Answer = Answer::NotDone { cause: NotDone::Status(503), retry_after: None };

/// How long imin takes, where that does not matter.
const QUICK: Duration = Duration::from_millis(1);

fn good() -> Answer {
    Answer::Created(crate::outcome::Account { identifier: "abc".into(), id: None })
}

fn gate() -> Arc<Gate> {
    Gate::new(settings())
}

fn settings() -> Settings {
    Settings {
        breaker: BreakerSettings {
            failure_rate: 0.5,
            window: Duration::from_secs(10),
            min_calls: 4,
            probe_interval: Duration::from_secs(5),
            misconfigured_probe_interval: Duration::from_secs(10),
            full: 8,
        },
        concurrency: 8,
        adaptive: false,
        rate_limit: None,
        retry_budget: 0.2,
        retry_after_max: Duration::from_secs(60),
    }
}

async fn enter(gate: &Arc<Gate>) -> Place {
    gate.enter(false).await.expect("not paused")
}

async fn open_the_breaker(gate: &Arc<Gate>) {
    for _ in 0..4 {
        enter(gate).await.report(&BAD, QUICK);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_at_a_time_than_the_limit() {
    let gate = gate();
    let mut places = Vec::new();
    for _ in 0..8 {
        places.push(enter(&gate).await);
    }
    let ninth = tokio::spawn({
        let gate = gate.clone();
        async move { enter(&gate).await }
    });
    tokio::task::yield_now().await;
    assert!(!ninth.is_finished());
    places.pop().expect("eight").report(&good(), QUICK);
    let _ninth = ninth.await.expect("enters");
}

#[tokio::test(start_paused = true)]
async fn open_one_waits_to_probe_and_the_others_give_back() {
    let gate = gate();
    open_the_breaker(&gate).await;
    assert_eq!(*gate.flow().borrow(), Flow::Paused { wants_probe: true });
    let start = Instant::now();
    let probe = tokio::spawn({
        let gate = gate.clone();
        async move { gate.enter(true).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(*gate.flow().borrow(), Flow::Paused { wants_probe: false });
    assert!(gate.enter(false).await.is_err(), "a second one gives its message back");
    let probe = probe.await.expect("ends").expect("may probe");
    assert!(probe.probe());
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    probe.report(&good(), QUICK);
    assert_eq!(*gate.flow().borrow(), Flow::Open);
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_goes_away_leaves_its_seat() {
    let gate = gate();
    open_the_breaker(&gate).await;
    let waiting = tokio::time::timeout(Duration::from_secs(1), gate.enter(false)).await;
    assert!(waiting.is_err(), "it waits for the probe's time");
    assert_eq!(*gate.flow().borrow(), Flow::Paused { wants_probe: true });
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_is_shared_by_all_and_clamped() {
    let gate = gate();
    let limited = |seconds| Answer::NotDone {
        cause: NotDone::Status(429),
        retry_after: Some(Duration::from_secs(seconds)),
    };
    let start = Instant::now();
    enter(&gate).await.report(&limited(7), QUICK);
    enter(&gate).await.report(&limited(100_000), QUICK);
    assert_eq!(start.elapsed(), Duration::from_secs(7));
    let _last = enter(&gate).await;
    assert_eq!(start.elapsed(), Duration::from_secs(67));
}

#[tokio::test(start_paused = true)]
async fn a_suspended_worker_gives_messages_back_and_resumes() {
    let gate = gate();
    gate.suspend(Pause::Ledger, "disk full");
    assert!(gate.enter(false).await.is_err());
    gate.resume(Pause::Ledger);
    let _place = enter(&gate).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_publisher_everyone_waits() {
    let gate = gate();
    gate.suspend(Pause::Broker, "gone");
    let waiting = tokio::spawn({
        let gate = gate.clone();
        async move { gate.enter(false).await.is_ok() }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    gate.resume(Pause::Broker);
    assert!(waiting.await.expect("ends"));
}

#[tokio::test(start_paused = true)]
async fn a_brown_out_is_not_multiplied_by_retries() {
    let gate = gate();
    // Not enough for the breaker.
    let answer = |n| if n % 3 == 2 { BAD } else { good() };
    for n in 0..60 {
        enter(&gate).await.report(&answer(n), QUICK);
    }
    let mut granted = 0;
    while let Ok(place) = gate.enter(true).await {
        place.report(&answer(granted), QUICK);
        granted += 1;
    }
    // Ten from the reserve and a fifth of sixty.
    assert!((20..=22).contains(&granted), "{granted}");
    assert!(gate.enter(true).await.is_err_and(|refused| refused == Refused::Budget));
    let _first = enter(&gate).await;
}

#[tokio::test(start_paused = true)]
async fn a_mended_key_lets_whoever_waits_to_probe_go_at_once() {
    let gate = gate();
    enter(&gate).await.report(&Answer::Misconfigured { status: 401 }, QUICK);
    let start = Instant::now();
    let waiting = tokio::spawn({
        let gate = gate.clone();
        async move { gate.enter(true).await }
    });
    tokio::task::yield_now().await;
    gate.probe_now();
    assert!(waiting.await.expect("ends").expect("may probe").probe());
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn open_for_long_it_holds_one_message_and_no_more() {
    let gate = gate();
    open_the_breaker(&gate).await;
    let wait = Some(Duration::from_secs(60));
    let held = Answer::NotDone { cause: NotDone::Status(503), retry_after: wait };
    let probe = gate.enter(false).await.expect("may probe");
    probe.report(&held, QUICK);
    let waiting = tokio::spawn({
        let gate = gate.clone();
        async move { gate.enter(false).await.is_ok() }
    });
    tokio::task::yield_now().await;
    assert!(gate.enter(false).await.is_err(), "imin's Retry-After is no reason to hold a second one");
    assert!(waiting.await.expect("ends"));
}

#[tokio::test(start_paused = true)]
async fn room_that_grows_is_used_by_those_who_wait_already() {
    let gate = gate();
    open_the_breaker(&gate).await;
    enter(&gate).await.report(&good(), QUICK);
    let waiting: Vec<_> = (0..7)
        .map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move {
                let place = enter(&gate).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                place.report(&good(), QUICK);
            })
        })
        .collect();
    let start = Instant::now();
    for task in waiting {
        task.await.expect("ends");
    }
    // One, two, four at a time.
    assert_eq!(start.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn the_pace_is_kept_even_when_whoever_watches_the_clock_is_called_away() {
    let gate = Gate::new(Settings { rate_limit: Some(10.0), ..settings() });
    enter(&gate).await.report(&good(), QUICK);
    let start = Instant::now();
    let call = |gate: &Arc<Gate>| {
        let gate = Arc::clone(gate);
        tokio::spawn(async move { enter(&gate).await.report(&good(), QUICK) })
    };
    let first = call(&gate);
    tokio::task::yield_now().await;
    let others: Vec<_> = (0..6).map(|_| call(&gate)).collect();
    tokio::task::yield_now().await;
    first.abort();
    for task in others {
        task.await.expect("ends");
    }
    // Timers have a precision of a millisecond.
    let late = start.elapsed().saturating_sub(Duration::from_millis(600));
    assert!(late < Duration::from_millis(10), "{late:?}");
    assert!(start.elapsed() >= Duration::from_millis(600));
}
