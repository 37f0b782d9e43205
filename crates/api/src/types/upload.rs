use std::collections::BTreeMap;
use std::fmt;

use sealfleet_domain::hash::ContentHash;
use sealfleet_domain::inputs::InputPlace;
#[cfg(feature = "openapi")]
use sealfleet_domain::limits;
use sealfleet_domain::run::Fence;
use sealfleet_domain::{RunId, StepId, Timestamp, UploadId};
use serde::{Deserialize, Serialize};

/// Content to upload.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateUpload {
    /// Its size.
    #[cfg_attr(feature = "openapi", schemars(range(min = 1, max = limits::UPLOAD_BYTES)))]
    pub bytes: u64,
    pub sha256: ContentHash,
}

/// Where to put the content. Nothing is stored until it is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct UploadCreated {
    pub upload_id: UploadId,
    /// Send the content there by `PUT`, once.
    pub url: SignedUrl,
    /// Headers that the request must have, as they stand here. The signature covers them: content
    /// of another size or with another SHA-256 is refused.
    pub headers: BTreeMap<String, String>,
    /// Until when the URL can be used.
    pub expires_at: Timestamp,
    /// Until when the content is kept.
    pub kept_until: Timestamp,
}

/// A URL that carries a signature: whoever has it can use it. Never log or store it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(inline))]
#[serde(transparent)]
pub struct SignedUrl(String);

impl SignedUrl {
    #[must_use]
    pub const fn new(url: String) -> Self {
        Self(url)
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a signed URL")
    }
}

/// A claim whose inputs are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FetchInputs {
    pub run_id: RunId,
    pub step_id: StepId,
    /// The claim's fence.
    pub fence: Fence,
    /// How many there have been in the answers before.
    #[serde(default)]
    pub from: u32,
}

/// What has to be brought to a step before its command starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct StepInputs {
    /// A part of them, in order.
    pub items: Vec<StepInput>,
    /// The `from` of the next request. Absent: this was all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u32>,
    /// Until when the URLs can be used.
    pub expires_at: Timestamp,
}

/// Something to bring to a step.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct StepInput {
    /// Where it goes.
    pub place: InputPlace,
    /// Where it is got by `GET`.
    pub url: SignedUrl,
    /// Its size. Content of another size is not what is meant.
    pub bytes: u64,
    /// Its SHA-256. Absent for a result, which nobody has hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<ContentHash>,
}
