//! What a step has left behind: its manifest, and a URL for each file.
//!
//! A worker has written the manifest: what cannot be read counts as gone.

use sealfleet_api::cursor;
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{ArtifactView, ArtifactsView, SignedUrl};
use sealfleet_api::{Code, Problem};
use sealfleet_domain::artifact::{Kept, MANIFEST, MANIFEST_BYTES, Manifest, object_name};
use sealfleet_domain::output::Outputs;
use sealfleet_domain::{RunId, StepId};

use super::Ports;
use crate::shared::auth::ProjectCaller;
use crate::shared::fault::{Answered, Fault};
use crate::shared::views;

/// Files of one answer. A URL has some two kilobytes.
const PAGE: usize = 100;
const STORE: &str = "the outputs' store";

pub async fn list(
    ports: &Ports,
    caller: ProjectCaller,
    request: &Request,
    (run_id, step_id): (RunId, StepId),
) -> Answered {
    let scope = caller.scope.project().as_str();
    let list = format!("artifacts:{run_id}:{step_id}");
    let after = request.query.get("cursor");
    let after = after
        .map(|text| cursor::read(scope, &list, text))
        .transpose()?;
    let from: usize = after.and_then(|text| text.parse().ok()).unwrap_or_default();
    let run = ports.ledger.run(&caller.scope, run_id).await?;
    let step = run.step(&step_id)?;
    let Some(total) = step.artifacts else {
        if step.state.is_terminal() {
            let detail = "the step has left no artifacts; it names them as `artifacts`";
            return Err(Problem::new(Code::NotFound, detail).into());
        }
        let detail = "the step has not ended; ask again then";
        return Err(Problem::new(Code::NotReady, detail).into());
    };
    let mut view = ArtifactsView {
        fence: step.fence,
        total,
        items: Vec::new(),
        missing: Vec::new(),
        left_out: 0,
        next_cursor: None,
        expires_at: None,
        place: views::output(step),
    };
    if !step.puts_out() {
        return Answer::json(200, &view);
    }
    let of = Outputs::of(&caller.scope, run_id, &step_id, step.fence);
    let manifest = ports.outputs.get(&of, MANIFEST, MANIFEST_BYTES).await;
    let manifest = manifest.map_err(|error| Fault::of_key(error, STORE))?;
    let manifest = manifest.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
    let gone = || {
        let detail = "the artifacts are no longer there: they are kept for OutputRetentionDays";
        Problem::new(Code::NotFound, detail)
    };
    let manifest = manifest.ok_or_else(gone)?;
    if from == 0 {
        (view.missing, view.left_out) = (manifest.missing, manifest.left_out);
    }
    let page: Vec<(usize, Kept)> = manifest
        .files
        .into_iter()
        .enumerate()
        .skip(from)
        .take(PAGE + 1)
        .collect();
    if page.len() > PAGE {
        let next = from.saturating_add(PAGE).to_string();
        view.next_cursor = Some(cursor::write(scope, &list, &next));
    }
    let shown = || page.iter().take(PAGE);
    let stored = shown().filter(|(_, file)| file.is_stored());
    let names: Vec<String> = stored.map(|(at, _)| object_name(*at)).collect();
    let mut urls = Vec::new();
    if !names.is_empty() {
        let (signed, expires_at) = ports
            .outputs
            .urls(&of, &names)
            .await
            .map_err(|error| Fault::of_key(error, STORE))?;
        (urls, view.expires_at) = (signed, Some(expires_at));
    }
    let mut urls = urls.into_iter().map(SignedUrl::new);
    view.items = shown()
        .map(|(_, file)| ArtifactView {
            url: file.is_stored().then(|| urls.next()).flatten(),
            name: file.name.clone(),
            bytes: file.bytes,
            sha256: file.sha256,
            to: file.to,
            contains_secret: file.contains_secret.clone(),
            withheld: file.sha256.is_none(),
        })
        .collect();
    Answer::json(200, &view)
}
