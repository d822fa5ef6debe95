//! `LEDGER_URL`: which ledger, and where; shown without its secrets.

use std::{fmt, path::PathBuf, str::FromStr};
use tokio_postgres::config::Host;

/// Which ledger, and where. `Display` and `Debug` show no password.
#[derive(Clone, PartialEq, Eq)]
pub enum LedgerUrl {
    /// `memory:`, gone with the process: for tests and benchmarks.
    Memory,
    /// `sqlite:///absolute.db` or `sqlite://relative.db`; the path is taken as it stands.
    Sqlite(PathBuf),
    /// `postgres://user:password@host:5432/database?sslmode=require`.
    Postgres(Box<tokio_postgres::Config>),
}

/// Why a text is no ledger's URL. It repeats nothing of the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No scheme, or another one.
    #[error("must start with sqlite://, postgres:// or be memory:")]
    Scheme,
    /// A SQLite URL without a path, or with parameters.
    #[error("must be sqlite:///absolute/file.db or sqlite://relative-file.db, without parameters")]
    Sqlite,
    /// Not a URL that PostgreSQL's clients know.
    #[error(
        "must be postgres://user:password@host:5432/database, special characters in the password \
         percent-encoded, sslmode one of disable, prefer, require, verify-full"
    )]
    Postgres,
}

impl FromStr for LedgerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text == "memory:" {
            Ok(Self::Memory)
        } else if let Some(path) = text.strip_prefix("sqlite:") {
            sqlite(path)
        } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            postgres(text)
        } else {
            Err(UrlError::Scheme)
        }
    }
}

fn sqlite(path: &str) -> Result<LedgerUrl, UrlError> {
    match path.strip_prefix("//") {
        Some(path) if !path.is_empty() && !path.ends_with('/') && !path.contains(['?', '\0']) => {
            Ok(LedgerUrl::Sqlite(path.into()))
        }
        _ => Err(UrlError::Sqlite),
    }
}

fn postgres(text: &str) -> Result<LedgerUrl, UrlError> {
    // Certificate and name are verified whenever TLS is spoken, so that these two are one.
    let text = text.replace("sslmode=verify-full", "sslmode=require");
    let config: tokio_postgres::Config = text.parse().map_err(|_| UrlError::Postgres)?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(UrlError::Postgres);
    }
    Ok(LedgerUrl::Postgres(Box::new(config)))
}

impl fmt::Display for LedgerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(config) => f.write_str(&place(config)),
        }
    }
}

impl fmt::Debug for LedgerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A server and database, without secrets.
pub(in crate::ledger) fn place(config: &tokio_postgres::Config) -> String {
    let named = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    });
    let hosts = if config.get_hosts().is_empty() {
        config.get_hostaddrs().iter().map(ToString::to_string).collect::<Vec<_>>()
    } else {
        named.collect()
    };
    let ports = config.get_ports();
    let port = |i: usize| ports.get(i).or(ports.first()).map(|port| format!(":{port}")).unwrap_or_default();
    let hosts: Vec<_> = hosts.iter().enumerate().map(|(i, host)| format!("{host}{}", port(i))).collect();
    format!("postgres://{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<LedgerUrl>().expect("a ledger's URL").to_string()
    }

    #[test]
    fn knows_the_three_kinds() {
        assert_eq!("memory:".parse(), Ok(LedgerUrl::Memory));
        assert_eq!("sqlite:///var/lib/x.db".parse(), Ok(LedgerUrl::Sqlite("/var/lib/x.db".into())));
        assert_eq!("sqlite://x.db".parse(), Ok(LedgerUrl::Sqlite("x.db".into())));
        assert!(matches!("postgres://u@h/d".parse(), Ok(LedgerUrl::Postgres(_))));
        assert!(matches!("postgresql://u@h/d?sslmode=require".parse(), Ok(LedgerUrl::Postgres(_))));
    }

    #[test]
    fn refuses_what_it_would_misread() {
        let refused = |text: &str| text.parse::<LedgerUrl>().expect_err(text);
        for text in ["", "mysql://h/d", "/var/lib/x.db", "memory", "host=h user=u"] {
            assert_eq!(refused(text), UrlError::Scheme, "{text}");
        }
        for text in [
            "sqlite:",
            "sqlite://",
            "sqlite::memory:",
            "sqlite:x.db",
            "sqlite:///a/",
            "sqlite://x.db?mode=ro",
        ] {
            assert_eq!(refused(text), UrlError::Sqlite, "{text}");
        }
        for text in [
            "postgres://",
            "postgres://u@h:port/d",
            "postgres://u@h/d?sslmode=verify-ca",
            "postgres://u@h/d?pool=9",
        ] {
            assert_eq!(refused(text), UrlError::Postgres, "{text}");
        }
    }

    #[test]
    fn verify_full_is_require() {
        assert_eq!(
            "postgres://u@h/d?sslmode=verify-full".parse::<LedgerUrl>(),
            "postgres://u@h/d?sslmode=require".parse()
        );
    }

    #[test]
    fn shows_no_password() {
        assert_eq!(
            shown("postgres://joe:s3cret@db.example:5433/ledger"),
            "postgres://db.example:5433/ledger"
        );
        assert_eq!(shown("postgres://joe@a:1,b:2/x?password=s3cret"), "postgres://a:1,b:2/x");
        assert_eq!(shown("sqlite:///a.db"), "sqlite:///a.db");
        let url: LedgerUrl = "postgres://joe:s3cret@h/d".parse().expect("a ledger's URL");
        assert_eq!(format!("{url:?}"), "postgres://h:5432/d");
        let error = "postgres://joe@h/d?passwort=s3cret".parse::<LedgerUrl>().expect_err("no such parameter");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
}
