//! The worker as it is installed: its package, its unit, its configuration file, its proxy and what
//! it tells its host.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

const WORKER: &str = env!("CARGO_BIN_EXE_sealfleet-worker");
const UNIT: &str = "packaging/systemd/sealfleet-worker.service";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn has(program: &str) -> bool {
    Path::new("/usr/bin").join(program).exists()
}

/// What a command prints; it must succeed.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {words}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_unit_is_valid_and_starts_the_worker_with_options_that_it_has() {
    let unit = std::fs::read_to_string(root().join(UNIT)).unwrap();
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .unwrap();
    let help = said(Command::new(WORKER).args(["run", "--help"]));
    let options = start.split(' ').filter(|word| word.starts_with("--"));
    let known = |option: &&str| help.contains(&format!("{option} <"));
    assert_eq!(
        options.clone().count(),
        options.filter(known).count(),
        "{start}"
    );
    if !has("systemd-analyze") {
        return eprintln!("skipped: no systemd-analyze here");
    }
    let place = tempfile::tempdir().unwrap();
    let here = place.path().join("sealfleet-worker.service");
    std::fs::write(&here, unit.replace("/usr/bin/sealfleet-worker", WORKER)).unwrap();
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&here)
        .output();
    let verified = verified.unwrap();
    let words = String::from_utf8_lossy(&verified.stderr);
    let own: Vec<&str> = words
        .lines()
        .filter(|line| line.contains("sealfleet"))
        .collect();
    assert_eq!(own, Vec::<&str>::new());
}

#[test]
fn the_packaged_configuration_names_options_that_there_are() {
    let file = root().join("packaging/worker.toml");
    said(
        Command::new(WORKER)
            .args(["run", "--help", "--config"])
            .arg(&file),
    );
    // What is only a comment in it as well.
    let text = std::fs::read_to_string(&file).unwrap();
    let all: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(option) if option.starts_with('[') || option.contains(" = ") => option,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let place = tempfile::tempdir().unwrap();
    let whole = place.path().join("worker.toml");
    std::fs::write(&whole, &all).unwrap();
    assert!(all.contains("\n[register]\nproject"), "{all}");
    said(
        Command::new(WORKER)
            .args(["run", "--help"])
            .env("SEALFLEET_CONFIG", &whole),
    );
    std::fs::write(&whole, all.replace("scratch =", "scratsch =")).unwrap();
    let mut wrong = Command::new(WORKER);
    let wrong = wrong.args(["run", "--help", "--config"]).arg(&whole);
    let output = wrong.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && words.contains("`scratsch` is no option"),
        "{words}"
    );
}

#[test]
fn sandboxes_see_the_hosts_programs_only_if_it_is_said() {
    let place = tempfile::tempdir().unwrap();
    let credential = place.path().join("credential");
    std::fs::write(&credential, "nobody").unwrap();
    std::fs::set_permissions(&credential, std::fs::Permissions::from_mode(0o600)).unwrap();
    // A worker that starts would go on.
    let mut worker = Command::new("timeout");
    worker
        .args(["20", WORKER])
        .args([
            "--api-url",
            "http://127.0.0.1:9",
            "run",
            "--init",
            "/usr/bin/true",
        ])
        .arg("--credential-file")
        .arg(&credential)
        .arg("--rootfs")
        .arg(place.path().join("rootfs"))
        .arg("--log-dir")
        .arg(place.path().join("output"));
    let output = worker.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success()
            && words.contains("`sealfleet-worker rootfs build`")
            && words.contains("`--host-usr`"),
        "{words}"
    );
    assert!(!place.path().join("rootfs").exists(), "made nevertheless");
}

