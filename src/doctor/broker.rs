//! The broker: reached, let in, and whether what stands in it is what the worker needs.

use super::{Finding, letters, rights, settings::broker_place};
use crate::{
    amqp::{
        connection::ConnectError,
        inspect::{Difference, Inspector, NoAnswer, Right, Standing},
        topology::{Exchange, Queue, UNLIMITED_DELIVERIES},
    },
    app,
    config::{Config, TopologyMode},
};

/// Looks.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let endpoint = match app::endpoint(&config.broker) {
        Ok(endpoint) => endpoint,
        Err(error) => return vec![Finding::fail("broker", error.to_string(), "Set what it names")],
    };
    let place = broker_place(config).unwrap_or_default();
    let inspector = match Inspector::connect(&endpoint).await {
        Ok(inspector) => inspector,
        Err(error) => return vec![unreached(&place, endpoint.vhost(), &error)],
    };
    let mut findings =
        vec![Finding::ok("broker", format!("{place} lets this user into vhost {}", endpoint.vhost()))];
    let found = look(config, &inspector, &mut findings).await;
    inspector.close().await;
    if let Err(error) = found {
        findings.push(Finding::fail(
            "broker",
            error.to_string(),
            "Look into the broker's log, and run this again",
        ));
    }
    findings
}

async fn look(config: &Config, inspector: &Inspector, findings: &mut Vec<Finding>) -> Result<(), NoAnswer> {
    let whole = topology(config, inspector, findings).await?;
    rights::examine(config, inspector, findings).await?;
    letters::examine(config, inspector, whole, findings).await
}

/// RabbitMQ's words tell a wrong password (403) from a wrong vhost (530).
fn unreached(place: &str, vhost: &str, error: &ConnectError) -> Finding {
    let what = format!("{place}: {error}");
    let words = what.to_lowercase();
    let remedy = if words.contains("access_refused") {
        "Check user and password in AMQP_URL (`rabbitmqctl authenticate_user USER PASSWORD`)".to_owned()
    } else if words.contains("vhost") {
        format!(
            "Check the vhost at the end of AMQP_URL (`rabbitmqctl list_vhosts`), and let the user in: \
             `rabbitmqctl set_permissions -p {vhost} USER …`"
        )
    } else if words.contains("certificate") || words.contains("tls") {
        "Name the broker's authority in AMQP_CA_FILE, and the worker's own certificate in \
         AMQP_CLIENT_CERT_FILE where the broker asks for one"
            .to_owned()
    } else if words.contains("lookup") || words.contains("resolve") {
        "Check the host in AMQP_URL for typing errors and this machine's DNS (`getent hosts HOST`)".to_owned()
    } else {
        "Check host and port in AMQP_URL, and whether the broker runs and the network lets this machine reach it"
            .to_owned()
    };
    Finding::fail("broker", what, remedy)
}

/// Compares everything that is to stand; true where the dead-letter queue stands as wanted.
async fn topology(
    config: &Config,
    inspector: &Inspector,
    findings: &mut Vec<Finding>,
) -> Result<bool, NoAnswer> {
    let topology = app::topology(&config.broker);
    let mut tally = Tally { mode: config.broker.topology, as_wanted: 0, absent: 0, findings };
    for exchange in &topology.exchanges {
        tally.exchange(inspector, exchange).await?;
    }
    let mut letters_are_safe = false;
    for queue in &topology.queues {
        let standing = tally.queue(inspector, queue, config).await?;
        if queue.name == config.broker.names.dead_queue {
            letters_are_safe = standing == Standing::AsWanted;
        }
    }
    tally.conclude(topology.exchanges.len() + topology.queues.len());
    Ok(letters_are_safe)
}

struct Tally<'f> {
    mode: TopologyMode,
    as_wanted: usize,
    absent: usize,
    findings: &'f mut Vec<Finding>,
}

