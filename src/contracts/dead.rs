//! A dead letter's headers: those of `letters::dead`.

use crate::{letters, outcome::Reason};
use serde_json::{Value, json};

/// The headers. The sender's own travel beside them.
pub(super) fn headers() -> Value {
    let time = json!({"type": "string", "format": "date-time"});
    json!({
        "type": "object",
        "required": [
            "failure-reason", "failure-detail", "failure-attempts", "failure-at", "event-key",
            letters::REPLAY_COUNT, letters::ORIGINAL_EXCHANGE, letters::ORIGINAL_ROUTING_KEY, "worker-version",
        ],
        "properties": {
            "failure-reason": {"enum": Reason::ALL.map(Reason::as_str)},
            "failure-detail": {"type": "string", "contentMediaType": "application/json", "description": "More about it; never a value of the event."},
            "failure-status": {"type": "integer", "description": "The HTTP status of the last answer, where there was one."},
            "failure-attempts": {"type": "integer", "minimum": 0},
            "failure-at": time,
            letters::FIRST_ATTEMPT_AT: time,
            letters::ORIGINAL_EXCHANGE: {"type": "string"},
            letters::ORIGINAL_ROUTING_KEY: {"type": "string"},
            "event-key": {"type": "string", "format": "uuid"},
            letters::REPLAY_COUNT: {"type": "integer", "minimum": 0},
            "worker-version": {"type": "string"},
        },
    })
}