#[test]
fn the_package_holds_the_programs_the_unit_and_the_configuration() {
    if !has("dpkg-deb") {
        return eprintln!("skipped: no dpkg-deb here");
    }
    let place = tempfile::tempdir().unwrap();
    let mut pack = Command::new(root().join("scripts/package-deb"));
    // Small ones: packing takes its time.
    pack.arg(place.path())
        .env("WORKER", "/usr/bin/true")
        .env("INIT", "/usr/bin/true");
    let package = said(&mut pack);
    let listed = said(Command::new("dpkg-deb").args(["--contents", package.trim()]));
    for (mode, path) in [
        ("-rwxr-xr-x", "./usr/bin/sealfleet-worker"),
        ("-rwxr-xr-x", "./usr/lib/sealfleet/sealfleet-init"),
        (
            "-rw-r--r--",
            "./usr/lib/systemd/system/sealfleet-worker.service",
        ),
        ("-rw-r--r--", "./etc/sealfleet/worker.toml"),
        ("-rw-r--r--", "./usr/share/doc/sealfleet-worker/copyright"),
    ] {
        let there = |line: &str| {
            line.starts_with(mode) && line.contains(" root/root ") && line.ends_with(path)
        };
        assert!(listed.lines().any(there), "{path}: {listed}");
    }
    let field = |name| said(Command::new("dpkg-deb").args(["--field", package.trim(), name]));
    assert_eq!(field("Version").trim(), env!("CARGO_PKG_VERSION"));
    assert!(field("Depends").contains("bubblewrap (>= 0.8)"));
    let unpacked = place.path().join("unpacked");
    said(
        Command::new("dpkg-deb")
            .args(["--raw-extract", package.trim()])
            .arg(&unpacked),
    );
    let conffiles = std::fs::read_to_string(unpacked.join("DEBIAN/conffiles")).unwrap();
    assert_eq!(conffiles, "/etc/sealfleet/worker.toml\n");
    for script in ["postinst", "prerm"] {
        said(
            Command::new("sh")
                .arg("-n")
                .arg(unpacked.join("DEBIAN").join(script)),
        );
    }
}

/// An HTTP proxy that answers itself, and tells the first line of each request.
fn proxy(answer: impl Fn(&str) -> Value + Send + 'static) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let line = request(&stream);
            let body = answer(&line).to_string();
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            // The worker may have given up.
            drop(stream.write_all((head + &body).as_bytes()));
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    (address, told)
}

/// Reads a request, and answers its first line.
fn request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap();
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    first.trim_end().to_owned()
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if it has ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn api_and_queue_are_reached_by_the_proxy_and_the_host_is_told() {
    let queue = "http://queue.invalid:9324/000000000000/workers";
    let key = json!({
        "queue_url": queue, "region": "eu-west-1", "access_key_id": "AKID", "secret_access_key": "k",
        "session_token": "t", "expires_at": "2099-01-01T00:00:00.000Z"
    });
    let (address, told) = proxy(move |line| {
        if line.contains("queue-credentials") {
            key.clone()
        } else if line.contains("heartbeats") {
            json!({ "status": "approved", "leases": [] })
        } else {
            std::thread::sleep(Duration::from_millis(200));
            json!({})
        }
    });
    let place = tempfile::tempdir().unwrap();
    let credential = place.path().join("worker");
    sealfleet_client::Credential::new("sfw_of-a-test".to_owned())
        .write(&credential)
        .unwrap();
    // As systemd hands it over, with the rights of its access list.
    std::fs::set_permissions(&credential, std::fs::Permissions::from_mode(0o440)).unwrap();
    let file = place.path().join("worker.toml");
    let text = format!(
        "api-url = \"http://127.0.0.1:9\"\ncredential-file = \"{}\"\nlog-dir = \"{}\"\n\
         queue-endpoint = \"http://queue.invalid:9324\"\nallow-bare = true\ntelemetry-port = 0\n",
        credential.display(),
        place.path().join("logs").display()
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(WORKER);
    command.args(["run", "--config"]).arg(&file).env_clear();
    command
        .env("CREDENTIALS_DIRECTORY", place.path())
        .env("HTTP_PROXY", format!("http://{address}"))
        .stderr(Stdio::piped());
    let mut worker = Running(command.spawn().unwrap());
    let mut lines = BufReader::new(worker.0.stderr.take().unwrap()).lines();
    let mut log = Vec::new();
    let telemetry = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        log.push(line);
        entry["fields"]["address"].as_str().map(str::to_owned)
    });
    let telemetry = telemetry.unwrap_or_else(|| panic!("{log:?}"));
    let next = || told.recv_timeout(Duration::from_secs(20)).unwrap();
    for route in ["heartbeats", "queue-credentials"] {
        assert_eq!(
            next(),
            format!("POST http://127.0.0.1:9/v1/{route} HTTP/1.1")
        );
    }
    // The queue's answer is counted once the next request is sent.
    for _ in 0..2 {
        let line = next();
        assert!(
            line.starts_with("POST http://queue.invalid:9324/"),
            "{line}"
        );
    }
    let health = get(&telemetry, "/healthz");
    assert!(
        health.starts_with("HTTP/1.1 200") && health.ends_with("ok\n"),
        "{health}"
    );
    let metrics = get(&telemetry, "/metrics");
    let credentials =
        "sealfleet_worker_requests_total{operation=\"queue_credentials\",result=\"ok\"} 1\n";
    assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains(credentials), "{metrics}");
    assert!(
        metrics.contains("sealfleet_worker_requests_total{operation=\"receive\",result=\"ok\"}"),
        "{metrics}"
    );
    assert!(
        metrics.contains("\nsealfleet_worker_steps_held 0\n"),
        "{metrics}"
    );
}

