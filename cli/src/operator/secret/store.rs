//! Writes a value by the store's own program, as whoever is logged in there. The value goes over
//! standard input.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sealfleet_domain::Reference;
use sealfleet_domain::profile::SecretUri;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::super::failure::Failure;

/// A store that can be written here.
pub(super) enum Store {
    /// OpenBao or Vault, by this program.
    Vault { program: PathBuf },
    /// Files of SOPS below a directory, and the program that lists them.
    Sops { directory: PathBuf, init: PathBuf },
}

/// The version that a program tells.
#[derive(Deserialize)]
struct Kept {
    data: Version,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Deserialize)]
struct Listed {
    reference: Reference,
}

impl Store {
    /// The store of this address.
    ///
    /// # Errors
    /// It cannot be written here: what to do instead.
    pub fn of(
        uri: &SecretUri,
        sops_directory: Option<PathBuf>,
        init: impl FnOnce() -> Result<PathBuf, Failure>,
    ) -> Result<Self, Failure> {
        match uri.scheme() {
            "vault" => Ok(Self::Vault { program: vault()? }),
            "sops" => Ok(Self::Sops {
                directory: sops_directory.ok_or_else(|| {
                    Failure::Usage(
                        "name the directory of the files of SOPS: `--sops-directory DIR`".to_owned(),
                    )
                })?,
                init: init()?,
            }),
            "bitwarden" => Err(Failure::Usage(
                "this command cannot write to Bitwarden: change the secret in its web vault, since `bws secret edit` takes the value as an argument; \
                 then pin its new `revisionDate` with `sealfleet profile apply`"
                    .to_owned(),
            )),
            "onepassword" => Err(Failure::Usage(
                "this command cannot write to 1Password: change the item there, since `op item edit` takes the value as an argument; \
                 then pin its new `version` with `sealfleet profile apply`"
                    .to_owned(),
            )),
            scheme => Err(Failure::Usage(format!(
                "this command cannot write to `{scheme}://`; write the value there, and pin it with `sealfleet profile apply`"
            ))),
        }
    }

    /// Whether an older version can still be read.
    pub const fn keeps_versions(&self) -> bool {
        matches!(self, Self::Vault { .. })
    }

    /// Writes a value, and answers the version that it has. Other keys of the same secret stay.
    pub fn write(&self, uri: &SecretUri, value: &str) -> Result<String, Failure> {
        match self {
            Self::Vault { program } => kept(program, uri, value),
            Self::Sops { directory, init } => encrypted(directory, init, uri, value),
        }
    }
}

/// `bao`, or else `vault`, from `PATH`.
fn vault() -> Result<PathBuf, Failure> {
    let path = std::env::vars_os().find(|(name, _)| name == "PATH");
    let path = path.map(|(_, path)| path).unwrap_or_default();
    let found = ["bao", "vault"].into_iter().find_map(|name| {
        let mut places = std::env::split_paths(&path).map(|directory| directory.join(name));
        places.find(|place| place.is_file())
    });
    found.ok_or_else(|| {
        Failure::Usage(
            "install `bao` or `vault`, and log in: the value is written by it".to_owned(),
        )
    })
}

/// A key of a secret in a KV store of version 2. The first write makes the secret.
fn kept(program: &Path, uri: &SecretUri, value: &str) -> Result<String, Failure> {
    let (Some((mount, path)), Some(key)) = (uri.name().split_once('/'), uri.key()) else {
        return Err(Failure::Usage(format!("`{uri}` names no key of a secret")));
    };
    let mount = format!("-mount={mount}");
    let field = format!("{key}=-");
    let patch = ["kv", "patch", &mount, "-format=json", path, &field];
    let put = ["kv", "put", &mount, "-cas=0", "-format=json", path, &field];
    let mut written = fed(program, &patch, value)?;
    if !written.status.success() {
        let made = fed(program, &put, value)?;
        // If the secret was there, the first refusal is the one that counts.
        if made.status.success() {
            written = made;
        }
    }
    let answer = checked(program, written, value)?;
    let Kept { data } = serde_json::from_slice(&answer)
        .map_err(|error| Failure::other(error).about(format!("`{}`", program.display())))?;
    Ok(data.version.to_string())
}

/// A value in a file that is there.
fn encrypted(
    directory: &Path,
    init: &Path,
    uri: &SecretUri,
    value: &str,
) -> Result<String, Failure> {
    let key = uri.key().unwrap_or_default();
    let place = |part: &str| match part.parse::<usize>() {
        Ok(at) => format!("[{at}]"),
        Err(_) => format!("[{}]", Value::from(part)),
    };
    let index: String = key.split('.').map(place).collect();
    let file = directory.join(uri.name()).display().to_string();
    let json = Zeroizing::new(Value::from(value).to_string());
    let sops = Path::new("sops");
    let written = fed(sops, &["set", "--value-stdin", &file, &index], &json)?;
    checked(sops, written, value)?;
    let listed = Command::new(init)
        .args(["sops", "list", "--directory"])
        .arg(directory)
        .arg(uri.name())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(init, error))?;
    let listed = String::from_utf8_lossy(&checked(init, listed, value)?).into_owned();
    let mut listed = listed
        .lines()
        .filter_map(|line| serde_json::from_str::<Listed>(line).ok());
    let own = listed.find(|listed| listed.reference.uri == *uri);
    own.and_then(|listed| listed.reference.version)
        .ok_or_else(|| {
            Failure::Other(format!(
                "the value is written, but the file has no `{key}` that a reference can name"
            ))
        })
}

/// Runs a program with a value on its standard input.
fn fed(program: &Path, words: &[&str], value: &str) -> Result<Output, Failure> {
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(program, error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read it says why.
        drop(stdin.write_all(value.as_bytes()));
    }
    child
        .wait_with_output()
        .map_err(|error| failed(program, error))
}

/// What a program has printed, if it did what it was to do.
fn checked(program: &Path, done: Output, value: &str) -> Result<Vec<u8>, Failure> {
    if done.status.success() {
        return Ok(done.stdout);
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let said = said.replace(value, "…");
    let said: Vec<&str> = said.split_whitespace().collect();
    Err(Failure::Other(format!(
        "nothing is written: `{}` says: {}",
        program.display(),
        said.join(" ")
    )))
}

fn failed(program: &Path, error: std::io::Error) -> Failure {
    Failure::other(error).about(format!("`{}`", program.display()))
}
