//! Rejected and unusable: imin has answered, and calling again would help nobody.

use super::{DEAD_HEADERS, Failure};
use crate::support::{
    worker::Worker,
    world::{World, customer, plain, with_headers},
};
use serde_json::json;

#[tokio::test]
async fn a_refused_customer_is_a_dead_letter_with_imins_words() {
    let world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let statuses = [400, 409, 410, 413, 415, 422];
    for status in statuses {
        world.send(&status.to_string(), &customer(&format!("geoff+fault-{status}@example.com"))).await;
    }
    let dead = world.dead_by_id(statuses.len()).await;
    for status in statuses {
        let failure = Failure::of(&dead[&status.to_string()]);
        assert_eq!(
            (&*failure.reason, failure.attempts, failure.status),
            ("rejected_by_api", 1, Some(status))
        );
        let kind = match status {
            400 => "IncompleteCustomerDetailsError",
            410 => "GoneError",
            _ => "OpenBookingError",
        };
        assert_eq!(failure.detail, json!({"type": kind, "description": "As asked for."}));
        assert_eq!(worker.metric(&format!("api_requests_total{{status=\"{status}\"}}")).await, 1.0);
    }
    check_ends(&worker, "rejected", "rejected_by_api", 6.0).await;
    assert_eq!(world.accounts(), 0);
    worker.stop().await;
    assert_eq!(world.depth("customers.create").await, 0);
}

/// All of a dead letter: what the sender wrote is there, byte for byte, and nothing of the customer's
/// is anywhere else.
#[tokio::test]
async fn a_dead_letter_is_the_message_and_why() {
    let world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let body = br#" { "customer":{"email":"Tolly.Zed+fault-422-echo@example.com", "givenName":"Tolly","familyName":"Zed"} , "x":1.0 } "#;
    let sent = plain("whole")
        .with_type("CreateCustomer".into())
        .with_correlation_id("corr".into())
        .with_reply_to("somewhere".into())
        .with_app_id("signup".into())
        .with_priority(3)
        .with_timestamp(1_700_000_000)
        .with_content_encoding("utf-8".into());
    let named = with_headers(sent.clone(), &[("tenant", "north"), ("failure-reason", "somebody else's")]);
    world.publish(body, named.with_expiration("600000".into()).with_user_id("guest".into())).await;
    let letter = world.dead().await;
    assert_eq!(&letter.body[..], body);
    // What would make the broker drop or refuse it stands aside.
    let aside = ["original-expiration", "original-user-id", "tenant"];
    let mut expected: Vec<&str> = DEAD_HEADERS.into_iter().chain(aside).collect();
    expected.sort_unstable();
    let failure = Failure::of(&letter);
    assert_eq!(failure.names, expected);
    assert_eq!(letter.header_text("tenant"), Some("north"));
    assert_eq!(letter.header_text("original-expiration"), Some("600000"));
    assert_eq!(letter.header_text("original-user-id"), Some("guest"));
    let headers = letter.properties.headers().clone().expect("headers");
    assert_eq!(letter.properties, sent.with_headers(headers));
    assert_eq!(failure.detail, json!({"type": "OpenBookingError", "description": "No account for … … <…>."}));
    worker.until("event_age_seconds_count", |n| n == 1.0).await;
    worker.stop().await;
}

#[tokio::test]
async fn an_account_without_an_identifier_is_never_made_again() {
    let world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let faults = [("no-identifier", 201), ("garbage", 201), ("204", 204), ("202", 202)];
    for (fault, _) in faults {
        world.send(fault, &customer(&format!("geoff+fault-{fault}@example.com"))).await;
    }
    let dead = world.dead_by_id(faults.len()).await;
    for (fault, status) in faults {
        let failure = Failure::of(&dead[fault]);
        assert_eq!(
            (&*failure.reason, failure.attempts, failure.status),
            ("unusable_response", 1, Some(status))
        );
        assert_eq!(failure.detail, json!({}));
    }
    assert_eq!(world.accounts(), faults.len());

    // Sent again, it is the same event: the ledger knows, and imin is not called.
    world.send("garbage", &customer("geoff+fault-garbage@example.com")).await;
    let again = Failure::of(&world.dead().await);
    assert_eq!((&*again.reason, again.status, again.was_tried()), ("unusable_response", None, false));
    check_ends(&worker, "unusable", "unusable_response", 5.0).await;
    assert_eq!((world.accounts(), world.sandbox.accounts().doubles), (faults.len(), 0));
    worker.stop().await;
}

async fn check_ends(worker: &Worker, outcome: &str, reason: &str, count: f64) {
    worker.until(&format!("outcomes_total{{outcome=\"{outcome}\"}}"), |n| n == count).await;
    assert_eq!(worker.metric(&format!("dead_letters_total{{reason=\"{reason}\"}}")).await, count);
}
