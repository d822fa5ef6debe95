//! Misconfigured: the key is wrong, which is no message's fault.

use crate::support::world::{KEY, World, customer, json};
use serde_json::Value;

#[tokio::test]
async fn a_wrong_key_pauses_the_worker_until_it_is_mended() {
    let mut world = World::start().await;
    let file = world.dir.path().join("key");
    std::fs::write(&file, "an-old-key\n").expect("the directory is ours");
    let settings = world
        .settings()
        .set("IMIN_API_KEY", "")
        .set("IMIN_API_KEY_FILE", file.display().to_string())
        .set("RETRY_MAX_ATTEMPTS", "1");
    let mut worker = settings.start().ready().await;
    for id in ["one", "two", "three"] {
        world.send(id, &customer("geoff@example.com")).await;
    }
    let why: Value = serde_json::from_str(&worker.readiness(503).await).expect("JSON");
    assert_eq!(why["causes"][0]["cause"], "misconfigured", "{why}");
    let detail = why["causes"][0]["detail"].as_str().expect("words");
    assert!(detail.contains("401") && detail.contains("IMIN_API_KEY"), "{detail}");
    worker.until("paused{cause=\"misconfigured\"}", |n| n == 1.0).await;
    // It tries now and then, and holds none of that against a message.
    worker.until("api_requests_total{status=\"401\"}", |n| n >= 3.0).await;
    assert_eq!(worker.get("/livez").await.0, 200);
    assert_eq!(world.depth("customers.create.dead").await, 0);

    std::fs::write(&file, format!("{KEY}\n")).expect("the directory is ours");
    let mut done: Vec<String> =
        world.created(3).await.iter().map(|event| json(event)["causationid"].to_string()).collect();
    done.sort();
    assert_eq!(done, ["\"one\"", "\"three\"", "\"two\""]);
    worker.readiness(200).await;
    worker.until("paused{cause=\"misconfigured\"}", |n| n == 0.0).await;
    assert!(worker.metric("retries_total{cause=\"misconfigured\"}").await >= 1.0);
    worker.stop().await;
    assert_eq!((world.accounts(), world.depth("customers.create.dead").await), (3, 0));
}

#[tokio::test]
async fn a_wrong_url_is_told_from_a_message_that_is_refused() {
    let world = World::start().await;
    let base = world.sandbox.base_url().replace("/api/v2", "/api/v3");
    let mut worker = world.settings().set("IMIN_BASE_URL", base).start().ready().await;
    world.send("one", &customer("geoff@example.com")).await;
    let why = worker.readiness(503).await;
    assert!(why.contains("misconfigured") && why.contains("404") && why.contains("IMIN_BASE_URL"), "{why}");
    worker.stop().await;
    assert_eq!((world.depth("customers.create").await, world.depth("customers.create.dead").await), (1, 0));
}

#[tokio::test]
async fn a_new_key_that_is_none_leaves_the_old_one_in_use() {
    let mut world = World::start().await;
    let file = world.dir.path().join("key");
    std::fs::write(&file, KEY).expect("the directory is ours");
    let settings = world.settings().set("IMIN_API_KEY", "");
    let mut worker = settings.set("IMIN_API_KEY_FILE", file.display().to_string()).start().ready().await;
    // As an editor leaves it half-way.
    std::fs::write(&file, "half a secret\n").expect("the directory is ours");
    let line = worker.log.line("keeping the old one").await;
    assert!(!line.contains("secret"), "{line}");
    world.send("one", &customer("geoff@example.com")).await;
    assert_eq!(json(&world.created(1).await[0])["causationid"], "one");
    worker.stop().await;
}
