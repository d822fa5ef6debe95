//! Deeds: replayed, edited, resolved, given up, with the worker at the other end.

use super::support::*;
use crate::support::{
    worker::{Settings, Worker},
    world::{World, customer, json, plain},
};
use imin_customer_worker::{
    message::{Headers, Properties, ShortString},
    outcome::Reason,
    sandbox::fault::Fault,
};
use serde_json::{Value, json};
use std::{os::unix::fs::MetadataExt, process::Stdio};

fn faults(world: &World, faults: &[&str]) {
    let faults: Vec<Fault> = faults.iter().map(|fault| fault.parse().expect("a fault")).collect();
    world.sandbox.set_faults(faults, 0);
}

/// Settings by which the command finds the worker, too.
async fn with(world: &World, worker: &Worker) -> Settings {
    world.settings().set("ADMIN_ADDR", worker.admin().await)
}

/// A worker that parks what nobody knows the end of.
async fn parking(world: &World) -> Worker {
    world.settings().set("AMBIGUOUS", "park").start().ready().await
}

fn first_key(letters: &[Value]) -> String {
    letters[0]["key"].as_str().expect("a key").to_owned()
}

#[tokio::test]
async fn a_rejected_customer_is_replayed_once_imin_is_mended() {
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let settings = with(&world, &worker).await;
    faults(&world, &["422"]);
    let body = br#"{ "customer":{"email":"geoff@example.com", "givenName":"Geoff","familyName":"Capes"}}"#;
    world.publish(body, plain("signup-1").with_correlation_id("c-1".into())).await;
    until_dead(&world, 1).await;
    let key = first_key(&list(&settings).await);

    let plan = command(&settings, &["replay", &key, "--dry-run"]).await.done();
    assert!(plan.err.contains("rejected_by_api"), "{}", plan.err);
    assert!(plan.audit().is_empty());
    command(&settings, &["replay", &key]).await.failed("say --yes");
    assert_eq!(world.depth("customers.create.dead").await, 1, "nothing happens without a yes");

    faults(&world, &[]);
    let why = ["replay", &key[..8], "--yes", "--why", "imin is mended", "--wait", "60s"];
    let said = command(&settings, &why).await.done();
    assert_eq!(said.out, "1 replayed; 1 created\n");
    let audit = &said.audit()[0];
    assert_eq!((&audit["audit"], &audit["why"]), (&json!("replay"), &json!("imin is mended")));
    assert_eq!((&audit["keys"], &audit["count"]), (&json!([key]), &json!(1)));
    assert!(audit["who"].is_string() && audit["at"].is_string(), "{audit}");

    let event = world.created(1).await.remove(0);
    assert_eq!(json(&event)["causationid"], "signup-1");
    assert_eq!(event.properties.correlation_id().as_ref().map(ShortString::as_str), Some("c-1"));
    assert_eq!(world.accounts(), 1);
    worker.until("replays_total{result=\"created\"}", |n| n == 1.0).await;
    assert_eq!(world.depth("customers.create.dead").await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn a_replayed_letter_is_the_message_it_was() {
    let world = World::start().await;
    publish(&world.vhost, [letter(1, Reason::RejectedByApi, 10)]).await;
    let before = letter(1, Reason::RejectedByApi, 10);
    command(&world.settings(), &["replay", "--all", "--yes", "--wait", "0s"]).await.done();
    let replayed = world.take("customers.create").await;
    assert_eq!(replayed.body, before.body);
    assert_eq!(replayed.properties.message_id(), before.properties.message_id());
    assert_eq!(replayed.properties.content_type(), before.properties.content_type());
    assert_eq!(replayed.header_text("previous-failure-reason"), Some("rejected_by_api"));
    assert_eq!(replayed.header_number("previous-failure-status"), Some(422));
    assert_eq!(replayed.header_text("failure-reason"), None);
    assert_eq!(replayed.header_text("first-attempt-at"), None, "the schedule starts anew");
    assert_eq!(replayed.header_text("original-exchange"), Some("customers"));
    assert_eq!(replayed.header_number("replay-count"), Some(1));
}

#[tokio::test]
async fn a_canary_that_fails_again_saves_the_others() {
    let world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let settings = with(&world, &worker).await;
    faults(&world, &["422"]);
    for n in 0..5 {
        world.send(&format!("signup-{n}"), &customer(&format!("m{n}@example.com"))).await;
    }
    until_dead(&world, 5).await;
    let careful = ["replay", "--all", "--canary", "2", "--yes", "--json"];
    let said = command(&settings, &careful).await.failed("failed again");
    assert_eq!(said.objects()[0]["done"], 2);
    until_dead(&world, 5).await;
    let mut replays: Vec<_> =
        list(&settings).await.iter().map(|letter| letter["replays"].as_u64().expect("a number")).collect();
    // What was looked at and given back may stand behind what came meanwhile.
    replays.sort_unstable();
    assert_eq!(replays, [0, 0, 0, 1, 1]);

    faults(&world, &[]);
    let said = command(&settings, &[&careful[..], &["--wait", "60s"]].concat()).await.done();
    assert_eq!(said.objects()[0], json!({"done": 5, "outcomes": {"created": 5}, "stopped": null}));
    assert_eq!(world.accounts(), 5);
    worker.stop().await;
}

#[tokio::test]
async fn what_failed_after_every_replay_needs_force() {
    let world = World::start().await;
    publish(&world.vhost, [letter(1, Reason::RejectedByApi, 0)]).await;
    let settings = world.settings();
    let once = async |more: &[&str]| {
        let arguments = [&["replay", "00000001", "--yes", "--wait", "0s", "--max-tries", "1"], more].concat();
        command(&settings, &arguments).await
    };
    once(&[]).await.done();
    // As the worker would: dead again, with the count that it has.
    let mut again = letter(1, Reason::RejectedByApi, 0);
    again.properties = world.take("customers.create").await.properties.clone();
    let headers = again.properties.headers().clone().expect("headers");
    let mut dead = letter(1, Reason::RejectedByApi, 0).properties.headers().clone().expect("headers");
    dead.insert("replay-count".into(), headers.inner()["replay-count"].clone());
    again.properties = again.properties.with_headers(dead);
    publish(&world.vhost, [again]).await;
    once(&[]).await.failed("--force");
    once(&["--force"]).await.done();
    assert_eq!(world.take("customers.create").await.header_number("replay-count"), Some(2));
}

#[tokio::test]
async fn an_unknown_outcome_is_resolved_and_never_replayed() {
    let mut world = World::start().await;
    let mut worker = parking(&world).await;
    let settings = with(&world, &worker).await;
    faults(&world, &["500-after"]);
    world.send("found", &customer("found@example.com")).await;
    until_dead(&world, 1).await;
    let found = first_key(&list(&settings).await);
    let said = command(&settings, &["replay", "--all", "--yes", "--force"]).await.done();
    assert!(said.words().contains("dead-letters resolve KEY"), "{}", said.err);
    command(&settings, &["replay", &found, "--yes"]).await.failed("resolve KEY");
    command(&settings, &["edit", &found, "--set", "/x=1", "--yes"]).await.failed("resolve KEY");
    assert_eq!(world.accounts(), 1);

    let resolve = ["resolve", &found, "--identifier", "MAlnTNiZut", "--yes", "--wait", "60s"];
    let said = command(&settings, &resolve).await.done();
    assert_eq!(said.audit()[0]["audit"], "resolve as created");
    let event = json(&world.created(1).await.remove(0));
    assert_eq!(event["data"]["identifier"], "MAlnTNiZut");
    assert_eq!(world.accounts(), 1, "no call was made");

    faults(&world, &["500"]);
    world.send("nothing", &customer("nothing@example.com")).await;
    until_dead(&world, 1).await;
    let nothing = first_key(&list(&settings).await);
    faults(&world, &[]);
    command(&settings, &["resolve", &nothing, "--not-created", "--yes", "--wait", "60s"]).await.done();
    let event = json(&world.created(1).await.remove(0));
    assert_eq!((&event["causationid"], event.get("possibleduplicate")), (&json!("nothing"), None));
    assert_eq!(world.accounts(), 2);
    worker.stop().await;
}

#[tokio::test]
async fn an_account_without_an_identifier_can_only_be_found() {
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let settings = with(&world, &worker).await;
    faults(&world, &["no-identifier"]);
    world.send("lost", &customer("lost@example.com")).await;
    until_dead(&world, 1).await;
    let key = first_key(&list(&settings).await);
    command(&settings, &["resolve", &key, "--not-created", "--yes"]).await.failed("cannot be");
    command(&settings, &["replay", &key, "--yes"]).await.failed("Ask imin");
    let found = ["resolve", &key, "--identifier", "abc", "--yes", "--wait", "60s"];
    command(&settings, &found).await.done();
    assert_eq!(json(&world.created(1).await.remove(0))["data"]["identifier"], "abc");
    assert_eq!(world.accounts(), 1);
    worker.stop().await;
}

/// The three encodings, and an event that is known by its body only.
#[tokio::test]
async fn an_invalid_event_is_edited_into_a_customer() {
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let settings = with(&world, &worker).await;
    let data = |email: &str| customer(email).to_string();
    let event = |id: &str| json!({"specversion": "1.0", "type": "CreateCustomer", "source": "/s", "id": id});
    let mut structured = event("s");
    structured["data"] = customer("wrong");
    let structured_type = plain("").with_content_type("application/cloudevents+json".into());
    let binary =
        [("ce-specversion", "1.0"), ("ce-type", "CreateCustomer"), ("ce-source", "/s"), ("ce-id", "b")];
    let messages = [
        (data("wrong"), plain("p")),
        (data("wrong too"), plain("")),
        (structured.to_string(), structured_type),
        (data("wrong"), crate::support::world::with_headers(plain(""), &binary)),
    ];
    for (body, properties) in messages {
        world.publish(body.as_bytes(), properties).await;
    }
    until_dead(&world, 4).await;
    let letters = list(&settings).await;
    for (n, letter) in letters.iter().enumerate() {
        let key = letter["key"].as_str().expect("a key");
        let edit = async |set: &str| {
            command(&settings, &["edit", key, "--set", set, "--yes", "--wait", "60s"]).await
        };
        let refused = edit("/customer/email=still wrong").await.failed("not sent");
        assert!(refused.words().contains("/customer/email must be"), "{}", refused.err);
        assert!(!refused.err.contains("still wrong"), "{}", refused.err);
        edit(&format!("/customer/email=m{n}@example.com")).await.done();
        let created = json(&world.created(1).await.remove(0));
        assert_eq!(created["id"], key, "it is still the same event");
    }
    assert_eq!(world.accounts(), 4);
    assert_eq!(world.depth("customers.create.dead").await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn a_patch_is_applied_and_what_it_cannot_do_is_said() {
    let world = World::start().await;
    publish(&world.vhost, [letter(1, Reason::InvalidEvent, 3)]).await;
    let patch = world.dir.path().join("patch.json");
    let write = |operations: Value| std::fs::write(&patch, operations.to_string()).expect("written");
    let path = patch.to_str().expect("UTF-8");
    let edit = ["edit", "00000001", "--patch", path, "--yes", "--wait", "0s"];
    write(json!([{"op": "remove", "path": "/nowhere"}]));
    command(&world.settings(), &edit).await.failed("does not apply");
    write(json!({"not": "a patch"}));
    command(&world.settings(), &edit).await.failed("no JSON Patch");
    write(json!([{"op": "test", "path": "/customer/email", "value": "member-1@example.com"}]));
    let unchanged = command(&world.settings(), &edit).await.done();
    assert!(unchanged.words().contains("Nothing was changed"), "{}", unchanged.err);
    assert_eq!(world.depth("customers.create.dead").await, 1);
    write(json!([{"op": "add", "path": "/customer/familyName", "value": "Capes"}]));
    command(&world.settings(), &edit).await.done();
    let sent = world.take("customers.create").await;
    assert_eq!(
        std::str::from_utf8(&sent.body).expect("UTF-8"),
        r#"{"customer":{"email":"member-1@example.com","givenName":"xxx","familyName":"Capes"}}"#
    );
}

#[tokio::test]
async fn what_is_given_up_can_be_sent_back() {
    let world = World::start().await;
    let letters = [letter(1, Reason::OutcomeUnknown, 5), letter(2, Reason::RejectedByApi, 5)];
    publish(&world.vhost, letters.clone()).await;
    let file = world.dir.path().join("gone.jsonl");
    let path = file.to_str().expect("UTF-8");
    let settings = world.settings();
    let nothing = settings.run(&["dead-letters", "discard", "--all", "--yes"]).await;
    assert_eq!(nothing.status.code(), Some(64), "a reason is required");
    let discard = ["discard", "--all", "--yes", "--why", "a test", "--output", path];
    let said = command(&settings, &discard).await.done();
    assert_eq!((&said.audit()[0]["audit"], &said.audit()[0]["count"]), (&json!("discard"), &json!(2)));
    assert_eq!(std::fs::metadata(&file).expect("the export").mode() & 0o777, 0o600);
    assert_eq!(world.depth("customers.create.dead").await, 0);
    command(&settings, &discard).await.done();

    let sent = settings.run(&["send", path]).await;
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    for letter in letters {
        let back = world.dead().await;
        assert_eq!(back.body, letter.body);
        let headers = |properties: &Properties| properties.headers().clone().expect("headers");
        let (own, came) = (headers(&letter.properties), headers(&back.properties));
        let differ = |(name, value): &(&ShortString, &_)| {
            name.as_str() != "x-delivery-count" && own.inner().get(name.as_str()) != Some(*value)
        };
        let new: Vec<_> = came.inner().iter().filter(differ).collect();
        assert_eq!(new, [], "headers that were not there");
        assert!(own.inner().keys().all(|name| came.inner().contains_key(name)));
        let rest = |properties: Properties| properties.with_headers(Headers::default());
        assert_eq!(rest(back.properties), rest(letter.properties));
    }
}

#[tokio::test]
async fn an_export_takes_nothing_off() {
    let world = World::start().await;
    fill(&world.vhost, 0..3, 0).await;
    let said = command(&world.settings(), &["export", "--all", "--output", "-", "--yes"]).await.done();
    assert_eq!(said.objects().len(), 3);
    assert_eq!(said.audit()[0]["audit"], "export");
    assert_eq!(world.depth("customers.create.dead").await, 3);
    let file = world.dir.path().join("there.jsonl");
    std::fs::write(&file, "mine").expect("written");
    let path = file.to_str().expect("UTF-8");
    let taken = ["export", "--all", "--yes", "--output", path];
    command(&world.settings(), &taken).await.failed("cannot be made");
    assert_eq!(std::fs::read_to_string(&file).expect("text"), "mine");
}

#[tokio::test]
async fn an_export_without_a_name_is_a_new_file_of_its_owners_alone() {
    let world = World::start().await;
    fill(&world.vhost, 0..2, 0).await;
    let here = world.dir.path().join("here");
    std::fs::create_dir(&here).expect("the directory is ours");
    let mut export = world.settings().command();
    let export = export.args(["dead-letters", "export", "--all", "--yes"]).current_dir(&here).output();
    let said = export.await.expect("the binary runs");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let files: Vec<_> = std::fs::read_dir(&here).expect("readable").map(|file| file.expect("one")).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let name = file.file_name().into_string().expect("UTF-8");
    assert!(name.starts_with("dead-letters-") && name.ends_with(".jsonl"), "{name}");
    assert_eq!(file.metadata().expect("it is there").mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(file.path()).expect("text").lines().count(), 2);
}

#[tokio::test]
async fn a_replay_while_the_worker_is_paused_says_so() {
    let world = World::start().await;
    let mut worker = world.settings().set("IMIN_API_KEY", "wrong").start();
    world.send("signup-1", &customer("geoff@example.com")).await;
    worker.readiness(503).await;
    worker.log.line("misconfigured").await;
    publish(&world.vhost, [letter(1, Reason::RejectedByApi, 0)]).await;
    let settings = with(&world, &worker).await;
    let said = command(&settings, &["replay", "00000001", "--yes", "--wait", "0s"]).await.done();
    assert!(said.words().contains("The worker is not at work: misconfigured"), "{}", said.err);
    worker.stop().await;
    let said = command(&settings, &["replay", "--all", "--dry-run"]).await.done();
    assert!(said.out.is_empty(), "{}", said.out);
}

/// Ctrl-C leaves every letter in one of the two queues.
#[tokio::test]
async fn an_interrupted_replay_leaves_nothing_between() {
    let world = World::start().await;
    fill(&world.vhost, 0..40, 0).await;
    let mut command = world.settings().command();
    command.args(["dead-letters", "replay", "--all", "--yes", "--rate", "5"]);
    let replaying = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let id = replaying.id().expect("it runs").to_string();
    let ending = tokio::spawn(replaying.wait_with_output());
    let some = async {
        while world.depth("customers.create").await < 3 {
            crate::support::worker::poll().await;
        }
    };
    tokio::time::timeout(crate::support::worker::PATIENCE, some).await.expect("it replays");
    let sent = std::process::Command::new("kill").args(["-s", "INT", &id]).status().expect("kill runs");
    assert!(sent.success());
    let output = ending.await.expect("no panic").expect("our child");
    assert_eq!(output.status.code(), Some(1));
    let moved = world.depth("customers.create").await;
    assert!((3..40).contains(&moved), "{moved}");
    until_dead(&world, 40 - moved).await;
    let out = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(out.starts_with(&format!("{moved} replayed")), "{out}");
}
