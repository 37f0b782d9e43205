//! Requests that are signed for AWS.
//!
//! The program is botocore, which the AWS CLI is made of. Who verifies what arrives is botocore,
//! too: it signs what the host got with the real key, and compares. The host hands each request on
//! to MiniStack, if that is installed, so that what is uploaded is what is downloaded.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::Request;
use sealfleet_egress::{Credential, How, Limits};
use serde_json::{Value, json};

use crate::secure::{H1, H2, Http2, PLACEHOLDER, Seen, Site, VALUE, answer, credential};
use crate::tls::denied;
use crate::world::World;

const KEY_ID: &str = "sealfleet-placeholder-key-id-01";
const TOKEN: &str = "sealfleet-placeholder-token-001";
const REAL_ID: &str = "AKIDCANARY0000000000";
const REAL_TOKEN: &str = "canary-session-token";

fn secrets(port: u16) -> Vec<Credential> {
    let to = || json!([{ "host": "a.test", "port": port }]);
    vec![
        Credential {
            how: How::SigV4 {
                access_key_id: KEY_ID.to_owned(),
            },
            ..credential("AWS_SECRET_ACCESS_KEY", PLACEHOLDER, VALUE, to())
        },
        credential("AWS_ACCESS_KEY_ID", KEY_ID, REAL_ID, to()),
        credential("AWS_SESSION_TOKEN", TOKEN, REAL_TOKEN, to()),
    ]
}

fn world(site: &Site) -> World {
    let rule = |host: &str| json!({ "host": host, "port": site.port() });
    let policy = json!({ "allow": [rule("a.test"), rule("b.test")] });
    World::beside(
        &site.voucher,
        policy,
        secrets(site.port()),
        Limits::default(),
    )
}

/// A Python that has botocore: that of the local stack, or the system's.
fn python() -> Option<PathBuf> {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_default();
    let cached = std::fs::read_dir(home.join(".cache/sealfleet"))
        .into_iter()
        .flatten();
    let cached = cached
        .flatten()
        .map(|entry| entry.path().join("bin/python3"));
    let found = cached.chain(["python3".into()]).find(|python| {
        let mut import = Command::new(python);
        import.args(["-c", "import botocore"]).stderr(Stdio::null());
        import.status().is_ok_and(|status| status.success())
    });
    if found.is_none() {
        eprintln!("skipped: no Python with botocore is installed");
    }
    found
}

