//! A queue of dead letters that an operator replays: how fast, and with how much memory.

use super::{Fact, Options, usual};
use crate::{
    load::Destination,
    process::Process,
    tools::Tools,
    world::{DEAD, KEY, POLL, WORK, World},
};
use anyhow::{Result, ensure};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

/// The rate, from the command's start to the last letter that is back in the work queue, and its memory.
pub(super) async fn measure(tools: &Tools, options: &Options) -> Result<Vec<Fact>> {
    let scenario = usual(0);
    let world = World::start(tools, scenario.api, scenario.latency).await?;
    world.load_into(0..options.letters, Destination::Dead).await?;
    let started = Instant::now();
    let mut command = Process::start("replay", replay(tools, &world), &tools.out.join("replay.log"))?;
    let mut peak = 0.0;
    while world.depth(WORK).await? < options.letters {
        // The command may end between its last letter and our next look.
        peak = command.usage().map_or(peak, |usage| usage.peak);
        ensure!(started.elapsed().as_secs() < 3_600, "the letters are not replayed within an hour");
        sleep(POLL).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    command.wait().await?;
    let (left, back) = (world.depth(DEAD).await?, world.depth(WORK).await?);
    ensure!((left, back) == (0, options.letters), "{left} letters are left, {back} events are back");
    world.end().await?;
    #[expect(clippy::cast_precision_loss, reason = "counts of a bench")]
    let rate = options.letters as f64 / seconds;
    let name = |what: &str| format!("{} dead letters replayed: {what}", options.letters);
    Ok(vec![
        Fact::new(name("rate"), "letters/s", vec![rate]),
        Fact::new(name("peak memory"), "MiB", vec![peak]),
    ])
}

fn replay(tools: &Tools, world: &World) -> Command {
    let mut command = Command::new(&tools.worker);
    command.args(["dead-letters", "replay", "--all", "--yes", "--wait", "0s"]);
    command.env("AMQP_URL", &world.vhost.url).env("IMIN_API_KEY", KEY);
    command
}
