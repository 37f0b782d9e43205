//! `run artifacts`: what a step has left behind, as a list or as files.
//!
//! Names come out of a sandbox. Each stays below the directory that it is downloaded into: a name
//! is checked as it is read, the directory and those in it are made here, and no link is followed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
use sealfleet_client::types::{ArtifactView, ArtifactsView};
use sealfleet_client::{Client, TransferError};
use sealfleet_domain::artifact::{ArtifactName, Destination};
use sealfleet_domain::text::one_line;
use sealfleet_domain::{RunId, StepId};

use super::super::connection::Connection;
use super::super::failure::Failure;
use super::super::output::{Output, Table, answer, note};
use super::logs::the_step;
use super::show;

/// "Forbidden": the URL has expired.
const FORBIDDEN: u16 = 403;

#[derive(Args)]
pub struct ArtifactsOf {
    /// Id of the run
    run_id: RunId,
    /// Step whose artifacts to list; needed if the run has several
    #[arg(long)]
    step: Option<StepId>,
    /// Download them into this directory, which is made if it is not there; no file in it is
    /// replaced
    #[arg(long, value_name = "DIR")]
    download: Option<PathBuf>,
}

pub(super) async fn run(of: ArtifactsOf, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client()?;
    let step = the_step(&client, of.run_id, of.step).await?;
    if let Some(directory) = &of.download {
        let view = download(&client, of.run_id, &step, directory).await?;
        return answer(connection.output, &view, || said(&view, directory));
    }
    let view = all(&client, of.run_id, &step).await?;
    if connection.output == Output::Text
        && let Some(place) = elsewhere(&view)
    {
        note(&place);
    }
    answer(connection.output, &view, || table(&view))
}

/// All pages as one.
async fn all(client: &Client, run_id: RunId, step: &StepId) -> Result<ArtifactsView, Failure> {
    let mut whole = client.get_artifacts(run_id, step, None).await?;
    while let Some(cursor) = whole.next_cursor.take() {
        let page = client.get_artifacts(run_id, step, Some(&cursor)).await?;
        whole.items.extend(page.items);
        (whole.next_cursor, whole.expires_at) = (page.next_cursor, page.expires_at);
    }
    Ok(whole)
}