/// Runs a program that speaks through the proxy, and gives back what it prints.
fn run(world: &World, site: &Site, script: &str) -> Option<Value> {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, world.proxy.ca_pem()).unwrap();
    let prelude = "import json, sys, botocore.session, botocore.exceptions\n\
         from botocore.config import Config\n\
         ca, proxy, endpoint = sys.argv[1:]\n\
         session = botocore.session.Session()\n\
         def client(service, **more):\n\
         \x20   config = Config(proxies={'https': proxy}, s3={'addressing_style': 'path'}, retries={'total_max_attempts': 1}, **more)\n\
         \x20   return session.create_client(service, region_name='eu-central-1', endpoint_url=endpoint, verify=ca, config=config)\n";
    let output = Command::new(python()?)
        .args(["-c", &format!("{prelude}{script}")])
        .arg(&ca)
        .arg(format!("http://{}", world.address))
        .arg(format!("https://a.test:{}", site.port()))
        .env_clear()
        .env("AWS_ACCESS_KEY_ID", KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", PLACEHOLDER)
        .env("AWS_SESSION_TOKEN", TOKEN)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    assert!(!told.contains("canary"), "{told}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Whether botocore signs each request as it was signed.
fn verify(requests: &[Seen]) {
    let script = "import base64, json, sys\n\
        from botocore.auth import SigV4Auth, S3SigV4Auth\n\
        from botocore.awsrequest import AWSRequest\n\
        from botocore.credentials import Credentials\n\
        import botocore.auth, datetime, re\n\
        real = json.load(sys.stdin)\n\
        for request in real['requests']:\n\
        \x20   headers = {name.lower(): value for name, value in request['headers']}\n\
        \x20   was = headers['authorization']\n\
        \x20   scope = re.search('Credential=([^,]*)', was).group(1).split('/')\n\
        \x20   names = re.search('SignedHeaders=([^,]*)', was).group(1).split(';')\n\
        \x20   assert scope[0] == real['id'], scope\n\
        \x20   auth = (S3SigV4Auth if scope[3] == 's3' else SigV4Auth)(Credentials(real['id'], real['secret']), scope[3], scope[2])\n\
        \x20   url = 'https://' + headers['host'] + request['target']\n\
        \x20   asked = AWSRequest(request['method'], url, {name: headers[name] for name in names}, base64.b64decode(request['body']))\n\
        \x20   asked.context['timestamp'] = headers['x-amz-date']\n\
        \x20   auth.payload = lambda it: headers.get('x-amz-content-sha256') or SigV4Auth.payload(auth, it)\n\
        \x20   text = auth.string_to_sign(asked, auth.canonical_request(asked))\n\
        \x20   assert auth.signature(text, asked) in was, (request, auth.canonical_request(asked))\n\
        print(len(real['requests']))\n";
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let requests: Vec<Value> = requests
        .iter()
        .map(|seen| {
            let path = seen.target.split_once(&format!("a.test:{}", "")).map_or("", |(_, rest)| rest);
            let path = path.find('/').map_or(seen.target.as_str(), |at| &path[at..]);
            let mut headers: Vec<(String, String)> = seen
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect();
            if let Ok(uri) = seen.target.parse::<hyper::Uri>()
                && let Some(authority) = uri.authority()
            {
                headers.push(("host".to_owned(), authority.to_string()));
            }
            json!({ "method": seen.method, "target": path, "headers": headers, "body": base64.encode(&seen.body) })
        })
        .collect();
    let mut python = Command::new(python().unwrap())
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = json!({ "requests": requests, "id": REAL_ID, "secret": VALUE });
    write!(python.stdin.take().unwrap(), "{asked}").unwrap();
    let output = python.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{}\n", requests.len())
    );
    assert!(!requests.is_empty());
}

struct Emulator {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Emulator {
    fn start() -> Option<Self> {
        let ministack = python()?.with_file_name("ministack");
        if !ministack.exists() {
            eprintln!("skipped: MiniStack is not installed");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new(ministack)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", directory.path())
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .env("STATE_DIR", directory.path().join("state"))
            .env("S3_DATA_DIR", directory.path().join("s3"))
            .env(
                "DOCKER_HOST",
                format!("unix://{}/no-docker", directory.path().display()),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let emulator = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            _directory: directory,
        };
        let began = Instant::now();
        while TcpStream::connect(emulator.address).is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "MiniStack does not start"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(emulator)
    }
}

/// Hands a request on without TLS, and its answer back.
pub fn handed_on(address: SocketAddr, seen: &Seen) -> crate::secure::Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut request = format!(
        "{} {} HTTP/1.1\r\nconnection: close\r\n",
        seen.method, seen.target
    );
    for (name, value) in &seen.headers {
        if name != "content-length" && name != "transfer-encoding" {
            request += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
    }
    request += &format!("content-length: {}\r\n\r\n", seen.body.len());
    stream.write_all(request.as_bytes()).unwrap();
    stream.write_all(&seen.body).unwrap();
    let head = crate::world::read_head(&mut stream);
    let mut body = Vec::new();
    stream.read_to_end(&mut body).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse::<u16>()
        .unwrap();
    let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
    if fields
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("transfer-encoding") && *value == "chunked")
    {
        body = unchunked(&body);
    }
    let mut answered = answer(body);
    *answered.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    for (name, value) in fields {
        if !["transfer-encoding", "content-length", "connection"]
            .contains(&&*name.to_ascii_lowercase())
        {
            let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
            answered.headers_mut().append(name, value.parse().unwrap());
        }
    }
    answered
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[(end + 4 + size).min(body.len())..];
    }
    whole
}

#[test]
fn s3_and_other_services_take_what_is_signed_anew() {
    let Some(emulator) = Emulator::start() else {
        return;
    };
    let address = emulator.address;
    let site = Site::answering(&[H1], move |seen| handed_on(address, seen));
    let world = world(&site);
    let script = "s3 = client('s3')\n\
        s3.create_bucket(Bucket='bucket', CreateBucketConfiguration={'LocationConstraint': 'eu-central-1'})\n\
        key = 'a b/ä+c%2F=~.txt'\n\
        s3.put_object(Bucket='bucket', Key=key, Body=b'hello' * 1000, Metadata={'x': ' a  b '}, ContentType='text/plain')\n\
        got = s3.get_object(Bucket='bucket', Key=key)['Body'].read()\n\
        names = [it['Key'] for it in s3.list_objects_v2(Bucket='bucket', Prefix='a b/')['Contents']]\n\
        hashed = client('s3', request_checksum_calculation='when_required')\n\
        hashed.put_object(Bucket='bucket', Key='hashed', Body=b'x')\n\
        sqs = client('sqs')\n\
        queue = sqs.create_queue(QueueName='queue')['QueueUrl']\n\
        who = client('sts').get_caller_identity()['Account']\n\
        tables = client('dynamodb').list_tables()['TableNames']\n\
        print(json.dumps([got.decode(), names, queue, who, tables]))\n";
    let Some(told) = run(&world, &site, script) else {
        return;
    };
    assert_eq!(told[0], "hello".repeat(1000));
    assert_eq!(told[1], json!(["a b/ä+c%2F=~.txt"]));
    assert_eq!(told[4], json!([]));
    let seen = site.seen();
    verify(&seen);
    for seen in &seen {
        assert_eq!(seen.header("x-amz-security-token"), Some(REAL_TOKEN));
        let shown = format!("{:?}", seen.headers);
        assert!(!shown.contains("placeholder"), "{shown}");
    }
    let hashes: Vec<_> = seen
        .iter()
        .map(|seen| seen.header("x-amz-content-sha256"))
        .collect();
    for hash in [None, Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER")] {
        assert!(hashes.contains(&hash), "{hashes:?}");
    }
    assert!(
        hashes.iter().flatten().any(|hash| hash.len() == 64),
        "{hashes:?}"
    );
    assert_eq!(denied(&world), Vec::<String>::new());
}

const DAY: &str = "20261130";

/// A request as somebody signs it by hand, and what changes it afterwards.
fn signed(port: u16, change: impl FnOnce(&mut Vec<(String, String)>)) -> String {
    let host = format!("a.test:{port}");
    let mut fields: Vec<(String, String)> = [
        ("Host", host.as_str()),
        ("X-Amz-Date", "20261130T110000Z"),
        ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let names = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!(
        "GET\n/key\n\nhost:{host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\n\
         x-amz-date:20261130T110000Z\n\n{names}\nUNSIGNED-PAYLOAD"
    );
    let scope = format!("{DAY}/eu-central-1/s3/aws4_request");
    let text = format!(
        "AWS4-HMAC-SHA256\n20261130T110000Z\n{scope}\n{}",
        hex(ring::digest::digest(&ring::digest::SHA256, canonical.as_bytes()).as_ref())
    );
    let hmac = |key: &[u8], text: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        ring::hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
    };
    let mut key = format!("AWS4{PLACEHOLDER}").into_bytes();
    for part in [DAY, "eu-central-1", "s3", "aws4_request"] {
        key = hmac(&key, part);
    }
    let signature = hex(&hmac(&key, &text));
    fields.push((
        "Authorization".to_owned(),
        format!("AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={names}, Signature={signature}"),
    ));
    change(&mut fields);
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("GET /key HTTP/1.1\r\n{}\r\n", fields.concat())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_was_not_signed_with_the_placeholder_or_cannot_be_signed_is_refused() {
    let site = Site::start(&[H2, H1]);
    let world = world(&site);
    let ask = |request: String| {
        let mut inside = world.inside(&format!("a.test:{}", site.port()));
        inside.send(request);
        inside.answer()
    };
    let port = site.port();
    assert_eq!(ask(signed(port, |_| ())).status, 200);
    let seen = site.only();
    assert!(
        seen.header("authorization")
            .unwrap()
            .contains(&format!("Credential={REAL_ID}/"))
    );
    if python().is_some() {
        verify(&[seen]);
    }
    let set = |name: &'static str, value: String| {
        move |fields: &mut Vec<(String, String)>| {
            let field = fields.iter_mut().find(|(own, _)| own == name).unwrap();
            field.1 = value;
        }
    };
    let authorization = |from: &'static str, to: &'static str| {
        move |fields: &mut Vec<(String, String)>| {
            let field = fields.last_mut().unwrap();
            assert!(field.1.contains(from));
            field.1 = field.1.replace(from, to);
        }
    };
    let content = "X-Amz-Content-Sha256";
    for (request, code, advice) in [
        (
            signed(port, authorization("Signature=", "Signature=0")),
            "egress_signature",
            "AWS_SECRET_ACCESS_KEY",
        ),
        (
            signed(port, authorization("eu-central-1", "us-east-1")),
            "egress_signature",
            "as it is",
        ),
        (
            signed(port, |_| ()).replace("/key", "/other"),
            "egress_signature",
            "after it is signed",
        ),
        (
            signed(port, set("X-Amz-Date", "20261130T110001Z".to_owned())),
            "egress_signature",
            "",
        ),
        (
            signed(port, set(content, "0".repeat(64))),
            "egress_signature",
            "",
        ),
        (
            signed(
                port,
                set(content, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned()),
            ),
            "egress_unsignable",
            "chunkedEncodingEnabled(false)",
        ),
        (
            signed(
                port,
                set(
                    content,
                    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
                ),
            ),
            "egress_unsignable",
            "chunks",
        ),
        (
            signed(port, set(content, "x".to_owned())),
            "egress_unsignable",
            "cannot be read",
        ),
        (
            signed(
                port,
                authorization("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
            ),
            "egress_unsignable",
            "SigV4A",
        ),
        (
            signed(port, authorization("host;", "")),
            "egress_unsignable",
            "signs `host`",
        ),
        (
            signed(port, |fields| {
                fields.retain(|(name, _)| name != "X-Amz-Date")
            }),
            "egress_unsignable",
            "",
        ),
        (
            signed(port, |fields| fields.push(fields[3].clone())),
            "egress_unsignable",
            "one Authorization",
        ),
        (
            format!(
                "GET /key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY_ID}%2F{DAY}%2Feu-central-1%2Fs3%2Faws4_request&X-Amz-Signature=0 HTTP/1.1\r\nHost: a.test:{port}\r\n\r\n"
            ),
            "egress_unsignable",
            "in its query",
        ),
        // The secret itself is no field.
        (
            format!("GET / HTTP/1.1\r\nHost: a.test:{port}\r\nX: {PLACEHOLDER}\r\n\r\n"),
            "egress_credential_mismatch",
            "placeholder of AWS_SECRET_ACCESS_KEY",
        ),
    ] {
        let answer = ask(request.clone());
        let problem = answer.json();
        assert_eq!(
            (answer.status, problem["code"].as_str()),
            (403, Some(code)),
            "{request}"
        );
        assert!(
            problem["detail"].as_str().unwrap().contains(advice),
            "{problem}"
        );
        assert!(
            !answer.body.contains("canary") && !answer.body.contains(PLACEHOLDER),
            "{problem}"
        );
    }
    assert_eq!(
        denied(&world),
        ["CredentialMismatch a.test 6 AWS_SECRET_ACCESS_KEY"]
    );
    // Over HTTP/2, the host stands in the target.
    let new = Http2::inside(&world, &format!("a.test:{port}"));
    let mut asked = Request::get(format!("https://a.test:{port}/key"));
    for line in signed(port, |_| ()).trim_end().split("\r\n").skip(2) {
        let (name, value) = line.split_once(": ").unwrap();
        asked = asked.header(name, value);
    }
    assert_eq!(
        new.ask(asked.body(Full::default()).unwrap())
            .unwrap()
            .status,
        200
    );
    if python().is_some() {
        verify(&site.seen());
    }
    // At another host, nothing is signed.
    let other = signed(port, |_| ()).replace("a.test", "b.test");
    let policy = json!({ "allow": [{ "host": "b.test", "port": port, "methods": ["GET"] }] });
    let elsewhere = World::beside(&site.voucher, policy, secrets(port), Limits::default());
    let mut inside = elsewhere.inside(&format!("b.test:{port}"));
    inside.send(other);
    assert_eq!(inside.answer().json()["code"], "egress_credential_mismatch");
    world.proxy.withdraw("AWS_SECRET_ACCESS_KEY");
    let withdrawn = ask(signed(port, |_| ())).json();
    assert_eq!(withdrawn["code"], "egress_credential_withdrawn");
    assert_eq!(site.seen().len(), 2);
}

#[test]
fn a_body_that_has_to_be_hashed_has_a_bound() {
    let site = Site::start(&[H1]);
    let world = world(&site);
    let authority = format!("a.test:{}", site.port());
    let fields = |fields: &mut Vec<(String, String)>| {
        fields.retain(|(name, _)| name != "X-Amz-Content-Sha256");
        let field = fields.last_mut().unwrap();
        field.1 = field.1.replace("x-amz-content-sha256;", "");
    };
    let long = signed(site.port(), fields).replace(
        "GET /key HTTP/1.1\r\n",
        "PUT /key HTTP/1.1\r\nContent-Length: 9000000\r\n",
    );
    let mut inside = world.inside(&authority);
    inside.send(long);
    let answer = inside.answer();
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (413, Some("egress_body_too_long"))
    );
    // Without a length, it is read until it is too long.
    let chunked = "PUT /key HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
    let chunked = signed(site.port(), fields).replace("GET /key HTTP/1.1\r\n", chunked);
    let mut inside = world.inside(&authority);
    inside.send(format!(
        "{chunked}895440\r\n{}\r\n0\r\n\r\n",
        "x".repeat(9_000_000)
    ));
    let answer = inside.answer();
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_eq!(site.seen().len(), 0);
}
