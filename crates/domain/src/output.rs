//! What comes out of a step, as objects below the prefix of its claim.
//!
//! The prefix is `PROJECT/RUN/STEP/FENCE/`. Below it lie numbered chunks of output and the result.
//! Each is written once, by whoever holds the claim.

use serde::{Deserialize, Serialize};

use crate::fence::Fence;
use crate::ids::RunId;
use crate::names::StepId;
use crate::run::is_zero;
use crate::scope::ProjectScope;

/// What one chunk holds at most: bytes of output, and [`PIECE_BYTES`] more for each piece.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// What a piece counts beside its own bytes.
pub const PIECE_BYTES: usize = 64;

/// Bytes of a chunk as an object: JSON writes six for a byte at the most.
pub const CHUNK_OBJECT_BYTES: usize = 6 * CHUNK_BYTES + 1024;

/// The name of a step's result below its claim's prefix.
pub const RESULT: &str = "result.json";

/// Where the objects of one claim lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    scope: ProjectScope,
    run_id: RunId,
    step_id: StepId,
    fence: Fence,
}

impl Outputs {
    #[must_use]
    pub fn of(scope: &ProjectScope, run_id: RunId, step_id: &StepId, fence: Fence) -> Self {
        Self {
            scope: scope.clone(),
            run_id,
            step_id: step_id.clone(),
            fence,
        }
    }

    #[must_use]
    pub const fn scope(&self) -> &ProjectScope {
        &self.scope
    }

    #[must_use]
    pub const fn run_id(&self) -> RunId {
        self.run_id
    }

    /// What the keys of its objects begin with. No part of it holds a slash, so no prefix of one
    /// claim begins another's.
    #[must_use]
    pub fn prefix(&self) -> String {
        let run = run_prefix(&self.scope, self.run_id);
        format!("{run}{}/{}/", self.step_id, self.fence)
    }
}

/// What the keys of all that came out of a run begin with.
#[must_use]
pub fn run_prefix(scope: &ProjectScope, run_id: RunId) -> String {
    format!("{}/{run_id}/", scope.project())
}

/// The name of a chunk below its claim's prefix. Names sort as their numbers do.
#[must_use]
pub fn chunk_name(number: u32) -> String {
    format!("output/{number:08}.json")
}

/// The number of the chunk with this name.
#[must_use]
pub fn chunk_number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("output/")?.strip_suffix(".json")?;
    let is_number = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// Where a command wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A piece of a command's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Piece {
    pub stream: Stream,
    /// What was written. Bytes that are no UTF-8 are replaced by U+FFFD.
    pub text: String,
    /// Bytes of output, of either stream, that are missing before this.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing_bytes: u64,
}

/// An object of output: its pieces, in the order in which they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    pub pieces: Vec<Piece>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_sort_by_number_and_no_other_name_is_one() {
        assert!(chunk_name(9) < chunk_name(10));
        assert_eq!(chunk_number(&chunk_name(12)), Some(12));
        for other in [
            "result.json",
            "output/1.json",
            "output/+0000001.json",
            "output/00000001",
        ] {
            assert_eq!(chunk_number(other), None, "{other}");
        }
    }
}
