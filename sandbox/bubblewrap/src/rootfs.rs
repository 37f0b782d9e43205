//! The root directory that every sandbox sees, read-only.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::Unavailable;

/// Where `sealfleet-init` is inside the sandbox.
pub const INIT_PATH: &str = "/sealfleet-init";

/// The directory that every command starts in, empty and writable.
pub const WORKSPACE: &str = "/workspace";

/// The home of a command's user, inside the workspace and so of the same size.
pub const HOME: &str = "/workspace/home";

/// The host name inside.
pub(crate) const HOST_NAME: &str = "sandbox";

/// The user of every command is the only one.
pub(crate) const PASSWD: &str = "nobody:x:65534:65534:nobody:/workspace/home:/bin/sh\n";
pub(crate) const GROUP: &str = "nogroup:x:65534:\n";
pub(crate) const HOSTS: &str = "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n";

/// Directories that a sandbox mounts on.
pub(crate) const MOUNT_POINTS: [&str; 6] = ["usr", "proc", "dev", "tmp", "run", "workspace"];

/// What programs of `/usr` read below `/etc`, whatever they are for: the settings of OpenSSL and
/// Java, certificates by name and by hash, the linker's cache, names of services and the time zone.
/// A name that ends with `-` is a prefix. Only what every user of the host may read is shown.
const SETTINGS: [&str; 14] = [
    "ssl/openssl.cnf",
    "ssl/certs",
    "java-",
    "pki/tls/openssl.cnf",
    "pki/tls/certs",
    "pki/ca-trust/extracted",
    "pki/java",
    "crypto-policies",
    "ld.so.cache",
    "nsswitch.conf",
    "services",
    "protocols",
    "mime.types",
    "localtime",
];

/// Certificate bundles of the common distributions. The root gets the first one that exists.
const CERTIFICATES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// Whether `root` brings its own programs: then sandboxes do not show the host's `/usr`.
#[must_use]
pub fn has_programs(root: &Path) -> bool {
    fs::read_dir(root.join("usr")).is_ok_and(|mut entries| entries.next().is_some())
}

/// Makes the root directory at `directory`, with the program `init` as [`INIT_PATH`], and answers
/// its path.
///
/// It holds `bin`, `lib`, `lib64`, `sbin` as links into `usr`; a small `etc` (`passwd`, `group`,
/// `hosts`, the host's public certificate bundle, what [`SETTINGS`] names, and the host's
/// `alternatives` links, which name programs below `/usr`), and empty mount points. A new directory
/// is made beside it and renamed into place, so nobody sees half of it. A directory that exists
/// with the same content stays; one with other content is exchanged in one step, and removed once
/// no sandbox uses it: sandboxes lock the directory that they run on.
///
/// In a directory that holds an image ([`unpack_rootfs`](crate::unpack_rootfs)), only `init` is
/// renewed.
///
/// # Errors
/// [`Unavailable::Rootfs`]: `init` cannot be read, or the directory cannot be written.
pub fn build_rootfs(directory: &Path, init: &Path) -> Result<PathBuf, Unavailable> {
    let unusable = |reason: String| Unavailable::Rootfs {
        path: directory.to_owned(),
        reason,
    };
    let program = fs::read(init)
        .map_err(|error| unusable(format!("cannot read `{}`: {error}", init.display())))?;
    let parent = directory
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = directory
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let build = || -> io::Result<()> {
        if has_programs(directory) {
            return renew(directory, &program);
        }
        fs::create_dir_all(parent)?;
        let id = format!("{}-{:?}", std::process::id(), std::thread::current().id());
        let fresh = parent.join(format!(".{name}-fresh-{id}"));
        remove(&fresh)?;
        fill(&fresh, &program)?;
        if put(&fresh, directory)? {
            // By its name, this call or a later one removes it.
            fs::rename(
                &fresh,
                parent.join(format!(
                    ".{name}-retired-{id}-{}",
                    fs::metadata(&fresh)?.ino()
                )),
            )?;
        } else {
            remove(&fresh)?;
        }
        remove_retired(parent, &format!(".{name}-retired-"))
    };
    build().map_err(|error| unusable(format!("cannot be written: {error}")))?;
    fs::canonicalize(directory).map_err(|error| unusable(error.to_string()))
}

/// Exchanges the program in one step; who runs the old one keeps it.
fn renew(root: &Path, init: &[u8]) -> io::Result<()> {
    let program = root.join(INIT_PATH.trim_start_matches('/'));
    if fs::read(&program).is_ok_and(|found| found == init) {
        return Ok(());
    }
    let fresh = root.join(format!(".sealfleet-init-{}", std::process::id()));
    write_program(&fresh, init)?;
    fs::rename(fresh, program)
}

