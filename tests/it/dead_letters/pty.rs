//! What a person sees and types, in a terminal: the story of three letters at three in the morning.

use super::support::{letter, list, publish, until_dead};
use crate::support::{
    worker::{PATIENCE, Settings},
    world::{World, customer, json},
};
use imin_customer_worker::{outcome::Reason, sandbox::fault::Fault};
use serde_json::Value;
use std::process::Stdio;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// Runs a command line in a pseudo-terminal of util-linux's `script`, and types an answer at each
/// question. What was on the screen, and the exit code.
async fn on_a_terminal(settings: &Settings, line: &str, answers: &[&str]) -> (String, Option<i32>) {
    let binary = env!("CARGO_BIN_EXE_imin-customer-worker");
    let of = settings.clone().set("TERM", "xterm").binary("script");
    let mut command = of.command();
    command.args(["-qec", &format!("stty cols 80; {binary} dead-letters {line}"), "/dev/null"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("script (util-linux) runs");
    // Closed only at the end: `script` would take it for the end of the session.
    let mut keyboard = child.stdin.take().expect("piped");
    let mut screen = child.stdout.take().expect("piped");
    let (mut seen, mut answers) = (Vec::new(), answers.iter());
    let (mut answered, mut piece) = (0, [0; 4096]);
    let session = async {
        loop {
            let count = screen.read(&mut piece).await.expect("readable");
            if count == 0 {
                return;
            }
            seen.extend_from_slice(&piece[..count]);
            let questions = String::from_utf8_lossy(&seen).matches("[y/N] ").count();
            while answered < questions {
                let answer = answers.next().expect("no more questions than answers");
                keyboard.write_all(format!("{answer}\n").as_bytes()).await.expect("typed");
                answered += 1;
            }
        }
    };
    if timeout(PATIENCE, session).await.is_err() {
        panic!("`{line}` does not end: {}", String::from_utf8_lossy(&seen));
    }
    assert!(answers.next().is_none(), "it asks less often than expected");
    let status = child.wait().await.expect("our child");
    (String::from_utf8_lossy(&seen).into_owned(), status.code())
}

fn key(letters: &[Value], reason: &str) -> String {
    let found = letters.iter().find(|letter| letter["reason"] == reason);
    found.unwrap_or_else(|| panic!("no {reason} in {letters:?}"))["key"].as_str().expect("a key").to_owned()
}

fn faults(world: &World, faults: &[&str]) {
    let faults: Vec<Fault> = faults.iter().map(|fault| fault.parse().expect("a fault")).collect();
    world.sandbox.set_faults(faults, 0);
}

#[tokio::test]
async fn three_letters_at_three_in_the_morning() {
    let mut world = World::start().await;
    let mut worker = world.settings().set("AMBIGUOUS", "park").start().ready().await;
    world.send("invalid", &customer("geoff at example.com")).await;
    until_dead(&world, 1).await;
    faults(&world, &["422"]);
    world.send("rejected", &customer("rejected@example.com")).await;
    until_dead(&world, 2).await;
    faults(&world, &["500"]);
    world.send("unknown", &customer("unknown@example.com")).await;
    until_dead(&world, 3).await;
    faults(&world, &[]);
    let settings = world.settings().set("ADMIN_ADDR", worker.admin().await);
    let letters = list(&settings).await;

    let (screen, code) = on_a_terminal(&settings, "list", &[]).await;
    assert_eq!(code, Some(0));
    assert!(screen.contains("\u{1b}[1mKEY"), "colours: {screen}");
    let (plain, _) = on_a_terminal(&settings.clone().set("NO_COLOR", "1"), "list", &[]).await;
    assert!(!plain.contains("\u{1b}[1m"), "no colours: {plain}");
    assert!(plain.lines().all(|line| line.trim_end().chars().count() <= 80), "{plain}");

    edited(&world, &settings, &key(&letters, "invalid_event")).await;
    assert_eq!(json(&world.created(1).await.remove(0))["causationid"], "invalid");

    let rejected = key(&letters, "rejected_by_api");
    let (screen, code) = on_a_terminal(&settings, &format!("replay {rejected}"), &["n"]).await;
    assert!(screen.contains("Nothing was done") && code == Some(1), "{screen}");
    let (screen, code) = on_a_terminal(&settings, &format!("replay {rejected} --wait 60s"), &["y"]).await;
    assert!(screen.contains("1 replayed; 1 created") && code == Some(0), "{screen}");
    assert_eq!(json(&world.created(1).await.remove(0))["causationid"], "rejected");

    let unknown = key(&letters, "outcome_unknown");
    let line = format!("resolve {unknown} --identifier abc --why 'seen at imin' --wait 60s");
    let (screen, code) = on_a_terminal(&settings, &line, &["yes"]).await;
    assert!(screen.contains("seen at imin") && code == Some(0), "{screen}");
    let event = json(&world.created(1).await.remove(0));
    assert_eq!((&event["causationid"], &event["data"]["identifier"]), (&"unknown".into(), &"abc".into()));

    assert_eq!(world.accounts(), 2);
    assert_eq!(world.depth("customers.create.dead").await, 0);
    worker.stop().await;
}

/// Whatever an editor does but a good change leaves the letter where it is, and says so.
#[tokio::test]
async fn an_edit_that_comes_to_nothing_leaves_the_letter() {
    let world = World::start().await;
    publish(&world.vhost, [letter(1, Reason::InvalidEvent, 3)]).await;
    let edit = async |editor: &str, answers: &[&str]| {
        on_a_terminal(&world.settings().set("EDITOR", editor), "edit 00000001", answers).await
    };
    let (screen, code) = edit("true", &[]).await;
    assert!(screen.contains("Nothing was changed") && code == Some(0), "{code:?}: {screen}");
    let (screen, code) = edit("false", &[]).await;
    assert!(screen.contains("the editor false ended with exit status: 1"), "{screen}");
    assert_eq!(code, Some(1), "{screen}");
    let (screen, code) = edit("/nowhere/vi", &[]).await;
    assert!(screen.contains("the editor /nowhere/vi ended with exit status: 127"), "{screen}");
    assert_eq!(code, Some(1), "{screen}");
    let (screen, code) = edit("sed -i s/member/@@/", &["n"]).await;
    assert!(screen.contains("/customer/email must be") && screen.contains("Nothing was done"), "{screen}");
    assert!(!screen.contains("Nothing was changed") && code == Some(1), "{code:?}: {screen}");
    assert_eq!(world.depth("customers.create.dead").await, 1);
}

/// The first edit is still wrong; the editor opens again on what was written.
async fn edited(world: &World, settings: &Settings, key: &str) {
    let editor = world.dir.path().join("editor.sh");
    let script = "#!/bin/sh\nls -l \"$1\" >> \"$(dirname \"$0\")/modes\"\n\
                  if grep -q 'geoff at' \"$1\"; then sed -i 's/geoff at /geoff@@/' \"$1\"\n\
                  else sed -i 's/geoff@@/geoff@/' \"$1\"; fi\n";
    std::fs::write(&editor, script).expect("written");
    let settings = settings.clone().set("EDITOR", format!("sh {}", editor.display()));
    let line = format!("edit {key} --wait 60s");
    let (screen, code) = on_a_terminal(&settings, &line, &["y", "y"]).await;
    assert!(
        screen.contains("/customer/email must be") && screen.contains("Changed: /customer/email"),
        "{screen}"
    );
    assert!(screen.contains("1 edited and sent; 1 created"), "{screen}");
    assert!(!screen.contains("geoff"), "{screen}");
    assert_eq!(code, Some(0));
    let modes = std::fs::read_to_string(world.dir.path().join("modes")).expect("the editor ran");
    let path = modes.split_whitespace().find(|word| word.ends_with("body.json")).expect("its file");
    assert!(!std::path::Path::new(path).exists(), "the file is gone with the editor");
}
