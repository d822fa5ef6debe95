//! Spans, as a collector sees them: one trace from the sender to the subscriber, and nothing that waits
//! for the collector, and no customer in it.

use crate::support::{
    collector::{Answers, Collector, Seen},
    slow::Slow,
    worker::{PATIENCE, Settings},
    world::{KEY, World, customer, headers, json, plain, with_headers},
};
use imin_customer_worker::message::Message;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::time::Duration;
use tokio::time::{Instant, timeout};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
/// In whatever must not be seen.
const SECRET: &str = "hunter2";

fn traced(world: &World, collector: &Collector) -> Settings {
    world
        .settings()
        .set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .set("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer%20{SECRET},x-tenant=a"))
        .set("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=overruled")
        .set("OTEL_SERVICE_NAME", "signups")
}

/// Sends a customer whose call meets `fault`, in the trace `PARENT` with these flags.
async fn send(world: &World, id: &str, fault: &str, flags: &str) {
    let parent = format!("00-{PARENT}-{flags}");
    let properties = with_headers(plain(id), &[("traceparent", &parent), ("tracestate", "vendor=1")]);
    let data = customer(&format!("geoff.{SECRET}+fault-{fault}@example.com"));
    world.publish(data.to_string().as_bytes(), properties).await;
}

/// The `traceparent` of an event, which its header says as well.
fn traceparent(event: &Message) -> String {
    let text = json(event)["traceparent"].as_str().expect("a trace").to_owned();
    assert_eq!(headers(event)["traceparent"], text);
    text
}

/// What there is of this kind, in the order of their ends.
fn of(spans: &[Seen], kind: SpanKind) -> Vec<&Seen> {
    spans.iter().filter(|seen| seen.kind() == kind).collect()
}

#[tokio::test]
async fn an_event_is_one_trace_from_its_sender_to_its_subscriber() {
    let (mut world, collector) = (World::start().await, Collector::start().await);
    let mut worker = traced(&world, &collector).start().ready().await;
    send(&world, "once-more", "503x1", "01").await;
    let event = world.created(1).await.remove(0);
    let spans = collector.spans(4).await;
    assert_eq!(spans.len(), 4, "{spans:#?}");

    let [process] = of(&spans, SpanKind::Consumer)[..] else { panic!("{spans:#?}") };
    assert_eq!(process.parent(), PARENT);
    assert_eq!(process.span.trace_state, "vendor=1");
    assert_eq!(process.span.name, "process customers:customer.create:customers.create");
    let key = event.properties.message_id().as_ref().expect("an id").to_string();
    let broker = url::Url::parse(&world.vhost.url).expect("a URL");
    let (host, port) = (broker.host_str().expect("a host"), broker.port().expect("a port").to_string());
    for (name, value) in [
        ("messaging.system", "rabbitmq"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "customers:customer.create:customers.create"),
        ("messaging.rabbitmq.destination.routing_key", "customer.create"),
        ("messaging.message.id", &key),
        ("server.address", host),
        ("server.port", &port),
        ("customer_worker.outcome", "created"),
    ] {
        assert_eq!(process.get(name), value, "{name}");
    }
    assert!(!process.failed() && process.get("error.type").is_empty());

    calls(&world, process, &of(&spans, SpanKind::Client));

    let [sent] = of(&spans, SpanKind::Producer)[..] else { panic!("{spans:#?}") };
    assert_eq!(sent.parent(), process.place());
    assert_eq!(sent.span.name, "send customers.events:customer.account.created");
    assert_eq!(sent.get("messaging.rabbitmq.destination.routing_key"), "customer.account.created");
    assert_eq!((sent.get("messaging.operation.type"), sent.get("messaging.message.id")), ("send", &*key));
    assert_eq!(traceparent(&event), format!("00-{}-01", sent.place()), "the event names its span");
    assert_eq!(json(&event)["tracestate"], "vendor=1");

    who_sends(&collector, process);
    assert!(process.span.start_time_unix_nano <= sent.span.start_time_unix_nano);
    worker.stop().await;
    assert_eq!(worker.log.lines().iter().filter(|line| line.contains(SECRET)).count(), 0);
}

