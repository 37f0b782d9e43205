//! How bad a seed's world is. Each seed draws its own, so that some worlds are nearly well, and
//! some have one plague.

use crate::random::Random;

/// What goes wrong, in times out of a thousand. The default is a world where nothing does.
#[derive(Clone, Debug, Default)]
pub struct Temper {
    /// A call fails, throttled or before it took effect.
    pub failing: u64,
    /// A call takes effect and its answer is lost.
    pub reply_lost: u64,
    /// A transaction is refused because another one is busy.
    pub busy: u64,
    /// An answer arrives late.
    pub slow: u64,
    /// An invocation dies between two calls.
    pub dying: u64,
    /// The answer of a whole request is lost.
    pub answer_lost: u64,
    /// A message or event is lost.
    pub losing: u64,
    /// A message or event comes twice.
    pub doubling: u64,
    /// ECS has no room.
    pub no_capacity: u64,
    /// ECS refuses a launch for good.
    pub refusing: u64,
    /// A task cannot start, or its machine is taken away.
    pub task_lost: u64,
    /// A command neither ends nor obeys its own time-out.
    pub hanging: u64,
    /// Changes that the due index may be behind by.
    pub index_lag: u64,
    /// A read that need not be strong answers with the row as it was before its newest write.
    pub stale: u64,
    /// Milliseconds that ECS may not show a new task for.
    pub ecs_lag: i64,
    /// Milliseconds that the clock of the control plane may be off.
    pub skew: i64,
    /// A worker's process dies, in times out of a thousand of its turns.
    pub worker_dying: u64,
    /// A long time passes, in times out of a thousand of the clock's turns.
    pub leap: u64,
    /// Somebody revokes a key of what is in flight, or lifts that again, in times out of a thousand
    /// of the callers' turns.
    pub revoking: u64,
    /// Runs that callers enqueue at most.
    pub runs: u64,
    /// Turns of the scheduler before faults stop.
    pub turns: u64,
    /// After the faults stop, queues and workers go on; or else `sweep` alone does.
    pub recovers: bool,
}

impl Temper {
    /// The temper of a seed.
    pub fn draw(random: &mut Random) -> Self {
        // Most plagues are absent from most worlds: what hides behind another fault is then seen
        // alone.
        let mut plague = |per_mille: u64, most: u64| {
            if random.chance(per_mille) {
                1 + random.below(most)
            } else {
                0
            }
        };
        let mut temper = Self {
            failing: plague(400, 120),
            reply_lost: plague(400, 120),
            busy: plague(300, 200),
            slow: plague(300, 300),
            dying: plague(500, 60),
            answer_lost: plague(400, 200),
            losing: plague(300, 400),
            doubling: plague(400, 400),
            no_capacity: plague(200, 300),
            refusing: plague(100, 100),
            task_lost: plague(300, 150),
            hanging: plague(250, 300),
            index_lag: plague(300, 8),
            stale: plague(400, 900),
            ecs_lag: 0,
            skew: 0,
            worker_dying: plague(300, 150),
            leap: 20 + plague(500, 200),
            revoking: plague(500, 500),
            runs: 1 + plague(800, 4),
            turns: 120 + plague(900, 350),
            recovers: false,
        };
        if random.chance(400) {
            temper.ecs_lag = random.millis(100, 8_000);
        }
        if random.chance(400) {
            temper.skew = random.millis(100, 3_000);
        }
        temper.recovers = random.chance(500);
        temper
    }
}
