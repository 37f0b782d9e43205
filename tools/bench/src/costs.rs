//! Costs of runs and requests: capacity units of the tables, round trips, CPU time.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use sealfleet_test_stack::identity::NOWHERE;
use sealfleet_test_stack::{Outcome, ensure_eq};
use serde_json::json;

use crate::cloud::Consumed;
use crate::figures::{Figures, percentile};
use crate::lambda::Function;
use crate::machine::cpu_millis_of;
use crate::world::{BESIDE, FARGATE, IN_AWS, Identity, PULL, Place, World, accepted};

/// US dollars a million, DynamoDB on demand and SQS standard queues, us-east-1 (AWS price lists).
const WRITE_PRICE: f64 = 0.625;
const READ_PRICE: f64 = 0.125;
const QUEUE_PRICE: f64 = 0.40;
/// SQS requests that consumers make for each message: its receive and its delete.
const CONSUMER_REQUESTS: f64 = 2.0;

/// Runs whose changes reach the trail as one batch, where load is high.
const TOGETHER: usize = 25;

/// From the end of a lease until `sweep` looks at it, and a moment more: functions/sweep/visit.rs.
const LOOKS_AFTER: Duration = Duration::from_secs(11);
/// Steps that a worker holds.
const HELD: usize = 10;

/// Whole one-step runs by both kinds of sandbox, with one secret and with many. Their units include
/// those of `trail`, which gets each change of a run by itself.
pub async fn runs(figures: &mut Figures, world: &World, runs: usize) -> Outcome {
    world.reads_stream(true);
    for (path, pool, profile, place) in [
        ("pull worker", PULL, BESIDE, Place::Beside),
        ("Fargate", FARGATE, IN_AWS, Place::InAws),
    ] {
        let one = mean(world, pool, &Identity::of_one(profile), runs).await?;
        let queue = one.queue_requests + CONSUMER_REQUESTS;
        let dollars =
            one.write_units * WRITE_PRICE + one.read_units * READ_PRICE + queue * QUEUE_PRICE;
        let name = format!("{path}, one secret");
        for (what, value, unit, budget) in [
            ("write units", one.write_units, "WRU", 24.0),
            ("read units", one.read_units, "RRU", 10.0),
            ("tables and queue, a million runs", dollars, "USD", 15.0),
        ] {
            figures.add_against(format!("{name}: {what}"), value, unit, budget);
        }
        let requests = format!("{name}: SQS requests, with receive and delete");
        figures.add(requests, queue, "");
        let trips = format!("{name}: sequential round trips to AWS");
        figures.add(trips, one.round_trips, "");
        let cascade = Identity::cascade(world, place).await?;
        let many = mean(world, pool, &cascade, runs).await?;
        world.bind(&json!({})).await?;
        let name = format!("{path}, 15 secrets of 3 levels");
        figures.add(format!("{name}: write units"), many.write_units, "WRU");
        figures.add(format!("{name}: read units"), many.read_units, "RRU");
    }
    for _ in 0..TOGETHER {
        let identity = Identity::of_one(BESIDE);
        let run = world.enqueue(PULL, &identity.profile).await?;
        let fence = world.claim(&run).await?;
        world.started(&run, fence, &identity.keys).await?;
        world.succeeded(&run, fence).await?;
    }
    let before = world.consumed();
    world.copy_to_trail().await?;
    let copied = world.consumed() - before;
    let name = format!("trail, changes of {TOGETHER} runs in one batch: write units a run");
    figures.add(name, copied.write_units / count(TOGETHER), "WRU");
    world.reads_stream(false);
    Ok(())
}

/// What long steps of a pull worker add while they run: heartbeats, and looks of `sweep`. In
/// `world`, leases last `lease`.
pub async fn long_steps(figures: &mut Figures, world: &World, lease: Duration) -> Outcome {
    world.sweep().await?;
    let before = world.consumed();
    world.sweep().await?;
    let idle = world.consumed() - before;
    let mut claims = Vec::new();
    for _ in 0..HELD {
        let run = world.enqueue(PULL, BESIDE).await?;
        claims.push((run.clone(), world.claim(&run).await?));
    }
    // The heartbeat comes late in the lease, so that its own still lasts at the sweep below.
    tokio::time::sleep(lease / 2).await;
    let before = world.consumed();
    ensure_eq!(world.held(&claims).await?, HELD, "claims that are held");
    let beat = world.consumed() - before;
    // `sweep` looks at them some seconds after the leases of the claims have ended. Those of the
    // heartbeat still last.
    tokio::time::sleep(lease / 2 + LOOKS_AFTER).await;
    let before = world.consumed();
    world.sweep().await?;
    let looks = world.consumed() - before - idle;
    ensure_eq!(world.held(&claims).await?, HELD, "claims after a sweep");
    for (what, all, unit) in [
        ("a heartbeat, for each: read units", beat.read_units, "RRU"),
        (
            "a heartbeat, for each: write units",
            beat.write_units,
            "WRU",
        ),
        ("a look of `sweep`: read units", looks.read_units, "RRU"),
        ("a look of `sweep`: write units", looks.write_units, "WRU"),
    ] {
        figures.add(
            format!("{HELD} long steps, {what}"),
            all / count(HELD),
            unit,
        );
    }
    Ok(())
}

