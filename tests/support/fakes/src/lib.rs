//! The world around the handlers, in memory: one set of fakes for every test that runs handlers.
//!
//! All ports share one [`stage`]. While nobody directs it, a call is only a call and takes effect
//! at once. A director can hold each call until its turn, let it fail, lose its answer, or end the
//! handler that waits for it.
//!
//! ```text
//! stage     the shared world, its turns, and the judge of every effect
//! ports     what handlers are given;  handlers: the real ones over them
//! memory ecs queues archive time   the parts of the world;  temper: how bad it is;  random: chance
//! sabotage  promises that the world itself breaks, to test its judges
//! ```

pub mod archive;
pub mod ecs;
pub mod handlers;
pub mod memory;
pub mod ports;
pub mod queues;
pub mod random;
pub mod sabotage;
pub mod stage;
pub mod temper;
pub mod time;
