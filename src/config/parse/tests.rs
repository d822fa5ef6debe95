//! What each kind of setting takes, and what it does not.

use super::*;

fn takes<T: std::fmt::Debug>(parse: fn(&str) -> Parsed<T>, good: &[&str], bad: &[&str]) {
    for text in good {
        assert!(parse(text).is_ok(), "{text:?} should be taken: {:?}", parse(text));
    }
    for text in bad {
        let fault = parse(text).expect_err(text);
        assert!(!fault.what.is_empty() && fault.remedy.ends_with('.'), "{text:?}: {fault:?}");
    }
}

#[test]
fn durations() {
    takes(
        duration,
        &["250ms", "10s", "5m", "24h", "30d", "720h", "1m 30s"],
        &["", "10", "0s", "-1s", "ten", "900y"],
    );
    takes(duration_or_zero, &["0s", "10s"], &["", "-1s"]);
    takes(heartbeat, &["1s", "10s", "65535s"], &["500ms", "1500ms", "65536s", "0s"]);
    takes(call_timeout, &["30s", "120s"], &["121s", "0s"]);
    assert_eq!(duration("30d"), duration("720h"));
}

#[test]
fn numbers() {
    takes(whole::<u32, 1, 50>, &["1", "50"], &["0", "51", "-1", "1.5", "", "many"]);
    takes(share, &["0", "0.5", "1"], &["-0.1", "1.1", "NaN", "inf", ""]);
    takes(some_share, &["0.2", "1"], &["0", "1.1", "NaN"]);
    takes(multiplier, &["1", "2", "1.5"], &["0.9", "101", "inf"]);
    takes(rate, &["0.5", "100"], &["0", "-1", "NaN", "inf"]);
    assert_eq!(limit("0"), Ok(None));
    assert_eq!(limit("100"), Ok(Some(100)));
}

#[test]
fn words() {
    takes(switch, &["true", "false"], &["yes", "1", "True"]);
    takes(topology, &["apply", "verify"], &["Apply", "check"]);
    takes(ambiguous, &["retry", "park"], &["drop"]);
    takes(format, &["pretty", "json"], &["text"]);
    takes(filter, &["info", "warn,imin_customer_worker=debug", "off"], &["inof", "a=b=c", "info,x=loud"]);
    takes(queue, &["customers.create"], &["amq.gen-x", "a\nb", &"q".repeat(201)]);
    takes(word, &["customer.create", &"k".repeat(255)], &[&"k".repeat(256)]);
    assert_eq!(choice("x", &[("a", 1), ("b", 2)]).expect_err("x").remedy, "Write a or b.");
}

#[test]
fn addresses_and_urls() {
    takes(address, &["127.0.0.1:8080", "[::]:8080", "0.0.0.0:0"], &["localhost:8080", ":8080", "127.0.0.1"]);
    takes(key, &["abc-123"], &["two words", "line\n", "clé"]);
    takes(
        amqp_url,
        &["amqp://h", "amqps://u:p@h:5671/%2f", "amqp://h/a"],
        &["http://h", "h:5672", "amqp://h/a/b"],
    );
    takes(
        ledger_url,
        &["sqlite://x.db", "sqlite:///x.db", "postgres://u:p@h/d"],
        &["x.db", "mysql://u:p@h/d", "sqlite:x.db", "sqlite://x.db?mode=ro", "postgres://h/d?sslmode=maybe"],
    );
    takes(
        base_url,
        &["https://book.imin.co/api/v2", "http://127.0.0.1:9000"],
        &["ftp://h", "book.imin.co", "https://h/?q", "https://h/#f", "https://u:p@h/"],
    );
    takes(
        otlp_endpoint,
        &["http://collector:4318", "https://otlp.example/below/"],
        &["collector:4318", "grpc://h", "https://h/?q", "https://u:p@h/", "http://"],
    );
    assert_eq!(base_url("https://h/api/v2/").map(String::from), Ok("https://h/api/v2".to_owned()));
}

#[test]
fn what_opentelemetry_names() {
    takes(sampler, &["always_on", "parentbased_traceidratio"], &["xray", "jaeger_remote", "Always_On"]);
    takes(otlp_protocol, &["http/protobuf"], &["grpc", "http/json"]);
    takes(headers, &["a=b", "a=b=c,", "a=%20b", "a="], &["a", "=b", "a b=c", "a=%0d", "a=%ff", "a=%c3%a9"]);
    takes(attributes, &["a.b=%c3%a9", "a=b, c = d"], &["a", "=b", "a=%ff"]);
}

#[test]
fn no_fault_repeats_the_text() {
    let text = "hunter2 hunter2://hunter2";
    let faults = [
        amqp_url(text).expect_err("url"),
        key(text).expect_err("key"),
        ledger_url("hunter2").expect_err("ledger"),
        ledger_url("mysql://u:hunter2@h/d").expect_err("ledger"),
        ledger_url("postgres://u:hunter2@h/d?sslmode=hunter2").expect_err("ledger"),
        amqp_url("amqp://u:hunter2@h:port/").expect_err("port"),
        headers("hunter2").expect_err("headers"),
        headers("a=hunter2%0a").expect_err("headers"),
    ];
    for fault in faults {
        assert!(!format!("{fault:?}").contains("hunter2"), "{fault:?}");
    }
}
