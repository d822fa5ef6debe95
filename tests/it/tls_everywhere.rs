//! TLS to all three outside systems at once, and to a collector of spans, by an authority of the test's
//! own; and for each of them, that a certificate which is not to be trusted is not.

use crate::support::{
    authority::{Authority, Identity},
    broker::Broker,
    collector::Collector,
    postgres::Postgres,
    terminator::{HERE, terminator},
    worker::{PATIENCE, Settings, poll},
    world::{World, customer, json},
};
use serde_json::Value;
use std::{net::SocketAddr, path::Path};
use tokio::time::timeout;

/// A broker that speaks TLS on this port with those who show a certificate of the authority's.
fn broker(authority: &Authority, port: u16) -> Broker {
    let Identity { certificate, key } = authority.server(HERE);
    Broker::start_with(&format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\n\
         ssl_options.cacertfile = {}\n\
         ssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\n\
         ssl_options.verify = verify_peer\n\
         ssl_options.fail_if_no_peer_cert = true\n",
        authority.file().display(),
        certificate.display(),
        key.display()
    ))
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A world whose three outside systems speak TLS, and settings that trust them.
struct Encrypted {
    authority: Authority,
    world: World,
    settings: Settings,
    _broker: Broker,
    _database: Postgres,
}

impl Encrypted {
    async fn start() -> Self {
        let authority = Authority::new();
        let port = free_port();
        let Identity { certificate, key } = authority.server(HERE);
        let (pem, secret) = (std::fs::read(certificate).unwrap(), std::fs::read(key).unwrap());
        let database = tokio::task::spawn_blocking(move || Postgres::start_with_tls(&secret, &pem));
        let (authority, broker) = tokio::task::spawn_blocking(move || {
            let broker = broker(&authority, port);
            (authority, broker)
        })
        .await
        .unwrap();
        let database = database.await.unwrap();
        let world = World::on(broker.vhost()).await;
        let imin: SocketAddr = address(world.sandbox.base_url());
        let imin = terminator(&authority.server(HERE), imin).await;
        let client = authority.client();
        let settings = world
            .settings()
            .set("AMQP_URL", format!("amqps://guest:guest@localhost:{port}/%2f"))
            .set("AMQP_CA_FILE", text(&authority.file()))
            .set("AMQP_CLIENT_CERT_FILE", text(&client.certificate))
            .set("AMQP_CLIENT_KEY_FILE", text(&client.key))
            .set("IMIN_BASE_URL", format!("https://localhost:{}/api/v2", imin.port()))
            .set("IMIN_CA_FILE", text(&authority.file()))
            .set("LEDGER_URL", database.url("postgres").replace("sslmode=disable", "sslmode=verify-full"))
            .set("LEDGER_CA_FILE", text(&authority.file()));
        Self { authority, world, settings, _broker: broker, _database: database }
    }

    /// Says what the doctor, which connects as the worker does, finds wrong with one of the three.
    async fn refused(&self, settings: &Settings, check: &str, part: &str) {
        let said = settings.run(&["doctor", "--json"]).await;
        let said: Value = serde_json::from_slice(&said.stdout).unwrap();
        let failed: Vec<&Value> =
            said["checks"].as_array().unwrap().iter().filter(|finding| finding["status"] == "fail").collect();
        assert_eq!(failed.len(), 1, "{failed:#?}");
        assert_eq!(failed[0]["check"], check, "{failed:#?}");
        assert!(failed[0]["what"].as_str().unwrap().contains(part), "{failed:#?}");
    }
}

fn address(base_url: &str) -> SocketAddr {
    base_url.split('/').nth(2).unwrap().parse().unwrap()
}

#[tokio::test]
async fn everything_is_encrypted_and_only_the_right_certificates_are_trusted() {
    let mut all = Encrypted::start().await;
    the_main_job(&mut all).await;
    a_broker_of_another_authority(&all).await;
    a_client_of_another_authority(&all).await;
    an_imin_of_another_authority_or_name(&all).await;
    a_database_of_another_authority(&all).await;
    an_event_waits_for_an_imin_that_can_be_trusted(&mut all).await;
}

async fn the_main_job(all: &mut Encrypted) {
    let doctor = all.settings.run(&["doctor"]).await;
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
    let mut worker = all.settings.start().ready().await;
    all.world.send("signup-1", &customer("geoff@example.com")).await;
    assert_eq!(json(&all.world.created(1).await[0])["causationid"], "signup-1");
    worker.stop().await;
}

