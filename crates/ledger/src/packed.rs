//! Packed values: JSON, deflated against a dictionary of the words that rows repeat.
//!
//! DynamoDB bills a write by the size of the whole row, in steps of 1 KB. Most rows of runs are a
//! few hundred bytes of field names that every row has, so a shared dictionary halves them. The
//! first byte names the dictionary. A dictionary is part of the stored format: to change it, add a
//! new one under a new number and keep the old one for reading.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::store::WriteError;

/// The number of [`DICTIONARY`].
const FORMAT: u8 = 1;
/// The most bytes that a packed value may have when it is unpacked.
const UNPACKED_BYTES: usize = 16 * 1024 * 1024;

/// Words that packed values repeat. Deflate finds those at the end most cheaply.
const DICTIONARY: &[u8] = br#""models":[],"overrides":{},"env":{},"requires":{},"tools":"allowed_workflows""arn":"arn:aws:secretsmanager:us-east-1::secret:sealfleet/builtin://vault://"profile.drift_at_injection","on_drift":"proceed","added":[],"removed":[],"rotated":["knobs":["run.aborted_by_revocation","fan_out_id":"fan_"revocation_id":"rev_"key":"profile":"kind":"revoked","reason":{"kind":"cancelled"}},{"type":"step.aborted","step_id":"dependency_failed","lease_expired"},{"type":"step.requeued","step_id":"attempt":1,"reason":"sandbox_lost","worker_revoked","no_capacity","attempts_exhausted","ttl_expired","step.dead","step.retried","run.cancelled""failure":{"kind":"exit","code":1},"timed_out","after_seconds":,"cannot_start","detail":"secret_unavailable","secret_revoked""handle":"arn:aws:ecs:us-east-1::task/sealfleet/"executor":"ecs","since":"resent":0}"resend_at":"aborted":{"at":"stopping":{"task":"failed":{"fence":1,"failure":"dead":{"level":"system","profile":"version":1}],"secrets":[{"name":"uri":"aws-sm://","version":","from":"crm"}],"profiles":[{"level":"run","profile":"timeout_seconds":3600,"max_attempts":3,"ttl_seconds":86400}"workflow":","created_at":"identity":"steps":{"spec":{"pool":"mode":"sandboxed","identity","command":["needs":["run.enqueued","workflow":"steps":["profiles":"token:tok_"[{"type":"step.queued","step_id":"{"type":"step.leased","step_id":"","fence":1,"worker_id":"wrk_","mode":"identity"},{"type":"secret.released","step_id":"","fence":1,"seen":"tool":"step.running","step_id":"","fence":1},{"type":"profile.injected","step_id":"","fence":1,{"type":"secret.decrypted","step_id":"{"type":"step.failed"{"type":"step.succeeded","step_id":"","fence":1},{"type":"pool.sandbox.reset","step_id":"","fence":1},{"type":"run.finished","state":"succeeded"}]{"state":{"queued":{"since":"blocked"{"succeeded":{"fence":1,"at":"running":{"leased":{"fence":1,"holder":"wrk_","slot":0,"executor":"worker","due":"2026-"},"attempt":1,"fence":1,"last_holder":"wrk_0198["system:sweep","system:observe","worker:wrk_"#;

/// Packs a value.
pub(crate) fn pack(value: &impl Serialize) -> Result<Vec<u8>, WriteError> {
    let failed = |detail: String| WriteError::Unavailable(format!("cannot pack a row: {detail}"));
    let text = serde_json::to_vec(value).map_err(|error| failed(error.to_string()))?;
    let mut packer = Compress::new(Compression::default(), false);
    packer
        .set_dictionary(DICTIONARY)
        .map_err(|error| failed(error.to_string()))?;
    let mut packed = Vec::with_capacity(text.len() + 64);
    packed.push(FORMAT);
    let status = packer
        .compress_vec(&text, &mut packed, FlushCompress::Finish)
        .map_err(|error| failed(error.to_string()))?;
    if status == Status::StreamEnd {
        Ok(packed)
    } else {
        Err(failed("it does not shrink".to_owned()))
    }
}

/// Unpacks what [`pack`] made.
pub(crate) fn unpack<T: DeserializeOwned>(packed: &[u8]) -> Result<T, Error> {
    let unreadable = |detail: String| Error::Unreadable(format!("a packed value: {detail}"));
    let Some((&FORMAT, packed)) = packed.split_first() else {
        return Err(unreadable("its format is not known".to_owned()));
    };
    let mut unpacker = Decompress::new(false);
    unpacker
        .set_dictionary(DICTIONARY)
        .map_err(|error| unreadable(error.to_string()))?;
    let mut text = Vec::with_capacity(packed.len().saturating_mul(4).max(512));
    loop {
        let read = usize::try_from(unpacker.total_in()).unwrap_or(usize::MAX);
        let rest = packed.get(read..).unwrap_or_default();
        let status = unpacker
            .decompress_vec(rest, &mut text, FlushDecompress::None)
            .map_err(|error| unreadable(error.to_string()))?;
        match status {
            Status::StreamEnd => break,
            _ if text.len() == text.capacity() && text.len() < UNPACKED_BYTES => {
                text.reserve(text.len());
            }
            _ => return Err(unreadable("it is cut off or too large".to_owned())),
        }
    }
    serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))
}

/// What a packed attribute holds, as JSON, for those who search tables.
#[must_use]
pub fn unpacked(packed: &[u8]) -> Option<serde_json::Value> {
    unpack(packed).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_value_comes_back_and_known_words_cost_little() {
        let small = json!([{"type": "step.succeeded", "step_id": "a", "fence": 1}]);
        let large = json!({ "text": (0..20_000).map(|n| n.to_string()).collect::<Vec<_>>() });
        for value in [&small, &large, &Value::Null] {
            let packed = pack(value).expect("packed");
            assert_eq!(unpack::<Value>(&packed).ok().as_ref(), Some(value));
        }
        let packed = pack(&small).expect("packed");
        assert!(
            packed.len() * 3 < small.to_string().len(),
            "{}",
            packed.len()
        );
    }

    #[test]
    fn what_is_cut_off_or_of_another_format_is_not_read() {
        let packed = pack(&json!({ "a": "something that has to be stored" })).expect("packed");
        let cut = packed.get(..packed.len() - 4).unwrap_or_default();
        assert!(unpack::<Value>(cut).is_err());
        let mut other = packed.clone();
        if let Some(first) = other.first_mut() {
            *first = 2;
        }
        assert!(unpack::<Value>(&other).is_err());
        assert!(unpack::<Value>(&[]).is_err());
    }
}
