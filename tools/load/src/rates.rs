//! How fast `sweep` and fan-outs are, whether steps of one run refuse one another, and how long a
//! neighbour waits while a tenant floods.
//!
//! All in memory, twice where it matters. In virtual time a call of the tables takes ten
//! milliseconds and computing takes none, so a figure says how many calls wait for one another, on
//! any machine. Where calls take no time, a figure says what this machine computes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sealfleet_domain::run::StepState;
use sealfleet_domain::{Clock as _, Timestamp};
use sealfleet_test_stack::{Failure, Outcome, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::field::{Field, KEY, PROFILE, scope, step_id};
use crate::judge::text;
use crate::memory::{Distant, Virtual};
use crate::world::Asked;

/// Milliseconds of a call in each direction.
const FAR: (i64, i64) = (5, 5);
const NEAR: (i64, i64) = (0, 0);
const NOISY: &str = "noisy";
const QUIET: &str = "quiet";

#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub what: String,
    pub value: f64,
    pub unit: &'static str,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub due: usize,
    pub in_flight: usize,
    pub flood: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            due: 3_000,
            in_flight: 1_000,
            flood: 10_000,
        }
    }
}

/// Measures all of them, in a paused runtime.
pub async fn measure(sizes: Sizes) -> Outcome<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut add = |what: String, value: f64, unit: &'static str| {
        eprintln!("load: {what}: {value:.1} {unit}");
        figures.push(Figure { what, value, unit });
    };
    let places = [
        (FAR, "calls of 10 ms"),
        (NEAR, "calls of no time, this machine"),
    ];
    for (travel, place) in places {
        let rate = sweep(travel, sizes.due).await?;
        add(format!("sweep, {place}"), rate, "visits/s");
    }
    for (travel, place) in places {
        let rate = fan_out(travel, sizes.in_flight).await?;
        let what = format!("fan-out, {} in flight, {place}", sizes.in_flight);
        add(what, rate, "aborts/s");
    }
    for steps in [25, 100] {
        let [claims, starts] = refused(steps).await?;
        add(
            format!("claims refused, {steps} steps of one run at once"),
            claims,
            "%",
        );
        add(
            format!("starts refused, {steps} steps of one run at once"),
            starts,
            "%",
        );
    }
    let seconds = neighbour(sizes.flood).await?;
    let what = format!(
        "a neighbour's expired lease while a tenant has {} due rows, found after its end",
        sizes.flood
    );
    add(what, seconds, "s");
    Ok(figures)
}

/// A field in tables that far away, and its clock.
fn field(travel: (i64, i64)) -> (Field, Virtual) {
    let clock = Virtual::begin();
    let store = Arc::new(Distant::new(1, travel));
    (Field::new(store, Arc::new(clock), 1), clock)
}

fn per_second(count: u64, seconds: f64) -> f64 {
    u32::try_from(count).map_or(f64::NAN, f64::from) / seconds
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    i32::try_from(to.millis_since(from)).map_or(f64::NAN, f64::from) / 1000.0
}

/// Visits a second of one sweep of so many runs whose messages are due.
async fn sweep(travel: (i64, i64), due: usize) -> Outcome<f64> {
    let (field, clock) = field(travel);
    field.project(NOISY).await?;
    for _ in 0..due {
        field.enqueue(NOISY, 1, false).await?;
    }
    sleep(Duration::from_secs(120)).await;
    let (began, begun) = (clock.now(), Instant::now());
    let swept = field.sweep().await?;
    ensure!(
        swept.visited == due as u64,
        "not all was visited: {swept:?}"
    );
    let took = if travel == NEAR {
        begun.elapsed().as_secs_f64()
    } else {
        seconds(began, clock.now())
    };
    Ok(per_second(swept.visited, took))
}

/// Aborts a second of one hard revocation of a key that so many runs hold.
async fn fan_out(travel: (i64, i64), in_flight: usize) -> Outcome<f64> {
    let (field, _) = field(travel);
    let token = field.project(NOISY).await?;
    for _ in 0..in_flight.div_ceil(250) {
        let (worker, _) = field.worker(NOISY).await?;
        for _ in 0..in_flight.min(250) {
            let run = field.enqueue(NOISY, 1, true).await?;
            field.claim(NOISY, &worker, run).await?;
        }
    }
    let body = json!({
        "keys": [{ "profile": PROFILE, "key": KEY }], "hard": true, "reason": "load",
    });
    let begun = Instant::now();
    let asked = Asked::post("/v1/revocations", &body);
    let revoked = field.ask(&token, asked).await?.accepted("a revocation")?;
    let computed = begun.elapsed().as_secs_f64();
    let fan_out = revoked.get("fan_out").cloned().unwrap_or_default();
    let aborted = fan_out.get("runs_aborted").and_then(Value::as_u64);
    let finished = text(&fan_out, "finished_at");
    ensure!(
        aborted == Some(in_flight as u64) && !finished.is_empty(),
        "one request did not abort all: {fan_out}"
    );
    let took = if travel == NEAR {
        computed
    } else {
        let started = Timestamp::parse(&text(&fan_out, "started_at"))?;
        seconds(started, Timestamp::parse(&finished)?)
    };
    Ok(per_second(in_flight as u64, took))
}

