//! `send`: publishes create-customer events from files.
//!
//! Owns reading, sending several at a time and the account of it. Where an object ends is `split`'s,
//! what message it becomes `encode`'s, and the broker is behind the port.

mod encode;
mod input;
mod progress;
mod split;

use super::{Told, print};
use crate::{
    app,
    broker::{Publication, PublishError, Publisher},
    clock,
    config::Config,
    shutdown::Shutdown,
};
use encode::{Encoder, Pointer};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use input::{Input, Place};
use progress::Progress;
use split::Found;
use std::{fmt, path::PathBuf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many publications wait for their confirm at the same time.
const UNDER_WAY: usize = 256;

const EXAMPLES: &str = "\
Examples:
  imin-customer-worker send --id-from /customer/identifier signups.jsonl
  zcat signups.jsonl.gz | imin-customer-worker send -
  imin-customer-worker send --plain customer.json";

/// What `send --help` says first.
pub(super) const ABOUT: &str = "\
Publish create-customer events.

A FILE holds JSON objects: one a line, one after another, or in an array. An object that is a \
CloudEvent (it has a specversion) is sent as it is; one that `dead-letters export` wrote goes back to \
the dead letters, as it was; any other is the data of an event.";

/// What to send, and as what.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Files to read; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Send data as plain JSON.
    #[arg(long, conflicts_with_all = ["cloudevents", "source", "subject_from"])]
    plain: bool,
    #[arg(long, help = "Send data in structured CloudEvents (the default)")]
    cloudevents: bool,
    /// The `source` of the events.
    #[arg(long, value_name = "URI", default_value = "/imin-customer-worker/send")]
    source: String,
    /// What makes an object the same one when it is sent again: the event's id is the SHA-256 of the
    /// value there, so that sending again makes nobody twice; otherwise every event gets a new id.
    #[arg(long, value_name = "POINTER", value_parser = Pointer::parse)]
    id_from: Option<Pointer>,
    /// Where in the data your own key for the customer stands: it comes back as `subject`. Not an
    /// e-mail address or a name: it travels on to other services.
    #[arg(long, value_name = "POINTER", value_parser = Pointer::parse)]
    subject_from: Option<Pointer>,
}

/// Sends what the files hold. Not everything sent is a failure, told line by line.
pub(super) async fn run(arguments: &Args, config: &Config) -> anyhow::Result<()> {
    let started = Instant::now();
    let shutdown = Shutdown::on_signals()?;
    let publisher = app::publisher(config).await?;
    let names = app::names(&config.broker.names);
    let encoder = Encoder::new(arguments, &names);
    let progress = Progress::over(&arguments.files).await;
    let mut sending = Sending::new(&*publisher, &encoder, &progress, shutdown.drain.child_token());
    tokio::select! {
        () = sending.files(&arguments.files) => {}
        () = shutdown.abort.cancelled() => {}
    }
    let account = sending.account;
    progress.finish();
    print(&format!("{account}, in {:.1?}\n", started.elapsed()))?;
    if account.complete() { Ok(()) } else { Err(Told.into()) }
}

/// What became of everything that was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Account {
    /// Confirmed by the broker.
    sent: u64,
    /// Not sent: no event could be made of it.
    wrong: u64,
    /// Sent, perhaps, and not confirmed.
    unconfirmed: u64,
    /// Files that could not be read, or not to their end.
    unread: u64,
}

impl Account {
    fn complete(self) -> bool {
        self == Self { sent: self.sent, ..Self::default() }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sent", self.sent)?;
        for (count, what) in [
            (self.wrong, "wrong"),
            (self.unconfirmed, "not confirmed"),
            (self.unread, "of the files not read to the end"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// A publication on its way, and the place it came from.
type Pending<'a> = BoxFuture<'a, (Place, Result<(), PublishError>)>;

/// Sending, several at a time.
struct Sending<'a> {
    publisher: &'a dyn Publisher,
    encoder: &'a Encoder<'a>,
    progress: &'a Progress,
    /// Read nothing more.
    stop: CancellationToken,
    under_way: FuturesUnordered<Pending<'a>>,
    account: Account,
}

impl<'a> Sending<'a> {
    fn new(
        publisher: &'a dyn Publisher,
        encoder: &'a Encoder<'a>,
        progress: &'a Progress,
        stop: CancellationToken,
    ) -> Self {
        Self {
            publisher,
            encoder,
            progress,
            stop,
            under_way: FuturesUnordered::new(),
            account: Account::default(),
        }
    }

    /// Sends all files, and waits for every confirm.
    async fn files(&mut self, files: &[PathBuf]) {
        for path in files {
            if self.stop.is_cancelled() {
                self.account.unread += 1;
                continue;
            }
            match Input::open(path).await {
                Ok(input) => self.file(input).await,
                Err(error) => {
                    self.progress.say(&format!("{}: cannot be read: {error}", path.display()));
                    self.account.unread += 1;
                }
            }
        }
        while let Some((place, result)) = self.under_way.next().await {
            self.settle(&place, result);
        }
    }

    /// Reads one file to its end, keeping the publications under way moving.
    async fn file(&mut self, mut input: Input) {
        let stop = self.stop.clone();
        loop {
            let room = self.under_way.len() < UNDER_WAY;
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.progress.say(&format!("{}: not read to its end", input.name()));
                    self.account.unread += 1;
                    return;
                }
                Some((place, result)) = self.under_way.next() => self.settle(&place, result),
                found = input.next(), if room => match found {
                    Ok(Some(found)) => {
                        self.progress.read(input.take_read());
                        self.take(input.name(), found);
                    }
                    Ok(None) => return,
                    Err(error) => {
                        self.progress.say(&format!("{}: cannot be read to its end: {error}", input.name()));
                        self.account.unread += 1;
                        return;
                    }
                }
            }
        }
    }

    fn take(&mut self, name: &str, found: Found) {
        let (line, encoded) = match found {
            Found::Object(line, object) => (line, self.encoder.encode(&object, clock::now())),
            Found::Wrong(line, what) => (line, Err(what)),
        };
        let place = Place { file: name.into(), line };
        match encoded {
            Ok(publication) => self.publish(place, publication),
            Err(what) => {
                self.progress.say(&format!("{place}: {what}"));
                self.account.wrong += 1;
            }
        }
    }

    fn publish(&mut self, place: Place, publication: Publication) {
        let confirmed = self.publisher.publish(publication.into());
        self.under_way.push(Box::pin(async move { (place, confirmed.await) }));
    }

    fn settle(&mut self, place: &Place, result: Result<(), PublishError>) {
        let Err(error) = result else {
            self.account.sent += 1;
            self.progress.sent(self.account.sent);
            return;
        };
        self.account.unconfirmed += 1;
        self.progress.say(&format!("{place}: {error}"));
        // Without a broker, or without a queue, no other event would fare better.
        if !matches!(error, PublishError::Nack) {
            self.stop.cancel();
        }
    }
}

#[cfg(test)]
mod tests;