async fn a_broker_of_another_authority(all: &Encrypted) {
    let stranger = Authority::new();
    let wary = all.settings.clone().set("AMQP_CA_FILE", text(&stranger.file()));
    all.refused(&wary, "broker", "certificate").await;
    assert!(!wary.run(&["topology", "apply"]).await.status.success());
    // By the system's authorities alone.
    all.refused(&all.settings.clone().set("AMQP_CA_FILE", ""), "broker", "certificate").await;
}

async fn a_client_of_another_authority(all: &Encrypted) {
    let stranger = Authority::new();
    all.refused(&with_client(&all.settings, &stranger.client()), "broker", "localhost").await;
    let nameless = all.settings.clone().set("AMQP_CLIENT_CERT_FILE", "").set("AMQP_CLIENT_KEY_FILE", "");
    all.refused(&nameless, "broker", "localhost").await;
}

fn with_client(settings: &Settings, client: &Identity) -> Settings {
    let settings = settings.clone().set("AMQP_CLIENT_CERT_FILE", text(&client.certificate));
    settings.set("AMQP_CLIENT_KEY_FILE", text(&client.key))
}

async fn an_imin_of_another_authority_or_name(all: &Encrypted) {
    let stranger = Authority::new();
    let wary = all.settings.clone().set("IMIN_CA_FILE", text(&stranger.file()));
    all.refused(&wary, "imin", "TLS failed").await;
    all.refused(&all.settings.clone().set("IMIN_CA_FILE", ""), "imin", "TLS failed").await;
    let other = all.authority.server(&["book.imin.example"]);
    let other = terminator(&other, address(all.world.sandbox.base_url())).await;
    let url = format!("https://localhost:{}/api/v2", other.port());
    all.refused(&all.settings.clone().set("IMIN_BASE_URL", url), "imin", "TLS failed").await;
}

async fn a_database_of_another_authority(all: &Encrypted) {
    let stranger = Authority::new();
    let wary = all.settings.clone().set("LEDGER_CA_FILE", text(&stranger.file()));
    all.refused(&wary, "ledger", "certificate").await;
    all.refused(&all.settings.clone().set("LEDGER_CA_FILE", ""), "ledger", "certificate").await;
}

/// Trust that is missing is an outage: nothing is lost, and nothing is sent to the stranger.
async fn an_event_waits_for_an_imin_that_can_be_trusted(all: &mut Encrypted) {
    let accounts = all.world.accounts();
    let mut wary = all.settings.clone().set("IMIN_CA_FILE", "").start().ready().await;
    all.world.send("signup-2", &customer("ada@example.com")).await;
    // The series is new with the first of its kind.
    let tried = async {
        while !wary.get("/metrics").await.1.contains("retries_total{cause=\"tls\"}") {
            poll().await;
        }
    };
    timeout(PATIENCE, tried).await.expect("a retry for want of trust");
    wary.stop().await;
    assert_eq!(all.world.accounts(), accounts);
    let mut trusting = all.settings.start().ready().await;
    assert_eq!(json(&all.world.created(1).await[0])["causationid"], "signup-2");
    trusting.stop().await;
    assert_eq!(all.world.depth("customers.create.dead").await, 0);
}

#[tokio::test]
async fn spans_go_only_to_a_collector_that_can_be_trusted() {
    let (mut world, collector, authority) =
        (World::start().await, Collector::start().await, Authority::new());
    let address = terminator(&authority.server(HERE), address(&collector.url())).await;
    let settings = world
        .settings()
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", format!("https://localhost:{}/below", address.port()))
        .set("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2");
    let mut wary = settings.start().ready().await;
    world.send("signup-1", &customer("geoff@example.com")).await;
    world.created(1).await;
    wary.log.line("there is no connection to the collector").await;
    wary.stop().await;
    assert_eq!(collector.count(), 0);

    let trusting = settings.set("OTEL_EXPORTER_OTLP_CERTIFICATE", text(&authority.file()));
    let mut trusting = trusting.start().ready().await;
    world.send("signup-2", &customer("ada@example.com")).await;
    collector.spans(3).await;
    trusting.stop().await;
}
