//! Makes the root directory of sandboxes from an image.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sealfleet_bubblewrap::{unpack_image, unpack_rootfs};

#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Make a root directory that holds an image, for `run --rootfs`: sandboxes see the programs of
    /// the image, and not those of this host
    Build(Arguments),
}

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// New directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub source: Source,
    /// The `sealfleet-init` program of sandboxes
    #[arg(long, value_name = "FILE")]
    pub init: PathBuf,
    /// The engine's command line, `docker` or one that takes the same options
    #[arg(
        long,
        value_name = "PROGRAM",
        default_value = "docker",
        env = "SEALFLEET_DOCKER"
    )]
    pub docker: String,
}

/// Where the image's files come from.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Source {
    /// Image of a container engine on this machine
    #[arg(long, value_name = "IMAGE")]
    pub from_image: Option<String>,
    /// Image in files, without an engine: a tar file that `docker save` wrote, or an OCI image
    /// layout as a tar file or directory
    #[arg(long, value_name = "PATH")]
    pub from_archive: Option<PathBuf>,
    /// The files of a root as tar, as `mmdebstrap` and `docker export` write them; `-` reads
    /// standard input
    #[arg(long, value_name = "FILE")]
    pub from_tar: Option<PathBuf>,
}

/// Makes the directory and answers its path.
///
/// # Errors
/// For people.
pub fn run(action: Action) -> Result<PathBuf, String> {
    let Action::Build(Arguments {
        directory,
        source,
        init,
        docker,
    }) = action;
    let unpack = |archive: Stdio| {
        unpack_rootfs(&directory, archive, &init).map_err(|error| error.to_string())
    };
    if let Some(archive) = source.from_archive {
        return unpack_image(&directory, &archive, &init).map_err(|error| error.to_string());
    }
    if let Some(image) = source.from_image {
        let engine = Engine(docker);
        let container = engine.create(&image)?;
        let unpacked = engine.export(&container, unpack);
        let removed = engine.ask(&["rm", &container]);
        return unpacked.and_then(|directory| removed.map(|_| directory));
    }
    match source.from_tar {
        Some(file) if file == Path::new("-") => unpack(Stdio::inherit()),
        Some(file) => {
            let archive =
                File::open(&file).map_err(|error| format!("`{}`: {error}", file.display()))?;
            unpack(archive.into())
        }
        None => Err("name an image, an archive or a tar file".to_owned()),
    }
}

/// A container engine, by its command line.
struct Engine(String);

impl Engine {
    /// A container that is never started.
    fn create(&self, image: &str) -> Result<String, String> {
        // An image without a command needs one here.
        let words = [
            "create",
            "--network=none",
            "--label=sealfleet.rootfs",
            image,
            "/sealfleet-init",
        ];
        self.ask(&words).map(|id| id.trim().to_owned())
    }

    fn export(
        &self,
        container: &str,
        unpack: impl FnOnce(Stdio) -> Result<PathBuf, String>,
    ) -> Result<PathBuf, String> {
        let mut export = Command::new(&self.0)
            .args(["export", container])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("`{}` cannot be run: {error}", self.0))?;
        let archive = export.stdout.take().map_or_else(Stdio::null, Stdio::from);
        let unpacked = unpack(archive);
        let ended = export.wait().map_err(|error| error.to_string())?;
        let directory = unpacked?;
        if ended.success() {
            return Ok(directory);
        }
        // What is there may be half of the image.
        drop(std::fs::remove_dir_all(&directory));
        Err(format!("`{} export` failed: {ended}", self.0))
    }

    fn ask(&self, words: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.0)
            .args(words)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                format!(
                    "`{}` cannot be run: {error}; install a container engine, or name its program with `--docker`",
                    self.0
                )
            })?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let words = String::from_utf8_lossy(&output.stderr);
            Err(format!("`{}`: {}", self.0, words.trim()))
        }
    }
}
