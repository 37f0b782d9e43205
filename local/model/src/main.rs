//! The stand-in as a program, to try an agent by hand. Prints its address, and serves until it is
//! stopped.

use std::path::PathBuf;

use clap::Parser;
use sealfleet_local_model::{Model, Scripts};

/// Stand in for the API of a language model
#[derive(Debug, Parser)]
struct Arguments {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// JSON: {"default": [TURN...], "models": {"MODEL": [TURN...]}}, where TURN is
    /// {"answer": {"say": TEXT} | {"shell": COMMAND} | {"fail": FAULT}, "usage": {"input": N,
    /// "cached": N, "output": N}, "delay_ms": N}
    #[arg(long)]
    script: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let scripts = match arguments.script {
        Some(path) => serde_json::from_slice(&std::fs::read(path)?)?,
        None => Scripts::default(),
    };
    let model = Model::on(arguments.port, scripts).await?;
    println!("{}", model.url());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