/// The two calls, of which the first met a 503.
fn calls(world: &World, process: &Seen, calls: &[&Seen]) {
    let [first, second] = calls else { panic!("{calls:#?}") };
    let imin = url::Url::parse(world.sandbox.base_url()).expect("a URL");
    for call in [first, second] {
        assert_eq!((call.parent(), &*call.span.name), (process.place(), "POST /customer-accounts"));
        assert_eq!(call.get("http.request.method"), "POST");
        assert_eq!(call.get("url.template"), "/customer-accounts");
        assert_eq!(call.get("url.full"), format!("{imin}/customer-accounts"));
        assert_eq!(call.get("server.address"), "127.0.0.1");
        assert_eq!(call.get("server.port"), imin.port().expect("a port").to_string());
    }
    let of = |call: &Seen, name: &str| call.get(name).to_owned();
    let seen = |call: &Seen| {
        ["http.response.status_code", "http.request.resend_count", "error.type"].map(|name| of(call, name))
    };
    assert_eq!((seen(first), first.failed()), (["503", "", "503"].map(String::from), true));
    assert_eq!((seen(second), second.failed()), (["201", "1", ""].map(String::from), false));
}

fn who_sends(collector: &Collector, span: &Seen) {
    assert_eq!(collector.header("content-type"), "application/x-protobuf");
    assert_eq!(collector.header("authorization"), format!("Bearer {SECRET}"));
    assert_eq!(collector.header("x-tenant"), "a");
    assert_eq!(span.schema, "https://opentelemetry.io/schemas/1.42.0");
    for (name, value) in [
        ("service.name", "signups"),
        ("service.version", imin_customer_worker::VERSION),
        ("deployment.environment.name", "test"),
        ("telemetry.sdk.language", "rust"),
    ] {
        assert_eq!(span.resource[name], value, "{name}");
    }
    assert!(span.resource["service.instance.id"].parse::<uuid::Uuid>().is_ok());
}

