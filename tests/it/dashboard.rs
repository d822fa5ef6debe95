//! The dashboard: each of its queries is run by a real Prometheus that has scraped a real worker at work.
//! None may be an error, none empty.

use crate::{
    alerts::metrics_in,
    support::{
        worker::{PATIENCE, client, poll},
        world::{World, customer, plain},
    },
};
use imin_customer_worker::clock;
use serde_json::Value;
use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use tokio::time::Instant;

/// A Prometheus of one's own. Dropped, it ends, data and all.
struct Prometheus {
    child: Child,
    url: String,
    _dir: TempDir,
}

impl Prometheus {
    /// Scrapes this address every second, as the job that the dashboard and the alerts know.
    async fn scraping(target: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus/rules.yml");
        let settings = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{rules}]\n\
             scrape_configs:\n\
             - job_name: imin-customer-worker\n  \
               static_configs: [{{targets: ['{target}']}}]\n"
        );
        let (file, data) = (dir.path().join("prometheus.yml"), dir.path().join("data"));
        fs::write(&file, settings).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus runs (apt-get install prometheus)");
        let prometheus = Self { child, url: format!("http://{address}"), _dir: dir };
        let patience = Instant::now() + PATIENCE;
        while client().get(format!("{}/-/ready", prometheus.url)).send().await.is_err() {
            assert!(Instant::now() < patience, "Prometheus does not come up");
            poll().await;
        }
        prometheus
    }

    async fn get(&self, path: &str, query: Option<&str>) -> Value {
        let mut url = url::Url::parse(&format!("{}{path}", self.url)).unwrap();
        if let Some(query) = query {
            url.query_pairs_mut().append_pair("query", query);
        }
        client().get(url).send().await.unwrap().json().await.unwrap()
    }

    /// How many numbers a query comes to; an error panics.
    async fn numbers(&self, query: &str) -> usize {
        let answer = self.get("/api/v1/query", Some(query)).await;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        let found = answer["data"]["result"].as_array().unwrap();
        let number = |sample: &&Value| sample["value"][1].as_str().is_some_and(|value| value != "NaN");
        found.iter().filter(number).count()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn dashboard() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/grafana/dashboard.json");
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// Every panel's title and query, with Grafana's variables filled in.
fn queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    for annotation in annotations {
        assert!(annotation["expr"].is_string(), "{annotation}");
    }
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let query = query.replace("$job", ".*").replace("$queue", ".*").replace("$__rate_interval", "1m");
            assert!(!query.contains('$'), "a variable that nobody fills in: {query}");
            queries.push((panel["title"].as_str().unwrap().to_owned(), query));
        }
    }
    queries
}

#[tokio::test]
async fn every_query_finds_something_in_a_real_prometheus() {
    let queries = queries();
    assert!(queries.len() > 30);
    let mut world = World::start().await;
    let mut worker = world.settings().start().ready().await;
    let prometheus = Prometheus::scraping(&worker.admin().await).await;
    let deadline = Instant::now() + PATIENCE * 2;
    let mut round = 0;
    loop {
        // Always something at work, since a rate of nothing is no number.
        round += 1;
        let made = u64::try_from(clock::now().as_second()).unwrap();
        let dated = plain(&format!("good-{round}")).with_timestamp(made);
        world.publish(customer("geoff@example.com").to_string().as_bytes(), dated).await;
        let unwell = customer(&format!("ada{round}+fault-503x1@example.com"));
        world.send(&format!("unwell-{round}"), &unwell).await;
        world.publish(b"{}", plain(&format!("bad-{round}"))).await;
        world.created(2).await;
        let mut empty = Vec::new();
        for (panel, query) in &queries {
            if prometheus.numbers(query).await == 0 {
                empty.push(format!("{panel}: {query}"));
            }
        }
        if empty.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "nothing comes of:\n{}", empty.join("\n"));
    }
    rules_are_loaded(&prometheus).await;
    worker.stop().await;
}

/// The alerts are evaluated on what a real worker shows, and none fails at it.
async fn rules_are_loaded(prometheus: &Prometheus) {
    let rules = prometheus.get("/api/v1/rules", None).await;
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
    assert!(rules.len() >= 11);
    for rule in rules {
        assert_ne!(rule["health"], "err", "{rule:#}");
    }
}

#[test]
fn the_rows_are_an_operators_questions_in_order() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<&str> = panels
        .iter()
        .filter(|panel| panel["type"] == "row")
        .map(|row| row["title"].as_str().unwrap())
        .collect();
    let questions = [
        "Is it working?",
        "How fast?",
        "How old is the oldest?",
        "What fails, and why?",
        "What is it waiting for?",
        "Is the machine fine?",
    ];
    assert_eq!(rows, questions);
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(panel["description"].as_str().is_some_and(|words| !words.is_empty()), "{}", panel["title"]);
    }
}

#[test]
fn every_metric_of_the_worker_is_on_the_dashboard() {
    let shown = metrics_in(&dashboard().to_string());
    let metrics = imin_customer_worker::metrics::Metrics::new();
    for family in metrics.registry.gather() {
        let name = family.name();
        assert!(!name.starts_with("customer_worker_") || shown.contains(name), "{name} is not shown");
    }
}
