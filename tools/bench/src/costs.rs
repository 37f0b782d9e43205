//! What runs and requests cost: capacity units of the tables, requests to SQS, time on a CPU.

use std::time::Instant;

use futures_util::future::try_join_all;
use sealfleet_test_stack::api::text;
use sealfleet_test_stack::{Failure, Outcome, ensure};
use serde_json::json;

use crate::cloud::Consumed;
use crate::figures::{Figures, percentile};
use crate::identity::{Backend, Identity};
use crate::lambda::Function;
use crate::machine::cpu_millis_of;
use crate::world::{BESIDE, FARGATE, IN_AWS, PULL, World, accepted};

/// US dollars for a million, DynamoDB on demand and SQS standard queues, us-east-1 (AWS price
/// lists).
const WRITE_PRICE: f64 = 0.625;
const READ_PRICE: f64 = 0.125;
const QUEUE_PRICE: f64 = 0.40;
/// Requests to SQS that are not the control plane's own but belong to each message: its receive and
/// its delete.
const CONSUMER_REQUESTS: f64 = 2.0;

/// Units of a run of one secret that starts with what it was enqueued with, whatever became of it
/// since: measured with no look at its profiles or at revocations. Writes and reads, in all and by
/// stage.
struct Plain {
    all: (f64, f64),
    stages: &'static [(f64, f64)],
}

const PLAIN_PULL: Plain = Plain {
    all: (24.0, 10.0),
    stages: &[(7.0, 4.0), (6.0, 2.0), (4.0, 2.0), (7.0, 2.0)],
};
const PLAIN_FARGATE: Plain = Plain {
    all: (27.0, 12.0),
    stages: &[],
};

/// What was consumed by each stage of runs, as means.
struct Stages {
    names: Vec<&'static str>,
    sums: Vec<Consumed>,
    before: Consumed,
    at: usize,
}

impl Stages {
    fn new(world: &World) -> Self {
        Self {
            names: Vec::new(),
            sums: Vec::new(),
            before: world.consumed(),
            at: 0,
        }
    }

    fn begin(&mut self, world: &World) {
        self.before = world.consumed();
        self.at = 0;
    }

    fn done(&mut self, world: &World, name: &'static str) {
        let now = world.consumed();
        let spent = now - self.before;
        self.before = now;
        if self.at == self.names.len() {
            self.names.push(name);
            self.sums.push(Consumed::default());
        }
        if let Some(sum) = self.sums.get_mut(self.at) {
            sum.write_units += spent.write_units;
            sum.read_units += spent.read_units;
            sum.table_requests += spent.table_requests;
            sum.queue_requests += spent.queue_requests;
        }
        self.at += 1;
    }

    /// `plain`: the same run without looks for drift and revocations, for which the budgets are. A
    /// run with many secrets has larger rows: it has none.
    fn print(&self, figures: &mut Figures, path: &str, runs: f64, plain: Option<&Plain>) {
        let total = |of: fn(&Consumed) -> f64| self.sums.iter().map(of).sum::<f64>() / runs;
        let writes = total(|sum| sum.write_units);
        let reads = total(|sum| sum.read_units);
        let queue = total(|sum| f64::from(sum.queue_requests)) + CONSUMER_REQUESTS;
        let dollars = writes * WRITE_PRICE + reads * READ_PRICE + queue * QUEUE_PRICE;
        for (name, value, unit, budget) in [
            (
                format!("{path}: write units of a whole one-step identity run, idempotent"),
                writes,
                "WRU",
                24.0,
            ),
            (format!("{path}: read units of it"), reads, "RRU", 10.0),
            (
                format!("{path}: SQS requests of it, its receive and delete included"),
                queue,
                "requests",
                3.0,
            ),
            (
                format!("{path}: tables and queue of a million such runs"),
                dollars,
                "USD",
                15.0,
            ),
        ] {
            match plain {
                Some(_) => figures.add_against(name, value, unit, budget),
                None => figures.add(name, value, unit),
            }
        }
        if let Some(plain) = plain {
            growth(figures, path, (writes, reads), plain.all);
        }
        for (at, (name, sum)) in self.names.iter().zip(&self.sums).enumerate() {
            let spent = (sum.write_units / runs, sum.read_units / runs);
            let name = format!("{path}, {name}");
            figures.add(format!("{name}: write units"), spent.0, "WRU");
            figures.add(format!("{name}: read units"), spent.1, "RRU");
            if let Some(plain) = plain.and_then(|plain| plain.stages.get(at)) {
                growth(figures, &name, spent, *plain);
            }
        }
    }
}

