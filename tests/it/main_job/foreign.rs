//! A sender that is not ours: Debian's `amqp-publish`, from the package `amqp-tools`.

use crate::support::world::{World, customer, json};
use std::process::Command;

/// Publishes a plain JSON event as anybody's script would.
fn amqp_publish(url: &str, body: &str) {
    let arguments = ["-e", "customers", "-r", "customer.create", "-p", "-C", "application/json", "-b", body];
    let ran = Command::new("amqp-publish").args(["-u", url]).args(arguments).output();
    let ran =
        ran.expect("amqp-publish is missing: apt-get install amqp-tools (deploy/scripts/ensure.sh test)");
    assert!(ran.status.success(), "amqp-publish: {}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test]
async fn a_message_of_another_client_becomes_a_customer() {
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    amqp_publish(&world.vhost.url, &customer("geoff@example.com").to_string());
    let event = json(&world.created(1).await[0]);
    let made = world.sandbox.accounts().accounts;
    assert_eq!(made.len(), 1);
    assert_eq!(event["data"]["identifier"], made[0].identifier.as_str());
    assert_eq!(event["causationid"].as_str().map(str::len), Some(64), "it gave no id: the body's SHA-256");
    assert_eq!(event["id"].as_str(), made[0].idempotency_key.as_deref());

    // The same message is the same event, whoever sends it.
    amqp_publish(&world.vhost.url, &customer("geoff@example.com").to_string());
    worker.until("outcomes_total{outcome=\"duplicate\"}", |n| n == 1.0).await;
    worker.stop().await;
    assert_eq!(world.accounts(), 1);
}
