//! The operator's own AWS credentials, region and endpoints.

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use sealfleet_aws::trust::Roots;
use sealfleet_domain::cause::chain;

use super::failure::Failure;

/// Read from the environment and from `~/.aws`. Trusts the system's CAs, as other programs on an
/// operator's machine do, unless `AWS_CA_BUNDLE` names others.
///
/// Says what to set where there is no region or there are no credentials. Without that, each
/// command would fail at its first call, with the errors of the SDK's parts inside each other.
pub(super) async fn config() -> Result<SdkConfig, Failure> {
    let config = sealfleet_aws::config::load(Roots::System)
        .await
        .map_err(Failure::other)?;
    if config.region().is_none() {
        return Err(Failure::Usage(
            "this command calls AWS and knows no region: set `AWS_REGION`, or `region` in `~/.aws/config`"
                .to_owned(),
        ));
    }
    let provider = config.credentials_provider();
    let provided = match &provider {
        Some(provider) => provider.provide_credentials().await.map(drop),
        None => Err(CredentialsError::not_loaded("no provider")),
    };
    provided.map_err(|error| {
        let set = "set `AWS_PROFILE`, or `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`";
        match error {
            CredentialsError::CredentialsNotLoaded(_) => Failure::Usage(format!(
                "this command calls AWS and finds no credentials: {set}"
            )),
            error => Failure::Other(format!(
                "this command calls AWS, and its credentials cannot be used: {}; log in again, or {set}",
                chain(&error)
            )),
        }
    })?;
    Ok(config)
}