fn growth(figures: &mut Figures, name: &str, spent: (f64, f64), plain: (f64, f64)) {
    figures.add(
        format!("{name}: write units for drift and revocations"),
        spent.0 - plain.0,
        "WRU",
    );
    figures.add(
        format!("{name}: read units for drift and revocations"),
        spent.1 - plain.1,
        "RRU",
    );
}

/// Whole runs, by both kinds of sandbox.
///
/// # Errors
/// When a run does not get through.
pub async fn runs(figures: &mut Figures, world: &World, runs: usize) -> Outcome {
    let beside = Identity::of_one(BESIDE);
    pull_runs(
        figures,
        world,
        runs,
        "pull worker",
        &beside,
        Some(&PLAIN_PULL),
    )
    .await?;
    fargate_runs(
        figures,
        world,
        runs,
        "Fargate",
        &Identity::of_one(IN_AWS),
        Some(&PLAIN_FARGATE),
    )
    .await
}

/// As [`runs`], with the secrets of a cascade.
///
/// # Errors
/// When a run does not get through.
pub async fn cascade_runs(figures: &mut Figures, world: &World, runs: usize) -> Outcome {
    let beside = Identity::cascade(world, Backend::Beside, 3).await?;
    let path = format!("pull worker, {}", beside.said);
    pull_runs(figures, world, runs, &path, &beside, None).await?;
    let in_aws = Identity::cascade(world, Backend::InAws, 3).await?;
    let path = format!("Fargate, {}", in_aws.said);
    fargate_runs(figures, world, runs, &path, &in_aws, None).await?;
    world.bind(&json!({})).await
}

async fn pull_runs(
    figures: &mut Figures,
    world: &World,
    runs: usize,
    path: &str,
    identity: &Identity,
    plain: Option<&Plain>,
) -> Outcome {
    let mut stages = Stages::new(world);
    pull_run(world, &mut Stages::new(world), identity).await?;
    for _ in 0..runs {
        pull_run(world, &mut stages, identity).await?;
    }
    stages.print(figures, path, count(runs), plain);
    Ok(())
}

async fn fargate_runs(
    figures: &mut Figures,
    world: &World,
    runs: usize,
    path: &str,
    identity: &Identity,
    plain: Option<&Plain>,
) -> Outcome {
    let mut stages = Stages::new(world);
    // The first registers what later ones find, a task definition.
    fargate_run(world, &mut Stages::new(world), identity).await?;
    for _ in 0..runs {
        fargate_run(world, &mut stages, identity).await?;
    }
    stages.print(figures, path, count(runs), plain);
    Ok(())
}

async fn pull_run(world: &World, stages: &mut Stages, identity: &Identity) -> Outcome {
    stages.begin(world);
    let run = world.enqueue(PULL, &identity.profile).await?;
    stages.done(world, "enqueue");
    let fence = world.claim(&run).await?;
    stages.done(world, "claim");
    world.started(&run, fence, &identity.keys).await?;
    stages.done(world, "start");
    world.succeeded(&run, fence).await?;
    stages.done(world, "report");
    Ok(())
}

async fn fargate_run(world: &World, stages: &mut Stages, identity: &Identity) -> Outcome {
    stages.begin(world);
    let run = world.enqueue(FARGATE, &identity.profile).await?;
    stages.done(world, "enqueue");
    world.dispatch(&run).await?;
    stages.done(world, "dispatch");
    // Asking is no part of a run.
    let task = world.task(&run).await?;
    stages.before = world.consumed();
    world.ask(&run, &task).await?;
    stages.done(world, "sandbox asks");
    world.observe(&run, &task, "RUNNING").await?;
    stages.done(world, "RUNNING");
    world.observe(&run, &task, "STOPPED").await?;
    stages.done(world, "STOPPED");
    Ok(())
}

/// Time on a CPU for each enqueue and claim of a run of one secret: the whole of the function's
/// process, that is Lambda's protocol, JSON, the rules, signing, and HTTP to the tables and the
/// queue (without TLS).
///
/// # Errors
/// When a request is refused.
pub async fn cpu(figures: &mut Figures, world: &World, requests: usize) -> Outcome {
    cpu_with(figures, world, requests, "", BESIDE).await
}

/// As [`cpu`], with the secrets of a cascade.
///
/// # Errors
/// When a request is refused.
pub async fn cascade_cpu(figures: &mut Figures, world: &World, requests: usize) -> Outcome {
    let identity = Identity::cascade(world, Backend::Beside, 3).await?;
    cpu_with(
        figures,
        world,
        requests,
        &format!(", {}", identity.said),
        &identity.profile,
    )
    .await?;
    world.bind(&json!({})).await
}

