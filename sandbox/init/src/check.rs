//! What a container offers to the steps that would run in it, as `sealfleet image check` asks.
//!
//! It runs as a step would: as the container's first process, under its user and limits.

use std::fs;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::process::{getgid, getuid};
use serde::Serialize;

const SHELL: &str = "/bin/sh";

/// Printed as JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    version: &'static str,
    /// Whether this program needs no library of the image.
    static_program: bool,
    uid: u32,
    gid: u32,
    /// The user's name in `/etc/passwd`.
    user: Option<String>,
    /// Mount points that can be written to, but for those of the kernel.
    writable: Vec<String>,
    /// Why HTTPS cannot be used, if so.
    https_fault: Option<String>,
    shell: Option<&'static str>,
}

/// Looks at the container that this process runs in.
#[must_use]
pub fn report(https_fault: Option<String>) -> Report {
    let uid = getuid().as_raw();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    Report {
        version: env!("CARGO_PKG_VERSION"),
        static_program: cfg!(target_feature = "crt-static"),
        uid,
        gid: getgid().as_raw(),
        user: user(&read("/etc/passwd"), uid),
        writable: writable(&read("/proc/self/mountinfo")),
        https_fault,
        shell: access(SHELL, Access::EXEC_OK).is_ok().then_some(SHELL),
    }
}

/// The name of `uid`; passwd(5).
fn user(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The fifth field of each line is a mount point; proc_pid_mountinfo(5).
fn writable(mounts: &str) -> Vec<String> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let mut found: Vec<String> = points
        .filter(|point| !Path::new(point).starts_with("/proc"))
        .filter(|point| !Path::new(point).starts_with("/sys"))
        .filter(|point| fs::metadata(point).is_ok_and(|kind| kind.is_dir() || kind.is_file()))
        .filter(|point| access(*point, Access::WRITE_OK).is_ok())
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_number() {
        let passwd = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/workspace:/bin/sh\n";
        assert_eq!(user(passwd, 65534).as_deref(), Some("nobody"));
        assert_eq!(user(passwd, 6553), None);
    }

    #[test]
    fn mount_points_are_told_from_what_the_kernel_mounts() {
        let mine = tempfile::tempdir().unwrap();
        let mine = mine.path().to_str().unwrap();
        let mounts = format!(
            "22 1 0:1 / / ro - overlay none ro\n\
             23 22 0:2 / /proc rw - proc proc rw\n\
             24 22 0:3 / {mine} rw - tmpfs none rw\n\
             25 22 0:4 / /nothing/there rw - tmpfs none rw\n"
        );
        let found = writable(&mounts);
        assert!(found.contains(&mine.to_owned()), "{found:?}");
        assert!(
            !found
                .iter()
                .any(|point| point.contains("proc") || point.contains("nothing")),
            "{found:?}"
        );
    }
}
