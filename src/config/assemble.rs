//! From checked texts to the typed settings.
//!
//! Owns which setting goes where. Each function gives nothing where a setting without which there
//! can be no value has no text, or a wrong one; by then that has been reported.

use super::{
    Breaker, Broker, Config, Imin, Ledger, Log, Names, Retry, Tracing,
    sources::{Gathered, Origin},
    table as t,
};
use crate::telemetry::Format;

/// All settings.
pub(super) fn config(from: &Gathered, terminal: bool) -> Option<Config> {
    Some(Config {
        broker: broker(from)?,
        imin: imin(from)?,
        concurrency: from.find(&t::CONCURRENCY)?,
        adaptive_concurrency: from.find(&t::ADAPTIVE_CONCURRENCY)?,
        rate_limit: from.find(&t::RATE_LIMIT),
        retry: retry(from)?,
        breaker: breaker(from)?,
        ambiguous: from.find(&t::AMBIGUOUS)?,
        ledger: ledger(from)?,
        admin_addr: from.find(&t::ADMIN_ADDR)?,
        shutdown_grace: from.find(&t::SHUTDOWN_GRACE)?,
        tracing: tracing(from),
        log: log(from, terminal)?,
    })
}

fn broker(from: &Gathered) -> Option<Broker> {
    Some(Broker {
        url: from.find(&t::AMQP_URL)?,
        ca_file: from.find(&t::AMQP_CA_FILE),
        client_cert_file: from.find(&t::AMQP_CLIENT_CERT_FILE),
        client_key_file: from.find(&t::AMQP_CLIENT_KEY_FILE),
        heartbeat: from.find(&t::AMQP_HEARTBEAT)?,
        confirm_timeout: from.find(&t::CONFIRM_TIMEOUT)?,
        consumer_timeout: from.find(&t::CONSUMER_TIMEOUT)?,
        topology: from.find(&t::TOPOLOGY)?,
        names: names(from)?,
        delivery_limit: from.find(&t::DELIVERY_LIMIT)?,
        unrouted_tap: from.find(&t::UNROUTED_TAP)?,
    })
}

fn names(from: &Gathered) -> Option<Names> {
    Some(Names {
        queue: from.find(&t::QUEUE)?,
        exchange: from.find(&t::EXCHANGE)?,
        routing_key: from.find(&t::ROUTING_KEY)?,
        events_exchange: from.find(&t::EVENTS_EXCHANGE)?,
        events_routing_key: from.find(&t::EVENTS_ROUTING_KEY)?,
        unrouted_exchange: from.find(&t::UNROUTED_EXCHANGE)?,
        unrouted_queue: from.find(&t::UNROUTED_QUEUE)?,
        dead_exchange: from.find(&t::DEAD_EXCHANGE)?,
        dead_queue: from.find(&t::DEAD_QUEUE)?,
    })
}

fn imin(from: &Gathered) -> Option<Imin> {
    let api_key_file = match &from.texts.get(t::IMIN_API_KEY.about.name) {
        Some(raw) => match &raw.origin {
            Origin::SecretFile(path) => Some(path.clone()),
            Origin::Environment | Origin::File | Origin::Default => None,
        },
        None => None,
    };
    Some(Imin {
        base_url: from.find(&t::IMIN_BASE_URL)?,
        api_key: from.find(&t::IMIN_API_KEY).unwrap_or_default(),
        api_key_file,
        timeout: from.find(&t::IMIN_TIMEOUT)?,
        connect_timeout: from.find(&t::IMIN_CONNECT_TIMEOUT)?,
        ca_file: from.find(&t::IMIN_CA_FILE),
    })
}

fn retry(from: &Gathered) -> Option<Retry> {
    Some(Retry {
        initial: from.find(&t::RETRY_INITIAL)?,
        multiplier: from.find(&t::RETRY_MULTIPLIER)?,
        jitter: from.find(&t::RETRY_JITTER)?,
        max_interval: from.find(&t::RETRY_MAX_INTERVAL)?,
        max_elapsed: from.find(&t::RETRY_MAX_ELAPSED)?,
        max_attempts: from.find(&t::RETRY_MAX_ATTEMPTS)?,
        in_process_max: from.find(&t::RETRY_IN_PROCESS_MAX)?,
        retry_after_max: from.find(&t::RETRY_AFTER_MAX)?,
        budget: from.find(&t::RETRY_BUDGET)?,
    })
}

fn breaker(from: &Gathered) -> Option<Breaker> {
    Some(Breaker {
        failure_rate: from.find(&t::BREAKER_FAILURE_RATE)?,
        window: from.find(&t::BREAKER_WINDOW)?,
        min_calls: from.find(&t::BREAKER_MIN_CALLS)?,
        probe_interval: from.find(&t::BREAKER_PROBE_INTERVAL)?,
        misconfigured_probe_interval: from.find(&t::MISCONFIGURED_PROBE_INTERVAL)?,
    })
}

fn ledger(from: &Gathered) -> Option<Ledger> {
    Some(Ledger {
        url: from.find(&t::LEDGER_URL)?,
        retention: from.find(&t::LEDGER_RETENTION)?,
        lease: from.find(&t::LEDGER_LEASE)?,
        ca_file: from.find(&t::LEDGER_CA_FILE),
    })
}

/// Nothing where no endpoint is set, whatever else is.
fn tracing(from: &Gathered) -> Option<Tracing> {
    Some(Tracing {
        endpoint: from.find(&t::OTEL_EXPORTER_OTLP_ENDPOINT)?,
        headers: from.find(&t::OTEL_EXPORTER_OTLP_HEADERS).unwrap_or_default(),
        ca_file: from.find(&t::OTEL_EXPORTER_OTLP_CERTIFICATE),
        service: from.find(&t::OTEL_SERVICE_NAME),
        resource: from.find(&t::OTEL_RESOURCE_ATTRIBUTES).unwrap_or_default(),
        sampler: from.find(&t::OTEL_TRACES_SAMPLER)?,
        ratio: from.find(&t::OTEL_TRACES_SAMPLER_ARG)?,
    })
}

fn log(from: &Gathered, terminal: bool) -> Option<Log> {
    let format = from.find(&t::LOG_FORMAT).unwrap_or(if terminal { Format::Pretty } else { Format::Json });
    Some(Log { format, filter: from.find(&t::RUST_LOG)? })
}
