//! lapin behind the broker's ports: connections, the topology, the source, the publisher.
//!
//! Owns everything that speaks to RabbitMQ. Nothing outside may name a lapin connection or channel.
//! lapin's own recovery stays off: it can hang without an error after a kill of the broker,
//! so every loss is an error here and everything is rebuilt from the connection up.

pub mod acks;
pub mod confirms;
pub mod connection;
pub mod dead_letters;
pub mod inspect;
pub mod publisher;
pub mod source;
pub mod topology;
pub mod unrouted;

pub use connection::{Endpoint, EndpointError};
pub use dead_letters::AmqpShelves;
pub use publisher::AmqpPublisher;
pub use source::AmqpSource;
