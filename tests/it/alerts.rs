//! The alerts: promtool's verdict on the rules and on their unit tests, a runbook section for each, and no
//! metric in them that the worker does not have.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

fn deploy(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "deploy", file].iter().collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(deploy(file)).unwrap()
}

fn promtool(arguments: &[&str]) {
    let done = Command::new("promtool").args(arguments).current_dir(deploy("prometheus")).output();
    let done = done.expect("promtool runs (apt-get install prometheus)");
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&said));
}

/// The alerts' names, in order.
fn alerts() -> Vec<String> {
    let rules = read("prometheus/rules.yml");
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[test]
fn promtool_finds_nothing_wrong() {
    promtool(&["check", "rules", "--lint-fatal", "rules.yml"]);
    promtool(&["test", "rules", "rules_test.yml"]);
}

#[test]
fn each_alert_fires_in_a_unit_test() {
    let tests = read("prometheus/rules_test.yml");
    assert!(alerts().len() >= 11);
    for alert in alerts() {
        let fires = tests
            .split(&format!("alertname: {alert}\n"))
            .skip(1)
            .any(|rest| rest.lines().next().is_some_and(|line| line.trim_start().starts_with("exp_alerts:")));
        assert!(fires, "{alert} never fires in rules_test.yml");
    }
}

#[test]
fn each_alert_has_its_section_in_the_runbook_and_leads_there() {
    let (runbook, rules) = (read("RUNBOOK.md"), read("prometheus/rules.yml"));
    let sections: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(sections, alerts(), "the runbook's sections are the alerts, in their order");
    for alert in alerts() {
        let rule = rules.split(&format!("- alert: {alert}\n")).nth(1).unwrap();
        let rule = rule.split("- alert: ").next().unwrap();
        let anchor = format!("runbook_url: deploy/RUNBOOK.md#{}", alert.to_lowercase());
        assert!(rule.contains(&anchor), "{alert} does not lead to {anchor}");
        let section = runbook.split(&format!("## {alert}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
        assert!(section.contains('`'), "the section of {alert} has no command");
    }
}

#[test]
fn links_inside_the_runbook_lead_somewhere() {
    let runbook = read("RUNBOOK.md");
    let anchors: BTreeSet<String> = alerts().iter().map(|alert| alert.to_lowercase()).collect();
    let linked = runbook.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap());
    for link in linked {
        assert!(anchors.contains(link), "#{link}");
    }
}

/// The names of ours in a PromQL text, without a histogram's endings.
pub(crate) fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("customer_worker_"));
    ours.map(|word| {
        let bare = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        bare.unwrap_or(word).to_owned()
    })
    .collect()
}

#[test]
fn the_alerts_know_no_metric_that_the_worker_has_not() {
    let metrics = imin_customer_worker::metrics::Metrics::new();
    let families: BTreeSet<String> =
        metrics.registry.gather().iter().map(|family| family.name().to_owned()).collect();
    for name in metrics_in(&(read("prometheus/rules.yml") + &read("RUNBOOK.md"))) {
        assert!(families.contains(&name), "there is no metric {name}");
    }
}
