//! Personal data stays inside: every outcome is driven with marked values in every field, and the marks
//! are looked for in everything that the worker says, at the most talkative level there is.

use crate::support::{
    worker::{Settings, Worker},
    world::{KEY, World, headers, json, plain},
};
use imin_customer_worker::message::{Message, Properties};
use lapin::options::QueueDeleteOptions;
use serde_json::{Value, json};

/// In every value and every undocumented name, in any case.
const MARK: &str = "qzxmark";
/// Values that cannot hold the mark.
const BARE: [&str; 4] = ["1961-07-13", "020 7946 0958", "02079460958", "7294615083"];
/// The password of the broker's user.
const PASSWORD: &str = "hunter2-broker";

/// Marked data of a customer whose call meets this fault.
fn marked(fault: &str) -> Value {
    json!({
        "Qzxmark note": {"qzxmarkDeep": ["Qzxmark first", 7_294_615_083_u64, {"QZXMARK": true}]},
        "customer": {
            "email": format!("Qzxmark.Mail+fault-{fault}@qzxmark-host.example"),
            "givenName": "Qzxmarkgiven", "familyName": "O'Qzxmarkfamily Smith-Qzxmark", "telephone": "020 7946 0958",
            "birthDate": "1961-07-13", "gender": "Qzxmarkgender", "imin:is13OrOver": true, "qzxmarkUnknown": "Qzxmark unknown",
            "address": {
                "streetAddress": "13 Qzxmark Lane", "addressLocality": "Qzxmarkton", "addressRegion": "Qzxmarkshire",
                "postalCode": "QZXMARK 7QQ", "addressCountry": "GB",
            },
            "emergencyContact": {"name": "Qzxmark Contact", "telephone": "+44 20 7946 0958"},
        },
    })
}

