//! A wrong key or URL: paused at the first sight, no dead letter, back as soon as it is right.

use super::stage::{Stage, causes, count, print_recovery, print_timeline};
use crate::support::{
    worker::{PATIENCE, poll},
    world::KEY,
};
use tokio::time::{Instant, timeout};

#[tokio::test]
async fn a_revoked_key_pauses_it_and_a_new_one_in_the_file_resumes_it() {
    let mut stage = Stage::start().await;
    let file = stage.dir.path().join("key");
    std::fs::write(&file, "revoked\n").unwrap();
    // So long that only the file's change can explain a probe.
    let settings = stage
        .settings()
        .unset("IMIN_API_KEY")
        .set("IMIN_API_KEY_FILE", file.display().to_string())
        .set("MISCONFIGURED_PROBE_INTERVAL", "1h")
        .set("CONCURRENCY", "4");
    stage.send(0..30).await;
    let mut worker = settings.start().ready().await;
    let body = worker.readiness(503).await;
    assert_eq!(causes(&body), ["misconfigured"]);
    assert!(body.contains("401") && body.contains("IMIN_API_KEY"), "{body}");
    worker.until("paused{cause=\"misconfigured\"}", |n| n == 1.0).await;
    assert!(stage.calls() <= 4, "{} calls with a key that is known to be wrong", stage.calls());

    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    let since = Instant::now();
    worker.readiness(200).await;
    print_recovery("the key's file was right", since);
    stage.balance(&worker).await;
    assert_eq!(count(&worker.log, "breaker open"), 1);
    print_timeline(&worker.log);
    worker.stop().await;
}

#[tokio::test]
async fn a_url_that_leads_elsewhere_pauses_it() {
    let mut stage = Stage::start().await;
    stage.send(0..10).await;
    let elsewhere = stage.sandbox.base_url().replace("/v2", "/v1");
    let mut worker = stage.settings().set("IMIN_BASE_URL", elsewhere).start().ready().await;
    let body = worker.readiness(503).await;
    assert_eq!(causes(&body), ["misconfigured"]);
    assert!(body.contains("404") && body.contains("IMIN_BASE_URL"), "{body}");
    worker.stop().await;
    let mut worker = stage.settings().start().ready().await;
    stage.balance(&worker).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_redirect_that_goes_away_needs_no_one() {
    let mut stage = Stage::start().await;
    stage.faults(&["redirect"]);
    stage.send(0..10).await;
    let mut worker = stage.settings().set("CONCURRENCY", "2").start().ready().await;
    assert_eq!(causes(&worker.readiness(503).await), ["misconfigured"]);
    let probed = async {
        while stage.calls() < 6 {
            poll().await;
        }
    };
    timeout(PATIENCE, probed).await.expect("it is tried now and then");
    stage.faults(&[]);
    let since = Instant::now();
    worker.readiness(200).await;
    print_recovery("the redirect was gone", since);
    stage.balance(&worker).await;
    worker.stop().await;
}
