//! A root directory that holds an image: its programs instead of the host's.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Unavailable;
use crate::layers::Image;
use crate::rootfs::{GROUP, HOSTS, INIT_PATH, MOUNT_POINTS, PASSWD, has_programs, write_program};

/// Permission bits that no file of a root keeps: to run as its owner or group, and to be written by
/// its group or by others, who are users of the host.
const TAKEN: u32 = 0o6022;

/// Unpacks `archive`, the files of an image as tar, into the new directory `directory`, with the
/// program `init` as [`INIT_PATH`], and answers its path.
///
/// Devices are left out, and set-user-ID and set-group-ID bits are taken away: on the host, every
/// user could run such a program. `/etc` gets the sandbox's user, group and hosts; a user that the
/// image has stays. Nobody else can enter the directory before all of this is done. Needs `tar`.
///
/// # Errors
/// [`Unavailable::Rootfs`]: `directory` exists, or `archive` or `init` cannot be used.
pub fn unpack_rootfs(
    directory: &Path,
    archive: impl Into<Stdio>,
    init: &Path,
) -> Result<PathBuf, Unavailable> {
    let unusable = |reason: String| Unavailable::Rootfs {
        path: directory.to_owned(),
        reason,
    };
    if directory.exists() {
        return Err(unusable(
            "it exists; name a new directory, and remove the old one when no sandbox uses it"
                .to_owned(),
        ));
    }
    let fresh = PathBuf::from(format!(
        "{}.fresh-{}",
        directory.display(),
        std::process::id()
    ));
    let unpack = || -> io::Result<()> {
        let program = fs::read(init)?;
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent)?;
        }
        // Never one that somebody else has put there.
        fs::create_dir(&fresh)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o700))?;
        untar(archive, &fresh)?;
        tame(&fresh)?;
        complete(&fresh, &program)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
        fs::rename(&fresh, directory)
    };
    unpack().map_err(|error| {
        // What is half there is of no use; the error says more than a second one would.
        drop(fs::remove_dir_all(&fresh));
        unusable(error.to_string())
    })?;
    fs::canonicalize(directory).map_err(|error| unusable(error.to_string()))
}

/// Unpacks the image in the file or directory `archive`, as `docker save` or a builder of OCI image
/// layouts writes it, into the new directory `directory`. The rest is as in [`unpack_rootfs`].
///
/// # Errors
/// [`Unavailable::Rootfs`]: `directory` exists, `archive` is no image, is not the one that its
/// digests name, or has files outside of its root, or `init` cannot be used.
pub fn unpack_image(directory: &Path, archive: &Path, init: &Path) -> Result<PathBuf, Unavailable> {
    let unusable = |error: io::Error| Unavailable::Rootfs {
        path: directory.to_owned(),
        reason: format!("`{}`: {error}", archive.display()),
    };
    let image = Image::read(archive).map_err(unusable)?;
    let (reader, writer) = io::pipe().map_err(unusable)?;
    let (written, unpacked) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| image.write(io::BufWriter::new(writer)));
        let unpacked = unpack_rootfs(directory, reader, init);
        let gone = || Err(io::Error::other("it could not be read to its end"));
        (writing.join().unwrap_or_else(|_| gone()), unpacked)
    });
    let root = unpacked?;
    written.map(|()| root.clone()).map_err(|error| {
        // What is there may be half of the image.
        drop(fs::remove_dir_all(&root));
        unusable(error)
    })
}

/// GNU tar keeps an archive from writing outside of the directory.
fn untar(archive: impl Into<Stdio>, into: &Path) -> io::Result<()> {
    let output = Command::new("tar")
        .args([
            "--extract",
            "--file=-",
            "--no-same-owner",
            // Of the root alone: a package may have a folder of this name.
            "--anchored",
            "--exclude=dev/*",
            "--exclude=./dev/*",
            // What an engine adds to containers, and programs take for one.
            "--exclude=.dockerenv",
            "--exclude=./.dockerenv",
            "--directory",
        ])
        .arg(into)
        .stdin(archive)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = words.trim().lines().rev().take(2).collect();
    Err(io::Error::other(format!("tar: {}", last.join("; "))))
}

