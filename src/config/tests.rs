//! Settings from one end to the other, in a world made of maps.

use super::{
    show::{columns, in_force, reference},
    *,
};
use std::{collections::HashMap, ffi::OsString, io};

/// Settings as text, every one of them recognisable.
#[derive(Default)]
struct World {
    env: HashMap<String, OsString>,
    files: HashMap<PathBuf, String>,
    terminal: bool,
}

impl World {
    fn of(env: &[(&str, &str)]) -> Self {
        let env = env.iter().map(|(name, text)| ((*name).to_owned(), OsString::from(text))).collect();
        Self { env, ..Self::default() }
    }

    fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.to_owned());
        self
    }

    fn load(&self, needs: Needs) -> Result<Config, SettingsError> {
        Config::load(self, self.settings(), needs)
    }

    fn settings(&self) -> Option<&Path> {
        self.files.keys().map(PathBuf::as_path).find(|path| path.extension().is_some_and(|end| end == "toml"))
    }

    fn wrong(&self) -> Vec<Wrong> {
        self.load(Needs::Nothing).expect_err("these settings are wrong").0
    }
}

impl Surroundings for World {
    fn env(&self, name: &str) -> Option<OsString> {
        self.env.get(name).cloned()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn terminal(&self) -> bool {
        self.terminal
    }
}

#[test]
fn the_defaults_are_right_and_agree_with_each_other() {
    let config = World::default().load(Needs::Nothing).expect("defaults");
    assert_eq!(config.broker.names.queue, "customers.create");
    assert_eq!(config.broker.delivery_limit, Some(100));
    assert_eq!(config.imin.base_url.as_str(), "https://book.imin.co/api/v2");
    assert!(config.imin.api_key.is_empty());
    assert_eq!((config.concurrency, config.rate_limit), (256, None));
    assert_eq!(config.retry.in_process_max, Duration::from_secs(10));
    assert_eq!(config.ledger.retention, Duration::from_hours(30 * 24));
    assert_eq!(config.log, Log { format: Format::Json, filter: "info".to_owned() });
}

#[test]
fn a_terminal_gets_pretty_lines_unless_told_otherwise() {
    let mut world = World { terminal: true, ..World::default() };
    assert_eq!(world.load(Needs::Nothing).expect("settings").log.format, Format::Pretty);
    world.env.insert("LOG_FORMAT".into(), "json".into());
    assert_eq!(world.load(Needs::Nothing).expect("settings").log.format, Format::Json);
}

#[test]
fn the_environment_goes_before_the_file_and_the_file_before_the_default() {
    let world = World::of(&[("QUEUE", "from.env"), ("EXCHANGE", "")])
        .file("s.toml", "queue = 'from.file'\nexchange = 'from.file'\nconcurrency = 8\nretry_multiplier = 1.5\nunrouted_tap = false");
    let config = world.load(Needs::Nothing).expect("settings");
    assert_eq!(config.broker.names.queue, "from.env");
    assert_eq!(config.broker.names.exchange, "from.file", "an empty variable is not set");
    assert_eq!(config.concurrency, 8);
    assert!(!config.broker.unrouted_tap);
    assert!((config.retry.multiplier - 1.5).abs() < f64::EPSILON);
}

#[test]
fn secrets_come_from_files_too() {
    let world = World::of(&[("IMIN_API_KEY_FILE", "/run/key")]).file("/run/key", "hunter2\n");
    let imin = world.load(Needs::ApiKey).expect("settings").imin;
    assert_eq!(imin.api_key.expose(), "hunter2");
    assert_eq!(imin.api_key_file.as_deref(), Some(Path::new("/run/key")));

    let both = World::of(&[("IMIN_API_KEY", "a"), ("IMIN_API_KEY_FILE", "/run/key")]).wrong();
    assert!(both[0].name == "IMIN_API_KEY" && both[0].what.contains("IMIN_API_KEY_FILE"), "{both:?}");

    let over = World::of(&[("IMIN_API_KEY", "env")]).file("s.toml", "imin_api_key_file = '/run/key'");
    assert_eq!(over.load(Needs::ApiKey).expect("settings").imin.api_key.expose(), "env");

    for (world, what) in [
        (World::of(&[("AMQP_URL_FILE", "/nowhere")]), "cannot be read"),
        (World::of(&[("AMQP_URL_FILE", "/run/url")]).file("/run/url", "\n"), "is empty"),
    ] {
        let wrong = world.wrong();
        assert!(wrong[0].name == "AMQP_URL_FILE" && wrong[0].what.contains(what), "{wrong:?}");
    }
}

#[test]
fn only_a_command_that_calls_imin_needs_the_key() {
    let wrong = World::default().load(Needs::ApiKey).expect_err("no key").0;
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].name == "IMIN_API_KEY" && wrong[0].remedy.contains("IMIN_API_KEY_FILE"), "{wrong:?}");

    let unreadable =
        World::of(&[("IMIN_API_KEY_FILE", "/nowhere")]).load(Needs::ApiKey).expect_err("no file").0;
    assert_eq!(unreadable.len(), 1, "one problem, one line: {unreadable:?}");
}

