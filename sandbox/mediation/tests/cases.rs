//! What each command must come to, for whoever runs the tests and for a user without any privilege.

use std::collections::BTreeMap;
use std::path::Path;

use crate::hostile;
use crate::stage::{self, Options, PLAY, Report};

/// `nobody`, as which sandboxes run.
const NOBODY: u32 = 65534;

pub type Case = Box<dyn Fn() + Send + 'static>;

/// Commands that need no particular policy.
const ANYWHERE: [&str; 11] = [
    "asks-the-proxy",
    "asks-from-many-threads",
    "keeps-its-options",
    "waits-by-epoll",
    "copies-before-it-connects",
    "tries-again",
    "looks-for-a-free-port",
    "may-not-talk-to-itself",
    "waits-for-a-full-listener",
    "uses-unix-sockets",
    "is-interrupted",
];
/// Commands that may reach their own listeners.
pub const WITH_OWN_LISTENERS: [&str; 3] = ["hangs-up", "talks-to-itself", "waits-for-a-full-port"];

pub fn all() -> Vec<(String, Case)> {
    let mut cases: Vec<(String, Case)> = Vec::new();
    for (who, user) in [("unchanged", None), ("nobody", Some(NOBODY))] {
        for (name, _) in hostile::PLAYS {
            // Root can read every process.
            let root = user.is_none() && rustix::process::geteuid().is_root();
            if root && *name == "cannot-be-read" {
                continue;
            }
            let case = move || holds(name, user, &Options::default());
            cases.push((format!("{who}::{name}"), Box::new(case)));
        }
        for name in ANYWHERE {
            let case = move || holds(name, user, &Options::default());
            cases.push((format!("{who}::{name}"), Box::new(case)));
        }
        for name in WITH_OWN_LISTENERS {
            let options = Options {
                own_listeners: true,
                ..Options::default()
            };
            cases.push((
                format!("{who}::{name}"),
                Box::new(move || holds(name, user, &options)),
            ));
        }
        for name in [
            "is-interrupted",
            "asks-from-many-threads",
            "dies-while-it-connects",
        ] {
            let options = Options {
                old_kernel: true,
                ..Options::default()
            };
            let case = move || holds(name, user, &options);
            cases.push((format!("{who}::old-kernel::{name}"), Box::new(case)));
        }
        // Nothing gets through because a listener of one's own may be reached.
        for name in [
            "asks-everywhere",
            "writes-ipv4-as-ipv6",
            "races-the-address",
        ] {
            let options = Options {
                own_listeners: true,
                ..Options::default()
            };
            let case = move || holds(name, user, &options);
            cases.push((format!("{who}::own-listeners::{name}"), Box::new(case)));
        }
    }
    cases.push(("refusals_are_told".to_owned(), Box::new(refusals_are_told)));
    cases.push((
        "refusals_are_bounded".to_owned(),
        Box::new(refusals_are_bounded),
    ));
    cases.push((
        "a_process_that_can_be_read_mediates_nothing".to_owned(),
        Box::new(a_process_that_can_be_read_mediates_nothing),
    ));
    cases.push((
        "a_command_that_is_missing_is_told_apart".to_owned(),
        Box::new(a_command_that_is_missing_is_told_apart),
    ));
    cases.push((
        "the_traps_see_who_gets_through".to_owned(),
        Box::new(the_traps_see_who_gets_through),
    ));
    cases
}

/// The directory that a stage works in, for its user.
pub fn directory(user: Option<u32>) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), mode).unwrap();
    if user.is_some() {
        std::os::unix::fs::chown(directory.path(), user, user).unwrap_or(());
    }
    directory
}

fn play(name: &str, user: Option<u32>, options: &Options) -> Report {
    let directory = directory(user);
    let options = Options {
        user,
        directory: Some(directory.path().to_owned()),
        ..options.clone()
    };
    stage::play(&options, &[PLAY[0], PLAY[1], name])
}

/// The command gets what it should and nothing beside.
fn holds(name: &str, user: Option<u32>, options: &Options) {
    let report = play(name, user, options);
    good(&report);
}

/// # Panics
/// With what went wrong.
pub fn good(report: &Report) {
    assert_eq!(report.refused_to_start, None);
    assert_eq!(report.trapped, BTreeMap::new(), "{}", report.stderr);
    assert_eq!(report.code, 0, "{}{}", report.stdout, report.stderr);
}

fn refusals_are_told() {
    let (refused, others) = play("asks-everywhere", Some(NOBODY), &Options::default()).refusals;
    let expected =
        stage::TRAPS.map(|trap| (trap.to_owned(), if trap == stage::TRAPS[0] { 2 } else { 1 }));
    assert_eq!((refused, others), (BTreeMap::from(expected), 0));
    let (refused, others) = play("writes-ipv4-as-ipv6", None, &Options::default()).refusals;
    assert_eq!(refused.get("169.254.170.2:80"), Some(&1), "{refused:?}");
    assert_eq!(others, 0);
}

fn refusals_are_bounded() {
    let (refused, others) = play("fills-tables", Some(NOBODY), &Options::default()).refusals;
    assert_eq!((refused.len(), others), (64, 136));
}

fn a_process_that_can_be_read_mediates_nothing() {
    let options = Options {
        dumpable: true,
        ..Options::default()
    };
    let report = play("asks-the-proxy", None, &options);
    let told = report.refused_to_start.unwrap();
    assert!(told.contains("PR_SET_DUMPABLE"), "{told}");
    assert_eq!(report.proxied, 0);
}

fn a_command_that_is_missing_is_told_apart() {
    let missing = Path::new("/nowhere/program");
    let report = stage::play(&Options::default(), &[missing.to_str().unwrap()]);
    let told = report.refused_to_start.unwrap();
    assert!(told.starts_with("command: No such file"), "{told}");
}

/// Without mediation each trap counts: a play that is refused there proves something.
fn the_traps_see_who_gets_through() {
    let directory = directory(None);
    let options = Options {
        directory: Some(directory.path().to_owned()),
        unmediated: true,
        ..Options::default()
    };
    let report = stage::play(&options, &[PLAY[0], PLAY[1], "gets-through"]);
    assert_eq!(report.code, 0, "{}", report.stderr);
    let seen: Vec<&str> = report.trapped.keys().map(String::as_str).collect();
    let mut all: Vec<String> = stage::TRAPS.map(str::to_owned).into();
    all.extend(stage::DATAGRAM_TRAPS.map(|trap| format!("udp {trap}")));
    all.extend(["outside".to_owned(), stage::WITHHELD.to_owned()]);
    all.sort();
    assert_eq!(seen, all);
}