/// Writes a program that every user can run. Follows no link.
pub(crate) fn write_program(path: &Path, program: &[u8]) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok() {
        fs::remove_file(path)?;
    }
    fs::write(path, program)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn fill(root: &Path, init: &[u8]) -> io::Result<()> {
    fs::create_dir(root)?;
    for mount_point in MOUNT_POINTS {
        fs::create_dir(root.join(mount_point))?;
    }
    for link in ["bin", "lib", "lib64", "sbin"] {
        if Path::new("/usr").join(link).is_dir() {
            symlink(Path::new("usr").join(link), root.join(link))?;
        }
    }
    let etc = root.join("etc");
    copy_settings(Path::new("/etc"), &etc)?;
    fs::create_dir_all(etc.join("ssl/certs"))?;
    fs::write(etc.join("passwd"), PASSWD)?;
    fs::write(etc.join("group"), GROUP)?;
    fs::write(etc.join("hosts"), HOSTS)?;
    fs::write(etc.join("resolv.conf"), "")?;
    let certificates = CERTIFICATES
        .iter()
        .find_map(|path| fs::read(path).ok())
        .unwrap_or_default();
    let bundle = etc.join("ssl/certs/ca-certificates.crt");
    if !bundle.exists() {
        fs::write(bundle, certificates)?;
    }
    fs::create_dir(etc.join("alternatives"))?;
    if let Ok(links) = fs::read_dir("/etc/alternatives") {
        for link in links {
            let link = link?;
            match fs::read_link(link.path()) {
                Ok(target) if target.starts_with("/usr") || target.starts_with("/bin") => {
                    symlink(target, etc.join("alternatives").join(link.file_name()))?;
                }
                _ => {}
            }
        }
    }
    let program = root.join(INIT_PATH.trim_start_matches('/'));
    fs::write(&program, init)?;
    open_to_all(root, 0o755)
}

/// Copies what [`SETTINGS`] names from the host's `etc`.
fn copy_settings(host: &Path, etc: &Path) -> io::Result<()> {
    for setting in SETTINGS {
        let path = Path::new(setting);
        let folder = path.parent().unwrap_or(Path::new(""));
        let prefix = path.file_name().unwrap_or_default().as_encoded_bytes();
        // Another distribution's.
        let Ok(entries) = fs::read_dir(host.join(folder)) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let fits = if setting.ends_with('-') {
                name.as_encoded_bytes().starts_with(prefix)
            } else {
                name.as_encoded_bytes() == prefix
            };
            if fits {
                fs::create_dir_all(etc.join(folder))?;
                copy_public(&entry.path(), &etc.join(folder).join(name))?;
            }
        }
    }
    Ok(())
}

/// Copies a file, link or directory as far as every user of the host may read it. A link stays one:
/// it names a file beside it, or one below `/usr` that a sandbox has as well.
fn copy_public(from: &Path, to: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?;
    if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if kind.mode() & 0o004 == 0 {
        return Ok(());
    }
    if kind.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_public(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if kind.is_file() {
        fs::copy(from, to)?;
    }
    Ok(())
}

/// Gives every directory and program `mode`, every other file 0644, whatever the umask is: each
/// sandbox reads them under another uid.
fn open_to_all(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            open_to_all(&entry.path(), mode)?;
        } else if kind.is_file() {
            let program = entry.file_name() == INIT_PATH.trim_start_matches('/');
            fs::set_permissions(
                entry.path(),
                fs::Permissions::from_mode(if program { mode } else { 0o644 }),
            )?;
        }
    }
    Ok(())
}

/// Puts `fresh` in place. Answers whether `fresh` now holds the directory that was there before.
fn put(fresh: &Path, directory: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, fresh, CWD, directory, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(false),
        Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    if same(fresh, directory)? {
        return Ok(false);
    }
    renameat_with(CWD, fresh, CWD, directory, RenameFlags::EXCHANGE)?;
    Ok(true)
}

/// While the answer is held, nobody removes the directory.
pub(crate) fn hold(directory: &Path) -> io::Result<fs::File> {
    let held = fs::File::open(directory)?;
    flock(&held, FlockOperation::LockShared)?;
    Ok(held)
}

/// Removes retired directories that nobody holds. Removing one takes the mounts on it away from
/// every namespace (rmdir(2)).
fn remove_retired(parent: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        // Fails if another launcher has removed it.
        let Ok(directory) = fs::File::open(entry.path()) else {
            continue;
        };
        if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Whether two trees have the same names, links and file contents.
fn same(one: &Path, other: &Path) -> io::Result<bool> {
    let (Ok(a), Ok(b)) = (fs::symlink_metadata(one), fs::symlink_metadata(other)) else {
        return Ok(false);
    };
    if a.permissions() != b.permissions() || a.file_type() != b.file_type() {
        return Ok(false);
    }
    if a.is_symlink() {
        return Ok(fs::read_link(one)? == fs::read_link(other)?);
    }
    if a.is_file() {
        return Ok(a.len() == b.len() && fs::read(one)? == fs::read(other)?);
    }
    let names = |path: &Path| -> io::Result<Vec<_>> {
        let mut names = fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    };
    let inside = names(one)?;
    if inside != names(other)? {
        return Ok(false);
    }
    for name in inside {
        if !same(&one.join(&name), &other.join(&name))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn building_twice_keeps_the_directory_and_a_new_init_replaces_it() {
        let place = tempfile::tempdir().unwrap();
        let (root, init) = (place.path().join("rootfs"), place.path().join("init"));
        fs::write(&init, "one").unwrap();
        build_rootfs(&root, &init).unwrap();
        let first = fs::metadata(&root).unwrap().ino();
        build_rootfs(&root, &init).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().ino(), first);
        fs::write(&init, "two").unwrap();
        build_rootfs(&root, &init).unwrap();
        assert_eq!(fs::read(root.join("sealfleet-init")).unwrap(), b"two");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_replaced_directory_stays_as_long_as_it_is_held() {
        let place = tempfile::tempdir().unwrap();
        let (root, init) = (place.path().join("rootfs"), place.path().join("init"));
        fs::write(&init, "one").unwrap();
        build_rootfs(&root, &init).unwrap();
        let held = hold(&root).unwrap();
        fs::write(&init, "two").unwrap();
        build_rootfs(&root, &init).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 3);
        drop(held);
        build_rootfs(&root, &init).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    }
}
