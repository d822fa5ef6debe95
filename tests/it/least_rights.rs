//! `deploy/rabbitmq/definitions.json`: it declares what the code declares, and its users can do their
//! work with the rights that it gives them, and no more.

use crate::support::{
    broker::Broker,
    worker::Settings,
    world::{World, customer, plain},
};
use serde_json::{Value, json};
use std::fs;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rabbitmq/definitions.json");

fn definitions() -> Value {
    serde_json::from_str(&fs::read_to_string(FILE).unwrap()).unwrap()
}

#[tokio::test]
async fn the_definitions_declare_what_the_code_declares() {
    let printed = Settings::new(&[]).run(&["topology", "print"]).await;
    let printed: Value = serde_json::from_slice(&printed.stdout).unwrap();
    for part in ["exchanges", "queues", "bindings"] {
        assert_eq!(definitions()[part], printed[part], "{part}: see `topology print`");
    }
}

#[test]
fn no_user_comes_with_a_password_and_each_right_is_explained() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rabbitmq/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    for user in definitions()["users"].as_array().unwrap() {
        assert_eq!(user["password_hash"], "");
        assert_eq!(user["tags"], json!([]));
    }
    for permission in definitions()["permissions"].as_array().unwrap() {
        assert!(readme.contains(&format!("`{}`", permission["user"].as_str().unwrap())));
        for right in ["configure", "write", "read"] {
            let pattern = permission[right].as_str().unwrap();
            let bare = pattern.trim_matches(['^', '$', '(', ')']);
            for part in bare.split('|').filter(|part| !part.is_empty()) {
                let name = part.replace(".*", "…").replace("\\.", ".");
                assert!(readme.contains(&format!("`{name}`")), "{name} is not explained");
            }
        }
    }
}

/// A broker that was set up by the definitions alone, and a user for the test itself.
async fn broker() -> Broker {
    tokio::task::spawn_blocking(|| {
        let broker = Broker::start_with(&format!("load_definitions = {FILE}\n"));
        let vhost = broker.vhost();
        vhost.ctl(&["add_user", "guest", "guest"]);
        vhost.ctl(&["set_permissions", "-p", "/", "guest", ".*", ".*", ".*"]);
        for user in ["worker", "operator", "sender"] {
            vhost.ctl(&["change_password", &format!("imin-customer-{user}"), "pw"]);
        }
        broker
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn each_user_can_do_its_work_and_no_more() {
    let broker = broker().await;
    let mut world = World::on(broker.vhost()).await;
    let url = world.vhost.url.clone();
    let settings = world.settings().set("TOPOLOGY", "verify").set("RETRY_IN_PROCESS_MAX", "0s");
    let user = |name: &str| {
        let url = url.replace("guest:guest", &format!("imin-customer-{name}:pw"));
        settings.clone().set("AMQP_URL", url)
    };
    let said = user("worker").run(&["doctor"]).await;
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));

    let mut worker = user("worker").start().ready().await;
    signup(&world, &user("sender")).await;
    // By way of a delay queue, since no wait is spent in the process.
    world.send("unwell", &customer("ada+fault-503x1@example.com")).await;
    world.created(2).await;
    world.publish(b"{}", plain("broken")).await;
    worker.until("dead_letters_total{reason=\"invalid_event\"}", |count| count == 1.0).await;

    let listed = user("operator").run(&["dead-letters", "list", "--json"]).await;
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert!(String::from_utf8_lossy(&listed.stdout).contains("invalid_event"));
    replay(&user("operator")).await;
    worker.until("dead_letters_total{reason=\"invalid_event\"}", |count| count == 2.0).await;
    worker.stop().await;

    let refused = user("sender").run(&["dead-letters", "list"]).await;
    assert!(!refused.status.success());
    assert!(!user("operator").run(&["topology", "apply"]).await.status.success());
}

/// A sender sends.
async fn signup(world: &World, sender: &Settings) {
    let file = world.dir.path().join("signup.json");
    fs::write(&file, customer("geoff@example.com").to_string()).unwrap();
    let sent = sender.run(&["send", "--plain", &file.display().to_string()]).await;
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}

/// An operator has the worker try again, and hears what became of it.
async fn replay(operator: &Settings) {
    let replayed =
        operator.run(&["dead-letters", "replay", "--reason", "invalid_event", "--yes", "--json"]).await;
    let told = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(told.contains("invalid"), "{told} {}", String::from_utf8_lossy(&replayed.stderr));
}