async fn cpu_with(
    figures: &mut Figures,
    world: &World,
    requests: usize,
    what: &str,
    profile: &str,
) -> Outcome {
    for _ in 0..requests / 5 {
        let run = world.enqueue(PULL, profile).await?;
        let fence = world.claim(&run).await?;
        world.succeeded(&run, fence).await?;
    }
    let enqueue = world.function("enqueue").await?;
    let (mut runs, mut latencies) = (Vec::new(), Vec::new());
    let before = cpu_millis_of(enqueue.pid);
    for _ in 0..requests {
        let begun = Instant::now();
        runs.push(world.enqueue(PULL, profile).await?);
        latencies.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    let spent = cpu_millis_of(enqueue.pid) - before;
    let name = format!("enqueue{what}");
    figures.add_against(
        format!("{name}: CPU of a request, whole process, no TLS"),
        spent / count(requests),
        "ms",
        1.0,
    );
    figures.add(
        format!("{name}: latency, in-memory tables, p50"),
        percentile(&latencies, 0.5),
        "ms",
    );
    let claim = world.function("claim").await?;
    let before = cpu_millis_of(claim.pid);
    let mut claimed = Vec::new();
    latencies.clear();
    for run in runs {
        let begun = Instant::now();
        let fence = world.claim(&run).await?;
        latencies.push(begun.elapsed().as_secs_f64() * 1000.0);
        claimed.push((run, fence));
    }
    let spent = cpu_millis_of(claim.pid) - before;
    let name = format!("claim{what}");
    figures.add_against(
        format!("{name}: CPU of a request, whole process, no TLS"),
        spent / count(requests),
        "ms",
        1.0,
    );
    figures.add(
        format!("{name}: latency, in-memory tables, p50"),
        percentile(&latencies, 0.5),
        "ms",
    );
    for (run, fence) in claimed {
        world.succeeded(&run, fence).await?;
    }
    Ok(())
}

/// Claims while few and many other runs wait.
///
/// # Errors
/// When a request is refused.
pub async fn backlog(
    figures: &mut Figures,
    world: &World,
    requests: usize,
    long: usize,
) -> Outcome {
    let mut medians = Vec::new();
    let mut units = Vec::new();
    let mut waiting = 0;
    for backlog in [10, long] {
        fill(world, backlog - waiting).await?;
        waiting = backlog;
        let (mut latencies, mut spent) = (Vec::new(), Consumed::default());
        for _ in 0..requests {
            let run = world.enqueue(PULL, BESIDE).await?;
            let before = (Instant::now(), world.consumed());
            let fence = world.claim(&run).await?;
            latencies.push(before.0.elapsed().as_secs_f64() * 1000.0);
            let one = world.consumed() - before.1;
            spent.write_units += one.write_units;
            spent.read_units += one.read_units;
            world.succeeded(&run, fence).await?;
        }
        let name = format!("claim, {backlog} runs waiting");
        figures.add(
            format!("{name}: latency, in-memory tables, p50"),
            percentile(&latencies, 0.5),
            "ms",
        );
        figures.add(
            format!("{name}: latency, p95"),
            percentile(&latencies, 0.95),
            "ms",
        );
        figures.add(
            format!("{name}: write units"),
            spent.write_units / count(requests),
            "WRU",
        );
        figures.add(
            format!("{name}: read units"),
            spent.read_units / count(requests),
            "RRU",
        );
        medians.push(percentile(&latencies, 0.5));
        units.push(spent.write_units + spent.read_units);
    }
    if let ([few, many], [few_units, many_units]) = (medians.as_slice(), units.as_slice()) {
        figures.add_against(
            format!("claim: units at {long} waiting to units at 10"),
            many_units / few_units,
            "times",
            1.05,
        );
        figures.add_against(
            format!("claim: p50 at {long} waiting to p50 at 10"),
            many / few,
            "times",
            1.5,
        );
    }
    Ok(())
}

/// Enqueues runs that nobody claims, by several processes of the function at once.
async fn fill(world: &World, runs: usize) -> Outcome {
    const AT_ONCE: usize = 3;
    let mut enqueuers = Vec::new();
    for _ in 0..AT_ONCE {
        enqueuers.push(world.start("enqueue").await?);
    }
    let one = async |number: usize, enqueuer: &Function| -> Outcome {
        for _ in (number..runs).step_by(AT_ONCE) {
            let answer = enqueuer.invoke(&world.enqueue_event(PULL, BESIDE)).await?;
            let run = text(&accepted(answer)?, "run_id")?;
            ensure!(run.starts_with("run_"), "`{run}` is no run");
        }
        Ok(())
    };
    try_join_all(
        enqueuers
            .iter()
            .enumerate()
            .map(|(number, enqueuer)| one(number, enqueuer)),
    )
    .await?;
    Ok(())
}

/// A count as a divisor.
pub fn count(number: usize) -> f64 {
    u32::try_from(number)
        .map_err(|_| Failure::new("too many"))
        .map_or(f64::MAX, f64::from)
}
