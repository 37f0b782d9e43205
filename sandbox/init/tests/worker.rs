//! The test in the worker's place: sandboxes with the real init, and the other side of its channel.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use sealfleet_bubblewrap::{
    Exit, INIT_PATH, Launcher, LauncherConfig, Sandbox, SandboxSpec, build_rootfs,
};
use sealfleet_identity::SecretValue;
use sealfleet_identity_builtin::store;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

pub const VALUE: &str =
    "0123456789-the-middle-of-a-long-canary-value-that-is-searched-for-9876543210";

pub struct Worker {
    launcher: Launcher,
    pub directory: tempfile::TempDir,
    /// The command line of init.
    init: Vec<String>,
}

/// A started step: its sandbox, what init said about the secrets, and the channel.
pub struct Started {
    pub sandbox: Sandbox,
    pub status: Value,
    channel: UnixStream,
}

impl Worker {
    pub async fn new() -> Self {
        let init = [INIT_PATH, "exec", "--channel-fd", "3"];
        Self::with_init(Path::new(env!("CARGO_BIN_EXE_sealfleet-init")), &init).await
    }

    pub async fn with_init(program: &Path, init: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let rootfs = build_rootfs(&directory.path().join("rootfs"), program).unwrap();
        let launcher = Launcher::detect(LauncherConfig::new(rootfs)).await.unwrap();
        let worker = Self {
            launcher,
            directory,
            init: init.iter().map(|&part| part.to_owned()).collect(),
        };
        store::create(&worker.store(), &worker.key(), "healthcare").unwrap();
        worker
    }

    pub fn store(&self) -> PathBuf {
        self.directory.path().join("secrets.json")
    }

    pub fn key(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    pub fn put(&self, name: &str, value: &str) -> String {
        store::put(
            &self.store(),
            &self.key(),
            name,
            &SecretValue::new(value.into()),
        )
        .unwrap()
        .version
    }

    /// A sandbox that waits for its step, and the worker's end of its channel.
    pub async fn launch(&self) -> (Sandbox, UnixStream) {
        let (channel, inside) = UnixStream::pair().unwrap();
        let mut spec = SandboxSpec::new(self.init.clone());
        spec.channel = Some(inside.into());
        (self.launcher.spawn(spec).await.unwrap(), channel)
    }

    /// Sends `step` with store and key, and waits for init's answer.
    pub async fn start(&self, step: &Value) -> Started {
        let store = File::open(self.store()).unwrap();
        self.start_with(step, store.into()).await
    }

    pub async fn start_with(&self, step: &Value, store: OwnedFd) -> Started {
        let (sandbox, channel) = self.launch().await;
        let key = File::open(self.key()).unwrap();
        let files = [("builtin.key", key.into()), ("builtin.store", store)];
        let frame = frame(
            3,
            &files.each_ref().map(|(name, _)| *name),
            &json!({"step": step}),
        );
        send(&channel, &frame, &files.map(|(_, file)| file));
        let mut started = Started {
            sandbox,
            status: Value::Null,
            channel,
        };
        started.status = started.receive().await;
        started
    }

    pub async fn error_of(&self, step: &Value) -> (String, String) {
        let started = self.start(step).await;
        let error = started.status["error"].clone();
        assert_eq!(started.end().await.0, Exit::Code(125));
        (
            error["code"].as_str().unwrap().to_owned(),
            error["message"].as_str().unwrap().to_owned(),
        )
    }
}

/// A message as it goes over the channel.
pub fn frame(version: u32, descriptors: &[&str], message: &Value) -> Vec<u8> {
    let json = json!({"version": version, "descriptors": descriptors, "message": message});
    let json = json.to_string();
    let length = u32::try_from(json.len()).unwrap();
    [&length.to_be_bytes(), json.as_bytes()].concat()
}

pub fn send(channel: &UnixStream, bytes: &[u8], descriptors: &[OwnedFd]) {
    let descriptors: Vec<_> = descriptors.iter().map(|file| file.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    }
    let sent = sendmsg(
        channel,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .unwrap();
    let mut channel = channel;
    channel.write_all(&bytes[sent..]).unwrap();
}

/// Init's next message.
pub async fn receive(channel: &UnixStream) -> Value {
    let mut channel = channel.try_clone().unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut length = [0; 4];
        channel.read_exact(&mut length).unwrap();
        let mut json = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        channel.read_exact(&mut json).unwrap();
        json
    });
    let json = read.await.unwrap();
    let text = String::from_utf8(json).unwrap();
    assert!(
        !text.contains("middle-of-a-long"),
        "a message holds no value"
    );
    let frame: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(frame["version"], 3);
    assert_eq!(frame["descriptors"], json!([]));
    frame["message"].clone()
}

impl Started {
    pub async fn send(&mut self, message: &Value) {
        send(&self.channel, &frame(3, &[], message), &[]);
    }

    pub async fn receive(&mut self) -> Value {
        receive(&self.channel).await
    }

    pub async fn go(&mut self) {
        self.send(&json!("go")).await;
    }

    pub async fn line(&mut self) -> String {
        let (mut line, mut byte) = (Vec::new(), [0_u8]);
        let stdout = self.sandbox.stdout.as_mut().unwrap();
        while stdout.read_exact(&mut byte).await.is_ok() && byte != *b"\n" {
            line.extend_from_slice(&byte);
        }
        String::from_utf8(line).unwrap()
    }

    /// Waits for the end of the sandbox.
    pub async fn end(self) -> (Exit, String, String) {
        end(self.sandbox).await
    }

    /// Closes the channel, as a worker that dies does, and waits for the end of the sandbox.
    pub async fn abandon(self) -> (Exit, String, String) {
        drop(self.channel);
        end(self.sandbox).await
    }
}

/// How the sandbox ends, its output and its errors.
pub async fn end(mut sandbox: Sandbox) -> (Exit, String, String) {
    let (mut out, mut err) = (String::new(), String::new());
    let (mut stdout, mut stderr) = (
        sandbox.stdout.take().unwrap(),
        sandbox.stderr.take().unwrap(),
    );
    let (read_out, read_err) = tokio::join!(
        stdout.read_to_string(&mut out),
        stderr.read_to_string(&mut err)
    );
    read_out.unwrap();
    read_err.unwrap();
    (sandbox.wait().await, out, err)
}

pub fn step(script: &str) -> Value {
    json!({
        "project": "healthcare",
        "command": ["sh", "-c", script],
        "env": {"PLAIN": "knob"},
        "secrets": [{"name": "API_KEY", "uri": "builtin://crm/api-key", "version": null}],
        "resolve_millis": 30_000,
    })
}
