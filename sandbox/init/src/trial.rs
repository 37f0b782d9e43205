//! Tries an identity backend, in place of a step: does its login hold, what may it read, and which
//! references have a value. Values are dropped where they are had; names alone are told.

use std::time::Duration;

use sealfleet_channel::{CheckOrder, Checked, Descriptors, ReadableName, Refusal};
use sealfleet_identity::{Given, IdentityError, Registry, SecretValue};

/// How long what it has borrowed may take to be taken back.
const RELEASE_TIME: Duration = Duration::from_secs(8);
/// The most names that are told.
const NAMES: usize = 200;
/// In the place of a step's token: whoever verifies it refuses it, and is there. It has the form of
/// one, `{}.{"run":"backend","step":"check"}`, and no signature.
const NO_TOKEN: &str = "e30.eyJydW4iOiJiYWNrZW5kIiwic3RlcCI6ImNoZWNrIn0.none";

/// Does it.
pub(crate) async fn run(order: CheckOrder, descriptors: Descriptors, known: &Registry) -> Checked {
    let files = descriptors.into_iter();
    let files = files.map(|(name, descriptor)| (name, descriptor.into()));
    let none = || SecretValue::new(NO_TOKEN.into());
    let schemes = order.backends.audiences.into_keys();
    let given = Given {
        project: order.project,
        files: files.collect(),
        settings: order.backends.settings,
        tokens: schemes.map(|scheme| (scheme, none())).collect(),
        proxy: None,
        lasts: Duration::ZERO,
    };
    let backends = known.open(given, Duration::from_millis(order.resolve_millis));
    let mut checked = Checked::default();
    match backends.readable(&order.scheme).await {
        Ok(readable) => {
            checked.readable = readable.map(|all| {
                let all = all.into_iter().take(NAMES);
                all.map(|one| ReadableName {
                    name: one.name,
                    is_foreign: one.is_foreign,
                })
                .collect()
            })
        }
        Err(error) => checked.login = Some(refusal(error)),
    }
    let references = match checked.login {
        None => order.references,
        // All of them would be refused in the same way.
        Some(_) => Vec::new(),
    };
    for reference in references {
        let resolved = backends.resolve(&reference.uri, reference.version.as_deref());
        checked.references.push(resolved.await.err().map(refusal));
    }
    let held = backends.close().await;
    // It ends by itself soon if its store does not hear it.
    drop(known.release(held, RELEASE_TIME).await);
    checked
}

fn refusal(error: IdentityError) -> Refusal {
    Refusal {
        code: error.code.to_owned(),
        message: error.message,
    }
}
