//! To be written.
use super::open::{OpenError, Options};
pub struct PostgresLedger;
impl PostgresLedger {
    pub async fn open(
        _: &tokio_postgres::Config,
        _: Options,
    ) -> Result<super::memory::MemoryLedger, OpenError> {
        unimplemented!()
    }
}
