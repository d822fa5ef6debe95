//! The ledger in memory.

use super::{
    Worker,
    conformance::{Fixture, conforms, conforms_shared},
};
use imin_customer_worker::ledger::memory::{MemoryLedger, Store};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

#[derive(Default)]
pub(super) struct Memory(Arc<Store>);

impl Fixture for Memory {
    async fn new() -> Self {
        Self::default()
    }

    async fn open_keeping(&self, retention: Duration) -> Worker {
        let instance = Uuid::new_v4();
        Worker { instance, ledger: Arc::new(MemoryLedger::new(Arc::clone(&self.0), instance, retention)) }
    }

    async fn kill(&self, worker: Worker) {
        // Whoever still holds it is cut off.
        worker.close().await.expect("closed");
    }
}

conforms!(Memory);
conforms_shared!(Memory);
