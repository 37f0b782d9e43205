//! The worker in its image.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sealfleet_bubblewrap::{Exit, Launcher, LauncherConfig, SandboxSpec};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::engine::{docker, image, said, text};

/// The user of the image.
const USER: u32 = 64000;
/// bubblewrap makes namespaces and mounts `/proc`, which engines refuse to containers by default.
const OPTIONS: [&str; 9] = [
    "--rm",
    "--pull=never",
    "--network=host",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--security-opt=seccomp=unconfined",
    "--security-opt=systempaths=unconfined",
    "--security-opt=apparmor=unconfined",
];

/// A program of this workspace, beside this test.
fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.ancestors().nth(2).unwrap().join(name)
}

#[tokio::test]
async fn a_root_of_an_image_shows_its_programs_and_not_the_host_s() {
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let directory = place.path().join("root");
    let mut build = Command::new(program("sealfleet-worker"));
    build
        .args(["rootfs", "build", "--from-image", &image("sandbox")])
        .args(["--init", "/no/such/init"])
        .arg(&directory);
    let words = text(&build.output().unwrap().stderr);
    assert!(words.contains("No such file"), "{words}");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);

    let mut build = Command::new(program("sealfleet-worker"));
    build
        .args([
            "rootfs",
            "build",
            "--from-image",
            &image("sandbox"),
            "--init",
        ])
        .arg(program("sealfleet-init"))
        .arg(&directory);
    let root = said(&mut build);
    let mut left = docker();
    left.args(["ps", "--all", "--quiet", "--filter=label=sealfleet.rootfs"])
        .arg(format!("--filter=ancestor={}", image("sandbox")));
    assert_eq!(
        said(&mut left),
        "",
        "containers that were only made to be exported"
    );
    let launcher = Launcher::detect(LauncherConfig::new(root.trim())).await;
    let launcher = launcher.unwrap();
    assert!(launcher.report().image);
    let script = "ls /usr/local/bin; cat /etc/hostname /usr/bin/python3 2>/dev/null; whoami; getent hosts sandbox; : >/usr/x";
    let mut spec = SandboxSpec::new(["/bin/sh", "-c", script]);
    spec.env
        .push(("PATH".to_owned(), "/usr/bin".to_owned().into()));
    let mut sandbox = launcher.spawn(spec).await.unwrap();
    let mut facts = String::new();
    let mut stdout = sandbox.stdout.take().unwrap();
    stdout.read_to_string(&mut facts).await.unwrap();
    let exit = sandbox.wait().await;
    assert!(facts.starts_with("sealfleet-init\nnobody\n"), "{facts}");
    assert!(facts.contains(" localhost sandbox"), "{facts}");
    assert_ne!(exit, Exit::Code(0), "wrote to /usr");

    // An upgrade renews init, and leaves the image.
    sealfleet_bubblewrap::build_rootfs(&directory, Path::new("/usr/bin/true")).unwrap();
    let renewed = std::fs::read(directory.join("sealfleet-init")).unwrap();
    assert!(renewed == std::fs::read("/usr/bin/true").unwrap());
    assert!(directory.join("usr/bin/apt").exists());
}

/// The engine's own export is what the layers of a saved image must come to.
#[test]
fn a_root_of_a_saved_image_is_that_of_the_engine() {
    let place = tempfile::tempdir().unwrap();
    let saved = place.path().join("image.tar");
    let image = image("python");
    said(docker().args(["save", &image, "--output"]).arg(&saved));
    let build = |option: &str, source: &str| {
        let root = place.path().join(option);
        let mut build = Command::new(program("sealfleet-worker"));
        build
            .args(["rootfs", "build", option, source, "--init"])
            .arg(program("sealfleet-init"))
            .arg(&root);
        said(&mut build);
        // What the engine makes for a container, and directories, which their owner can fill here.
        let mut list = Command::new("find");
        list.arg(&root)
            .args(["!", "-type", "d", "!", "-path", "*/dev/*"]);
        list.args(["!", "-path", "*/etc/hostname", "!", "-path", "*/etc/mtab"]);
        let mut files: Vec<String> = said(list.args(["-printf", "%P %y %m %s %n %l\\n"]))
            .lines()
            .map(str::to_owned)
            .collect();
        files.sort();
        (root, files)
    };
    let (engines, expected) = build("--from-image", &image);
    let (own, found) = build("--from-archive", saved.to_str().unwrap());
    assert!(expected.len() > 2000, "{}", expected.len());
    assert_eq!(found, expected);
    let mut diff = Command::new("diff");
    diff.args(["--recursive", "--brief", "--no-dereference"]);
    diff.args(["--exclude=hostname", "--exclude=mtab"]);
    assert_eq!(said(diff.arg(&engines).arg(&own)), "");
}

/// Removes its container.
struct Container {
    name: String,
    client: Child,
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(docker().args(["rm", "--force", &self.name]).output());
        drop(self.client.wait());
    }
}

fn healthy(address: &str) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    let request = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_worker_tells_its_version() {
    let mut command = docker();
    command.arg("run").args(OPTIONS).arg(image("worker"));
    let version = said(command.arg("--version"));
    assert_eq!(
        version,
        format!("sealfleet-worker {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_worker_has_sandboxes_and_health_on_a_read_only_root_without_being_root() {
    let place = tempfile::tempdir().unwrap();
    let credential = place.path().join("credential");
    std::fs::write(&credential, "nobody\n").unwrap();
    std::fs::set_permissions(&credential, std::fs::Permissions::from_mode(0o600)).unwrap();
    chown(&credential, Some(USER), Some(USER)).unwrap();

    let name = format!("worker-{}", std::process::id());
    let mut command = docker();
    command.arg("run").args(OPTIONS);
    command
        .arg(format!("--name={name}"))
        .arg(format!("--volume={}:/credential:ro", credential.display()))
        .args([
            "--env=SEALFLEET_API_URL=http://127.0.0.1:1",
            "--env=SEALFLEET_CREDENTIAL_FILE=/credential",
        ])
        .arg(image("worker"))
        .args(["run", "--telemetry-port", "0"]);
    let mut client = command.stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(client.stderr.take().unwrap());
    let container = Container { name, client };

    let (mut sandboxes, mut config, mut address) = (None, None, None);
    let mut seen = String::new();
    for line in log.lines() {
        let line = line.unwrap();
        seen += &format!("{line}\n");
        let Ok(entry) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        let field = |name: &str| entry["fields"][name].as_str().map(str::to_owned);
        sandboxes = sandboxes.or_else(|| field("sandboxes"));
        config = config.or_else(|| field("config"));
        address = address.or_else(|| field("address"));
        if address.is_some() {
            break;
        }
    }
    assert!(
        sandboxes.is_some_and(|found| found.contains("bubblewrap")),
        "{seen}"
    );
    assert!(
        config.is_some_and(|file| file.contains("/etc/sealfleet/worker.toml")),
        "{seen}"
    );
    let answer = healthy(&address.unwrap());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    // The process, as the host sees it.
    let top = said(docker().args(["inspect", "--format={{.State.Pid}}", &container.name]));
    let status = Path::new("/proc").join(top.trim()).join("status");
    let status = std::fs::read_to_string(status).unwrap();
    assert!(status.contains(&format!("Uid:\t{USER}\t")), "{status}");
    assert!(status.contains("CapBnd:\t0000000000000000"), "{status}");
}
