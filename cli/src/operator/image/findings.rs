//! The checks of an image, and what to do when one fails.

use std::collections::BTreeSet;

use sealfleet_hosts::container::{USER, VOLUMES};
use serde::Serialize;

use super::engine::{Inspected, Report};

/// Fargate's, when a task definition names no other; and what engines and OCI call it.
const PLATFORM: (&str, &str) = ("linux", "amd64");
const GIB: u64 = 1024 * 1024 * 1024;
/// Every start of a task pulls the whole image.
const LARGE: u64 = 2 * GIB;
/// A task's storage, 20 GiB, holds the image packed and unpacked.
const TOO_LARGE: u64 = 10 * GIB;
/// Memory that every container shares within itself.
const SHARED_MEMORY: [&str; 2] = ["/dev/shm", "/dev/mqueue"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Passed,
    /// Steps run, but not all of them, or not as well.
    Warned,
    Failed,
}

#[derive(Debug, Serialize)]
pub(super) struct Finding {
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<&'static str>,
}

/// A check that fails unless `good`.
fn must(check: &'static str, good: bool, found: String, advice: &'static str) -> Finding {
    judged(check, good, Verdict::Failed, found, advice)
}

/// A check that warns unless `good`.
fn should(check: &'static str, good: bool, found: String, advice: &'static str) -> Finding {
    judged(check, good, Verdict::Warned, found, advice)
}

fn judged(
    check: &'static str,
    good: bool,
    otherwise: Verdict,
    found: String,
    advice: &'static str,
) -> Finding {
    let verdict = if good { Verdict::Passed } else { otherwise };
    Finding {
        check,
        verdict,
        found,
        advice: (!good).then_some(advice),
    }
}

/// All findings; those of the running container only if it ran.
pub(super) fn findings(image: &Inspected, report: &Result<Report, String>) -> Vec<Finding> {
    let mut findings = vec![
        platform(image),
        size(image),
        entry_point(image),
        volumes(image),
    ];
    match report {
        Ok(report) => findings.extend(of_container(report)),
        Err(why) => findings.push(must(
            "init",
            false,
            why.clone(),
            "put the static `sealfleet-init` of this release into the image, executable for all, and name its path in ENTRYPOINT",
        )),
    }
    findings
}

fn platform(image: &Inspected) -> Finding {
    must(
        "platform",
        (image.os.as_str(), image.architecture.as_str()) == PLATFORM,
        format!("{}/{}", image.os, image.architecture),
        "build the image with `--platform linux/amd64`: task definitions ask for no other",
    )
}

fn size(image: &Inspected) -> Finding {
    let found = format!("{} MiB unpacked", image.size / 1024 / 1024);
    if image.size > TOO_LARGE {
        return must(
            "size",
            false,
            found,
            "make the image smaller than 10 GiB: a task has 20 GiB for the image, packed and unpacked, and for its files",
        );
    }
    should(
        "size",
        image.size <= LARGE,
        found,
        "make the image smaller: each start of a step pulls all of it",
    )
}

fn entry_point(image: &Inspected) -> Finding {
    let words: Vec<&str> = image.config.entrypoint.iter().map(String::as_str).collect();
    let good = matches!(words.as_slice(), [init, "fargate"] if init.starts_with('/') && init.ends_with("/sealfleet-init"));
    must(
        "entry point",
        good,
        format!("{words:?}"),
        "set ENTRYPOINT [\"/usr/local/bin/sealfleet-init\", \"fargate\"]: task definitions name none",
    )
}

fn volumes(image: &Inspected) -> Finding {
    let declared = &image.config.volumes;
    must(
        "volumes",
        VOLUMES.iter().all(|(_, path)| declared.contains_key(*path)),
        format!("{:?}", declared.keys().collect::<Vec<_>>()),
        "declare VOLUME [\"/tmp\", \"/workspace\"], after the commands that make them: without it, Fargate gives the volumes to root",
    )
}

fn of_container(report: &Report) -> Vec<Finding> {
    let writable: BTreeSet<&str> = report.writable.iter().map(String::as_str).collect();
    let wanted: BTreeSet<&str> = VOLUMES.map(|(_, path)| path).into();
    let beside: Vec<&&str> = writable
        .difference(&wanted)
        .filter(|path| !SHARED_MEMORY.contains(path))
        .collect();
    let missing: Vec<&&str> = wanted.difference(&writable).collect();
    let linked = if report.static_program {
        "static"
    } else {
        "dynamic"
    };
    let shell = report.shell.clone();
    vec![
        must(
            "init",
            report.uid.to_string() == USER,
            format!("{} {linked}, runs as uid {}", report.version, report.uid),
            "let the engine run the image as the user that it is told",
        ),
        should(
            "init is static",
            report.static_program,
            linked.to_owned(),
            "use the static `sealfleet-init` of a release: this one depends on the image's C library",
        ),
        must(
            "writable",
            missing.is_empty(),
            if missing.is_empty() {
                "/tmp and /workspace".to_owned()
            } else {
                format!("not {missing:?}")
            },
            "make /tmp and /workspace in the image, owned by 65534:65534, before the line VOLUME",
        ),
        must(
            "nothing else writable",
            beside.is_empty(),
            if beside.is_empty() {
                "no other mount".to_owned()
            } else {
                format!("{beside:?}")
            },
            "remove other paths from VOLUME: a step may write to /tmp and /workspace only",
        ),
        must(
            "certificates",
            report.https_fault.is_none(),
            report
                .https_fault
                .clone()
                .unwrap_or_else(|| "HTTPS can be used".to_owned()),
            "install `ca-certificates`, or copy a bundle to /etc/ssl/certs/ca-certificates.crt",
        ),
        should(
            "user",
            report.user.is_some(),
            report
                .user
                .clone()
                .unwrap_or_else(|| "65534 has no name".to_owned()),
            "add a line for 65534 to /etc/passwd: some programs ask for their user's name and home",
        ),
        should(
            "shell",
            shell.is_some(),
            shell.unwrap_or_else(|| "no /bin/sh".to_owned()),
            "only commands that need no shell will run; install one for the others",
        ),
    ]
}