impl Tally<'_> {
    async fn exchange(&mut self, inspector: &Inspector, exchange: &Exchange) -> Result<(), NoAnswer> {
        let name = format!("exchange {}", exchange.name);
        match inspector.exchange(exchange).await? {
            Standing::Missing => {
                let right = match self.mode {
                    TopologyMode::Apply => inspector.may_declare_exchange(exchange).await?,
                    TopologyMode::Verify => Right::Missing,
                };
                self.missing(&name, right);
            }
            standing => self.stands(&name, &standing, |_| None),
        }
        Ok(())
    }

    async fn queue(
        &mut self,
        inspector: &Inspector,
        queue: &Queue,
        config: &Config,
    ) -> Result<Standing, NoAnswer> {
        let name = format!("queue {}", queue.name);
        let standing = inspector.queue(queue).await?;
        if standing == Standing::Missing {
            let right = match self.mode {
                TopologyMode::Apply => inspector.may_declare_queue(&queue.name).await?,
                TopologyMode::Verify => Right::Missing,
            };
            self.missing(&name, right);
        } else {
            let names = &config.broker.names;
            self.stands(&name, &standing, |difference| {
                if queue.name == names.dead_queue {
                    dead_queue_danger(difference)
                } else if queue.name == names.queue {
                    work_queue_danger(difference)
                } else {
                    None
                }
            });
        }
        Ok(standing)
    }

    fn missing(&mut self, name: &str, right: Right) {
        let apply = "Declare it (`imin-customer-worker topology print` says how), or run `topology apply` as a user who may";
        match (self.mode, right) {
            (TopologyMode::Apply, Right::Refused(words)) => {
                let what = format!("{name} is missing, and the user may not declare it: {words}");
                self.findings.push(Finding::fail("topology", what, apply));
            }
            (TopologyMode::Apply, _) => self.absent += 1,
            (TopologyMode::Verify, _) => {
                let what =
                    format!("{name} is missing, and with TOPOLOGY=verify the worker does not declare it");
                self.findings.push(Finding::fail("topology", what, apply));
            }
        }
    }

    fn stands(
        &mut self,
        name: &str,
        standing: &Standing,
        danger: impl Fn(&Difference) -> Option<&'static str>,
    ) {
        match standing {
            Standing::AsWanted | Standing::Missing => self.as_wanted += 1,
            Standing::Differs(differences) => {
                for difference in differences {
                    self.differs(name, difference, danger(difference));
                }
            }
            Standing::Unseen(words) => match self.mode {
                TopologyMode::Apply => self.findings.push(Finding::fail(
                    "topology",
                    format!("{name} cannot be declared, as the worker does at each start: {words}"),
                    "Grant the user the configure right on it, or run the worker with TOPOLOGY=verify",
                )),
                TopologyMode::Verify => self.findings.push(Finding::skip(
                    "topology",
                    format!("{name} stands; its arguments cannot be compared without the configure right"),
                    "Run the doctor once as a user who has it",
                )),
            },
        }
    }

    fn differs(&mut self, name: &str, difference: &Difference, danger: Option<&'static str>) {
        let Difference { argument, current, wanted } = difference;
        let mut what = format!("{name} stands with {argument} = {current}, the worker wants {wanted}");
        if let Some(danger) = danger {
            what = format!("{what}: {danger}");
        }
        let again = "Drain and delete it and let the worker declare it again";
        self.findings.push(match (self.mode, danger) {
            (TopologyMode::Apply, None) => Finding::fail(
                "topology",
                format!("{what}; the worker does not start so"),
                format!("{again}, or run with TOPOLOGY=verify if it is meant to be so"),
            ),
            (TopologyMode::Verify, None) => {
                Finding::warn("topology", what, format!("Make sure that this is meant, or: {again}"))
            }
            (_, Some(_)) => Finding::fail("topology", what, format!("Set it by a policy, or: {again}")),
        });
    }

    fn conclude(self, all: usize) {
        let Self { as_wanted, absent, findings, .. } = self;
        if absent > 0 {
            let what = format!(
                "{absent} of {all} exchanges and queues are not there yet; the worker declares them at start"
            );
            findings.push(Finding::ok("topology", what));
        }
        if as_wanted > 0 {
            let what = format!(
                "{as_wanted} of {all} exchanges and queues stand with the arguments that the worker wants"
            );
            findings.push(Finding::ok("topology", what));
        }
    }
}

fn dead_queue_danger(difference: &Difference) -> Option<&'static str> {
    if difference.argument != "x-delivery-limit" {
        return None;
    }
    match difference.current.parse::<i64>() {
        Ok(limit) if limit >= UNLIMITED_DELIVERIES / 1000 => None,
        Ok(_) => Some("the broker deletes a dead letter that has been looked at more often"),
        Err(_) => Some("RabbitMQ 4 deletes a dead letter after 20 looks where nothing is set"),
    }
}

fn work_queue_danger(difference: &Difference) -> Option<&'static str> {
    match difference.argument.as_str() {
        "x-dead-letter-exchange" => Some("what the broker itself takes away would be lost, or go elsewhere"),
        "x-dead-letter-strategy" | "x-overflow" => {
            Some("what the broker itself takes away is handed on at most once, and may be lost")
        }
        "x-queue-type" => Some("a queue of that type has lost acknowledgements when a broker was killed"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(argument: &str, current: &str) -> Difference {
        Difference { argument: argument.into(), current: current.into(), wanted: "?".into() }
    }

    #[test]
    fn only_a_limit_that_somebody_reaches_endangers_dead_letters() {
        for dangerous in ["20", "-1", "none", "0"] {
            assert!(dead_queue_danger(&difference("x-delivery-limit", dangerous)).is_some(), "{dangerous}");
        }
        assert_eq!(dead_queue_danger(&difference("x-delivery-limit", "2000000000")), None);
        assert_eq!(dead_queue_danger(&difference("x-max-length", "5")), None);
    }

    #[test]
    fn losing_the_net_under_the_worker_is_a_danger_and_another_limit_is_not() {
        assert!(work_queue_danger(&difference("x-dead-letter-exchange", "none")).is_some());
        assert_eq!(work_queue_danger(&difference("x-delivery-limit", "5")), None);
    }
}
