//! The handlers in a world that goes wrong on purpose.
//!
//! The real handlers run over in-memory ports, one step at a time, in an order that a seed decides.
//! Calls fail, are throttled, take effect and lose their answer; invocations die between any two
//! awaits; messages and events are lost, doubled and reordered; clocks jump. After every effect the
//! invariants are checked, and at the end of each seed `sweep` alone must bring all of it to its
//! end. A seed that fails fails again: `simulate --seed N --print` shows how.
//!
//! ```text
//! simulation   one seed: `director` plays, `epilogue` concludes, `invariants` and `revocations` judge
//! stage        the shared world and its turns;  ports: what handlers are given;  handlers: what is run
//! callers pull fargate          the turns of those around the handlers;  requests: what callers send
//! memory ecs queues time workers  the parts of the world;  temper: how bad it is;  sabotage: worse than it may be
//! seeds        those that once failed, and playing many;  random: chance
//! ```

pub mod callers;
pub mod director;
pub mod ecs;
pub mod epilogue;
pub mod fargate;
pub mod handlers;
pub mod invariants;
pub mod memory;
pub mod onboarding;
pub mod ports;
pub mod pull;
pub mod queues;
pub mod random;
pub mod requests;
pub mod revocations;
pub mod sabotage;
pub mod seeds;
pub mod simulation;
pub mod stage;
pub mod temper;
pub mod time;
pub mod workers;
