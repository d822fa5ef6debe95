//! `send`: from files and standard input to customers.

use crate::support::{
    worker::{PATIENCE, Settings},
    world::{World, json},
};
use std::{
    collections::BTreeSet,
    process::{Output, Stdio},
};
use tokio::{io::AsyncWriteExt, time::timeout};

fn line(reference: &str, email: &str) -> String {
    format!(
        r#"{{"ref":"{reference}","customer":{{"email":"{email}","givenName":"Geoff","familyName":"Capes"}}}}"#
    )
}

#[tokio::test]
async fn files_and_standard_input_become_customers() {
    let mut world = World::start().await;
    let settings = world.settings();
    let mut worker = settings.start().ready().await;
    let lines = world.dir.path().join("signups.jsonl");
    let array = world.dir.path().join("signups.json");
    write(&lines, &[line("a", "a@example.com"), line("b", "b@example.com")].join("\n"));
    write(&array, &format!("[\n{},\n{}\n]", line("c", "c@example.com"), line("d", "d@example.com")));
    let (lines, array) = (lines.display().to_string(), array.display().to_string());

    let from_files =
        settings.run(&["send", "--subject-from", "/ref", "--id-from", "/ref", &lines, &array]).await;
    assert_sent(&from_files, "4 sent, in ");
    let from_stdin =
        pipe(&settings, &["send", "--subject-from", "/ref", "-"], &line("e", "e@example.com")).await;
    assert_sent(&from_stdin, "1 sent, in ");
    let events = world.created(5).await;
    let subjects: BTreeSet<String> =
        events.iter().map(|event| json(event)["subject"].as_str().expect("a subject").to_owned()).collect();
    assert_eq!(subjects, ["a", "b", "c", "d", "e"].map(str::to_owned).into());

    // The same file again is the same events; plain JSON carries the same customers.
    assert_sent(
        &settings.run(&["send", "--subject-from", "/ref", "--id-from", "/ref", &lines]).await,
        "2 sent, in ",
    );
    worker.until("outcomes_total{outcome=\"duplicate\"}", |n| n == 2.0).await;
    assert_sent(&settings.run(&["send", "--plain", &array]).await, "2 sent, in ");
    world.created(2).await;
    worker.stop().await;
    assert_eq!((world.accounts(), world.depth("customers.create.dead").await), (7, 0));
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_by_its_line() {
    let world = World::start().await;
    let file = world.dir.path().join("mixed.jsonl");
    let text = [
        line("a", "a@example.com"),
        "{\"customer\": Zebedee}".into(),
        "[]x".into(),
        line("b", "b@example.com"),
    ];
    write(&file, &text.join("\n"));
    let file = file.display().to_string();
    let sent = world.settings().run(&["send", "--id-from", "/ref", &file, "/nowhere.jsonl"]).await;
    let (out, err) = words(&sent);
    assert_eq!(sent.status.code(), Some(1), "{out}{err}");
    assert!(err.contains(&format!("{file}:2: ")) && err.contains("/nowhere.jsonl: cannot be read"), "{err}");
    assert!(!err.contains("Zebedee") && !err.contains("example.com"), "a value is in: {err}");
    assert!(out.contains(" wrong, 1 of the files not read to the end"), "{out}");
}

#[tokio::test]
async fn without_a_broker_nothing_is_said_to_be_sent() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    write(file.path(), &line("a", "a@example.com"));
    let settings = Settings::new(&[("AMQP_URL", "amqp://guest:hunter2@127.0.0.1:1/%2f")]);
    let sent = settings.run(&["send", &file.path().display().to_string()]).await;
    let (out, err) = words(&sent);
    assert_eq!((sent.status.code(), &*out), (Some(1), ""), "{err}");
    assert!(err.contains("check AMQP_URL") && !err.contains("hunter2"), "{err}");
}

fn write(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).expect("the directory is ours");
}

/// Everything was sent, and where there is no terminal, there is no bar.
fn assert_sent(sent: &Output, start: &str) {
    let (out, err) = words(sent);
    assert!(sent.status.success() && out.starts_with(start), "{out}{err}");
    assert!(!out.contains('\u{1b}') && !err.contains(['\u{1b}', '\r', '%']), "a bar: {err}");
}

fn words(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Runs a command with this on its standard input.
async fn pipe(settings: &Settings, arguments: &[&str], input: &str) -> Output {
    let mut command = settings.command();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).await.expect("it reads");
    timeout(PATIENCE, child.wait_with_output()).await.expect("the command ends").expect("it ran")
}
