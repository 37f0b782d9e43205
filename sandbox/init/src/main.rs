//! The first process of every sandbox, and the tool that fills the encrypted store. The library
//! says which part does what.

use std::process::ExitCode;

use clap::Parser;
use sealfleet_init::allocator::ZeroOnFree;
use sealfleet_init::backends;
use sealfleet_init::cli::{self, Arguments};

#[global_allocator]
static ALLOCATOR: ZeroOnFree = ZeroOnFree;

fn main() -> ExitCode {
    sealfleet_system::names::resolve_without_modules();
    cli::run(Arguments::parse(), &backends::registry()).into()
}
