//! `contracts`: what others may rely on, as documents.

use super::print;
use crate::{
    app,
    config::Config,
    contracts::{self, Name},
};
use clap::ValueEnum;

/// Which document.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name.
    name: Document,
}

/// The documents, by the names of their files.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Document {
    CreateCustomerData,
    CreateCustomer,
    CustomerAccountCreated,
    Asyncapi,
}

impl From<Document> for Name {
    fn from(document: Document) -> Self {
        match document {
            Document::CreateCustomerData => Self::CreateCustomerData,
            Document::CreateCustomer => Self::CreateCustomer,
            Document::CustomerAccountCreated => Self::CustomerAccountCreated,
            Document::Asyncapi => Self::Asyncapi,
        }
    }
}

/// Prints it.
pub(super) fn run(arguments: &Args, config: &Config) -> anyhow::Result<()> {
    let document = contracts::document(arguments.name.into(), &app::names(&config.broker.names));
    print(&(serde_json::to_string_pretty(&document)? + "\n"))
}
