//! Uploads: where callers put them, and whether those that a run's steps work with are there and
//! stay for as long as the steps may wait.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sealfleet_api::Problem;
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{CreateUpload, SignedUrl, UploadCreated};
use sealfleet_aws::inputs::Stored;
use sealfleet_domain::command::{Word, too_long};
use sealfleet_domain::inputs::{Content, InputPlace};
use sealfleet_domain::run::{Run, StepSpec, Waits};
use sealfleet_domain::upload::{Promise, kept_until};
use sealfleet_domain::{ProjectScope, StepId, Timestamp, UploadId, limits};

use super::Ports;
use crate::shared::auth::ProjectCaller;
use crate::shared::fault::{Answered, Fault};

/// Uploads that are looked for at once.
const AT_ONCE: usize = 16;
const DAY: i64 = 24 * 3600;

/// Gives an upload its id and its place. Nothing is stored.
pub(super) async fn create(ports: &Ports, caller: ProjectCaller, request: &Request) -> Answered {
    let CreateUpload { bytes, sha256 } = request.json()?;
    let promise = Promise { bytes, sha256 };
    if !promise.fits() {
        let detail = format!("an upload has 1 to {} bytes", limits::UPLOAD_BYTES);
        return Err(Problem::invalid("bytes", detail).into());
    }
    let (ledger, scope) = (&ports.ledger, &caller.scope);
    ledger.open_project(scope).await?;
    let upload_id = UploadId::new(ledger.ids(), ledger.now());
    let slot = ports.uploads.slot(scope, upload_id, promise).await;
    let slot = slot.map_err(|error| Fault::of_key(error, "the uploads' store"))?;
    Answer::json(
        201,
        &UploadCreated {
            upload_id,
            url: SignedUrl::new(slot.url),
            headers: slot.headers,
            expires_at: slot.expires_at,
            kept_until: kept_until(upload_id, ports.retention_days),
        },
    )
}

/// Refuses steps whose inputs are not there, or may be gone before a step starts for the last time.
/// `steps` begin to wait now; what else they need has ended.
pub(super) async fn check(
    ports: &Ports,
    scope: &ProjectScope,
    steps: &BTreeMap<StepId, StepSpec>,
    before: Option<&Run>,
) -> Result<(), Fault> {
    let uploads = || steps.values().flat_map(|step| step.inputs.uploads());
    let wanted: BTreeSet<UploadId> = uploads().map(|(_, upload_id)| upload_id).collect();
    if wanted.len() > limits::UPLOADS {
        let most = limits::UPLOADS;
        let detail = format!(
            "the steps work with {} uploads: {most} at most",
            wanted.len()
        );
        return Err(Problem::invalid("steps", detail).into());
    }
    if wanted.is_empty() && steps.values().all(|step| step.takes.is_empty()) {
        return Ok(());
    }
    let found = stream::iter(wanted)
        .map(|upload_id| async move {
            let stored = ports.uploads.look(scope, upload_id).await;
            let stored = stored.map_err(|error| Fault::of_key(error, "the uploads' store"))?;
            Ok::<_, Fault>((upload_id, stored))
        })
        .buffer_unordered(AT_ONCE);
    let found: BTreeMap<UploadId, Option<Stored>> = found.try_collect().await?;
    let (waits, now, days) = (Waits::of(steps), ports.ledger.now(), ports.retention_days);
    for (step_id, step) in steps {
        let starts = now.plus_seconds(waits.start(step_id));
        for (place, upload_id) in step.inputs.uploads() {
            let stored = found.get(&upload_id).copied().flatten();
            check_upload(upload_id, stored, starts, days)
                .map_err(|detail| Problem::invalid(field(step_id, &place), detail))?;
        }
        for file in step.command.iter().filter_map(Word::file) {
            let upload = step.inputs.files.get(file).and_then(Content::upload);
            let stored = upload.and_then(|upload_id| found.get(&upload_id).copied().flatten());
            let bytes = stored.map_or(0, |stored| stored.bytes);
            if bytes > limits::WORD_BYTES {
                let at = format!("steps.{step_id}.command");
                return Err(Problem::invalid(at, too_long(file, bytes)).into());
            }
        }
        for taken in &step.takes {
            let ended = before.and_then(|run| run.step(taken).ok()?.state.ended_at());
            let wait = match ended {
                Some(ended) => starts.millis_since(ended) / 1000,
                None => waits.after(taken, step_id),
            };
            if wait > days.saturating_mul(DAY) {
                let detail = format!(
                    "the step may start {} after `{taken}` has ended, and what `{taken}` leaves is kept for {days} days; {REMEDY}",
                    in_days(wait)
                );
                return Err(Problem::invalid(format!("steps.{step_id}.takes"), detail).into());
            }
        }
    }
    Ok(())
}

const REMEDY: &str = "lower `ttl_seconds`, `max_attempts` or `timeout_seconds` of it or of the steps before it, or have an operator raise OutputRetentionDays";

fn check_upload(
    upload_id: UploadId,
    stored: Option<Stored>,
    starts: Timestamp,
    days: i64,
) -> Result<(), String> {
    let Some(stored) = stored else {
        return Err(format!(
            "nothing was put into `{upload_id}`, or it has expired, or it is not of this project; upload the content and name the new id"
        ));
    };
    if !stored.is_complete() {
        return Err(format!(
            "`{upload_id}` has {} bytes and was to have {}; upload the content once more",
            stored.bytes, stored.promise.bytes
        ));
    }
    let kept = kept_until(upload_id, days);
    if starts > kept {
        return Err(format!(
            "`{upload_id}` is kept until {kept}, and the step may start as late as {starts}; upload the content once more, or {REMEDY}"
        ));
    }
    Ok(())
}

fn field(step_id: &StepId, place: &InputPlace) -> String {
    match place {
        InputPlace::File { path } => format!("steps.{step_id}.files.{path}"),
        _ => format!("steps.{step_id}.stdin"),
    }
}

fn in_days(seconds: i64) -> String {
    format!("{} days", seconds.div_euclid(DAY) + 1)
}

/// The steps that begin to wait if a step is put back: it, and those that were given up with it.
pub(super) fn put_back(ports: &Ports, run: &Run, step_id: &StepId) -> BTreeMap<StepId, StepSpec> {
    let mut again = run.clone();
    // A step that cannot be put back is refused later, with the reason.
    let tried = again.retry(step_id, ports.pace, ports.ledger.now());
    let changed = again.steps.into_iter().filter(|(id, step)| {
        let before = run.steps.get(id);
        tried.is_ok() && before.is_none_or(|before| before.state != step.state)
    });
    changed.map(|(id, step)| (id, step.spec)).collect()
}
