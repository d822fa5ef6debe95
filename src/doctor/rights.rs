//! What the broker's user may do: read where the worker reads, write where it writes.

use super::Finding;
use crate::{
    amqp::inspect::{Inspector, NoAnswer, Right},
    config::Config,
};

/// Looks.
pub(super) async fn examine(
    config: &Config,
    inspector: &Inspector,
    findings: &mut Vec<Finding>,
) -> Result<(), NoAnswer> {
    let names = &config.broker.names;
    let mut granted = Vec::new();
    let mut judge = |right: Right, may: String, grant: &str, granted: &mut Vec<String>| match right {
        Right::Granted => granted.push(may),
        Right::Refused(words) => findings.push(Finding::fail(
            "rights",
            format!("the user may not {may}: {words}"),
            format!(
                "Grant it: `rabbitmqctl set_permissions -p VHOST USER CONFIGURE WRITE READ`, with {grant}"
            ),
        )),
        // That it is missing is the topology's finding.
        Right::Missing => {}
    };
    let grant = format!("{} in READ", names.queue);
    judge(inspector.may_read(&names.queue).await?, format!("read {}", names.queue), &grant, &mut granted);
    for (exchange, shown) in [
        (names.events_exchange.as_str(), names.events_exchange.as_str()),
        (&names.dead_exchange, &names.dead_exchange),
        // Events that wait longer go by way of a delay queue, and those given back to the work queue.
        ("", "amq.default"),
    ] {
        let grant = format!("{shown} in WRITE");
        judge(inspector.may_write(exchange).await?, format!("publish to {shown}"), &grant, &mut granted);
    }
    if config.broker.unrouted_tap {
        let exchange = &names.unrouted_exchange;
        let grant = format!(
            "{exchange}.tap.* in CONFIGURE, WRITE and READ, and {exchange} in READ; or set UNROUTED_TAP=false"
        );
        judge(inspector.may_listen(exchange).await?, format!("listen to {exchange}"), &grant, &mut granted);
    }
    // The worker itself never reads its dead letters.
    match inspector.may_read(&names.dead_queue).await? {
        Right::Granted => granted.push(format!("read {}", names.dead_queue)),
        Right::Refused(_) => findings.push(Finding::skip(
            "rights",
            format!("the user may not read {}, which the worker does not need", names.dead_queue),
            "Use the dead-letters commands as a user who may (deploy/rabbitmq)",
        )),
        Right::Missing => {}
    }
    if !granted.is_empty() {
        findings.push(Finding::ok("rights", format!("the user may {}", granted.join(", "))));
    }
    Ok(())
}
