//! The README says what the binary says: its tables of settings and of metrics, its examples.

use imin_customer_worker::{
    config::show,
    event,
    message::{Message, Properties},
    metrics::Metrics,
};
use jiff::civil::date;
use serde_json::Value;

const README: &str = include_str!("../../README.md");

/// To mend it: put what `imin-customer-worker config reference` prints between the two marks.
#[test]
fn the_table_of_settings_is_the_binarys() {
    let (_, rest) = README
        .split_once("<!-- settings: imin-customer-worker config reference -->\n")
        .expect("its beginning");
    let (table, _) = rest.split_once("<!-- /settings -->").expect("its end");
    assert_eq!(table.trim(), show::reference().trim());
}

#[test]
fn the_table_of_metrics_holds_each_with_its_help() {
    let metrics = Metrics::new();
    // A family without a series does not show.
    metrics.api_requests.with_label_values(&["201"]).inc();
    metrics.retries.with_label_values(&["connect"]).inc();
    metrics.replays.with_label_values(&["created"]).inc();
    let text = metrics.render();
    let helps = text.lines().filter_map(|line| line.strip_prefix("# HELP customer_worker_")?.split_once(' '));
    let said: Vec<(&str, &str)> = helps.collect();
    assert_eq!(said.len(), 19, "{said:?}");
    for (name, help) in said {
        let row = README.lines().find(|line| {
            line.strip_prefix("| `").is_some_and(|row| {
                row.starts_with(&format!("{name}{{")) || row.starts_with(&format!("{name}`"))
            })
        });
        assert!(
            row.is_some_and(|row| row.ends_with(&format!("| {help} |"))),
            "{name}: {row:?} does not say {help:?}"
        );
    }
}

#[test]
fn the_examples_are_an_event_and_what_comes_of_it() {
    let mut blocks = README.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let (incoming, outgoing) = (blocks.next().expect("one example"), blocks.next().expect("another"));
    let message = Message {
        body: incoming.into(),
        properties: Properties::default().with_content_type("application/cloudevents+json".into()),
        exchange: "customers".into(),
        routing_key: "customer.create".into(),
        redelivered: false,
    };
    let event = event::read(&message, date(2026, 11, 23)).expect("a valid event");
    let outgoing: Value = serde_json::from_str(outgoing).expect("JSON");
    assert_eq!(outgoing["id"], event.key.to_string());
    assert_eq!(outgoing["causationid"], event.id);
    assert_eq!(outgoing["subject"].as_str(), event.subject.as_deref());
}
