//! What has to be brought to a step before its command starts, and the URLs to get it by.

use sealfleet_api::types::{SignedUrl, StepInput, StepInputs};
use sealfleet_api::{Code, Problem};
use sealfleet_aws::inputs::{InputAccess, InputObjects};
use sealfleet_domain::artifact::{MANIFEST, MANIFEST_BYTES, Manifest, object_name};
use sealfleet_domain::hash::ContentHash;
use sealfleet_domain::inputs::InputPlace;
use sealfleet_domain::output::{Outputs, RESULT};
use sealfleet_domain::run::{OutputPlace, Run, Step, StepSpec};
use sealfleet_domain::{ProjectScope, StepId, UploadId, upload};

use super::fault::Fault;

const STORE: &str = "the inputs' store";
/// Inputs of one answer. A URL has some two kilobytes.
const PAGE: usize = 50;

/// Whether anything has to be brought to a step.
#[must_use]
pub fn are_there(spec: &StepSpec) -> bool {
    !spec.takes.is_empty() || spec.inputs.uploads().next().is_some()
}

/// Something to bring, before anybody has looked for it.
enum Wanted {
    Upload(InputPlace, UploadId),
    Object {
        place: InputPlace,
        key: String,
        bytes: u64,
        sha256: Option<ContentHash>,
    },
}

/// The inputs of a step that come after `from` others: uploads, and what the steps that it takes
/// have left, in an order that does not change. `reader` is who gets them.
///
/// # Errors
/// An upload has expired, or what a step has left lies on its worker's host.
pub async fn page(
    access: &dyn InputAccess,
    scope: &ProjectScope,
    (run, step_id): (&Run, &StepId),
    reader: String,
    from: u32,
) -> Result<StepInputs, Fault> {
    let spec = &run.step(step_id)?.spec;
    let objects = access.open(scope, run.run_id, reader).await;
    let objects = objects.map_err(|error| Fault::of_key(error, STORE))?;
    let uploads = spec.inputs.uploads();
    let mut wanted: Vec<Wanted> = uploads
        .map(|(place, upload_id)| Wanted::Upload(place, upload_id))
        .collect();
    for taken in &spec.takes {
        wanted.extend(left_by(&*objects, scope, run, taken).await?);
    }
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let upto = from.saturating_add(PAGE);
    let next = (upto < wanted.len()).then(|| u32::try_from(upto).unwrap_or(u32::MAX));
    let mut items = Vec::new();
    for wanted in wanted.into_iter().skip(from).take(PAGE) {
        items.push(input(&*objects, scope, wanted).await?);
    }
    Ok(StepInputs {
        items,
        next,
        expires_at: objects.expires_at(),
    })
}

/// What a step that has ended has left, if anything.
async fn left_by(
    objects: &dyn InputObjects,
    scope: &ProjectScope,
    run: &Run,
    taken: &StepId,
) -> Result<Vec<Wanted>, Fault> {
    let step = run.step(taken)?;
    let files = step.artifacts.is_some_and(|total| total.files > 0);
    if step.result_bytes.is_none() && !files {
        return Ok(Vec::new());
    }
    if !step.puts_out() {
        return Err(Problem::new(Code::Conflict, on_its_host(taken, step)).into());
    }
    let of = Outputs::of(scope, run.run_id, taken, step.fence);
    let prefix = of.prefix();
    let result = step.result_bytes.map(|bytes| Wanted::Object {
        place: InputPlace::Result {
            step_id: taken.clone(),
        },
        key: format!("{prefix}{RESULT}"),
        bytes,
        sha256: None,
    });
    let mut left: Vec<Wanted> = result.into_iter().collect();
    if !files {
        return Ok(left);
    }
    let manifest = objects.left(&of, MANIFEST, MANIFEST_BYTES).await;
    let manifest = manifest.map_err(|error| Fault::of_key(error, STORE))?;
    let manifest = manifest.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
    let gone = || {
        let detail = format!("what `{taken}` has left is no longer there");
        Problem::new(Code::Conflict, detail)
    };
    let files = manifest.ok_or_else(gone)?.files;
    // What is withheld, or stays on a host by the step's own wish, is nobody's to take.
    let stored = files
        .into_iter()
        .enumerate()
        .filter(|(_, file)| file.is_stored());
    left.extend(stored.map(|(at, file)| Wanted::Object {
        place: InputPlace::Artifact {
            step_id: taken.clone(),
            name: file.name,
        },
        key: format!("{prefix}{}", object_name(at)),
        bytes: file.bytes,
        sha256: file.sha256,
    }));
    Ok(left)
}

fn on_its_host(taken: &StepId, step: &Step) -> String {
    let place = match &step.output {
        Some(OutputPlace::Worker(place)) => format!(" ({place})"),
        _ => String::new(),
    };
    format!(
        "what `{taken}` has left lies on the host of its worker alone{place}, which runs with `--outputs local`: no other step can take it"
    )
}

async fn input(
    objects: &dyn InputObjects,
    scope: &ProjectScope,
    wanted: Wanted,
) -> Result<StepInput, Fault> {
    let faulty = |error| Fault::of_key(error, STORE);
    let (place, key, bytes, sha256) = match wanted {
        Wanted::Object {
            place,
            key,
            bytes,
            sha256,
        } => (place, key, bytes, sha256),
        Wanted::Upload(place, upload_id) => {
            let stored = objects.upload(upload_id).await.map_err(faulty)?;
            let Some(stored) = stored else {
                let detail = format!("`{upload_id}` has expired; upload the content once more");
                return Err(Problem::new(Code::Conflict, detail).into());
            };
            let promise = stored.promise;
            let key = format!("{}{}", upload::prefix(scope, upload_id), promise.name());
            (place, key, promise.bytes, Some(promise.sha256))
        }
    };
    let url = objects.url(&key).await.map_err(faulty)?;
    Ok(StepInput {
        place,
        url: SignedUrl::new(url),
        bytes,
        sha256,
    })
}
