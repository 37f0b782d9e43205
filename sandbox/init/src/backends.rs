//! The identity backends of this program. Each is a crate and a feature; this file alone names
//! them.

use clap::Subcommand;
use sealfleet_identity::Registry;

/// All backends, by scheme.
#[must_use]
pub fn registry() -> Registry {
    let registry = Registry::default();
    #[cfg(feature = "builtin")]
    let registry = registry.with(
        sealfleet_identity_builtin::SCHEME,
        sealfleet_identity_builtin::open,
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
}

/// Runs one of them.
///
/// # Errors
/// What is wrong, for people; it holds names only.
pub(crate) fn run(command: Command) -> Result<(), String> {
    match command {
        #[cfg(feature = "builtin")]
        Command::Builtin(command) => sealfleet_identity_builtin::command::run(command),
    }
}
