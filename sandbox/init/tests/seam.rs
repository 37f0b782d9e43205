//! An identity backend is added in one place: a backend of this test, registered with the real
//! init.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use clap::Parser as _;
use sealfleet_bubblewrap::{Exit, INIT_PATH};
use sealfleet_identity::{
    Context, IdentityBackend, IdentityError, Readable, Resolved, SecretValue,
};
use sealfleet_init::{backends, cli};
use serde_json::json;

use crate::worker::{Worker, step};

/// `toy://NAME`: the name backwards. `toy://slow` never answers.
struct Toy;

#[async_trait]
impl IdentityBackend for Toy {
    async fn readable(&self) -> Result<Option<Vec<Readable>>, IdentityError> {
        Ok(None)
    }

    async fn resolve(&self, name: &str, version: Option<&str>) -> Result<Resolved, IdentityError> {
        if name == "slow" {
            std::future::pending::<()>().await;
        }
        Ok(Resolved {
            value: SecretValue::new(name.bytes().rev().collect()),
            version: version.unwrap_or("newest").to_owned(),
            request_id: None,
            leased: false,
        })
    }
}

fn open(_: Context) -> Box<dyn IdentityBackend> {
    Box::new(Toy)
}

/// Not a test: the init of the next ones, inside a sandbox.
#[test]
#[ignore = "started by other tests"]
fn init_with_a_toy() {
    let arguments = cli::Arguments::parse_from(["sealfleet-init", "exec", "--channel-fd", "3"]);
    let backends = backends::registry().with("toy", open);
    std::process::exit(cli::run(arguments, &backends).into());
}

async fn worker() -> Worker {
    let test = [
        "--exact",
        "seam::init_with_a_toy",
        "--ignored",
        "--nocapture",
    ];
    let init: Vec<&str> = [INIT_PATH].into_iter().chain(test).collect();
    Worker::with_init(&std::env::current_exe().unwrap(), &init).await
}

#[tokio::test]
async fn a_backend_that_is_registered_resolves_beside_the_others() {
    let worker = worker().await;
    let pinned = worker.put("crm/api-key", "of the store");
    let mut both = step("echo \"[$TOY|$API_KEY]\"");
    both["secrets"] = json!([
        {"name": "TOY", "uri": "toy://terces", "redact": false},
        {"name": "API_KEY", "uri": "builtin://crm/api-key", "redact": false},
    ]);
    let mut started = worker.start(&both).await;
    assert_eq!(
        started.status,
        json!({"resolved": [
            {"name": "TOY", "uri": "toy://terces", "version": "newest"},
            {"name": "API_KEY", "uri": "builtin://crm/api-key", "version": pinned},
        ]})
    );
    started.go().await;
    let (exit, out, err) = started.end().await;
    assert_eq!(exit, Exit::Code(0), "{err}");
    assert!(out.contains("[secret|of the store]\n"), "{out}");
}

#[tokio::test]
async fn a_slow_backend_hits_the_deadline_of_the_step() {
    let worker = worker().await;
    let mut slow = step("echo ran");
    slow["secrets"] = json!([{"name": "TOY", "uri": "toy://slow"}]);
    slow["resolve_millis"] = 300.into();
    let began = Instant::now();
    let (code, message) = worker.error_of(&slow).await;
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(code, "timed_out");
    assert!(
        message.contains("`toy://slow` was not resolved within 300ms"),
        "{message}"
    );
}

/// The builtin backend blocks while it reads its store. The deadline counts all the same.
#[tokio::test]
async fn a_store_that_cannot_be_read_in_time_hits_the_deadline_too() {
    let worker = Worker::new().await;
    let (store, _writer) = rustix::pipe::pipe().unwrap();
    let mut slow = step("echo ran");
    slow["resolve_millis"] = 300.into();
    let started = worker.start_with(&slow, store).await;
    assert_eq!(started.status["error"]["code"], "timed_out");
    assert_eq!(started.end().await.0, Exit::Code(125));
}