#[tokio::test]
async fn whatever_fails_is_an_error_with_its_class_and_never_with_a_value() {
    let (world, collector) = (World::start().await, Collector::start().await);
    // Away for longer than the test takes.
    let waits = [
        ("RETRY_IN_PROCESS_MAX", "0s"),
        ("RETRY_INITIAL", "1m"),
        ("RETRY_MAX_INTERVAL", "1m"),
        ("RETRY_JITTER", "0"),
    ];
    let settings = waits.iter().fold(traced(&world, &collector), |all, (name, wait)| all.set(name, *wait));
    let mut worker = settings.start().ready().await;
    send(&world, "rejected", "422-echo", "01").await;
    send(&world, "unusable", "no-identifier", "01").await;
    send(&world, "delayed", "503-echox9", "01").await;
    let parent = format!("00-{PARENT}-01");
    let body = format!(r#"{{"customer": {{"email": "{SECRET}", "{SECRET}": 1}}}}"#);
    world.publish(body.as_bytes(), with_headers(plain(SECRET), &[("traceparent", &parent)])).await;
    // Each with its dead letter's or its delay's, and three of them with a call.
    let spans = collector.spans(11).await;
    worker.stop().await;

    let errors = |kind| {
        let mut errors: Vec<_> =
            of(&spans, kind).iter().map(|seen| seen.get("error.type").to_owned()).collect();
        errors.sort();
        errors
    };
    let ends = ["invalid_event", "rejected_by_api", "unavailable", "unusable_response"];
    assert_eq!(errors(SpanKind::Consumer), ends);
    assert_eq!(errors(SpanKind::Client), ["422", "503", "unusable_response"]);
    assert_eq!(errors(SpanKind::Producer), [""; 4]);
    for seen in &spans {
        assert!(seen.place().starts_with(TRACE), "{seen:#?}");
        assert_eq!(seen.failed(), !seen.get("error.type").is_empty(), "{seen:#?}");
    }
    let mut names: Vec<_> =
        of(&spans, SpanKind::Producer).iter().map(|seen| seen.span.name.clone()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names, ["send customers.create.retry.1m", "send customers.dead:customers.create"]);

    let heard = collector.heard().to_lowercase().replace(&format!("bearer {SECRET}"), "");
    for inside in [SECRET, "geoff", "capes", "example.com", KEY, "guest"] {
        assert!(!heard.contains(inside), "{inside} is in what the collector got: {heard}");
    }
    // The dead letters are as they came.
    for (_, letter) in world.dead_by_id(3).await {
        assert_eq!(headers(&letter)["traceparent"], parent);
    }
}

#[tokio::test]
async fn what_its_sender_did_not_sample_passes_as_it_came() {
    let (mut world, collector) = (World::start().await, Collector::start().await);
    let mut worker = traced(&world, &collector).start().ready().await;
    send(&world, "unsampled", "delay-1ms", "00").await;
    assert_eq!(traceparent(&world.created(1).await[0]), format!("00-{PARENT}-00"));
    // One without a trace begins one.
    world.send("rootless", &customer("geoff@example.com")).await;
    let event = world.created(1).await.remove(0);
    worker.stop().await;
    let spans = collector.spans(3).await;
    assert_eq!(spans.len(), 3, "{spans:#?}");
    let [process] = of(&spans, SpanKind::Consumer)[..] else { panic!("{spans:#?}") };
    assert!(process.span.parent_span_id.is_empty() && !process.place().starts_with(TRACE));
    assert!(traceparent(&event).contains(&process.place()[..32]));
}

#[tokio::test]
async fn the_sampler_decides_which_traces_are_taken() {
    let (mut world, collector) = (World::start().await, Collector::start().await);
    let settings = traced(&world, &collector);
    for (sampler, share, taken) in [
        ("always_off", "1", false),
        ("traceidratio", "0", false),
        ("traceidratio", "1", true),
        // Not asked: the sender did sample its trace.
        ("parentbased_always_off", "0", true),
    ] {
        let before = collector.count();
        let sampled = settings.clone().set("OTEL_TRACES_SAMPLER", sampler);
        let mut worker = sampled.set("OTEL_TRACES_SAMPLER_ARG", share).start().ready().await;
        send(&world, &format!("{sampler}-{share}"), "delay-1ms", "01").await;
        world.created(1).await;
        worker.stop().await;
        assert_eq!(collector.count() > before, taken, "{sampler} {share}");
    }
}

#[tokio::test]
async fn where_no_endpoint_is_set_nothing_is_sent_and_traces_pass() {
    let (mut world, collector) = (World::start().await, Collector::start().await);
    let mut worker = traced(&world, &collector).unset("OTEL_EXPORTER_OTLP_ENDPOINT").start().ready().await;
    send(&world, "quiet", "delay-1ms", "01").await;
    assert_eq!(traceparent(&world.created(1).await[0]), format!("00-{PARENT}-01"));
    worker.stop().await;
    assert_eq!(collector.count(), 0);
}

#[tokio::test]
async fn imin_is_told_the_span_of_the_call() {
    let (world, collector, slow) = (World::start().await, Collector::start().await, Slow::start().await);
    let settings = traced(&world, &collector).set("IMIN_BASE_URL", slow.url());
    let mut worker = settings.start().ready().await;
    send(&world, "told", "none", "01").await;
    slow.arrived(1).await;
    slow.answer(1);
    let spans = collector.spans(3).await;
    worker.stop().await;
    let [call] = of(&spans, SpanKind::Client)[..] else { panic!("{spans:#?}") };
    assert_eq!(slow.traceparents(), [format!("00-{}-01", call.place())]);
}

#[tokio::test]
async fn a_collector_that_hangs_holds_up_neither_messages_nor_the_end() {
    let (mut world, collector) = (World::start().await, Collector::start().await);
    collector.answers(Answers::Never);
    let mut worker = traced(&world, &collector).start().ready().await;
    send(&world, "first", "delay-1ms", "01").await;
    collector.requests(1).await;
    // It hangs now, and goes on hanging.
    for n in 0..50 {
        send(&world, &format!("more-{n}"), "delay-1ms", "01").await;
    }
    world.created(51).await;
    let before = Instant::now();
    worker.stop().await;
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    worker.log.line("the last spans were not exported").await;
}

#[tokio::test]
async fn what_the_collector_does_not_want_is_counted_and_what_it_cannot_take_now_comes_again() {
    let (mut world, collector) = (World::start().await, Collector::start().await);
    collector.answers(Answers::Status(401));
    let mut worker = traced(&world, &collector).start().ready().await;
    assert_eq!(worker.metric("spans_dropped_total").await, 0.0);
    send(&world, "refused", "delay-1ms", "01").await;
    world.created(1).await;
    worker.until("spans_dropped_total", |dropped| dropped == 3.0).await;
    let line = worker.log.line("spans cannot be exported").await;
    assert!(line.contains("the collector answers 401"), "{line}");

    let refused = collector.count();
    collector.answers(Answers::Status(503));
    send(&world, "later", "delay-1ms", "01").await;
    world.created(1).await;
    collector.requests(refused + 1).await;
    collector.answers(Answers::Status(200));
    assert!(!collector.spans(3).await.is_empty());
    worker.log.line("spans are exported again").await;
    assert_eq!(worker.metric("spans_dropped_total").await, 3.0);
    worker.stop().await;
}

#[tokio::test]
async fn without_a_collector_the_last_spans_are_given_up_at_the_end() {
    let mut world = World::start().await;
    // Nobody listens there.
    let settings = world.settings().set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let mut worker = settings.start().ready().await;
    send(&world, "unseen", "delay-1ms", "01").await;
    timeout(PATIENCE, world.created(1)).await.expect("the event");
    worker.log.line("there is no connection to the collector").await;
    worker.stop().await;
}
