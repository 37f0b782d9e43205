//! Programs that steps use. One that is not installed is left out, and the test says so.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::host::{Host, Web};
use crate::world::{Book, LOOPBACK, World, allow, read_head};

/// A program that knows this proxy as its environment says.
pub fn program(world: &World, name: &str) -> Option<Command> {
    if Command::new(name).arg("--version").output().is_err() {
        eprintln!("skipped: `{name}` is not installed");
        return None;
    }
    let mut command = Command::new(name);
    let proxy = format!("http://{}", world.address);
    for variable in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env(variable, &proxy);
    }
    for variable in ["no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(variable);
    }
    Some(command)
}

pub fn run(command: &mut Command) -> (Output, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = [&output.stdout[..], &output.stderr[..]].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    (output, told)
}

const REASON: &str = "The egress policy of this step has no rule for b.test:443";

#[test]
fn curl() {
    let web = Web::start();
    let world = World::with_host(web.port());
    let address = format!("http://a.test:{}/", web.port());
    for tunnel in [&[][..], &["--proxytunnel"]] {
        let Some(mut curl) = program(&world, "curl") else {
            return;
        };
        let (got, told) = run(curl
            .args(["-sS", "--data", "hello"])
            .args(tunnel)
            .arg(&address));
        assert_eq!(got.stdout, b"ok", "{told}");
    }
    let Some(mut curl) = program(&world, "curl") else {
        return;
    };
    let (_, told) = run(curl.args(["-sS", "http://b.test/"]));
    assert!(
        told.contains(r#""missing_rule":{"host":"b.test","port":80}"#),
        "{told}"
    );
    let Some(mut curl) = program(&world, "curl") else {
        return;
    };
    let (refused, told) = run(curl.args(["-sSv", "https://b.test/"]));
    assert!(!refused.status.success());
    assert!(told.contains(REASON), "{told}");
}

#[test]
fn python() {
    let web = Web::start();
    let world = World::with_host(web.port());
    let fetch = "import sys, urllib.request\n\
                 print(urllib.request.urlopen(sys.argv[1]).read().decode())";
    let Some(mut python) = program(&world, "python3") else {
        return;
    };
    let (got, told) = run(python.args(["-c", fetch, &format!("http://a.test:{}/", web.port())]));
    assert_eq!(got.stdout, b"ok\n", "{told}");
    let Some(mut python) = program(&world, "python3") else {
        return;
    };
    let (refused, told) = run(python.args(["-c", fetch, "https://b.test/"]));
    assert!(!refused.status.success());
    assert!(told.contains(REASON), "{told}");
}

/// Node.js itself honours the variables from version 24 on; npm always has.
#[test]
fn npm() {
    let web = Web::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    let world = World::with_host(web.port());
    let Some(mut npm) = program(&world, "npm") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let registry = format!("http://a.test:{}/", web.port());
    let (got, told) = run(npm
        .env("HOME", home.path())
        .args(["ping", "--registry", &registry]));
    assert!(got.status.success(), "{told}");
    let requests = web.requests();
    let pings = |request: &String| request.starts_with("GET /-/ping");
    assert!(requests.iter().any(pings), "{requests:?}");
}

#[test]
fn node() {
    let web = Web::start();
    let world = World::with_host(web.port());
    let Some(mut node) = program(&world, "node") else {
        return;
    };
    let (_, version) = run(node.arg("--version"));
    let major = version.trim_start_matches('v').split('.').next().unwrap();
    if major.parse::<u32>().unwrap() < 24 {
        eprintln!("skipped: Node.js {version} honours no proxy");
        return;
    }
    let Some(mut node) = program(&world, "node") else {
        return;
    };
    let fetch = format!(
        "fetch('http://a.test:{}/').then(it => it.text()).then(console.log)",
        web.port()
    );
    let (got, told) = run(node.env("NODE_USE_ENV_PROXY", "1").args(["-e", &fetch]));
    assert_eq!(got.stdout, b"ok\n", "{told}");
}

/// A server of plain files.
fn files(root: PathBuf) -> Host {
    Host::start(move |mut stream| {
        let head = read_head(&mut stream);
        let path = head.split(' ').nth(1).unwrap().split('?').next().unwrap();
        let answer = match std::fs::read(root.join(path.trim_start_matches('/'))) {
            Ok(content) => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                    content.len()
                );
                [head.into_bytes(), content].concat()
            }
            Err(_) => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        };
        stream.write_all(&answer).unwrap();
    })
}

#[test]
fn git() {
    let directory = tempfile::tempdir().unwrap();
    let (source, copy) = (
        directory.path().join("source"),
        directory.path().join("copy"),
    );
    let host = files(source.join(".git"));
    let world = World::with_host(host.port());
    let git = |directory: &Path, arguments: &[&str]| {
        let mut git = program(&world, "git")?;
        git.env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        let identity = ["-c", "user.name=Test", "-c", "user.email=test@a.test"];
        let (output, told) = run(git.current_dir(directory).args(identity).args(arguments));
        Some((output.status.success(), told))
    };
    for arguments in [
        &["init", "-q", "source"][..],
        &[
            "-C",
            "source",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "First",
        ],
        &["-C", "source", "update-server-info"],
    ] {
        let Some((done, told)) = git(directory.path(), arguments) else {
            return;
        };
        assert!(done, "{told}");
    }
    let address = format!("http://a.test:{}/", host.port());
    let (done, told) = git(directory.path(), &["clone", "-q", &address, "copy"]).unwrap();
    assert!(done, "{told}");
    let (_, log) = git(&copy, &["log", "--format=%s"]).unwrap();
    assert_eq!(log, "First\n");
    let refused = git(
        directory.path(),
        &["clone", "-q", "https://b.test/x", "other"],
    )
    .unwrap();
    assert!(!refused.0);
    assert!(refused.1.contains("403"), "{}", refused.1);
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// TLS goes through as it is: the program sees the host's own certificate.
#[test]
fn curl_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let Ok(made) = Command::new("openssl")
        .current_dir(&directory)
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-keyout",
            "key",
            "-out",
            "certificate",
            "-days",
            "1",
            "-subj",
            "/CN=a.test",
        ])
        .args(["-addext", "subjectAltName=DNS:a.test"])
        .output()
    else {
        eprintln!("skipped: `openssl` is not installed");
        return;
    };
    assert!(made.status.success(), "{made:?}");
    let server = Command::new("openssl")
        .current_dir(&directory)
        .args(["s_server", "-accept", "127.0.0.1:0", "-www"])
        .args(["-key", "key", "-cert", "certificate"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut server = Killed(server.unwrap());
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let port = lines
        .find_map(|line| {
            line.unwrap()
                .strip_prefix("ACCEPT 127.0.0.1:")
                .map(str::to_owned)
        })
        .unwrap();
    let world = World::start(
        &allow(&[("a.test", port.parse().unwrap())]),
        LOOPBACK,
        Book::default().with("a.test", &[&["127.0.0.1"]]),
        Default::default(),
    );
    let Some(mut curl) = program(&world, "curl") else {
        return;
    };
    let certificate = directory.path().join("certificate");
    let address = format!("https://a.test:{port}/");
    let (got, told) = run(curl.args(["-sS", "--cacert"]).arg(certificate).arg(address));
    assert!(got.status.success(), "{told}");
    assert!(told.contains("Cipher"), "{told}");
}
