//! The end of a step, as it is told: by a pull worker, or by a sandbox that the control plane has
//! launched.

use sealfleet_api::Problem;
use sealfleet_api::types::ReportStep;
use sealfleet_domain::artifact::{Found, MOST_FOUND};
use sealfleet_domain::names::is_env_key;
use sealfleet_domain::redaction::{self, Redaction};
use sealfleet_domain::run::{CameOut, Failure, Outcome, Told};
use sealfleet_domain::{limits, text};

/// What a report says, if it may be stored.
///
/// # Errors
/// Which field is wrong, and what to do.
pub fn checked(ended: ReportStep) -> Result<Told, Problem> {
    let outcome = outcome(&ended)?;
    if let Some(agent) = &ended.agent {
        agent
            .check()
            .map_err(|(field, text)| Problem::invalid(format!("agent.{field}"), text))?;
    }
    if ended.models_used.rows.len() > limits::EGRESS_MODELS {
        let detail = format!("{} rows at most", limits::EGRESS_MODELS);
        return Err(Problem::invalid("models_used.rows", detail));
    }
    let named = |row: &Redaction| is_env_key(&row.key);
    if ended.redactions.len() > redaction::MOST || !ended.redactions.iter().all(named) {
        let most = redaction::MOST;
        let detail = format!("{most} rows at most, each with the name of an environment variable");
        return Err(Problem::invalid("redactions", detail));
    }
    if ended.egress_denied.rows.len() > limits::EGRESS_ROWS {
        let detail = format!("{} rows at most", limits::EGRESS_ROWS);
        return Err(Problem::invalid("egress_denied.rows", detail));
    }
    if ended.egress_reached.rows.len() > limits::EGRESS_ROWS {
        let detail = format!("{} rows at most", limits::EGRESS_ROWS);
        return Err(Problem::invalid("egress_reached.rows", detail));
    }
    if ended
        .result_bytes
        .is_some_and(|bytes| bytes > limits::RESULT_BYTES as u64)
    {
        let detail = format!("a result has {} bytes at most", limits::RESULT_BYTES);
        return Err(Problem::invalid("result_bytes", detail));
    }
    check_artifacts(&ended)?;
    Ok(Told {
        outcome,
        out: CameOut {
            cut_bytes: ended.output_cut_bytes,
            missing_bytes: ended.output_missing_bytes,
            result_bytes: ended.result_bytes,
            artifacts: ended.artifacts,
        },
        redactions: ended.redactions,
        egress_denied: ended.egress_denied,
        egress_reached: ended.egress_reached.bounded(),
        artifact_secrets: ended.artifact_secrets,
        agent: ended.agent,
        models_used: ended.models_used,
    })
}

/// Checks the report of a sandbox that is lost.
///
/// # Errors
/// It says how the step ended, which nobody knows.
pub fn of_nothing(ended: &ReportStep) -> Result<(), Problem> {
    match &ended.failure {
        None => Ok(()),
        Some(_) => Err(Problem::invalid(
            "failure",
            "leave `failure` out when the sandbox is lost, or report `failed`",
        )),
    }
}

fn check_artifacts(ended: &ReportStep) -> Result<(), Problem> {
    if ended.artifacts.is_some_and(|total| !total.fits()) {
        let (files, bytes) = (limits::ARTIFACT_FILES, limits::ARTIFACT_BYTES);
        let detail = format!("a step leaves {files} files of {bytes} bytes together at most");
        return Err(Problem::invalid("artifacts", detail));
    }
    let secrets = &ended.artifact_secrets;
    if secrets.len() > MOST_FOUND || !secrets.iter().all(Found::is_named) {
        let detail =
            format!("{MOST_FOUND} files at most, each with names of environment variables");
        return Err(Problem::invalid("artifact_secrets", detail));
    }
    Ok(())
}

fn outcome(ended: &ReportStep) -> Result<Outcome, Problem> {
    match (ended.state.as_str(), ended.failure.clone()) {
        ("succeeded", None) => Ok(Outcome::Succeeded),
        ("succeeded", Some(_)) => Err(Problem::invalid(
            "failure",
            "leave `failure` out when the step succeeded",
        )),
        ("failed", Some(failure)) => {
            check_failure(&failure)?;
            Ok(Outcome::Failed { failure })
        }
        ("failed", None) => Err(Problem::invalid(
            "failure",
            "say how the step failed, for example `{\"kind\":\"exit\",\"code\":1}`",
        )),
        _ => Err(Problem::invalid(
            "state",
            "use `succeeded` or `failed`: only the end of a step is reported; a worker whose sandbox is lost says `lost`",
        )),
    }
}

/// Who runs a step tells how it failed, and cannot tell what only the control plane decides.
fn check_failure(failure: &Failure) -> Result<(), Problem> {
    let (most, field) = (limits::DETAIL_BYTES, "failure.detail");
    match failure {
        Failure::CannotStart { detail, .. }
        | Failure::CannotExecute { detail, .. }
        | Failure::SecretUnavailable { detail, .. }
        | Failure::BadResult { detail }
        | Failure::BadArtifacts { detail }
            if detail.len() > most || detail.contains(text::acts) =>
        {
            Err(Problem::invalid(
                field,
                format!("one line of {most} printable bytes at most, names only"),
            ))
        }
        Failure::SecretRevoked { .. }
        | Failure::ProfileRefused { .. }
        | Failure::Drifted { .. } => Err(Problem::invalid(
            "failure.kind",
            "only the control plane refuses a start; say how the sandbox failed",
        )),
        Failure::CannotStart { .. }
        | Failure::CannotExecute { .. }
        | Failure::SecretUnavailable { .. }
        | Failure::BadResult { .. }
        | Failure::BadArtifacts { .. }
        | Failure::Exit { .. }
        | Failure::Signal { .. }
        | Failure::TimedOut { .. }
        | Failure::OutOfMemory
        | Failure::AgentRateLimited
        | Failure::AgentAuth
        | Failure::AgentContext
        | Failure::AgentNetwork
        | Failure::OverBudget { .. }
        | Failure::OverTurns { .. } => Ok(()),
    }
}