#[test]
fn every_problem_is_reported_at_once_with_its_name_and_remedy() {
    let world = World::of(&[
        ("RETRY_INITIAL", "soon"),
        ("CONCURRENCY", "0"),
        ("AMBIGUOUS", "maybe"),
        ("RUST_LOG", "inof"),
        ("ADMIN_ADDR", "localhost"),
        ("RETRY_MAX_ELAPSED", "1000d"),
        ("AMQP_CLIENT_KEY_FILE", "/nowhere"),
        ("DEAD_QUEUE", "customers.create"),
        ("IMIN_API_KEY", "two words"),
    ])
    .file("s.toml", "retry_inital = '1s'\nrate_limit = []");
    let wrong = world.wrong();
    let mut names: Vec<&str> = wrong.iter().map(|wrong| wrong.name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "ADMIN_ADDR",
        "AMBIGUOUS",
        "AMQP_CLIENT_CERT_FILE",
        "AMQP_CLIENT_KEY_FILE",
        "CONCURRENCY",
        "DEAD_QUEUE",
        "IMIN_API_KEY",
        "RETRY_INITIAL",
        "RETRY_MAX_ELAPSED",
        "RUST_LOG",
        "rate_limit",
        "retry_inital",
    ];
    assert_eq!(names, expected, "{wrong:#?}");
    let text = SettingsError(wrong).to_string();
    assert!(text.contains("RETRY_INITIAL (environment) \"soon\" is not a duration. Write"), "{text}");
    assert!(text.contains("Did you mean retry_initial?"), "{text}");
    assert!(!text.contains("two words"), "{text}");
}

#[test]
fn settings_that_contradict_each_other_are_named() {
    for (env, name) in [
        (&[("RETRY_INITIAL", "10m")][..], "RETRY_INITIAL"),
        (&[("RETRY_MAX_INTERVAL", "48h")], "RETRY_MAX_INTERVAL"),
        (&[("RETRY_IN_PROCESS_MAX", "30m")], "RETRY_IN_PROCESS_MAX"),
        (&[("IMIN_CONNECT_TIMEOUT", "1m")], "IMIN_CONNECT_TIMEOUT"),
        (&[("LEDGER_RETENTION", "1h")], "RETRY_MAX_ELAPSED"),
        (&[("DEAD_EXCHANGE", "customers")], "DEAD_EXCHANGE"),
        (&[("UNROUTED_QUEUE", "customers.create")], "UNROUTED_QUEUE"),
    ] {
        let wrong = World::of(env).wrong();
        assert_eq!(wrong.iter().map(|wrong| wrong.name.as_str()).collect::<Vec<_>>(), [name], "{wrong:?}");
    }
}

#[test]
fn encryption_that_is_not_there_is_not_believed_in() {
    for (file, url) in [
        ("AMQP_CA_FILE", ("AMQP_URL", "amqp://h")),
        ("IMIN_CA_FILE", ("IMIN_BASE_URL", "http://h")),
        ("LEDGER_CA_FILE", ("LEDGER_URL", "sqlite://x.db")),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318")),
    ] {
        let wrong = World::of(&[(file, "/ca.pem"), url]).file("/ca.pem", "").wrong();
        assert!(wrong.len() == 1 && wrong[0].name == file && wrong[0].what.contains(url.0), "{wrong:?}");
    }
    let encrypted = World::of(&[("AMQP_CA_FILE", "/ca.pem"), ("AMQP_URL", "amqps://h")]).file("/ca.pem", "");
    assert!(encrypted.load(Needs::Nothing).is_ok());
}

