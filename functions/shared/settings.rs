//! Settings from a function's environment, read once when it starts.

use sealfleet_aws::outputs::OutputAccount;
use sealfleet_aws::queue_access::Account;
use sealfleet_domain::NamePrefix;
use sealfleet_domain::prices::Prices;
use sealfleet_domain::rate::Limits;
use sealfleet_domain::run::Pace;
use sealfleet_fargate::Settings;
use sealfleet_ledger::Tables;

use super::metrics::ByProject;
use crate::export::ocsf::Version;

/// A variable that is missing or unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("set the environment variable `{0}`: the function cannot start without it")]
pub struct MissingSetting(&'static str);

/// Reads one variable. An empty one counts as missing.
///
/// # Errors
/// When it is missing.
pub fn setting(name: &'static str) -> Result<String, MissingSetting> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where functions read their environment"
    )]
    std::env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .ok_or(MissingSetting(name))
}

fn positive(name: &'static str, otherwise: i64) -> i64 {
    setting(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|number| *number > 0)
        .unwrap_or(otherwise)
}

/// The tables' names.
///
/// # Errors
/// When one is missing.
pub fn tables() -> Result<Tables, MissingSetting> {
    Ok(Tables {
        ledger: setting("SEALFLEET_LEDGER_TABLE")?,
        audit: setting("SEALFLEET_AUDIT_TABLE")?,
    })
}

/// The version of OCSF that events are exported in. Without one it is the default.
///
/// # Errors
/// When it is none that can be exported.
pub fn ocsf_version() -> Result<Version, MissingSetting> {
    const NAME: &str = "SEALFLEET_OCSF_VERSION";
    match setting(NAME) {
        Ok(text) => text.parse().map_err(|_| MissingSetting(NAME)),
        Err(_) => Ok(Version::default()),
    }
}

/// What the names of everything begin with that this installation has in its account.
///
/// # Errors
/// When it is no prefix. Without one it is the default.
pub fn name_prefix() -> Result<NamePrefix, MissingSetting> {
    const NAME: &str = "SEALFLEET_NAME_PREFIX";
    match setting(NAME) {
        Ok(text) => text.parse().map_err(|_| MissingSetting(NAME)),
        Err(MissingSetting(_)) => Ok(NamePrefix::default()),
    }
}

/// How long leases last and when messages are sent again.
#[must_use]
pub fn pace() -> Pace {
    Pace {
        lease_seconds: positive("SEALFLEET_LEASE_SECONDS", 30),
        resend_seconds: positive("SEALFLEET_RESEND_SECONDS", 60),
    }
}

/// Seconds for which a process may use what Secrets Manager said of a secret's version.
#[must_use]
pub fn secret_version_seconds() -> i64 {
    setting("SEALFLEET_SECRET_VERSION_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(60)
}

/// Days for which a run is kept after its end, and with it what only serves it: leases, identities,
/// idempotency keys.
#[must_use]
pub fn run_retention_days() -> i64 {
    positive("SEALFLEET_RUN_RETENTION_DAYS", 90)
}

/// Days for which an entry stays in the audit table. The archive keeps what it says.
#[must_use]
pub fn trail_retention_days() -> i64 {
    positive("SEALFLEET_TRAIL_RETENTION_DAYS", 30)
}

/// Days for which uploads and what comes out of steps are kept.
#[must_use]
pub fn output_retention_days() -> i64 {
    positive("SEALFLEET_OUTPUT_RETENTION_DAYS", 30)
}

/// The projects that have metrics of their own.
#[must_use]
pub fn project_metrics() -> ByProject {
    ByProject::parse(&setting("SEALFLEET_PROJECT_METRICS").unwrap_or_default())
}

/// The prices that usage is charged by.
///
/// # Errors
/// When the deployment's own cannot be read.
pub fn prices() -> Result<Prices, serde_json::Error> {
    Prices::with(&setting("SEALFLEET_PRICES").unwrap_or_default())
}

/// How often a project's callers may call, unless the project has limits of its own.
#[must_use]
pub fn limits() -> Limits {
    let number = |name, otherwise| {
        setting(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    let limits = Limits {
        requests_per_second: number("SEALFLEET_REQUESTS_PER_SECOND", 100),
        burst: number("SEALFLEET_REQUESTS_BURST", 200),
    };
    if limits.check().is_ok() {
        limits
    } else {
        Limits {
            requests_per_second: 100,
            burst: 200,
        }
    }
}

/// Where queues and roles are.
///
/// # Errors
/// When a setting is missing.
pub fn account() -> Result<Account, MissingSetting> {
    Ok(Account {
        partition: setting("SEALFLEET_PARTITION")?,
        region: setting("SEALFLEET_REGION")?,
        account_id: setting("SEALFLEET_ACCOUNT_ID")?,
        queue_url_prefix: setting("SEALFLEET_QUEUE_URL_PREFIX")?,
        name_prefix: name_prefix()?,
    })
}

/// Where outputs and their role are.
///
/// # Errors
/// When a setting is missing.
pub fn outputs() -> Result<OutputAccount, MissingSetting> {
    Ok(OutputAccount {
        partition: setting("SEALFLEET_PARTITION")?,
        region: setting("SEALFLEET_REGION")?,
        account_id: setting("SEALFLEET_ACCOUNT_ID")?,
        bucket: setting("SEALFLEET_OUTPUT_BUCKET")?,
        endpoint: setting("SEALFLEET_OUTPUT_ENDPOINT")?,
        name_prefix: name_prefix()?,
    })
}

/// Where Fargate tasks run. Functions that only stop them need no more than the cluster.
///
/// # Errors
/// When the cluster is missing.
pub fn fargate() -> Result<Settings, MissingSetting> {
    let list = |name| {
        setting(name).map_or_else(
            |_| Vec::new(),
            |text| text.split(',').map(|part| part.trim().to_owned()).collect(),
        )
    };
    Ok(Settings {
        name_prefix: name_prefix()?,
        cluster: setting("SEALFLEET_CLUSTER")?,
        partition: setting("SEALFLEET_PARTITION").unwrap_or_default(),
        region: setting("SEALFLEET_REGION").unwrap_or_default(),
        account_id: setting("SEALFLEET_ACCOUNT_ID").unwrap_or_default(),
        subnets: list("SEALFLEET_SUBNETS"),
        security_groups: list("SEALFLEET_SECURITY_GROUPS"),
        api_url: setting("SEALFLEET_API_URL").unwrap_or_default(),
        egress_networks: setting("SEALFLEET_EGRESS_NETWORKS").unwrap_or_default(),
    })
}
