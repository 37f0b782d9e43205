//! Enqueues the run of a JSON file and waits until it ends.
//!
//! ```sh
//! SEALFLEET_API_URL=https://api.example.com SEALFLEET_TOKEN_FILE=token \
//!     cargo run --example enqueue_and_wait run.json
//! ```

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use sealfleet_client::types::EnqueueRun;
use sealfleet_client::{Client, Credential};
use sealfleet_domain::run::RunState;

#[expect(
    clippy::disallowed_methods,
    reason = "a main reads its configuration here"
)]
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("name the file of the run")?;
    let run: EnqueueRun = serde_json::from_slice(&std::fs::read(&file)?)?;
    let url = std::env::var("SEALFLEET_API_URL")?;
    let token = PathBuf::from(std::env::var("SEALFLEET_TOKEN_FILE")?);
    let client = Client::new(&url, Some(Credential::read(&token)?))?;

    // The same key and the same request stand for one run, so a lost answer does no harm.
    let key = format!("{file}-{}", std::process::id());
    let mut run = client.enqueue_run(&run, Some(&key)).await?;
    while matches!(run.state, RunState::Queued | RunState::Running) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        run = client.get_run(run.run_id).await?;
    }
    println!("{} {}", run.run_id, run.state.name());
    Ok(())
}
