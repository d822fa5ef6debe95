//! What the tests have built already: a private broker, a private PostgreSQL.

#[path = "../../tests/it/support/broker.rs"]
#[expect(dead_code, reason = "the bench kills no broker")]
mod broker;
#[path = "../../tests/it/support/postgres.rs"]
#[expect(dead_code, reason = "the bench neither kills PostgreSQL nor speaks TLS to it")]
mod postgres;

pub(crate) use broker::Vhost;
pub(crate) use postgres::{Postgres, connect};

/// An HTTP client that asks the process itself, whatever proxy the machine has.
pub(crate) fn client() -> reqwest::Client {
    // Nobody else in this process installs one; an error would say that it is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client without options can be built")
}
