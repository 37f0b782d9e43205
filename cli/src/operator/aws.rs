//! The operator's own AWS credentials, region and endpoints.

use aws_config::SdkConfig;
use sealfleet_aws::trust::Roots;

use super::failure::Failure;

/// Read from the environment and from `~/.aws`. Trusts the system's CAs, as other programs on an
/// operator's machine do, unless `AWS_CA_BUNDLE` names others.
pub(super) async fn config() -> Result<SdkConfig, Failure> {
    sealfleet_aws::config::load(Roots::System)
        .await
        .map_err(Failure::other)
}
