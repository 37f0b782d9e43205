//! Costs of runs and requests: capacity units of the tables, requests to tables and SQS, CPU time.

use std::time::Instant;

use futures_util::future::try_join_all;
use sealfleet_test_stack::Outcome;

use crate::cloud::Consumed;
use crate::figures::{Figures, percentile};
use crate::lambda::Function;
use crate::machine::cpu_millis_of;
use crate::world::{BESIDE, FARGATE, IN_AWS, PULL, World, accepted};

/// US dollars a million, DynamoDB on demand and SQS standard queues, us-east-1 (AWS price lists).
const WRITE_PRICE: f64 = 0.625;
const READ_PRICE: f64 = 0.125;
const QUEUE_PRICE: f64 = 0.40;
/// SQS requests that consumers make for each message: its receive and its delete.
const CONSUMER_REQUESTS: f64 = 2.0;

/// Consumption summed over runs, by operation.
struct Stages {
    sums: Vec<(&'static str, Consumed)>,
    before: Consumed,
    at: usize,
}

impl Stages {
    fn new(world: &World) -> Self {
        Self {
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
        if self.at == self.sums.len() {
            self.sums.push((name, Consumed::default()));
        }
        if let Some((_, sum)) = self.sums.get_mut(self.at) {
            *sum = *sum + (now - self.before);
        }
        self.before = now;
        self.at += 1;
    }

    fn print(&self, figures: &mut Figures, path: &str, runs: usize) {
        let runs = count(runs);
        let all = self
            .sums
            .iter()
            .fold(Consumed::default(), |all, (_, sum)| all + *sum);
        let (writes, reads) = (all.write_units / runs, all.read_units / runs);
        let queue = f64::from(all.queue_requests) / runs + CONSUMER_REQUESTS;
        let dollars = writes * WRITE_PRICE + reads * READ_PRICE + queue * QUEUE_PRICE;
        let run = format!("{path}: a one-step identity run");
        figures.add_against(format!("{run}: write units"), writes, "WRU", 24.0);
        figures.add_against(format!("{run}: read units"), reads, "RRU", 10.0);
        figures.add_against(
            format!("{run}: SQS requests, with receive and delete"),
            queue,
            "requests",
            3.0,
        );
        figures.add_against(
            format!("{run}: tables and queue, a million runs"),
            dollars,
            "USD",
            15.0,
        );
        figures.add(
            format!("{run}: requests to the tables"),
            f64::from(all.table_requests) / runs,
            "requests",
        );
        for (name, sum) in &self.sums {
            let name = format!("{path}, {name}");
            figures.add(
                format!("{name}: write units"),
                sum.write_units / runs,
                "WRU",
            );
            figures.add(format!("{name}: read units"), sum.read_units / runs, "RRU");
        }
    }
}

/// Whole runs, by both kinds of sandbox.
pub async fn runs(figures: &mut Figures, world: &World, runs: usize) -> Outcome {
    // The first run is not counted: it starts the functions and registers the task definition.
    let mut stages = Stages::new(world);
    pull_run(world, &mut Stages::new(world)).await?;
    for _ in 0..runs {
        pull_run(world, &mut stages).await?;
    }
    stages.print(figures, "pull worker", runs);
    let mut stages = Stages::new(world);
    fargate_run(world, &mut Stages::new(world)).await?;
    for _ in 0..runs {
        fargate_run(world, &mut stages).await?;
    }
    stages.print(figures, "Fargate", runs);
    Ok(())
}

async fn pull_run(world: &World, stages: &mut Stages) -> Outcome {
    stages.begin(world);
    let run = world.enqueue(PULL, BESIDE).await?;
    stages.done(world, "enqueue");
    let fence = world.claim(&run).await?;
    stages.done(world, "claim");
    world.started(&run, fence).await?;
    stages.done(world, "start");
    world.succeeded(&run, fence).await?;
    stages.done(world, "report");
    Ok(())
}

async fn fargate_run(world: &World, stages: &mut Stages) -> Outcome {
    stages.begin(world);
    let run = world.enqueue(FARGATE, IN_AWS).await?;
    stages.done(world, "enqueue");
    world.dispatch(&run).await?;
    stages.done(world, "dispatch");
    // The bench asks for the task; a run does not.
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

/// CPU time of an enqueue and of a claim: the whole process of the function, with Lambda's
/// protocol, JSON, the rules, signing, and HTTP to the tables and the queue (without TLS).
pub async fn cpu(figures: &mut Figures, world: &World, requests: usize) -> Outcome {
    for _ in 0..requests / 5 {
        let run = world.enqueue(PULL, BESIDE).await?;
        let fence = world.claim(&run).await?;
        world.succeeded(&run, fence).await?;
    }
    let mut add = |name: &str, spent: f64| {
        figures.add_against(
            format!("{name}: CPU of a request, whole process, no TLS"),
            spent / count(requests),
            "ms",
            1.0,
        );
    };
    let enqueue = world.function("enqueue").await?;
    let before = cpu_millis_of(enqueue.pid);
    let mut runs = Vec::new();
    for _ in 0..requests {
        runs.push(world.enqueue(PULL, BESIDE).await?);
    }
    add("enqueue", cpu_millis_of(enqueue.pid) - before);
    let claim = world.function("claim").await?;
    let before = cpu_millis_of(claim.pid);
    let mut claimed = Vec::new();
    for run in runs {
        let fence = world.claim(&run).await?;
        claimed.push((run, fence));
    }
    add("claim", cpu_millis_of(claim.pid) - before);
    for (run, fence) in claimed {
        world.succeeded(&run, fence).await?;
    }
    Ok(())
}

/// Claims while 10 and while `long` other runs wait.
pub async fn backlog(
    figures: &mut Figures,
    world: &World,
    requests: usize,
    long: usize,
) -> Outcome {
    fill(world, 10).await?;
    let (few, few_units) = claims(world, requests).await?;
    fill(world, long - 10).await?;
    let (many, many_units) = claims(world, requests).await?;
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
    Ok(())
}

/// The p50 of claims in milliseconds, and their units.
async fn claims(world: &World, requests: usize) -> Outcome<(f64, f64)> {
    let (mut latencies, mut units) = (Vec::new(), 0.0);
    for _ in 0..requests {
        let run = world.enqueue(PULL, BESIDE).await?;
        let (begun, before) = (Instant::now(), world.consumed());
        let fence = world.claim(&run).await?;
        latencies.push(begun.elapsed().as_secs_f64() * 1000.0);
        let spent = world.consumed() - before;
        units += spent.write_units + spent.read_units;
        world.succeeded(&run, fence).await?;
    }
    Ok((percentile(&latencies, 0.5), units))
}

/// Enqueues runs that nobody claims, by three processes of the function at once.
async fn fill(world: &World, runs: usize) -> Outcome {
    const AT_ONCE: usize = 3;
    let mut enqueuers = Vec::new();
    for _ in 0..AT_ONCE {
        enqueuers.push(world.start("enqueue").await?);
    }
    let one = async |number: usize, enqueuer: &Function| -> Outcome {
        for _ in (number..runs).step_by(AT_ONCE) {
            accepted(enqueuer.invoke(&world.enqueue_event(PULL, BESIDE)).await?)?;
        }
        Ok(())
    };
    let all = enqueuers.iter().enumerate();
    try_join_all(all.map(|(number, enqueuer)| one(number, enqueuer))).await?;
    Ok(())
}

/// A count as a divisor.
pub fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}
