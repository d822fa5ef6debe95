//! Those who mean harm, or behave as if: senders whose messages are made to break something, and an
//! imin that is no imin. What they cannot do is written in SECURITY.md, which names these tests.

mod imin;
mod machine;
mod messages;
mod page;
mod peer;
