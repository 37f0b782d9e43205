//! Programs that trust the authority of their step, and have a placeholder for a key. One that is
//! not installed is left out, and the test says so.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use hyper::{StatusCode, Version};
use sealfleet_egress::Limits;
use serde_json::json;

use crate::clients::{program, run};
use crate::secure::{Answer, H1, H2, PLACEHOLDER, Seen, Site, VALUE, answer, credential};
use crate::world::World;

/// A proxy, and the file with its authority's certificate.
struct Trusted {
    world: World,
    directory: tempfile::TempDir,
}

impl Trusted {
    fn beside(site: &Site) -> Self {
        let to = json!([{ "host": "a.test", "port": site.port() }]);
        let policy = json!({ "allow": [{ "host": "a.test", "port": site.port() }] });
        let secrets = vec![credential("KEY", PLACEHOLDER, VALUE, to)];
        let world = World::beside(&site.voucher, policy, secrets, Limits::default());
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), world.proxy.ca_pem()).unwrap();
        Self { world, directory }
    }

    fn program(&self, name: &str) -> Option<Command> {
        let mut command = program(&self.world, name)?;
        let ca = self.directory.path().join("ca.pem");
        for variable in [
            "SSL_CERT_FILE",
            "CURL_CA_BUNDLE",
            "REQUESTS_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS",
            "GIT_SSL_CAINFO",
        ] {
            command.env(variable, &ca);
        }
        command.env("KEY", PLACEHOLDER);
        Some(command)
    }
}

fn address(site: &Site) -> String {
    format!("https://a.test:{}/", site.port())
}

fn is_value(seen: &Seen) {
    assert_eq!(seen.header("x-api-key"), Some(VALUE));
}

#[test]
fn curl() {
    for (flag, version) in [
        ("--http1.1", Version::HTTP_11),
        ("--http2", Version::HTTP_2),
    ] {
        let site = Site::start(&[H2, H1]);
        let trusted = Trusted::beside(&site);
        let Some(mut curl) = trusted.program("curl") else {
            return;
        };
        let field = format!("X-Api-Key: {PLACEHOLDER}");
        // Two addresses, one connection. A body that is longer than 1 MiB makes curl wait to go on.
        let body = "x".repeat(2 << 20);
        std::fs::write(trusted.directory.path().join("body"), &body).unwrap();
        let (got, told) = run(curl
            .current_dir(&trusted.directory)
            .args(["-sSv", flag, "-H", &field, "-H", "Expect: 100-continue"])
            .args(["--data-binary", "@body", &address(&site), &address(&site)]));
        assert_eq!(got.stdout, b"okok", "{told}");
        assert!(!told.contains("canary"), "{told}");
        if version == Version::HTTP_2 {
            assert!(told.contains("ALPN: server accepted h2"), "{told}");
        }
        let seen = site.seen();
        assert_eq!((seen.len(), site.connections()), (2, 1));
        for seen in &seen {
            is_value(seen);
            assert_eq!(seen.body.len(), body.len());
        }
    }
    let site = Site::start(&[H2, H1]);
    let trusted = Trusted::beside(&site);
    let Some(mut curl) = trusted.program("curl") else {
        return;
    };
    let (_, told) = run(curl.args(["-sS", &format!("{}?key={PLACEHOLDER}", address(&site))]));
    assert!(told.contains("egress_credential_mismatch"), "{told}");
}

#[test]
fn python() {
    let site = Site::start(&[H2, H1]);
    let trusted = Trusted::beside(&site);
    let urllib = "import os, sys, urllib.request as it\n\
        asked = it.Request(sys.argv[1], headers={'X-Api-Key': os.environ['KEY']})\n\
        print(it.urlopen(asked).read().decode())";
    let requests = "import os, sys, requests\n\
        with requests.Session() as session:\n\
        \x20   session.headers['X-Api-Key'] = os.environ['KEY']\n\
        \x20   print(session.get(sys.argv[1]).text)\n\
        \x20   assert session.post(sys.argv[1], data=iter([b'a', b'b'])).text == 'ok'";
    let Some(mut has) = trusted.program("python3") else {
        return;
    };
    let has_requests = run(has.args(["-c", "import requests"])).0.status.success();
    for (script, is_there) in [(urllib, true), (requests, has_requests)] {
        if !is_there {
            eprintln!("skipped: Python's `requests` is not installed");
            continue;
        }
        let mut python = trusted.program("python3").unwrap();
        let (got, told) = run(python.args(["-c", script, &address(&site)]));
        assert_eq!(got.stdout, b"ok\n", "{told}");
    }
    site.seen().iter().for_each(is_value);
}

