//! `sealfleet-load`: many projects, workers and runs at once, and counts of what must not happen.
//!
//! ```text
//! world      what the load needs of a control plane;  memory: the handlers in this process;  stack: the local stack
//! drive      callers, workers, readers;  mix: their work;  judge: the counts
//! growth     what an operation costs beside ten times as much
//! rates      how fast sweep and fan-out are, who refuses whom, and who waits for whom
//! field      what growth and rates measure: handlers over a ledger that is filled without the API
//! ```

pub mod drive;
pub mod field;
pub mod growth;
pub mod judge;
pub mod memory;
pub mod mix;
pub mod rates;
pub mod stack;
pub mod world;