/// Of so many claims, and then starts, of one run's parallel steps at once: how many of a hundred
/// were refused when they were first asked.
async fn refused(steps: usize) -> Outcome<[f64; 2]> {
    let (field, _) = field(FAR);
    let field = Arc::new(field);
    field.project(NOISY).await?;
    let (_, credential) = field.worker(NOISY).await?;
    let run = field.enqueue(NOISY, steps, true).await?;
    let mut all = JoinSet::new();
    for number in 0..steps {
        let (field, credential) = (Arc::clone(&field), credential.clone());
        let body = json!({ "run_id": run, "step_id": step_id(number)? });
        all.spawn_local(async move {
            field
                .ask(&credential, Asked::post("/v1/claims", &body))
                .await
        });
    }
    let (mut claims, mut starts, mut granted) = (0_u64, 0_u64, Vec::new());
    while let Some(answer) = all.join_next().await {
        let answer = answer??;
        if answer.status < 300 {
            granted.push(answer.body);
        } else {
            claims += 1;
        }
    }
    for claim in granted {
        let (field, credential) = (Arc::clone(&field), credential.clone());
        let body = json!({
            "run_id": run, "step_id": claim.get("step_id"), "fence": claim.get("fence"), "sandbox": "s",
        });
        all.spawn_local(async move {
            field
                .ask(&credential, Asked::post("/v1/starts", &body))
                .await
        });
    }
    while let Some(answer) = all.join_next().await {
        starts += u64::from(answer??.status >= 300);
    }
    let of_hundred = |refused: u64| per_second(refused * 100, per_second(steps as u64, 1.0));
    Ok([of_hundred(claims), of_hundred(starts)])
}

/// The longest time between the end of a lease and the visit that finds it, whenever in the minute
/// between two sweeps it ends, while another tenant has so many due rows.
async fn neighbour(flood: usize) -> Outcome<f64> {
    let store = Arc::new(Distant::new(1, NEAR));
    let filler = Field::new(store.clone(), Arc::new(Virtual::begin()), 1);
    filler.project(NOISY).await?;
    filler.project(QUIET).await?;
    for _ in 0..flood {
        filler.enqueue(NOISY, 1, false).await?;
    }
    let (worker, _) = filler.worker(QUIET).await?;
    let (tables, mut longest) = (store.tables(), 0.0_f64);
    for second in (0..60).step_by(10) {
        let clock = Virtual::begin();
        let store = Distant::over(tables.clone(), 1, FAR);
        let field = Arc::new(Field::new(Arc::new(store), Arc::new(clock), 2 + second));
        sleep(Duration::from_secs(300)).await;
        let sweeping = Arc::clone(&field);
        let sweeps = tokio::task::spawn_local(async move {
            let mut minutes = tokio::time::interval(Duration::from_secs(60));
            loop {
                minutes.tick().await;
                if let Err(failure) = sweeping.sweep().await {
                    eprintln!("load: a sweep failed: {failure}");
                }
            }
        });
        sleep(Duration::from_secs(second)).await;
        let run = field.enqueue(QUIET, 1, true).await?;
        field.claim(QUIET, &worker, run).await?;
        let ends = clock.now().plus_seconds(30);
        let (scope, step) = (scope(QUIET)?, step_id(0)?);
        let found = loop {
            sleep(Duration::from_secs(1)).await;
            let run = field.ledger.run(&scope, run).await?;
            if let StepState::Queued { since, .. } = run.step(&step)?.state {
                break since;
            }
            if clock.now().millis_since(ends) > 600_000 {
                return Err(Failure::new(
                    "the expired lease was not found in ten minutes",
                ));
            }
        };
        sweeps.abort();
        longest = longest.max(seconds(ends, found));
    }
    Ok(longest)
}

/// The figures as a table of a document.
#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let rows = figures.iter().map(|figure| {
        let Figure { what, value, unit } = figure;
        format!("| {what} | {value:.1} {unit} |\n")
    });
    format!(
        "| what | measured |\n|---|---|\n{}",
        rows.collect::<String>()
    )
}
