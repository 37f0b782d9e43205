//! Artifacts on their way from the workspace to the project's outputs.
//!
//! Beside a worker, init hands artifacts over a channel, and the worker keeps them. Here this
//! process is both sides, and the channel leads nowhere else.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sealfleet_channel::{Channel, ChannelError, Descriptors, ToHost, ToInit};
use sealfleet_domain::artifact::Artifact;
use sealfleet_domain::redaction::Redaction;
use sealfleet_outputs::FileStore;
use sealfleet_outputs::artifacts::{Collection, LeftBehind};
use sealfleet_redaction::Redactor;

use crate::{WORKSPACE, artifacts};

/// The side that keeps.
struct Keeper(Collection);

#[async_trait]
impl Channel<ToHost, ToInit> for Keeper {
    async fn send(
        &mut self,
        message: &ToHost,
        descriptors: Descriptors,
    ) -> Result<(), ChannelError> {
        if let ToHost::Artifacts(some) = message {
            self.0.take(some.clone(), descriptors).await;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<(ToInit, Descriptors), ChannelError> {
        Ok((ToInit::Taken, Descriptors::new()))
    }
}

/// Stores what a step leaves behind. Answers also what was taken out of names.
pub(super) async fn behind(
    wanted: &[Artifact],
    store: &dyn FileStore,
    redactor: &Redactor,
) -> (Result<LeftBehind, String>, Vec<Redaction>) {
    let directory = match fresh_directory() {
        Ok(directory) => directory,
        Err(error) => {
            let why = format!("there is no room for the artifacts: {error}");
            return (Err(why), Vec::new());
        }
    };
    let mut keeper = Keeper(Collection::new(wanted, directory));
    let workspace = Path::new(WORKSPACE);
    match artifacts::hand_over(&mut keeper, workspace, wanted, redactor).await {
        Ok(redactions) => (keeper.0.keep(Some(store)).await, redactions),
        Err(why) => (Err(why), Vec::new()),
    }
}

/// A directory that was not there before. Nothing of the command runs any more.
fn fresh_directory() -> std::io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let path = std::env::temp_dir().join(format!("sealfleet-artifacts-{number}"));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            made => return made.map(|()| path),
        }
    }
}
