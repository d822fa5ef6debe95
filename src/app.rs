//! The worker put together: the only place that names concrete adapters.
//!
//! Owns the order of starting and stopping, and who tells whom. What a setting means to a room is that
//! room's; this one only hands it over.

mod key;
mod watchers;

use crate::{
    admin,
    amqp::{
        self, AmqpPublisher, AmqpShelves, AmqpSource, Endpoint, publisher::Link, source, topology::Topology,
        unrouted,
    },
    breaker,
    broker::{Names, Publisher},
    config::{self, Config, TopologyMode},
    dead_letters::shelf::Shelves,
    gate::{self, Gate},
    health::{Cause, Readiness},
    imin::http::{self, Imin},
    ledger::{
        Ledger,
        open::{self, LedgerUrl},
    },
    metrics::Metrics,
    outcome::{Ambiguous, Policy},
    pipeline::{self, Pipeline},
    retry::Schedule,
    shutdown::Shutdown,
    spans::{
        Spans,
        otlp::{self, Export},
    },
    worker::Worker,
};
use anyhow::Context;
use std::{sync::Arc, time::Duration};
use tracing::{info, warn};
use uuid::Uuid;
use watchers::{Links, Side};

/// How much of the broker's consumer timeout a delivery may be held for.
const HOLD_SHARE: u32 = 3;
/// The wait between two tries to open a ledger that is not there yet.
const LEDGER_WAIT: Duration = Duration::from_secs(2);

/// Runs the worker until it is told to stop. An error is for what no waiting can mend.
pub async fn run(config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let (metrics, readiness) = (Arc::new(Metrics::new()), Readiness::default());
    let admin = admin::bind(config.admin_addr).await?;
    info!(addr = %admin.local_addr()?, "admin endpoints");
    let serving =
        tokio::spawn(admin::serve(admin, readiness.clone(), (*metrics).clone(), shutdown.abort.clone()));
    let instance = Uuid::new_v4();
    let (spans, export) = traced(&config, instance, &metrics)?;
    let worked = work(&config, instance, &shutdown, &metrics, &readiness, spans).await;
    if let Some(export) = export {
        export.close().await;
    }
    shutdown.abort.cancel();
    let _ = serving.await;
    worked
}

async fn work(
    config: &Config,
    instance: Uuid,
    shutdown: &Shutdown,
    metrics: &Arc<Metrics>,
    readiness: &Readiness,
    spans: Spans,
) -> anyhow::Result<()> {
    let endpoint = endpoint(&config.broker)?;
    let Some(ledger) = open_ledger(config, instance, metrics, readiness, shutdown).await? else {
        return Ok(());
    };
    let gate = Gate::new(gate_settings(config));
    let (key, _watching_key) = key::watch(&config.imin, Arc::clone(&gate))?;
    let accounts = Imin::new(&imin_settings(config), key)?;
    let links = Links::new(Arc::clone(&gate), Arc::clone(metrics), readiness.clone());
    let publisher = AmqpPublisher::start(
        endpoint.clone(),
        config.broker.confirm_timeout,
        links.observer(Side::Publisher),
        applied(config),
    );
    let _watching = watchers::spawn(&gate, &ledger, metrics, readiness);
    let pipeline = Arc::new(Pipeline {
        accounts: Arc::new(accounts),
        ledger: Arc::clone(&ledger),
        publisher: Arc::new(publisher),
        gate,
        metrics: Arc::clone(metrics),
        spans,
        settings: pipeline_settings(config, instance)?,
        shutdown: shutdown.clone(),
    });
    let _tap = config.broker.unrouted_tap.then(|| tap(config, endpoint.clone(), instance, metrics));
    let mut source = AmqpSource::new(endpoint, source_settings(config), links.observer(Side::Consumer));
    tokio::select! {
        prepared = source.prepare() => prepared.context("the topology is not what the worker needs")?,
        () = shutdown.drain.cancelled() => return Ok(()),
    }
    readiness.clear(Cause::Starting);
    info!(version = crate::VERSION, "ready");
    let stopping = watchers::tell_stopping(readiness.clone(), shutdown.drain.clone());
    Worker::new(pipeline, in_hand(config.concurrency), config.shutdown_grace).run(&mut source).await;
    stopping.abort();
    ledger.close().await.context("the ledger could not be closed")
}

