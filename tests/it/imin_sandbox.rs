//! The real `imin-sandbox`: its command line, its endpoints, its signals.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
};

/// A running `imin-sandbox`; killed when the test is done with it.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_imin-sandbox"))
            .args(["--addr", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, url }
    }

    fn signal(&mut self, name: &str) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }

    async fn create(&self, key: Option<&str>, body: &Value) -> reqwest::Response {
        let mut request = client().post(format!("{}/api/v2/customer-accounts", self.url)).json(body);
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        request.header("idempotency-key", "\"one\"").send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let request = client().get(format!("{}{path}", self.url)).header("x-api-key", "k");
        request.send().await.unwrap().json().await.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn geoff() -> Value {
    json!({
        "@context": "https://openactive.io/",
        "@type": "CustomerAccount",
        "customer": {
            "@type": "Person",
            "email": "geoffcapes@example.com",
            "givenName": "Geoff",
            "familyName": "Capes",
        },
    })
}

#[tokio::test]
async fn it_plays_the_documented_api() {
    let sandbox = Process::start(&["--api-key", "k"]);
    let made = sandbox.create(Some("k"), &geoff()).await;
    assert_eq!(made.status(), 201);
    assert_eq!(made.headers()["content-type"], "application/vnd.openactive.booking+json; version=1");
    let made: Value = made.json().await.unwrap();
    let identifier = made["identifier"].as_str().unwrap();
    let mut mirrored = geoff();
    mirrored["identifier"] = identifier.into();
    mirrored["@id"] = format!("{}/api/v2/customer-accounts/{identifier}", sandbox.url).into();
    assert_eq!(made, mirrored);
    assert_eq!(sandbox.get(&format!("/api/v2/customer-accounts/{identifier}")).await, made);

    for (key, body, status, class) in [
        (None, geoff(), 403, "NoAPITokenError"),
        (Some("other"), geoff(), 401, "InvalidAPITokenError"),
        (Some("k"), json!({"customer": {}}), 400, "IncompleteCustomerDetailsError"),
    ] {
        let refused = sandbox.create(key, &body).await;
        assert_eq!(refused.status(), status);
        assert_eq!(refused.json::<Value>().await.unwrap()["@type"], class);
    }
    let absent = sandbox.get("/api/v2/customer-accounts/abc").await;
    assert_eq!((&absent["@type"], &absent["statusCode"]), (&json!("NotFoundError"), &json!(404)));
    assert_eq!(sandbox.get("/api/v2/x").await["@type"], "UnknownOrIncorrectEndpointError");
    assert_eq!(sandbox.get("/api/v2/customer-accounts").await["@type"], "MethodNotAllowedError");
}

#[tokio::test]
async fn faults_are_set_and_doubles_seen_over_http() {
    let sandbox = Process::start(&["--fault", "500-afterx1", "--latency", "1ms"]);
    assert_eq!(sandbox.get("/sandbox/faults").await["faults"], json!(["500-afterx1"]));
    assert_eq!(sandbox.create(Some("k"), &geoff()).await.status(), 500);
    assert_eq!(sandbox.create(Some("k"), &geoff()).await.status(), 201);
    let faults = format!("{}/sandbox/faults", sandbox.url);
    let set = client().put(&faults).json(&json!({"faults": ["503x5"], "seed": 3})).send().await.unwrap();
    assert_eq!(
        set.json::<Value>().await.unwrap(),
        json!({"faults": ["503x5"], "seed": 3, "addresses": true})
    );
    assert_eq!(sandbox.create(Some("k"), &geoff()).await.status(), 503);
    assert_eq!(client().delete(&faults).send().await.unwrap().status(), 200);
    let deaf = json!({"faults": [], "addresses": false});
    assert_eq!(client().put(&faults).json(&deaf).send().await.unwrap().status(), 200);
    assert_eq!(sandbox.get("/sandbox/faults").await["addresses"], false);
    let bad = client().put(&faults).json(&json!({"faults": ["nonsense"]})).send().await.unwrap();
    assert_eq!(bad.status(), 400);

    let accounts = sandbox.get("/sandbox/accounts").await;
    assert_eq!((&accounts["total"], &accounts["doubles"]), (&json!(2), &json!(1)));
    assert_eq!(accounts["keys"], json!({"one": {"calls": 3, "accounts": 2}}));
    assert_eq!(accounts["accounts"][0]["idempotencyKey"], "one");
    assert_eq!(sandbox.get("/sandbox/stats").await["calls"], json!({"201": 1, "500": 1, "503": 1}));
    assert_eq!(sandbox.get("/sandbox/last-request").await["idempotency-key"], "\"one\"");
    let accounts = format!("{}/sandbox/accounts", sandbox.url);
    client().delete(accounts).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(sandbox.get("/sandbox/stats").await["accounts"], 0);
}

#[tokio::test]
async fn a_journal_outlives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let journal = ["--journal", path.to_str().unwrap()];
    let mut before = Process::start(&journal);
    let made: Value = before.create(Some("k"), &geoff()).await.json().await.unwrap();
    before.signal("-KILL");
    let after = Process::start(&journal);
    let accounts = after.get("/sandbox/accounts").await;
    assert_eq!(accounts["accounts"][0]["identifier"], made["identifier"]);
    let path = format!("/api/v2/customer-accounts/{}", made["identifier"].as_str().unwrap());
    assert_eq!(after.get(&path).await["identifier"], made["identifier"]);
}

#[tokio::test]
async fn it_ends_by_a_signal_even_under_a_call() {
    for signal in ["-TERM", "-INT"] {
        let mut sandbox = Process::start(&["--fault", "endless"]);
        let endless = sandbox.create(Some("k"), &geoff()).await;
        assert_eq!(sandbox.signal(signal).code(), Some(0));
        assert!(endless.bytes().await.is_err(), "the body was cut");
    }
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_imin-sandbox")).args(arguments).output().unwrap();
        (output.status.code(), output)
    };
    let (code, output) = run(&["--fault", "nonsense"]);
    assert_eq!(code, Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no fault: `nonsense`"));
    let (code, output) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("reset-before"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(run(&["--addr", &taken.local_addr().unwrap().to_string()]).0, Some(1));
}