/// Node.js honours the variables from version 24 on. Before, programs open the tunnel themselves,
/// as npm does.
#[test]
fn node_and_npm() {
    let site = Site::answering(&[H2, H1], |_| answer("{}"));
    let trusted = Trusted::beside(&site);
    let Some(mut node) = trusted.program("node") else {
        return;
    };
    let (_, version) = run(node.arg("--version"));
    let major: u32 = version
        .trim_start_matches('v')
        .split('.')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let script = if major >= 24 {
        "fetch(process.argv[1], { headers: { 'x-api-key': process.env.KEY } }).then(it => it.text()).then(console.log)"
    } else {
        "const url = new URL(process.argv[1]), proxy = new URL(process.env.HTTPS_PROXY);\n\
         require('http').request({ host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: url.host })\n\
           .on('connect', (_, socket) => require('https').get(\n\
             { host: url.hostname, port: url.port, path: '/', socket, agent: false, headers: { 'x-api-key': process.env.KEY } },\n\
             it => it.on('data', data => { console.log(data.toString()); socket.destroy() }))).end()"
    };
    let mut node = trusted.program("node").unwrap();
    let node = node
        .env("NODE_USE_ENV_PROXY", "1")
        .args(["-e", script, &address(&site)]);
    let (got, told) = run(node);
    assert_eq!(got.stdout, b"{}\n", "{told}");
    is_value(&site.only());

    let Some(mut npm) = trusted.program("npm") else {
        return;
    };
    let home = trusted.directory.path();
    let token = format!("//a.test:{}/:_authToken=${{KEY}}\n", site.port());
    std::fs::write(home.join(".npmrc"), token).unwrap();
    let npm = npm
        .env("HOME", home)
        // A setting of the machine's would go before the variable.
        .env("npm_config_cafile", home.join("ca.pem"))
        .args(["ping", "--registry", &address(&site)]);
    let (got, told) = run(npm);
    assert!(got.status.success(), "{told}");
    let ping = site.seen().pop().unwrap();
    assert_eq!(
        ping.header("authorization"),
        Some(format!("Bearer {VALUE}").as_str())
    );
}

/// git's own server, behind a password.
fn git_server(root: &Path, seen: &Seen) -> Answer {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let expected = format!("Basic {}", base64.encode(format!("x-access-token:{VALUE}")));
    if seen.header("authorization") != Some(&expected) {
        let mut refused = answer("");
        *refused.status_mut() = StatusCode::UNAUTHORIZED;
        let basic = "Basic realm=\"git\"".parse().unwrap();
        refused.headers_mut().insert("www-authenticate", basic);
        return refused;
    }
    let uri: hyper::Uri = seen.target.parse().unwrap();
    let header = |name| seen.header(name).unwrap_or_default();
    let mut server = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "x-access-token")
        .env("REQUEST_METHOD", &seen.method)
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("CONTENT_LENGTH", seen.body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    server.stdin.take().unwrap().write_all(&seen.body).unwrap();
    let output = server.wait_with_output().unwrap().stdout;
    let end = output
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap();
    let mut answered = answer(output[end + 4..].to_vec());
    for line in String::from_utf8_lossy(&output[..end]).split("\r\n") {
        let (name, value) = line.split_once(": ").unwrap();
        if name == "Status" {
            *answered.status_mut() = value[..3].parse().unwrap();
        } else {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            answered.headers_mut().insert(name, value.parse().unwrap());
        }
    }
    answered
}

#[test]
fn git() {
    for alpn in [&[H1][..], &[H2, H1]] {
        let root = tempfile::tempdir().unwrap();
        let served = root.path().to_owned();
        let site = Site::answering(alpn, move |seen| git_server(&served, seen));
        let trusted = Trusted::beside(&site);
        let git = |directory: &Path, arguments: &[&str]| {
            let mut git = trusted.program("git")?;
            git.env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env("GIT_TERMINAL_PROMPT", "0");
            let settings = ["-c", "user.name=Test", "-c", "user.email=test@a.test"];
            let git = git
                .current_dir(directory)
                .args(settings)
                .args(["-c", "safe.directory=*"]);
            let (output, told) = run(git.args(arguments));
            assert!(output.status.success(), "{arguments:?}: {told}");
            Some(told)
        };
        let work = trusted.directory.path();
        let bare = ["init", "-q", "--bare", "source.git"];
        if git(root.path(), &bare).is_none() {
            return;
        }
        git(
            &root.path().join("source.git"),
            &["config", "http.receivepack", "true"],
        );
        let url = format!(
            "https://x-access-token:{PLACEHOLDER}@a.test:{}/source.git",
            site.port()
        );
        git(work, &["clone", "-q", &url, "one"]);
        let one = work.join("one");
        // Longer than what git sends with a length.
        std::fs::write(
            one.join("long"),
            (0..400_000).map(|n| format!("{n}\n")).collect::<String>(),
        )
        .unwrap();
        git(&one, &["add", "long"]);
        git(&one, &["commit", "-q", "-m", "First"]);
        git(&one, &["push", "-q", "origin", "HEAD:refs/heads/main"]);
        git(work, &["clone", "-q", "-b", "main", &url, "two"]);
        assert_eq!(
            git(&work.join("two"), &["log", "--format=%s"]).unwrap(),
            "First\n"
        );
        assert_eq!(
            std::fs::read(one.join("long")).unwrap(),
            std::fs::read(work.join("two/long")).unwrap()
        );
        let kept = git(&one, &["config", "--list"]).unwrap();
        assert!(
            kept.contains(PLACEHOLDER) && !kept.contains("canary"),
            "{kept}"
        );
    }
}