/// Opens the ledger, waiting for one that may yet come; `None` when the worker is told to stop meanwhile.
async fn open_ledger(
    config: &Config,
    instance: Uuid,
    metrics: &Arc<Metrics>,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<Arc<dyn Ledger>>> {
    let url: LedgerUrl = config.ledger.url.expose().parse().context("LEDGER_URL")?;
    loop {
        let metrics = Arc::clone(metrics);
        let options = open::Options {
            retention: config.ledger.retention,
            lease: config.ledger.lease,
            ca_file: config.ledger.ca_file.clone(),
            on_commit: Arc::new(move |took| metrics.ledger_commit_duration.observe(took.as_secs_f64())),
            ..open::Options::new(instance)
        };
        let error = match open::open(&url, options).await {
            Ok(ledger) => {
                readiness.clear(Cause::Ledger);
                return Ok(Some(ledger));
            }
            Err(error) if error.may_pass() => error,
            Err(error) => return Err(error).context("the ledger cannot be opened"),
        };
        warn!(%error, "the ledger is not there yet, waiting for it");
        readiness.set(Cause::Ledger, error.to_string());
        tokio::select! {
            () = shutdown.drain.cancelled() => return Ok(None),
            () = tokio::time::sleep(LEDGER_WAIT) => {}
        }
    }
}

/// Declares exchanges, queues and bindings, once.
pub async fn apply_topology(config: &Config) -> anyhow::Result<()> {
    let connection = connect(&config.broker, "topology").await?;
    let channel = connection.create_channel().await?;
    topology(&config.broker).apply(&channel).await?;
    Ok(connection.close(200, "done".into()).await?)
}

/// The topology as JSON that `rabbitmqctl import_definitions` takes.
pub fn print_topology(config: &Config) -> anyhow::Result<String> {
    let endpoint = endpoint(&config.broker)?;
    Ok(serde_json::to_string_pretty(&topology(&config.broker).definitions(endpoint.vhost()))?)
}

/// A publisher with a connection of its own, once that is there.
pub async fn publisher(config: &Config) -> anyhow::Result<Box<dyn Publisher>> {
    let endpoint = endpoint(&config.broker)?;
    let (up, mut state) = tokio::sync::watch::channel(None);
    let observer = Arc::new(move |link| drop(up.send_replace(Some(link))));
    let publisher = AmqpPublisher::start(endpoint, config.broker.confirm_timeout, observer, None);
    let link = state.wait_for(Option::is_some).await.context("the publisher ended")?.clone();
    match link {
        Some(Link::Down(reason)) => anyhow::bail!("no connection to the broker (check AMQP_URL): {reason}"),
        _ => Ok(Box::new(publisher)),
    }
}

/// The dead letters, to be looked through; `anyway` also where looking may use up a delivery limit.
pub fn dead_letters(config: &Config, anyway: bool) -> anyhow::Result<Box<dyn Shelves>> {
    let (endpoint, names) = (endpoint(&config.broker)?, names(&config.broker.names));
    Ok(Box::new(AmqpShelves::new(endpoint, names, topology(&config.broker), anyway)))
}

async fn connect(broker: &config::Broker, purpose: &str) -> anyhow::Result<lapin::Connection> {
    let connecting = endpoint(broker)?.connect(purpose).await;
    connecting.map_err(|reason| anyhow::anyhow!("no connection to the broker (check AMQP_URL): {reason}"))
}

/// The broker's endpoint.
pub fn endpoint(broker: &config::Broker) -> Result<Endpoint, amqp::EndpointError> {
    let mut endpoint = Endpoint::new(broker.url.expose(), broker.heartbeat)?;
    if let Some(file) = &broker.ca_file {
        endpoint = endpoint.trust(file)?;
    }
    if let (Some(certificate), Some(key)) = (&broker.client_cert_file, &broker.client_key_file) {
        endpoint = endpoint.identify(certificate, key)?;
    }
    Ok(endpoint)
}

/// The names on the broker.
pub fn names(names: &config::Names) -> Names {
    Names {
        queue: names.queue.clone(),
        exchange: names.exchange.clone(),
        routing_key: names.routing_key.clone(),
        events_exchange: names.events_exchange.clone(),
        events_routing_key: names.events_routing_key.clone(),
        unrouted_exchange: names.unrouted_exchange.clone(),
        unrouted_queue: names.unrouted_queue.clone(),
        dead_exchange: names.dead_exchange.clone(),
        dead_queue: names.dead_queue.clone(),
    }
}

/// The topology on the broker.
pub fn topology(broker: &config::Broker) -> Topology {
    Topology::new(&names(&broker.names), broker.delivery_limit)
}

/// The topology, where it is the worker's to declare.
fn applied(config: &Config) -> Option<Topology> {
    (config.broker.topology == TopologyMode::Apply).then(|| topology(&config.broker))
}

/// How many events are worked on for so many calls: one more for every four, which waits for the ledger
/// or for its confirm while others call. One at a time is one at a time.
const fn in_hand(calls: usize) -> usize {
    calls + calls / 4
}

fn source_settings(config: &Config) -> source::Settings {
    source::Settings {
        queue: config.broker.names.queue.clone(),
        in_hand: in_hand(config.concurrency),
        topology: topology(&config.broker),
        apply: config.broker.topology == TopologyMode::Apply,
    }
}

/// How imin is reached.
pub fn imin_settings(config: &Config) -> http::Settings {
    http::Settings {
        base_url: config.imin.base_url.clone(),
        timeout: config.imin.timeout,
        connect_timeout: config.imin.connect_timeout,
        ca_file: config.imin.ca_file.clone(),
        pool: config.concurrency,
    }
}

/// Where spans come from and go to, where they do.
fn traced(config: &Config, instance: Uuid, metrics: &Metrics) -> anyhow::Result<(Spans, Option<Export>)> {
    let Some(tracing) = &config.tracing else { return Ok((Spans::default(), None)) };
    let headers = tracing.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
    let broker = endpoint(&config.broker)?;
    let (host, port) = broker.address();
    let settings = otlp::Settings {
        endpoint: tracing.endpoint.clone(),
        headers: headers.collect(),
        ca_file: tracing.ca_file.clone(),
        service: tracing.service.clone(),
        instance: instance.to_string(),
        resource: tracing.resource.clone(),
        share: match tracing.sampler.root {
            config::Root::All => 1.0,
            config::Root::None => 0.0,
            config::Root::Ratio => tracing.ratio,
        },
        parent_based: tracing.sampler.parent_based,
        broker: (host.to_owned(), port),
    };
    let dropped = metrics.spans_dropped.clone();
    let (spans, export) = otlp::start(settings, Arc::new(move |count| dropped.inc_by(count)))
        .context("the export of spans cannot be set up (OTEL_EXPORTER_OTLP_…)")?;
    Ok((spans, Some(export)))
}

fn gate_settings(config: &Config) -> gate::Settings {
    let breaker = &config.breaker;
    gate::Settings {
        breaker: breaker::Settings {
            failure_rate: breaker.failure_rate,
            window: breaker.window,
            min_calls: breaker.min_calls,
            probe_interval: breaker.probe_interval,
            misconfigured_probe_interval: breaker.misconfigured_probe_interval,
            full: config.concurrency,
        },
        concurrency: config.concurrency,
        adaptive: config.adaptive_concurrency,
        rate_limit: config.rate_limit,
        retry_budget: config.retry.budget,
        retry_after_max: config.retry.retry_after_max,
    }
}

fn pipeline_settings(config: &Config, instance: Uuid) -> anyhow::Result<pipeline::Settings> {
    let retry = &config.retry;
    let ambiguous = match config.ambiguous {
        config::Ambiguous::Retry => Ambiguous::Retry,
        config::Ambiguous::Park => Ambiguous::Park,
    };
    Ok(pipeline::Settings {
        names: names(&config.broker.names),
        instance: instance.to_string(),
        policy: Policy {
            max_attempts: retry.max_attempts,
            max_elapsed: retry.max_elapsed,
            ambiguous,
            retry_after_max: retry.retry_after_max,
        },
        schedule: Schedule::new(retry.initial, retry.multiplier, retry.jitter, retry.max_interval)
            .context("the settings RETRY_…")?,
        in_process_max: retry.in_process_max,
        hold_max: config.broker.consumer_timeout / HOLD_SHARE,
    })
}

fn tap(config: &Config, endpoint: Endpoint, instance: Uuid, metrics: &Arc<Metrics>) -> watchers::Stop {
    let (exchange, metrics) = (config.broker.names.unrouted_exchange.clone(), Arc::clone(metrics));
    let listening =
        unrouted::listen(endpoint, exchange, instance.to_string(), move || metrics.events_unrouted.inc());
    watchers::Stop::on_drop(tokio::spawn(listening))
}