/// A worker that is told nothing about its queue goes where the control plane says the queue is,
/// and says where it does not get through.
#[test]
fn a_queue_that_is_not_reached_is_named() {
    let nobody = "http://127.0.0.1:1";
    let line = said_of_queue(nobody);
    assert!(
        line.contains(&format!("`{nobody}`")) && line.contains("--queue-endpoint"),
        "{line}"
    );
}

/// A pull pool may come before its queue, and no network is to blame then.
#[test]
fn a_queue_that_is_not_there_is_not_looked_for_on_the_way() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sqs = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            request(&stream);
            let code = "AWS.SimpleQueueService.NonExistentQueue";
            let body = json!({ "__type": "com.amazonaws.sqs#QueueDoesNotExist" }).to_string();
            let answer = format!(
                "HTTP/1.1 400 X\r\nx-amzn-query-error: {code};Sender\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    let line = said_of_queue(&sqs);
    assert!(
        line.contains("deploy the project's stack") && !line.contains("--queue-endpoint"),
        "{line}"
    );
}

/// What a worker says of its queue at this address, of which it gets credentials.
fn said_of_queue(address: &str) -> String {
    let key = json!({
        "queue_url": format!("{address}/000000000000/workers"), "region": "eu-west-1", "access_key_id": "AKID",
        "secret_access_key": "canary", "session_token": "canary", "expires_at": "2099-01-01T00:00:00.000Z"
    });
    let (address, _told) = proxy(move |_| key.clone());
    let place = tempfile::tempdir().unwrap();
    let credential = place.path().join("worker");
    sealfleet_client::Credential::new("sfw_of-a-test".to_owned())
        .write(&credential)
        .unwrap();
    let mut command = Command::new(WORKER);
    command
        .env_clear()
        .args(["--api-url", &format!("http://{address}"), "run"])
        .args(["--allow-bare", "--credential-file"])
        .arg(&credential)
        .arg("--log-dir")
        .arg(place.path().join("logs"));
    let mut worker = Running(command.stderr(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(worker.0.stderr.take().unwrap()).lines();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .filter(|line| line.contains("cannot read the queue"))
            .try_for_each(|line| tell.send(line))
    });
    let line = told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(!line.contains("canary"), "{line}");
    line
}
