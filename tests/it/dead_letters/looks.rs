//! Looking: it takes nothing off, changes no order, and costs no memory.

use super::support::*;
use crate::support::{
    broker::Vhost,
    worker::{PATIENCE, poll},
    world::{World, customer, names},
};
use imin_customer_worker::{broker::Publication, message::Properties, outcome::Reason};
use lapin::{
    options::{BasicGetOptions, BasicNackOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use serde_json::json;
use std::process::Stdio;
use tokio::{io::AsyncReadExt, time::timeout};

/// Some end after a few letters, some see all; the queue is the same after every one.
#[tokio::test]
async fn a_thousand_looks_change_nothing() {
    let world = World::start().await;
    fill(&world.vhost, 0..5, 0).await;
    let before = keys(&world.settings()).await;
    let shelves = shelves(&world.vhost);
    for n in 0..1000 {
        let mut look = look(&shelves).await;
        assert_eq!((look.depth(), look.shared()), (5, false), "look {n}");
        for seen in 0..n % 7 {
            let letter = look.next().await.expect("the broker is there");
            assert_eq!(letter.is_some(), seen < 5, "look {n}");
        }
        look.put_back().await.expect("given back");
    }
    assert_eq!(keys(&world.settings()).await, before);
    // Beyond 20 returns, RabbitMQ 4 deletes a message from a queue that has no limit of its own.
    let letter = world.dead().await;
    assert!(letter.header_number("x-delivery-count").is_some_and(|n| n > 800), "{letter:?}");
}

#[tokio::test]
async fn several_windows_come_back_in_their_order() {
    let world = World::start().await;
    fill(&world.vhost, 0..1500, 0).await;
    let before = keys(&world.settings()).await;
    assert_eq!(before.len(), 1500);
    for _ in 0..2 {
        assert_eq!(keys(&world.settings()).await, before);
    }
    let few = command(&world.settings(), &["list", "--json", "--limit", "3"]).await.done().objects();
    assert_eq!(few.len(), 3);
    assert_eq!(keys(&world.settings()).await, before, "also after a look that ended early");
}

#[tokio::test]
async fn a_look_that_is_killed_loses_nothing() {
    let world = World::start().await;
    fill(&world.vhost, 0..3000, 200).await;
    let before = keys(&world.settings()).await;
    for _ in 0..3 {
        let mut command = world.settings().command();
        command.args(["dead-letters", "list", "--json"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut looking = command.spawn().expect("the binary runs");
        // Nobody reads on, so that it stands in the middle of the queue when it dies.
        let mut first = [0; 100];
        looking.stdout.as_mut().expect("piped").read_exact(&mut first).await.expect("a line");
        looking.kill().await.expect("SIGKILL");
        until_dead(&world, 3000).await;
    }
    let mut after = keys(&world.settings()).await;
    after.sort();
    let mut sorted = before;
    sorted.sort();
    assert_eq!(after, sorted);
}

#[tokio::test]
async fn two_who_look_at_the_same_time_are_told_so() {
    let world = World::start().await;
    fill(&world.vhost, 0..10, 0).await;
    let shelves = shelves(&world.vhost);
    let mut first = look(&shelves).await;
    first.next().await.expect("the broker is there").expect("a letter");
    let second = command(&world.settings(), &["list"]).await.done();
    assert!(second.err.contains("Somebody else is looking"), "{}", second.err);
    first.put_back().await.expect("given back");
    assert_eq!(keys(&world.settings()).await.len(), 10);
}

/// 40 MB of letters go through a process that grows by a part of that.
#[tokio::test]
async fn memory_does_not_grow_with_the_queue() {
    let world = World::start().await;
    // Enough lines to fill the pipe, so that it lives until they are read and can be measured.
    fill(&world.vhost, 0..1000, 4096).await;
    let (few, small) = peak(&world).await;
    fill(&world.vhost, 1000..10_000, 4096).await;
    let (many, large) = peak(&world).await;
    assert_eq!((few, many), (1000, 10_000));
    assert!(small > 0, "not measured");
    assert!(large < small + 16 * 1024, "{small} kB for 1,000 letters, {large} kB for 10,000");
    assert_eq!(world.depth("customers.create.dead").await, 10_000);
}

/// How many lines `list` writes, and the most memory that it held meanwhile, in kB.
async fn peak(world: &World) -> (usize, u64) {
    let mut command = world.settings().command();
    command.args(["dead-letters", "list", "--json"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut looking = command.spawn().expect("the binary runs");
    let mut out = looking.stdout.take().expect("piped");
    let status = format!("/proc/{}/status", looking.id().expect("it runs"));
    let (mut lines, mut peak, mut piece) = (0, 0, vec![0; 1 << 16]);
    let reading = async {
        loop {
            let count = out.read(&mut piece).await.expect("readable");
            lines += piece[..count].split(|byte| *byte == b'\n').count() - 1;
            peak = peak.max(high_water(&status).unwrap_or(0));
            if count == 0 {
                return;
            }
        }
    };
    timeout(PATIENCE * 3, reading).await.expect("it goes on");
    assert!(looking.wait().await.expect("our child").success());
    (lines, peak)
}

/// `VmHWM`, while the process is there.
fn high_water(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim_end_matches("kB").trim().parse().ok()
}

#[tokio::test]
async fn a_queue_whose_limit_looking_would_use_up_is_not_looked_at() {
    let vhost = Vhost::fresh();
    let connection = vhost.connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(20));
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare("customers.create.dead".into(), options, arguments).await.expect("declared");
    let settings = crate::support::worker::Settings::new(&[("AMQP_URL", &vhost.url)]);
    let refused = command(&settings, &["list"]).await.failed("x-delivery-limit = 20");
    assert!(refused.words().contains("--look-anyway"), "{}", refused.err);
    command(&settings, &["list", "--look-anyway"]).await.done();
}

#[tokio::test]
async fn a_queue_that_is_not_there_says_so() {
    let settings = crate::support::worker::Settings::new(&[("AMQP_URL", &Vhost::fresh().url)]);
    command(&settings, &["list"]).await.failed("no queue 'customers.create.dead'");
    let nowhere = settings.set("AMQP_URL", "amqp://guest:secret@127.0.0.1:1/%2f");
    let said = command(&nowhere, &["list"]).await.failed("check AMQP_URL");
    assert!(!said.err.contains("secret"), "{}", said.err);
}

/// The broker's own dead letters and a stranger's are listed, shown, and replayed.
#[tokio::test]
async fn letters_that_the_worker_did_not_write_are_read_too() {
    let mut world = World::start().await;
    world.send("limit-1", &customer("geoff@example.com")).await;
    exceed_the_delivery_limit(&world).await;
    let stranger = Publication {
        exchange: names().dead_exchange.as_str().into(),
        routing_key: "by.hand".into(),
        properties: Properties::default(),
        body: "no JSON".into(),
    };
    until_dead(&world, 1).await;
    publish(&world.vhost, [stranger]).await;
    until_dead(&world, 2).await;

    let letters = list(&world.settings()).await;
    let reasons: Vec<_> = letters.iter().map(|letter| letter["reason"].as_str().expect("text")).collect();
    assert_eq!(reasons, ["delivery_limit", "foreign"]);
    assert_eq!(letters[0]["hint"], "g•••@e•••.com");
    assert!(letters[0]["at"].is_string(), "since when, from x-death: {}", letters[0]);

    let key = letters[0]["key"].as_str().expect("a key");
    let shown = command(&world.settings(), &["show", key]).await.done();
    assert!(shown.out.contains("x-death") && !shown.out.contains("geoff"), "{}", shown.out);

    let said = command(&world.settings(), &["replay", "--all", "--yes", "--wait", "0s"]).await.done();
    assert!(said.out.starts_with("2 replayed"), "{}", said.out);
    let mut worker = world.settings().start().ready().await;
    let event = world.created(1).await.remove(0);
    assert_eq!(event.header_text("x-death"), None);
    until_dead(&world, 1).await;
    let again = list(&world.settings()).await.remove(0);
    assert_eq!((&again["reason"], &again["replays"]), (&json!("invalid_event"), &json!(1)));
    worker.stop().await;
}

/// Takes the one message of the work queue and gives it back until the broker has had enough.
async fn exceed_the_delivery_limit(world: &World) {
    let connection = world.vhost.connect().await;
    let channel = connection.create_channel().await.expect("a channel");
    let taken = async {
        while world.depth("customers.create.dead").await == 0 {
            let got = channel.basic_get("customers.create".into(), BasicGetOptions::default()).await;
            match got.expect("the queue stands") {
                Some(got) => {
                    let again = BasicNackOptions { requeue: true, ..Default::default() };
                    channel.basic_nack(got.delivery.delivery_tag, again).await.expect("given back");
                }
                None => poll().await,
            }
        }
    };
    timeout(PATIENCE, taken).await.expect("the limit is 100");
}

#[tokio::test]
async fn lists_are_filtered_grouped_and_masked() {
    let world = World::start().await;
    let letters = [(1, Reason::RejectedByApi), (2, Reason::OutcomeUnknown), (3, Reason::RejectedByApi)];
    publish(&world.vhost, letters.map(|(number, reason)| letter(number, reason, 0))).await;
    let settings = world.settings();
    let count = async |arguments: &[&str]| {
        let said = command(&settings, &[&["list", "--json"], arguments].concat()).await;
        said.done().objects().len()
    };
    assert_eq!(count(&["--reason", "rejected_by_api"]).await, 2);
    assert_eq!(count(&["--reason", "rejected_by_api", "--reason", "outcome_unknown"]).await, 3);
    assert_eq!(count(&["--older-than", "1s", "--status", "422", "--max-replays", "0"]).await, 3);
    assert_eq!(count(&["--min-replays", "1"]).await, 0);
    assert_eq!(count(&["00000002-0000"]).await, 1);

    let groups = command(&settings, &["list", "--group"]).await.done().out;
    assert!(groups.contains("      2  rejected_by_api"), "{groups}");
    assert!(groups.contains("      2  rejected_by_api: 422 OpenBookingError"), "{groups}");
    let text = command(&settings, &["list"]).await.done().out;
    assert!(text.contains("m•••@e•••.com") && !text.contains("member"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80) && !text.contains('\u{1b}'), "{text}");

    command(&settings, &["show", "00000009"]).await.failed("there is no dead letter 00000009");
    command(&settings, &["show", "000000"]).await.failed("several keys");
    let masked = command(&settings, &["show", "00000002"]).await.done();
    assert!(masked.out.contains("resolve 00000002-0000 --identifier"), "{}", masked.out);
    assert!(!masked.out.contains("member") && !masked.out.contains("signup-2"), "{}", masked.out);
    assert!(masked.audit().is_empty());
    let revealed = command(&settings, &["show", "00000002", "--reveal"]).await.done();
    assert!(revealed.out.contains("member-2@example.com") && revealed.out.contains("signup-2"));
    assert_eq!(revealed.audit()[0]["audit"], "reveal");
    assert_eq!(world.depth("customers.create.dead").await, 3);
}

#[tokio::test]
async fn a_letter_is_shown_to_programs_too_and_masked() {
    let world = World::start().await;
    publish(&world.vhost, [letter(1, Reason::RejectedByApi, 0)]).await;
    let settings = world.settings();
    let masked = command(&settings, &["show", "00000001", "--json"]).await.done();
    let shown = &masked.objects()[0];
    assert_eq!((&shown["reason"], &shown["status"]), (&json!("rejected_by_api"), &json!(422)));
    assert_eq!(shown["headers"]["failure-attempts"], "1");
    assert!(shown["body_masked"].as_str().expect("text").contains("\"email\": •••"), "{shown}");
    assert!(!masked.out.contains("member") && !masked.out.contains("signup-1"), "{}", masked.out);
    assert!(masked.audit().is_empty());
    let revealed = command(&settings, &["show", "00000001", "--json", "--reveal"]).await.done();
    assert!(revealed.out.contains("signup-1"), "{}", revealed.out);
    assert_eq!(revealed.audit()[0]["audit"], "reveal");
}

#[tokio::test]
async fn every_letter_says_what_helps() {
    let world = World::start().await;
    let letters = (1..).zip(Reason::ALL);
    publish(&world.vhost, letters.clone().map(|(number, reason)| letter(number, reason, 0))).await;
    for (number, reason) in letters {
        let key = format!("0000000{number}");
        let helps: &[&str] = match reason {
            Reason::InvalidEvent => &["edit KEY --set /customer/email=…"],
            Reason::RejectedByApi => &["edit KEY", "replay KEY"],
            Reason::RetriesExhausted | Reason::DeliveryLimit => &["replay KEY"],
            Reason::OutcomeUnknown => &["resolve KEY --identifier …", "resolve KEY --not-created"],
            Reason::UnusableResponse => &["resolve KEY --identifier …"],
        };
        let shown = command(&world.settings(), &["show", &key]).await.done().out;
        for rest in helps {
            let command = format!("dead-letters {}", rest.replace("KEY", &format!("{key}-0000")));
            assert!(shown.contains(&command), "{reason:?}: {command} is not in: {shown}");
        }
        let replayed = shown.contains(" replay ");
        let unsafe_ = matches!(reason, Reason::OutcomeUnknown | Reason::UnusableResponse);
        assert!(!(replayed && unsafe_), "{reason:?}: {shown}");
    }
}