#[test]
fn spans_go_nowhere_unless_an_endpoint_is_set() {
    let mut env = vec![
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=b%2Cc, x-tenant = 1"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=signups, team = a%20b"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
    ];
    assert!(World::of(&env).load(Needs::Nothing).expect("settings").tracing.is_none());
    env.push(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"));
    let tracing = World::of(&env).load(Needs::Nothing).expect("settings").tracing.expect("an endpoint");
    let headers: Vec<_> = tracing.headers.iter().map(|(name, value)| (&**name, value.expose())).collect();
    assert_eq!(headers, [("a", "b,c"), ("x-tenant", "1")]);
    let resource = [("service.name", "signups"), ("team", "a b")];
    assert_eq!(tracing.resource, resource.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!((tracing.sampler, tracing.ratio), (Sampler { parent_based: true, root: Root::Ratio }, 0.25));
    assert_eq!(tracing.service, None, "what the attributes say stands");
}

#[test]
fn a_settings_file_that_is_none_is_an_error_without_its_contents() {
    let broken = World::default().file("s.toml", "queue = 'q'\nimin_api_key = hunter2 hunter2").wrong();
    assert!(broken[0].name == "s.toml" && broken[0].what.contains("line 2"), "{broken:?}");
    assert!(!format!("{broken:?}").contains("hunter2"));

    let wrong =
        Config::load(&World::default(), Some(Path::new("no.toml")), Needs::Nothing).expect_err("no file").0;
    assert!(wrong[0].name == "no.toml" && wrong[0].remedy.contains("--config"), "{wrong:?}");

    let upper = World::default().file("s.toml", "QUEUE = 'q'\nnonsense_thing = 1").wrong();
    assert!(upper[0].name == "QUEUE" && upper[0].remedy.contains("queue?"), "{upper:?}");
    assert!(upper[1].remedy.contains("config reference"), "{upper:?}");
}

#[test]
fn no_secret_is_ever_shown() {
    let world = World::of(&[
        ("IMIN_API_KEY", "hunter2"),
        ("AMQP_URL", "amqp://u:hunter2@h/%2f"),
        ("LEDGER_URL", "postgres://u:hunter2@h/d?sslpassword=hunter2"),
        ("IMIN_BASE_URL", "https://u:hunter2@h/"),
        ("CONCURRENCY", "none"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://u:hunter2@collector:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2,hunter2"),
    ]);
    let (shown, verdict) = in_force(&world, None);
    let verdict = verdict.expect_err("five settings are wrong");
    let json = serde_json::to_string(&shown).expect("JSON");
    for text in [columns(&shown), json, verdict.to_string(), format!("{verdict:?}")] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert_eq!(verdict.0.len(), 5);

    let fine = World::of(&[
        ("IMIN_API_KEY", "hunter2"),
        ("AMQP_URL", "amqp://u:hunter2@h"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2"),
    ]);
    assert!(!format!("{:?}", fine.load(Needs::ApiKey).expect("settings")).contains("hunter2"));
}

#[test]
fn what_is_in_force_says_where_it_came_from() {
    let world = World::of(&[("QUEUE", "q"), ("AMQP_URL_FILE", "/run/url")])
        .file("/run/url", "amqps://u:p@h")
        .file("s.toml", "exchange = 'e'");
    let (shown, verdict) = in_force(&world, world.settings());
    verdict.expect("right");
    let find = |name: &str| shown.iter().find(|shown| shown.name == name).expect(name).clone();
    assert_eq!((find("QUEUE").value.as_deref(), &*find("QUEUE").source), (Some("q"), "environment"));
    assert_eq!(find("EXCHANGE").source, "file");
    assert_eq!(find("AMQP_URL").source, "secret file /run/url");
    assert_eq!(find("AMQP_URL").value.as_deref(), Some("amqps://u:***@h"));
    assert_eq!(find("RATE_LIMIT").value, None);
    let text = columns(&shown);
    assert!(text.contains("(no limit)") && text.lines().count() == TABLE.len(), "{text}");
}

#[test]
fn every_setting_is_documented_and_its_default_is_right() {
    let table = reference();
    for setting in TABLE {
        let about = setting.about();
        assert!(about.doc.trim().ends_with('.') && about.doc.len() > 20, "{} has no doc", about.name);
        assert!(table.contains(&format!("| `{}` |", about.name)));
        if let Fallback::Text(text) = about.default {
            assert_eq!(setting.check(text), Ok(()), "the default of {}", about.name);
        }
    }
    let mut names: Vec<_> = TABLE.iter().map(|setting| setting.about().name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TABLE.len(), "a name twice");
}