/// What one of these runs consumes.
async fn mean(world: &World, pool: &str, identity: &Identity, runs: usize) -> Outcome<Consumed> {
    let run = async || match pool {
        PULL => pull_run(world, identity).await,
        _ => fargate_run(world, identity).await,
    };
    // The first run is not counted: it starts the functions and registers the task definition.
    run().await?;
    let mut sum = Consumed::default();
    for _ in 0..runs {
        sum = sum + run().await?;
    }
    let runs = count(runs);
    Ok(Consumed {
        write_units: sum.write_units / runs,
        read_units: sum.read_units / runs,
        round_trips: sum.round_trips / runs,
        queue_requests: sum.queue_requests / runs,
    })
}

async fn pull_run(world: &World, identity: &Identity) -> Outcome<Consumed> {
    let mut sum = Consumed::default();
    let run = step(world, &mut sum, world.enqueue(PULL, &identity.profile)).await?;
    let fence = step(world, &mut sum, world.claim(&run)).await?;
    step(world, &mut sum, world.started(&run, fence, &identity.keys)).await?;
    step(world, &mut sum, world.succeeded(&run, fence)).await?;
    Ok(sum)
}

async fn fargate_run(world: &World, identity: &Identity) -> Outcome<Consumed> {
    let mut sum = Consumed::default();
    let run = step(world, &mut sum, world.enqueue(FARGATE, &identity.profile)).await?;
    step(world, &mut sum, world.dispatch(&run)).await?;
    // The bench asks for the task; a run does not.
    let task = world.task(&run).await?;
    step(world, &mut sum, world.ask(&run, &task)).await?;
    step(world, &mut sum, world.observe(&run, &task, "RUNNING")).await?;
    step(world, &mut sum, world.tell(&run, &task)).await?;
    step(world, &mut sum, world.observe(&run, &task, "STOPPED")).await?;
    Ok(sum)
}

/// Does a part of a run and then what `trail` does about it, and adds what both consume. Nothing of
/// the run waits for `trail`, so its round trips do not count.
async fn step<T>(
    world: &World,
    sum: &mut Consumed,
    part: impl Future<Output = Outcome<T>>,
) -> Outcome<T> {
    let before = world.consumed();
    let done = part.await?;
    let own = world.consumed() - before;
    world.copy_to_trail().await?;
    *sum = *sum + (world.consumed() - before);
    sum.round_trips -= world.consumed().round_trips - before.round_trips - own.round_trips;
    Ok(done)
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

/// `POST /v1/cascade/resolve` among few and among `many` profiles: what enqueue and each start do,
/// with nothing written.
pub async fn resolution(
    figures: &mut Figures,
    world: &World,
    requests: usize,
    many: usize,
) -> Outcome {
    let cascade = Identity::cascade(world, Place::Beside).await?;
    let (few_p50, few_units) = resolved(world, &cascade, requests).await?;
    for number in 0..many {
        let secrets = json!({ "API_KEY": NOWHERE });
        let profile = json!({ "name": format!("other-{number}"), "secrets": secrets });
        world.profile(&profile).await?;
    }
    let (many_p50, many_units) = resolved(world, &cascade, requests).await?;
    let name = format!("cascade resolved among {many} more profiles, to among few");
    figures.add_against(
        format!("{name}: units"),
        many_units / few_units,
        "times",
        1.0,
    );
    figures.add_against(format!("{name}: p50"), many_p50 / few_p50, "times", 1.5);
    world.bind(&json!({})).await
}

/// The p50 of resolutions in milliseconds, and their read units.
async fn resolved(world: &World, identity: &Identity, requests: usize) -> Outcome<(f64, f64)> {
    let (mut latencies, before) = (Vec::new(), world.consumed());
    for _ in 0..requests {
        let begun = Instant::now();
        let resolved = world.resolve(&identity.profile).await?;
        latencies.push(begun.elapsed().as_secs_f64() * 1000.0);
        let keys = resolved["keys"].as_array().map_or(0, Vec::len);
        ensure_eq!(keys, identity.keys.len(), "the keys of {resolved}");
    }
    let reads = (world.consumed() - before).read_units;
    Ok((percentile(&latencies, 0.5), reads))
}

/// A count as a divisor.
pub fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}