/// Downloads all that is stored, page by page: URLs work for minutes only.
pub(super) async fn download(
    client: &Client,
    run_id: RunId,
    step: &StepId,
    directory: &Path,
) -> Result<ArtifactsView, Failure> {
    let about = |error: &dyn std::fmt::Display| {
        Failure::Other(format!("`{}`: {error}", directory.display()))
    };
    let (mut cursor, mut whole) = (None::<String>, None::<ArtifactsView>);
    fs::create_dir_all(directory).map_err(|error| about(&error))?;
    loop {
        let mut page = client
            .get_artifacts(run_id, step, cursor.as_deref())
            .await?;
        for at in 0..page.items.len() {
            let Some(item) = page.items.get(at) else {
                break;
            };
            let fetched = match fetch(client, item, directory).await {
                Err(Fetch::Transfer(TransferError::Refused(FORBIDDEN))) => {
                    // The same page again, with URLs that work.
                    page = client
                        .get_artifacts(run_id, step, cursor.as_deref())
                        .await?;
                    match page.items.get(at) {
                        Some(item) => fetch(client, item, directory).await,
                        None => break,
                    }
                }
                fetched => fetched,
            };
            fetched.map_err(|error| {
                let name = page.items.get(at).map(|item| one_line(item.name.as_str()));
                Failure::Other(format!("`{}`: {error}", name.unwrap_or_default()))
            })?;
        }
        let next = page.next_cursor.take();
        match &mut whole {
            Some(whole) => whole.items.extend(page.items),
            None => whole = Some(page),
        }
        match next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    whole.ok_or_else(|| about(&"nothing was listed"))
}

#[derive(Debug, thiserror::Error)]
enum Fetch {
    #[error("{0}")]
    Here(#[from] io::Error),
    #[error("{0}")]
    Transfer(#[from] TransferError),
}

async fn fetch(client: &Client, item: &ArtifactView, directory: &Path) -> Result<(), Fetch> {
    let Some(url) = &item.url else { return Ok(()) };
    let part = PathBuf::from(format!("{}.part", item.name));
    let mut file = create(directory, &item.name, ".part")?;
    let fetched = client.fetch(url, item.bytes, item.sha256, &mut file).await;
    let (part, whole) = (directory.join(part), directory.join(item.name.as_str()));
    let kept = match fetched {
        // By a link: what is there already is not replaced.
        Ok(()) => fs::hard_link(&part, &whole).map_err(Fetch::from),
        Err(error) => Err(error.into()),
    };
    fs::remove_file(&part)?;
    kept
}

/// Makes a new file below `directory`, and the directories above it, without following a link.
fn create(directory: &Path, name: &ArtifactName, suffix: &str) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = open(
        directory,
        OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut parts = name.as_str().split('/').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            let new = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let mode = Mode::from_raw_mode(0o644);
            return Ok(openat(&at, format!("{part}{suffix}"), new, mode)?.into());
        }
        match mkdirat(&at, part, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        at = openat(&at, part, flags | OFlags::DIRECTORY, Mode::empty())?;
    }
    Err(io::ErrorKind::InvalidInput.into())
}

fn table(view: &ArtifactsView) -> String {
    let mut table = Table::new(["NAME", "BYTES", "SHA-256", "NOTE"]);
    for item in &view.items {
        let hash = item.sha256.map(|hash| hash.to_string());
        let short = hash.and_then(|hash| hash.get(..12).map(str::to_owned));
        table.row([
            one_line(item.name.as_str()),
            item.bytes.to_string(),
            short.unwrap_or_default(),
            remark(item),
        ]);
    }
    for path in &view.missing {
        let missing = "not there when the command had ended".to_owned();
        table.row([
            one_line(path.as_str()),
            String::new(),
            String::new(),
            missing,
        ]);
    }
    table.text()
}

fn remark(item: &ArtifactView) -> String {
    let keys: Vec<&str> = item.contains_secret.iter().map(String::as_str).collect();
    let keys = keys.join(", ");
    match (item.withheld, item.contains_secret.is_empty(), item.to) {
        (true, _, _) => format!("withheld: it holds {keys}"),
        (false, false, _) => format!("holds {keys}"),
        (false, true, Destination::Local) => "on its worker's host".to_owned(),
        (false, true, Destination::Project) => String::new(),
    }
}

/// Where the files lie, if not in the project's outputs.
fn elsewhere(view: &ArtifactsView) -> Option<String> {
    if !view.items.is_empty() || view.total.files == 0 {
        return None;
    }
    let place = view.place.as_ref().map(show::place)?;
    Some(format!(
        "{} files, {} bytes, lie on the host, in the directory beside the output whose name ends in `.artifacts`: {place}\n",
        view.total.files, view.total.bytes
    ))
}

pub(super) fn said(view: &ArtifactsView, directory: &Path) -> String {
    let stored = view.items.iter().filter(|item| item.url.is_some());
    let mut text = format!("{} files in {}\n", stored.count(), directory.display());
    for item in view.items.iter().filter(|item| item.url.is_none()) {
        text += &format!("{}  {}\n", one_line(item.name.as_str()), remark(item));
    }
    text + &elsewhere(view).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn made(directory: &Path, name: &str) -> io::Result<()> {
        let name = name.parse().map_err(io::Error::other)?;
        create(directory, &name, "")?.write_all(b"x")
    }

    #[test]
    fn a_download_never_leaves_its_directory() {
        let outside = tempfile::tempdir().expect("a directory");
        let place = tempfile::tempdir().expect("a directory");
        let directory = place.path().join("in");
        fs::create_dir(&directory).expect("made");
        symlink(outside.path(), directory.join("link")).expect("linked");
        symlink(outside.path().join("new"), directory.join("file")).expect("linked");
        fs::write(directory.join("there"), "kept").expect("written");
        for fine in ["a", "b/c/d", "b/c/e", "..."] {
            made(&directory, fine).expect(fine);
        }
        for hostile in [
            "../x",
            "/etc/x",
            "a/../../x",
            "link/x",
            "file",
            "there",
            "a/x",
            "",
        ] {
            assert!(made(&directory, hostile).is_err(), "{hostile}");
        }
        assert_eq!(fs::read_dir(outside.path()).expect("read").count(), 0);
        assert_eq!(fs::read_dir(place.path()).expect("read").count(), 1);
        assert_eq!(
            fs::read_to_string(directory.join("there")).expect("read"),
            "kept"
        );
    }
}
