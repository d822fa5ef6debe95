//! The waits between tries that never end: to publish, to record.

use std::time::Duration;
use tokio::time::sleep;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// The longest.
const MOST: Duration = Duration::from_secs(5);

/// How long the next one is.
pub(super) struct Tireless(Duration);

impl Tireless {
    pub(super) const fn new() -> Self {
        Self(FIRST)
    }

    /// Waits before the next try, twice as long each time.
    pub(super) async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(MOST);
    }
}
