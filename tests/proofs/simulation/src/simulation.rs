//! One seed from its beginning to its end.

use crate::director::Director;
use crate::invariants::Invariants;
use crate::onboarding::{BEGINNING, Project, onboard};
use crate::random::Random;
use crate::sabotage::Sabotage;
use crate::stage::{Stage, World};
use crate::temper::Temper;

/// What a seed came to.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    /// What was wrong; empty if nothing was.
    pub violations: Vec<String>,
    /// The schedule, if it was asked for.
    pub schedule: Vec<String>,
    /// How its runs ended.
    pub ends: Vec<&'static str>,
    /// Tasks that ECS launched.
    pub tasks: usize,
}

/// Plays seeds, each from the same onboarded project.
pub struct Simulation {
    project: Project,
    runtime: tokio::runtime::Runtime,
}

impl Simulation {
    /// Sets the project up.
    pub fn new() -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|error| error.to_string())?;
        let project = runtime.block_on(onboard())?;
        Ok(Self { project, runtime })
    }

    pub fn play(&self, seed: u64, keep_schedule: bool) -> Report {
        self.runtime
            .block_on(play(&self.project, seed, keep_schedule, None))
    }

    /// Plays a seed in a world that breaks a promise.
    pub fn play_sabotaged(&self, seed: u64, sabotage: Sabotage) -> Report {
        self.runtime
            .block_on(play(&self.project, seed, false, Some(sabotage)))
    }
}

async fn play(
    project: &Project,
    seed: u64,
    keep_schedule: bool,
    sabotage: Option<Sabotage>,
) -> Report {
    let mut random = Random::new(seed);
    let temper = Temper::draw(&mut random);
    let mut world = World::new(
        project.tables.clone(),
        BEGINNING,
        random,
        Invariants::default(),
    );
    world.sabotage = sabotage;
    if keep_schedule {
        world.schedule = Some(vec![format!("seed {seed}: {temper:?}")]);
    }
    let stage = Stage::new(world);
    let recovers = temper.recovers;
    let mut director = Director::new(stage.clone(), seed, temper, project);
    director.play().await;
    if stage.lock().judge.violations().is_empty() {
        director.conclude(&stage, recovers).await;
    }
    let world = stage.lock();
    Report {
        seed,
        violations: world.judge.violations().to_vec(),
        schedule: world.schedule.clone().unwrap_or_default(),
        ends: world
            .judge
            .runs()
            .values()
            .map(|run| run.state().name())
            .collect(),
        tasks: world.ecs.tasks.len(),
    }
}
