//! The shape of a container on Fargate, on the real engine that `DOCKER_HOST` names
//! (`scripts/test-images`): no capability, no new privileges, a root that cannot be written to, the
//! engine's own seccomp profile, and a network that is shared with the proxy's container.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cases::{Case, WITH_OWN_LISTENERS, directory, good};
use crate::programs::{CODEX, agent, codex_settings, skip};
use crate::stage::{self, Options, PLAY, Report};
use crate::{honest, hostile};

const IMAGE: &str = "sealfleet-mediation:test";
const NOBODY: u32 = 65534;

pub fn all() -> Vec<(String, Case)> {
    let cases: [(&str, fn()); 3] = [
        ("plays_in_a_container", plays_in_a_container),
        (
            "the_proxy_is_another_container",
            the_proxy_is_another_container,
        ),
        ("codex_in_a_container", codex_in_a_container),
    ];
    let named = |(name, case): (&str, fn())| (format!("engine::{name}"), Box::new(case) as Case);
    cases.map(named).into()
}

fn has_engine() -> bool {
    let told = std::env::vars_os().any(|(name, _)| name == "DOCKER_HOST");
    if !told {
        skip("a container engine: `scripts/test-images` starts one. It");
    }
    told
}

fn succeeds(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// An image of this program, the libraries that it is linked with, and further programs.
fn image(tag: &str, further: &[(&Path, &str)]) {
    let root = tempfile::tempdir().unwrap();
    let put = |from: &Path, to: &str| {
        let to = root.path().join(to.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    let own = std::env::current_exe().unwrap();
    put(&own, "mediation");
    let libraries = succeeds(Command::new("ldd").arg(&own));
    let libraries = String::from_utf8(libraries).unwrap();
    for path in libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        put(Path::new(path), path);
    }
    // A shell, for agents.
    for (from, to) in further {
        put(from, to);
    }
    for directory in ["work", "proc", "tmp", "etc"] {
        std::fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    let script = "tar -C \"$0\" -c . | docker import - \"$1\"";
    succeeds(
        Command::new("sh")
            .args(["-c", script])
            .arg(root.path())
            .arg(tag),
    );
}

/// `docker run` of a container as Fargate has it.
fn container(network: &str, work: &Path) -> Command {
    let mut docker = Command::new("docker");
    docker.args([
        "run",
        "--rm",
        "--interactive",
        "--pull=never",
        "--cap-drop=ALL",
        "--read-only",
    ]);
    docker.args([
        "--security-opt=no-new-privileges",
        "--user=65534:65534",
        "--workdir=/work",
    ]);
    docker.arg(format!("--network={network}"));
    docker.arg(format!("--volume={}:/work", work.display()));
    docker
}

fn play(
    network: &str,
    tag: &str,
    options: &Options,
    command: &[&str],
) -> (Report, tempfile::TempDir) {
    let work = directory(Some(NOBODY));
    let report = play_at(work.path(), network, tag, options, command);
    (report, work)
}

fn play_at(work: &Path, network: &str, tag: &str, options: &Options, command: &[&str]) -> Report {
    let options = Options {
        no_network: true,
        directory: Some("/work".into()),
        ..options.clone()
    };
    let mut docker = container(network, work);
    docker
        .args([tag, "/mediation", "stage"])
        .arg(serde_json::to_string(&options).unwrap());
    stage::said(docker.args(command).stdin(Stdio::null()))
}

fn plays_in_a_container() {
    if !has_engine() {
        return;
    }
    image(IMAGE, &[]);
    let plays = hostile::PLAYS
        .iter()
        .chain(honest::PLAYS)
        .map(|(name, _)| *name);
    for name in plays.filter(|name| *name != "gets-through") {
        let options = Options {
            own_listeners: WITH_OWN_LISTENERS.contains(&name),
            ..Options::default()
        };
        let (report, _work) = play("none", IMAGE, &options, &[PLAY[0], PLAY[1], name]);
        eprintln!("{name}");
        good(&report);
    }
}

/// Processes of the other container are of another namespace, its ports and names are not.
fn the_proxy_is_another_container() {
    if !has_engine() {
        return;
    }
    image("sealfleet-mediation:neighbour", &[]);
    let work = directory(Some(NOBODY));
    let name = format!("sealfleet-mediation-{}", std::process::id());
    let mut neighbour = container("none", work.path());
    neighbour.arg(format!("--name={name}"));
    neighbour.args(["sealfleet-mediation:neighbour", "/mediation", "neighbour"]);
    let mut neighbour = neighbour
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(neighbour.stdout.take().unwrap()).lines();
    assert_eq!(told.next().unwrap().unwrap(), "ready");
    let network = format!("container:{name}");
    for play_name in [
        "asks-everywhere",
        "races-the-address",
        "reaches-for-unix-sockets",
    ] {
        let options = Options {
            neighbour: true,
            own_listeners: true,
            ..Options::default()
        };
        let command = [PLAY[0], PLAY[1], play_name];
        let (report, _work) = play(
            &network,
            "sealfleet-mediation:neighbour",
            &options,
            &command,
        );
        good(&report);
    }
    drop(neighbour.stdin.take());
    let counts = told.next().unwrap().unwrap();
    let (proxied, trapped) = counts.split_once(' ').unwrap();
    assert!(proxied.parse::<u32>().unwrap() > 3, "{counts}");
    assert_eq!(trapped, "0");
    neighbour.wait().unwrap();
}

fn codex_in_a_container() {
    if !has_engine() {
        return;
    }
    let Some(program) = agent("codex") else {
        return;
    };
    let shell = Path::new("/bin/dash");
    let cat = Path::new("/bin/cat");
    let tag = "sealfleet-mediation:codex";
    image(
        tag,
        &[
            (&program, "codex"),
            (shell, "bin/sh"),
            (shell, "bin/bash"),
            (cat, "bin/cat"),
        ],
    );
    let work = directory(Some(NOBODY));
    std::fs::create_dir(work.path().join(".codex")).unwrap();
    std::fs::write(work.path().join(".codex/config.toml"), codex_settings()).unwrap();
    for path in [".codex", ".codex/config.toml"] {
        std::os::unix::fs::chown(work.path().join(path), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let environment = [
        ("HOME", "/work"),
        ("PATH", "/bin"),
        ("OPENAI_API_KEY", "key"),
        ("TMPDIR", "/work"),
    ];
    let options = Options {
        model: true,
        environment: environment
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Options::default()
    };
    let report = play_at(
        work.path(),
        "none",
        tag,
        &options,
        &[&["/codex"][..], &CODEX].concat(),
    );
    good(&report);
    assert!(
        report.stdout.contains("I wrote the note."),
        "{}",
        report.stdout
    );
}