/// Takes the bits of [`TAKEN`] away, and removes what is no file, link or directory.
fn tame(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, metadata) = (entry.path(), entry.metadata()?);
        if metadata.is_dir() {
            tame(&path)?;
        }
        if metadata.is_symlink() {
            continue;
        }
        if !metadata.is_dir() && !metadata.is_file() {
            fs::remove_file(&path)?;
        } else if metadata.mode() & TAKEN != 0 {
            let mode = metadata.mode() & 0o7777 & !TAKEN;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

/// What a sandbox needs beside the image's own files. A link of the image could lead out of the
/// root, so none is followed: what is in the way is removed.
fn complete(root: &Path, program: &[u8]) -> io::Result<()> {
    if !has_programs(root) {
        return Err(io::Error::other(
            "the archive has no `usr`: it is not the root of an image with programs",
        ));
    }
    for name in MOUNT_POINTS.iter().chain(&["etc"]) {
        let path = root.join(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                fs::remove_file(&path)?;
                fs::create_dir(&path)?;
            }
            Err(_) => fs::create_dir(&path)?,
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    let etc = root.join("etc");
    for (name, words) in [
        ("passwd", users(&etc.join("passwd"), PASSWD)),
        ("group", users(&etc.join("group"), GROUP)),
        ("hosts", HOSTS.to_owned()),
        ("resolv.conf", String::new()),
    ] {
        let path = etc.join(name);
        if fs::symlink_metadata(&path).is_ok() {
            fs::remove_file(&path)?;
        }
        fs::write(&path, words)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    }
    write_program(&root.join(INIT_PATH.trim_start_matches('/')), program)
}

/// The image's lines, with `own` in the place of those with its number; passwd(5), group(5).
fn users(file: &Path, own: &str) -> String {
    let number = |line: &str| line.split(':').nth(2).map(str::to_owned);
    let is_file = fs::symlink_metadata(file).is_ok_and(|found| found.is_file());
    let text = if is_file {
        fs::read_to_string(file).unwrap_or_default()
    } else {
        String::new()
    };
    let others = text.lines().filter(|line| number(line) != number(own));
    others.fold(String::new(), |text, line| text + line + "\n") + own
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// An archive of what `fill` makes.
    fn archive(place: &Path, fill: impl Fn(&Path)) -> fs::File {
        let image = place.join("image");
        fs::create_dir_all(image.join("usr/bin")).unwrap();
        fs::create_dir_all(image.join("etc")).unwrap();
        fs::write(image.join("usr/bin/tool"), "tool").unwrap();
        fill(&image);
        let tar = place.join("image.tar");
        let made = Command::new("tar")
            .args(["--create", "--file"])
            .arg(&tar)
            .arg("--directory")
            .arg(&image)
            .arg(".")
            .status();
        assert!(made.unwrap().success());
        fs::File::open(tar).unwrap()
    }

    fn unpacked(place: &Path, fill: impl Fn(&Path)) -> Result<PathBuf, Unavailable> {
        let init = place.join("init");
        fs::write(&init, "init").unwrap();
        unpack_rootfs(&place.join("root"), archive(place, fill), &init)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn an_image_gets_the_sandbox_s_user_and_hosts_and_loses_set_id_bits() {
        let place = tempfile::tempdir().unwrap();
        let root = unpacked(place.path(), |image| {
            let users =
                "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n";
            fs::write(image.join("etc/passwd"), users).unwrap();
            let tool = image.join("usr/bin/tool");
            fs::set_permissions(tool, fs::Permissions::from_mode(0o6755)).unwrap();
        })
        .unwrap();
        let passwd = fs::read_to_string(root.join("etc/passwd")).unwrap();
        assert_eq!(passwd, format!("root:x:0:0::/root:/bin/sh\n{PASSWD}"));
        let hosts = fs::read_to_string(root.join("etc/hosts")).unwrap();
        assert!(hosts.contains(" sandbox"), "{hosts}");
        assert_eq!(mode(&root.join("usr/bin/tool")), 0o755);
        assert_eq!(mode(&root.join("sealfleet-init")), 0o755);
        assert_eq!(mode(&root), 0o755);
        for name in MOUNT_POINTS {
            assert!(root.join(name).is_dir(), "{name}");
        }
    }

    #[test]
    fn devices_of_the_root_alone_are_left_out() {
        let place = tempfile::tempdir().unwrap();
        let root = unpacked(place.path(), |image| {
            fs::create_dir_all(image.join("dev")).unwrap();
            fs::write(image.join("dev/null"), "").unwrap();
            fs::write(image.join(".dockerenv"), "").unwrap();
            fs::create_dir_all(image.join("usr/lib/tool/dev")).unwrap();
            fs::write(image.join("usr/lib/tool/dev/file"), "").unwrap();
        })
        .unwrap();
        assert!(!root.join("dev/null").exists() && !root.join(".dockerenv").exists());
        assert!(root.join("usr/lib/tool/dev/file").exists());
    }

    #[test]
    fn links_of_an_image_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let outside = place.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("hosts"), "of the host").unwrap();
        let root = unpacked(place.path(), |image| {
            symlink(outside.join("hosts"), image.join("etc/hosts")).unwrap();
            symlink(outside.join("hosts"), image.join("sealfleet-init")).unwrap();
            symlink(&outside, image.join("workspace")).unwrap();
        })
        .unwrap();
        assert_eq!(
            fs::read_to_string(outside.join("hosts")).unwrap(),
            "of the host"
        );
        assert!(root.join("workspace").symlink_metadata().unwrap().is_dir());
        assert_eq!(fs::read(root.join("sealfleet-init")).unwrap(), b"init");
    }

    #[test]
    fn what_is_no_image_or_would_overwrite_is_refused_and_nothing_is_left() {
        let place = tempfile::tempdir().unwrap();
        let refused = |fill: &dyn Fn(&Path)| {
            let refused = unpacked(place.path(), fill);
            refused.map_err(|error| error.to_string()).unwrap_err()
        };
        let no_programs = refused(&|image| fs::remove_dir_all(image.join("usr")).unwrap());
        assert!(no_programs.contains("has no `usr`"), "{no_programs}");
        let left = |name: &str| name.starts_with("root");
        let entries = fs::read_dir(place.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| left(name)).count(), 0);

        fs::create_dir(place.path().join("root")).unwrap();
        let exists = refused(&|_| ());
        assert!(exists.contains("it exists"), "{exists}");
    }
}
