//! An imin that is none: bodies without an end or beyond all measure, and a way to somebody else.

use super::peer::Peer;
use crate::support::world::{World, customer};

/// Each made the account, and each leaves the worker without its identifier: a dead letter that says so,
/// no second call, and no more memory than a body may take.
#[tokio::test]
async fn no_body_of_imins_can_fill_the_worker_or_hold_it() {
    let world = World::start().await;
    let mut worker =
        world.settings().set("IMIN_TIMEOUT", "3s").set("IMIN_CONNECT_TIMEOUT", "3s").start().ready().await;
    let before = worker.memory();
    let faults = ["endless", "huge", "drip", "gzip", "cut"];
    for fault in faults {
        for n in 0..4 {
            world.send(&format!("{fault}-{n}"), &customer(&format!("geoff+fault-{fault}@example.com"))).await;
        }
    }
    for (_, letter) in world.dead_by_id(faults.len() * 4).await {
        assert_eq!(letter.header_text("failure-reason"), Some("unusable_response"));
    }
    assert_eq!((world.accounts(), world.sandbox.accounts().doubles), (faults.len() * 4, 0));
    let grown = worker.memory().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more for 20 bodies of at most 256 KiB each");
    worker.stop().await;
    assert_eq!(world.depth("customers.create").await, 0);
}

/// Neither the key nor the customer goes where a redirect points, and no message pays for it.
#[tokio::test]
async fn a_redirect_takes_nothing_elsewhere() {
    let world = World::start().await;
    let mut thief =
        Peer::answering("HTTP/1.1 201 Created\r\ncontent-length: 20\r\n\r\n{\"identifier\":\"mine\"}").await;
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{}/api/customer-accounts\r\ncontent-length: 0\r\n\r\n",
        thief.addr
    );
    let mut imin = Peer::answering(answer).await;
    let mut worker = world.settings().set("IMIN_BASE_URL", imin.url()).start().ready().await;
    world.send("signup", &customer("geoff@example.com")).await;
    // Twice: also the probe that follows.
    for _ in 0..2 {
        let (head, _) = imin.request().await;
        assert!(head.starts_with("POST /api/customer-accounts HTTP/1.1\r\n"), "{head}");
    }
    worker.until("paused{cause=\"misconfigured\"}", |n| n == 1.0).await;
    worker.stop().await;
    assert_eq!(thief.unread(), 0);
    assert_eq!(world.depth("customers.create").await, 1);
    assert_eq!(world.depth("customers.create.dead").await, 0);
}
