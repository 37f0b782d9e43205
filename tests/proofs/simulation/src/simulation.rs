//! One seed from its beginning to its end.

use std::collections::BTreeSet;

use crate::director::Director;
use crate::onboarding::{BEGINNING, Onboarded, onboard};
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::stage::{Access, Stage, World};
use crate::temper::Temper;

/// What a seed came to.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    /// What was wrong; empty if nothing was.
    pub violations: Vec<String>,
    /// What functions asked of the tables, if the schedule was kept.
    pub accesses: BTreeSet<Access>,
    /// The schedule, if it was asked for.
    pub schedule: Vec<String>,
    /// How its runs ended.
    pub ends: Vec<&'static str>,
    /// Tasks that ECS launched.
    pub tasks: usize,
    /// Objects in the archive at the end.
    pub objects: usize,
    /// Messages that were received too often.
    pub dead_letters: usize,
}

/// Plays seeds, each from the same onboarded projects.
pub struct Simulation {
    onboarded: Onboarded,
    runtime: tokio::runtime::Runtime,
}

impl Simulation {
    /// Sets the projects up.
    pub fn new() -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|error| error.to_string())?;
        let onboarded = runtime.block_on(onboard())?;
        Ok(Self { onboarded, runtime })
    }

    pub fn play(&self, seed: u64, keep_schedule: bool) -> Report {
        self.runtime
            .block_on(play(&self.onboarded, seed, keep_schedule, None))
    }

    /// Plays a seed in a world that breaks a promise.
    pub fn play_sabotaged(&self, seed: u64, sabotage: Sabotage) -> Report {
        self.runtime
            .block_on(play(&self.onboarded, seed, false, Some(sabotage)))
    }
}

async fn play(
    onboarded: &Onboarded,
    seed: u64,
    keep_schedule: bool,
    sabotage: Option<Sabotage>,
) -> Report {
    let mut random = Random::new(seed);
    let temper = Temper::draw(&mut random);
    let beginning = if temper.floods {
        onboarded.flooded.clone()
    } else {
        onboarded.calm.clone()
    };
    let mut world = World::new(beginning.tables, BEGINNING, random, beginning.judge);
    world.sabotage = sabotage;
    if keep_schedule {
        world.schedule = Some(vec![format!("seed {seed}: {temper:?}")]);
        world.accesses = Some(BTreeSet::new());
    }
    let stage = Stage::new(world);
    let mut director = Director::new(stage.clone(), seed, temper, onboarded);
    director.play().await;
    if stage.lock().judge.violations().is_empty() {
        director.conclude(&stage).await;
    }
    let world = stage.lock();
    Report {
        seed,
        violations: world.judge.violations().to_vec(),
        accesses: world.accesses.clone().unwrap_or_default(),
        schedule: world.schedule.clone().unwrap_or_default(),
        ends: world
            .judge
            .runs()
            .values()
            .map(|run| run.state().name())
            .collect(),
        tasks: world.ecs.tasks.len(),
        objects: world.archive.0.len(),
        dead_letters: world.queues.dead_letters().len(),
    }
}
