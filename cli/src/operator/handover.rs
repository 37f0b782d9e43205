//! Hands over a credential that the API shows only once. Whoever does not get it must not leave it
//! alive.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::PathBuf;

use sealfleet_client::{Credential, NewFile};
use sealfleet_domain::text::printable;

use super::failure::Failure;

/// Makes the file that a credential will be written to, before anybody asks for the credential.
pub(super) fn new_file(out: Option<PathBuf>) -> Result<Option<NewFile>, Failure> {
    out.map(|path| NewFile::create(&path))
        .transpose()
        .map_err(|error| Failure::Usage(error.to_string()))
}

/// Writes the credential to its file, and returns the file's path.
pub(super) fn keep(file: NewFile, credential: String) -> Result<PathBuf, Failure> {
    let path = file.path().to_owned();
    file.keep(&Credential::new(credential))
        .map_err(Failure::other)?;
    Ok(path)
}

/// Prints a credential. Unlike other output, it must reach its reader.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(printable(text).as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::other(format!("standard output: {error}")))
}

/// Revokes a credential that could not be handed over.
pub(super) async fn or_revoked<T, E: Display>(
    handed_over: Result<(), Failure>,
    what: impl Display,
    revoke: impl Future<Output = Result<T, E>>,
) -> Result<(), Failure> {
    let Err(failure) = handed_over else {
        return Ok(());
    };
    Err(Failure::Other(match revoke.await {
        Ok(_) => format!("{failure}; {what} is revoked again"),
        Err(error) => format!("{failure}; {what} is still valid, revoke it: {error}"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn what_is_not_handed_over_is_revoked() {
        let revoked = Cell::new(0);
        let revoke = async || {
            revoked.set(revoked.get() + 1);
            Ok::<_, Failure>(())
        };
        assert!(or_revoked(Ok(()), "tok_1", revoke()).await.is_ok());
        assert_eq!(revoked.get(), 0);
        let lost = Err(Failure::Other("disk full".to_owned()));
        let failure = or_revoked(lost, "tok_1", revoke()).await;
        let failure = failure.map_err(|failure| failure.to_string());
        assert_eq!(failure, Err("disk full; tok_1 is revoked again".to_owned()));
        assert_eq!(revoked.get(), 1);
    }
}