/// Bodies that are no event, each with marks where an error might quote it.
fn unreadable() -> Vec<Vec<u8>> {
    let wrong = |pointer: &str, value: Value| {
        let mut data = marked("delay-1ms");
        *data.pointer_mut(pointer).expect("a field") = value;
        data.to_string().into_bytes()
    };
    let mut bodies: Vec<Vec<u8>> = [
        ("/customer/email", json!("qzxmark, no address")),
        ("/customer/email", json!("Qzxmark <qzxmark@qzxmark.example>")),
        ("/customer/givenName", json!(["qzxmark"])),
        ("/customer/familyName", json!({"qzxmark": "qzxmark"})),
        ("/customer/birthDate", json!("qzxmark")),
        ("/customer/birthDate", json!("2961-07-13")),
        ("/customer/address/addressCountry", json!("QZXMARK")),
        ("/customer/emergencyContact", json!("qzxmark")),
        ("/customer", json!("qzxmark")),
    ]
    .into_iter()
    .map(|(pointer, value)| wrong(pointer, value))
    .collect();
    bodies.extend([
        br#"{"customer":{"qzxmarkName":1,"qzxmarkName":2,"email":"qzxmark"}}"#.to_vec(),
        br#"{"@context":"qzxmark","@type":"qzxmark","customer":{"@type":"qzxmark"}}"#.to_vec(),
        b"qzxmark is no JSON".to_vec(),
        br#"{"customer":{"email":"qzxmark"#.to_vec(),
        br#"{"customer":{"email":"qzxmark" "qzxmark"}}"#.to_vec(),
        br#"{"qzxmark":1e999}"#.to_vec(),
        b"{\"customer\":\"qzxmark \xff\"}".to_vec(),
        format!(r#"{{"qzxmark":"{}"}}"#, "qzxmark".repeat(400_000)).into_bytes(),
    ]);
    bodies
}

/// Everything that was said, and nothing that may hold a mark.
#[derive(Default)]
struct Heard(Vec<(String, String)>);

impl Heard {
    fn hear(&mut self, from: impl Into<String>, text: impl Into<String>) {
        self.0.push((from.into(), text.into()));
    }

    /// A message of the worker's, without its body.
    fn head(&mut self, from: &str, message: &Message) {
        self.hear(from, format!("{:?} {}", message.properties, headers(message)));
    }

    /// What a worker has to say for itself now.
    async fn worker(&mut self, worker: &Worker) {
        for path in ["/metrics", "/readyz", "/livez"] {
            self.hear(path, worker.get(path).await.1);
        }
    }

    fn is_clean(&self) {
        assert!(self.0.iter().map(|(_, text)| text.len()).sum::<usize>() > 10_000, "too little was heard");
        for (from, text) in &self.0 {
            let folded = text.to_lowercase();
            for mark in [MARK, PASSWORD, KEY].iter().chain(&BARE) {
                if let Some(at) = folded.find(mark) {
                    let (start, end) = (at.saturating_sub(200), (at + 200).min(folded.len()));
                    let around = String::from_utf8_lossy(&folded.as_bytes()[start..end]).into_owned();
                    panic!("{mark} is in what {from} says: …{around}…");
                }
            }
        }
    }
}

fn settings(world: &World) -> Settings {
    let (vhost, user) = (&world.vhost, format!("worker-{}", world.vhost.name));
    vhost.ctl(&["add_user", &user, PASSWORD]);
    vhost.ctl(&["set_permissions", "-p", &vhost.name, &user, ".*", ".*", ".*"]);
    world
        .settings()
        .set("AMQP_URL", vhost.url.replace("guest:guest", &format!("{user}:{PASSWORD}")))
        .set("RUST_LOG", "trace")
        .set("RETRY_MAX_ATTEMPTS", "4")
        .set("IMIN_TIMEOUT", "5s")
        .set("IMIN_CONNECT_TIMEOUT", "5s")
        .set("BREAKER_MIN_CALLS", "1000")
}

#[tokio::test]
async fn no_value_of_a_customer_leaves_by_any_way_but_the_call_and_the_dead_letters_body() {
    let mut world = World::start().await;
    let settings = settings(&world);
    let mut heard = Heard::default();
    let mut worker = settings.start().ready().await;
    dead_letters(&world, &mut heard).await;
    created(&mut world, &worker, &mut heard).await;
    heard.worker(&worker).await;
    worker.stop().await;
    let log = worker.log.lines().join("\n");
    assert!(
        log.contains("\"DEBUG\"") && log.contains("no answer from imin"),
        "the log is not at its most talkative"
    );
    heard.hear("the log", log);

    put_back(&world, &settings, &mut heard).await;
    failing(&world, &settings, &mut heard).await;
    // The ledger says of a customer only that there is one.
    for name in ["ledger.db", "ledger.db-wal"] {
        if let Ok(bytes) = std::fs::read(world.dir.path().join(name)) {
            heard.hear(name, String::from_utf8_lossy(&bytes));
        }
    }
    heard.is_clean();
}

/// Invalid, rejected, unusable, exhausted: their headers.
async fn dead_letters(world: &World, heard: &mut Heard) {
    let bodies = unreadable();
    for (n, body) in bodies.iter().enumerate() {
        world.publish(body, plain(&format!("invalid-{n}"))).await;
        let structured = Properties::default().with_content_type("application/cloudevents+json".into());
        world.publish(body, structured.with_message_id(format!("structured-{n}").into())).await;
    }
    let faults = [
        "422-echo",
        "400-echo",
        "409-html",
        "garbage",
        "no-identifier",
        "huge",
        "cut",
        "gzip",
        "204",
        "503-echo",
        "500-echo",
    ];
    for fault in faults {
        world.send(fault, &marked(fault)).await;
    }
    for (id, letter) in world.dead_by_id(2 * bodies.len() + faults.len()).await {
        heard.head(&format!("the dead letter {id}"), &letter);
    }
}

/// Created, at once or after trouble; a duplicate; an event without a subscriber: all of the event.
async fn created(world: &mut World, worker: &Worker, heard: &mut Heard) {
    let faults = [
        "delay-1ms",
        "503-echox1",
        "429-echox1",
        "401-echox1",
        "307x1",
        "500-echox1",
        "reset-afterx1",
        "timeout-beforex1",
    ];
    for fault in faults {
        world.send(fault, &marked(fault)).await;
    }
    world.send("delay-1ms", &marked("delay-1ms")).await;
    worker.until("outcomes_total{outcome=\"duplicate\"}", |n| n == 1.0).await;
    for event in world.created(faults.len()).await {
        heard.head("an event's head", &event);
        heard.hear("an event's body", json(&event).to_string());
    }
    let channel = world.vhost.connect().await.create_channel().await.expect("a channel");
    channel.queue_delete("test.subscriber".into(), QueueDeleteOptions::default()).await.expect("deleted");
    world.send("unheard", &marked("delay-2ms")).await;
    let event = world.take("customers.unrouted").await;
    heard.head("an unrouted event's head", &event);
    heard.hear("an unrouted event's body", json(&event).to_string());
}

/// What goes to a delay queue, and what is given back at the end.
async fn put_back(world: &World, settings: &Settings, heard: &mut Heard) {
    let settings = settings.clone().set("RETRY_IN_PROCESS_MAX", "0s");
    let mut worker = settings.clone().start().ready().await;
    world.send("delayed", &marked("503-echox9")).await;
    heard.head("the delayed message", &world.take("customers.create.retry.5s").await);
    world.send("refused", &marked("401-echo")).await;
    heard.hear("/readyz while the key is wrong", worker.readiness(503).await);
    heard.worker(&worker).await;
    worker.stop().await;
    heard.hear("the log", worker.log.lines().join("\n"));
    heard.head("the released message", &world.take("customers.create").await);
}

/// Commands that fail, at the most talkative level.
async fn failing(world: &World, settings: &Settings, heard: &mut Heard) {
    let file = world.dir.path().join("marked.jsonl");
    let lines = [marked("delay-1ms").to_string(), "{\"customer\": qzxmark}".into(), "qzxmark".into()];
    std::fs::write(&file, lines.join("\n")).expect("the directory is ours");
    let file = file.display().to_string();
    let wrong = settings
        .clone()
        .set("AMQP_URL", world.vhost.url.replace("guest:guest", &format!("nobody:{PASSWORD}")));
    let broken = settings
        .clone()
        .set("AMQP_URL", format!("http://guest:{PASSWORD}@127.0.0.1"))
        .set("IMIN_API_KEY", format!("{KEY} {KEY}"));
    for (settings, arguments) in [
        (settings, &["send", "--id-from", "/customer/email", &file][..]),
        (settings, &["send", "--id-from", "/customer/address", &file]),
        (settings, &["config", "show"]),
        (&wrong, &["send", &file]),
        (&wrong, &["topology", "apply"]),
        (&broken, &["run"]),
        (&broken, &["config", "show"]),
    ] {
        let ran = settings.run(arguments).await;
        let words = [&ran.stdout[..], &ran.stderr].concat();
        heard.hear(arguments.join(" "), String::from_utf8_lossy(&words));
    }
    let mut worker = wrong.start();
    worker.log.line("trying again").await;
    heard.worker(&worker).await;
    worker.stop().await;
    heard.hear("the log without a broker", worker.log.lines().join("\n"));
}
