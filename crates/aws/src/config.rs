//! The SDK's configuration, the same for every program of this workspace.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

use crate::trust::{Roots, Unusable};

/// Loads region, credentials and endpoints from the environment, as the SDK does everywhere.
/// Endpoints must have a certificate of these roots, unless the environment names others.
///
/// Every call has a time limit: one that hangs must not hold up the others.
///
/// # Errors
/// When the environment names roots that cannot be used.
pub async fn load(roots: Roots) -> Result<SdkConfig, Unusable> {
    let http = roots.unless_told(|name| std::env::var_os(name))?.client()?;
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(4)
                .with_initial_backoff(Duration::from_millis(50)),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .operation_attempt_timeout(Duration::from_secs(5))
                .operation_timeout(Duration::from_secs(12))
                .build(),
        );
    Ok(config.load().await)
}
