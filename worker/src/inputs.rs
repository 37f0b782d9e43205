//! What has to be brought to a step before its command starts: uploads, and what the steps that it
//! takes have left.
//!
//! The control plane says where it is, by signed URLs that are good for minutes. The worker reads
//! each into a file that has no name, checks size and SHA-256, and hands it on. So it holds a few
//! files at a time and none in memory, and a step never starts with another content than the one
//! that was meant.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sealfleet_channel::MAX_DESCRIPTORS;
use sealfleet_client::TransferError;
use sealfleet_client::types::{Claim, FetchInputs, StepInput, StepInputs};
use sealfleet_domain::inputs::InputPlace;
use tokio::time::Instant;

use crate::control::ControlPlane;
use crate::random::Backoff;

/// How long one input may be out of reach.
const PATIENCE: Duration = Duration::from_secs(60);

/// "Forbidden": the URL has expired.
const FORBIDDEN: u16 = 403;

/// Brings steps what they work with.
#[derive(Clone)]
pub struct Inputs {
    pub control: Arc<dyn ControlPlane>,
    /// Where there is room for the files.
    pub directory: PathBuf,
}

impl std::fmt::Debug for Inputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inputs").finish_non_exhaustive()
    }
}

/// Files that belong in these places, each at its beginning.
pub type Batch = Vec<(InputPlace, File)>;

/// What a claim's step works with, on its way: some files at a time.
pub struct Bringing<'a> {
    inputs: &'a Inputs,
    claim: &'a Claim,
    /// What the control plane named last and nobody has got yet.
    named: VecDeque<StepInput>,
    /// How many there have been.
    had: u32,
    /// Whether the control plane may name more.
    more: bool,
    /// How many there had been when URLs were asked for anew.
    renewed: Option<u32>,
}

impl Inputs {
    /// Begins to bring all that a claim's step works with.
    #[must_use]
    pub const fn of<'a>(&'a self, claim: &'a Claim) -> Bringing<'a> {
        Bringing {
            inputs: self,
            claim,
            named: VecDeque::new(),
            had: 0,
            more: claim.fetches,
            renewed: None,
        }
    }

    async fn page(&self, claim: &Claim, from: u32) -> Result<StepInputs, String> {
        let request = FetchInputs {
            run_id: claim.run_id,
            step_id: claim.step_id.clone(),
            fence: claim.fence,
            from,
        };
        let (deadline, mut backoff) = (Instant::now() + PATIENCE, Backoff::default());
        loop {
            match self.control.step_inputs(&request).await {
                Err(error) if error.is_passing() && Instant::now() < deadline => {
                    tokio::time::sleep(backoff.pause()).await;
                }
                answer => {
                    return answer.map_err(|error| match error.problem() {
                        Some(problem) => problem.detail.clone(),
                        None => format!("the step's inputs cannot be got: {error}"),
                    });
                }
            }
        }
    }

    async fn fetch(&self, input: &StepInput) -> Result<File, TransferError> {
        let (deadline, mut backoff) = (Instant::now() + PATIENCE, Backoff::default());
        loop {
            let mut file = tempfile::tempfile_in(&self.directory)?;
            match self.control.fetch(input, &mut file).await {
                Ok(()) => {
                    file.flush()?;
                    file.rewind()?;
                    return Ok(file);
                }
                Err(error) if error.is_passing() && Instant::now() < deadline => {
                    tokio::time::sleep(backoff.pause()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Bringing<'_> {
    /// The next files, [`MAX_DESCRIPTORS`] at most; none when all have come.
    ///
    /// # Errors
    /// What is not there, and why; for people.
    pub async fn next(&mut self) -> Result<Option<Batch>, String> {
        let mut batch = Batch::new();
        while batch.len() < MAX_DESCRIPTORS {
            let Some(input) = self.named.pop_front() else {
                if !self.more {
                    break;
                }
                let page = self.inputs.page(self.claim, self.had).await?;
                (self.named, self.more) = (page.items.into(), page.next.is_some());
                if self.named.is_empty() {
                    break;
                }
                continue;
            };
            match self.inputs.fetch(&input).await {
                Ok(file) => batch.push((input.place, file)),
                Err(TransferError::Refused(FORBIDDEN)) if self.renewed != Some(self.had) => {
                    self.renewed = Some(self.had);
                    self.named.clear();
                    self.more = true;
                    continue;
                }
                Err(error) => return Err(format!("{} cannot be got: {error}", input.place)),
            }
            self.had += 1;
        }
        Ok((!batch.is_empty()).then_some(batch))
    }
}
