//! The first process of every sandbox, and the tool that fills the encrypted store. See the library
//! for what each part does.

use std::process::ExitCode;

use clap::Parser;
use sealfleet_init::allocator::ZeroOnFree;
use sealfleet_init::cli::Arguments;

#[global_allocator]
static ALLOCATOR: ZeroOnFree = ZeroOnFree;

fn main() -> ExitCode {
    sealfleet_init::cli::run(Arguments::parse())
}
