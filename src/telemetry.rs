//! The log: how its lines look, which there are, and that no customer is in them.
//!
//! Owns the subscriber and the panic hook. What a line of ours says is said where it happens; what
//! a library says is bounded here, since nobody here decides what libraries write.

use std::{
    any::Any,
    io::{self, IsTerminal},
    panic::PanicHookInfo,
};
use tracing::{Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, Targets},
    fmt::MakeWriter,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a person.
    Pretty,
    /// For a machine: one JSON object a line.
    Json,
}

/// Starts the log on standard error. `filter` is in `RUST_LOG`'s language.
pub fn init(format: Format, filter: &str) -> anyhow::Result<()> {
    check_filter(filter).map_err(anyhow::Error::msg)?;
    subscriber(format, filter, io::stderr)?.try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// What is wrong with a filter, after `RUST_LOG`.
pub fn check_filter(filter: &str) -> Result<(), String> {
    // The parser counts bytes where it means characters, and would panic at some of these.
    if !filter.is_ascii() {
        return Err("has a character beyond ASCII, as no target, span or field has".to_owned());
    }
    for directive in filter.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        // A bare word that is no level would be taken for a target, and silence all others.
        let bare = !directive.contains(['=', '[', ':']);
        if bare && directive.parse::<LevelFilter>().is_err() {
            return Err("has a word that is not a level (off, error, warn, info, debug, trace)".to_owned());
        }
    }
    EnvFilter::try_new(filter).map(drop).map_err(|_| "is not a log filter".to_owned())
}

/// What may be logged at all, whatever the filter asks for.
///
/// Below a warning, only this crate. lapin never: it writes every returned message with its body as
/// a warning (`lapin::returned_messages`), every frame as a trace, and deliveries in between; what
/// goes wrong in it comes back as an error and is logged where that is handled.
fn bounds() -> Targets {
    Targets::new()
        .with_default(Level::WARN)
        .with_target("imin_customer_worker", Level::TRACE)
        .with_target("lapin", LevelFilter::OFF)
        .with_target("amq_protocol", LevelFilter::OFF)
}

fn subscriber<W>(format: Format, filter: &str, writer: W) -> anyhow::Result<impl Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        Format::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
        Format::Pretty if io::stderr().is_terminal() => lines.boxed(),
        Format::Pretty => lines.with_ansi(false).boxed(),
    };
    Ok(tracing_subscriber::registry().with(layer.with_filter(EnvFilter::try_new(filter)?.and(bounds()))))
}

/// Logs where a panic happened, and what it said only where that was written into the program: a
/// text that was put together at run time (`byte index 3 is not a char boundary in "…"`) may
/// quote a customer.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let (file, line) = panic.location().map_or(("unknown", 0), |place| (place.file(), place.line()));
    tracing::error!(file, line, "panicked: {}", literal(panic.payload()));
}

fn literal(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("(a text that may quote an event)")
}

#[cfg(test)]
mod tests {
    use super::{Format, check_filter, literal, subscriber};
    use std::{
        io,
        sync::{Arc, Mutex, MutexGuard},
    };
    use tracing::{Level, event, subscriber::with_default};
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    struct Line<'l>(MutexGuard<'l, Vec<u8>>);

    impl io::Write for Line<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'l> MakeWriter<'l> for Lines {
        type Writer = Line<'l>;

        fn make_writer(&'l self) -> Line<'l> {
            Line(self.0.lock().expect("lines"))
        }
    }

    fn logged(format: Format, filter: &str, write: impl FnOnce()) -> String {
        let lines = Lines::default();
        with_default(subscriber(format, filter, lines.clone()).expect("filter"), write);
        let bytes = lines.0.lock().expect("lines").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    fn everyone_talks() {
        event!(target: "lapin::returned_messages", Level::WARN, "lapin-returned");
        event!(target: "lapin::channels", Level::TRACE, "lapin-frame");
        event!(target: "lapin::io_loop", Level::ERROR, "lapin-error");
        event!(target: "hyper_util::client", Level::DEBUG, "hyper-debug");
        event!(target: "hyper_util::client", Level::WARN, "hyper-warning");
        event!(target: "imin_customer_worker::worker", Level::TRACE, "our-trace");
        event!(target: "imin_customer_worker::worker", Level::INFO, "our-info");
    }

    #[test]
    fn no_filter_makes_a_library_talk() {
        for filter in [
            "trace",
            "lapin=trace,hyper_util=trace,imin_customer_worker=trace",
            "lapin::returned_messages=warn,trace",
        ] {
            let log = logged(Format::Json, filter, everyone_talks);
            assert!(!log.contains("lapin") && !log.contains("hyper-debug"), "{filter}: {log}");
            assert!(log.contains("hyper-warning") && log.contains("our-trace"), "{filter}: {log}");
        }
    }

    #[test]
    fn the_filter_still_filters() {
        let log = logged(Format::Pretty, "info", everyone_talks);
        assert!(log.contains("our-info") && !log.contains("our-trace"), "{log}");
        assert_eq!(logged(Format::Pretty, "off", everyone_talks), "");
    }

    #[test]
    fn a_json_line_carries_its_span() {
        let log = logged(Format::Json, "info", || {
            let span = tracing::info_span!(target: "imin_customer_worker", "event", key = "k1");
            span.in_scope(
                || event!(target: "imin_customer_worker", Level::INFO, outcome = "created", "done"),
            );
        });
        let line: serde_json::Value = serde_json::from_str(&log).expect("one JSON line");
        assert_eq!((&line["message"], &line["outcome"]), (&"done".into(), &"created".into()));
        assert_eq!(line["span"]["key"], "k1");
        assert!(line.get("spans").is_none(), "{line}");
    }

    #[test]
    fn a_filter_that_would_silence_everything_is_wrong() {
        // The last one made the parser panic: a find of `make fuzz`.
        for wrong in ["inof", "warning", "imin_customer_worker", "info,x=loud", "a=b=c", "\u{c}HHHHHéééé[é"]
        {
            assert!(check_filter(wrong).is_err(), "{wrong}");
        }
        for right in [
            "info",
            "INFO",
            "off",
            "warn,imin_customer_worker::amqp=debug",
            "imin_customer_worker[event]=trace",
            "",
        ] {
            assert_eq!(check_filter(right), Ok(()), "{right}");
        }
    }

    #[test]
    fn a_panic_quotes_only_the_program() {
        assert_eq!(literal(&"no permit"), "no permit");
        assert!(!literal(&String::from("Zoë Smith")).contains("Zoë"));
    }
}
