//! Commands under mediation, honest and hostile. Whatever they try, listeners beside the proxy see
//! no connection: a refusal alone proves nothing.
//!
//! This program plays every part:
//! - started as usual, it is the tests;
//! - as `stage`, it is the process that mediates, in a network of its own with addresses that must
//!   not be reached ([`stage`]);
//! - as `neighbour`, it is the proxy's container beside it;
//! - as `play NAME`, it is the command: one of [`hostile`] or [`honest`].
//!
//! Programs that need not be there ([`programs`], [`engine`]) are looked for; where one is missing,
//! its test says that it was skipped, unless `SEALFLEET_TEST_MEDIATED=required`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "hostile programs make raw system calls"
)]

mod cases;
mod engine;
mod honest;
mod hostile;
mod programs;
mod proxy;
mod stage;
mod sys;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    match words.get(1).map(String::as_str) {
        Some("stage") => stage::run(&words[2], &words[3..]),
        Some("neighbour") => stage::neighbour(),
        Some("play") => {
            let plays = hostile::PLAYS.iter().chain(honest::PLAYS);
            let (_, play) = plays
                .into_iter()
                .find(|(name, _)| *name == words[2])
                .unwrap();
            play();
        }
        _ => {
            let trials = cases::all()
                .into_iter()
                .chain(programs::all())
                .chain(engine::all());
            let trials = trials.map(|(name, case)| {
                Trial::test(name, move || {
                    case();
                    Ok(())
                })
            });
            return libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code();
        }
    }
    ExitCode::SUCCESS
}
