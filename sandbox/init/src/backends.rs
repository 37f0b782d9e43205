//! The identity backends of this program. Each is a crate and a feature; this file alone names
//! them.

use clap::Subcommand;
use sealfleet_identity::Registry;

/// All backends, by scheme.
#[must_use]
pub fn registry() -> Registry {
    let registry = Registry::default();
    #[cfg(feature = "agentcore")]
    let registry = registry.with(
        sealfleet_identity_agentcore::SCHEME,
        sealfleet_identity_agentcore::open,
    );
    #[cfg(feature = "aws-sm")]
    let registry = registry.with(
        sealfleet_identity_aws_sm::SCHEME,
        sealfleet_identity_aws_sm::open,
    );
    #[cfg(feature = "builtin")]
    let registry = registry.with(
        sealfleet_identity_builtin::SCHEME,
        sealfleet_identity_builtin::open,
    );
    #[cfg(feature = "sops")]
    let registry = registry.with(
        sealfleet_identity_sops::SCHEME,
        sealfleet_identity_sops::open,
    );
    #[cfg(feature = "vault")]
    let registry = registry
        .with(
            sealfleet_identity_vault::SCHEME,
            sealfleet_identity_vault::open,
        )
        .releasing(
            sealfleet_identity_vault::SCHEME,
            sealfleet_identity_vault::release,
        );
    #[cfg(feature = "bitwarden")]
    let registry = registry.with(
        sealfleet_identity_bitwarden::SCHEME,
        sealfleet_identity_bitwarden::open,
    );
    #[cfg(feature = "onepassword")]
    let registry = registry.with(
        sealfleet_identity_onepassword::SCHEME,
        sealfleet_identity_onepassword::open,
    );
    registry
}

/// The subcommands that backends bring along.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Keep secrets in an encrypted file beside the worker
    #[cfg(feature = "builtin")]
    #[command(subcommand)]
    Builtin(sealfleet_identity_builtin::command::Command),
    /// Look into files that SOPS has encrypted
    #[cfg(feature = "sops")]
    #[command(subcommand)]
    Sops(sealfleet_identity_sops::command::Command),
}

/// Runs one of them.
///
/// # Errors
/// What is wrong, for people; it holds names only.
pub(crate) fn run(command: Command) -> Result<(), String> {
    match command {
        #[cfg(feature = "builtin")]
        Command::Builtin(command) => sealfleet_identity_builtin::command::run(command),
        #[cfg(feature = "sops")]
        Command::Sops(command) => sealfleet_identity_sops::command::run(command),
    }
}
