//! CLI agents in a sandbox: how each is called without a terminal, and how what it prints is read.
//!
//! [`adapters`] is the one table of CLIs. [`Stream`] reads what an agent prints while it runs, and
//! says when it passes its limits. [`Logs`] reads the session logs of those that tell only there
//! what they use.
//!
//! What an agent prints is data of somebody else. It is read with bounds: a line that is too long
//! or no JSON is passed over, and no text of it goes anywhere unescaped.

pub mod adapters;
mod events;
mod fault;
mod lines;
mod logs;
mod said;
pub mod tokens;

pub use adapters::{Adapter, Call, adapter};
pub use fault::Fault;
pub use logs::Logs;
pub use said::{Ended, Over, Stream};
