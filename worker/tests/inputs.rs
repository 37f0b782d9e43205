//! What is brought to steps: page by page, a few files at a time, and the URLs anew once they have
//! expired.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sealfleet_channel::MAX_DESCRIPTORS;
use sealfleet_client::types::{
    AskIdentityToken, Claim, ClaimStep, FetchInputs, Heartbeat, HeartbeatAnswer, IdentityToken,
    LeaseRef, OutputCredentials, QueueCredentials, ReportStep, StartStep, StepAnswer, StepInput,
    StepInputs,
};
use sealfleet_client::{Code, Error, Problem, TransferError};
use sealfleet_domain::Timestamp;
use sealfleet_worker::control::ControlPlane;
use sealfleet_worker::inputs::Inputs;
use serde_json::{Value, json};

/// A control plane that answers nothing but what goes into steps: a file for each of its texts.
#[derive(Default)]
pub struct Store {
    pub texts: Vec<(Value, String)>,
    pub page: usize,
    pub asked: Mutex<Vec<u32>>,
    /// Answers of `fetch` that come before the others.
    pub failures: Mutex<Vec<TransferError>>,
}

impl Store {
    pub fn inputs(self, place: &Path) -> Inputs {
        Inputs {
            control: Arc::new(self),
            directory: place.to_owned(),
        }
    }
}

fn refused<T>() -> Result<T, Error> {
    Err(Error::Problem(Problem::new(Code::Conflict, "it has gone")))
}

#[async_trait]
impl ControlPlane for Store {
    async fn claim(&self, _: &ClaimStep) -> Result<Claim, Error> {
        refused()
    }

    async fn heartbeat(&self, _: &Heartbeat) -> Result<HeartbeatAnswer, Error> {
        refused()
    }

    async fn start(&self, _: &StartStep) -> Result<StepAnswer, Error> {
        refused()
    }

    async fn report(&self, _: &ReportStep) -> Result<StepAnswer, Error> {
        refused()
    }

    async fn queue_credentials(&self) -> Result<QueueCredentials, Error> {
        refused()
    }

    async fn output_credentials(&self, _: &LeaseRef) -> Result<OutputCredentials, Error> {
        refused()
    }

    async fn step_inputs(&self, request: &FetchInputs) -> Result<StepInputs, Error> {
        self.asked.lock().unwrap().push(request.from);
        if self.texts.is_empty() {
            return refused();
        }
        let from = request.from as usize;
        let upto = from + self.page;
        let items = self.texts.iter().enumerate().skip(from).take(self.page);
        let items = items.map(|(number, (place, text))| {
            serde_json::from_value(json!({
                "place": place, "url": format!("https://s3.example/{number}"), "bytes": text.len(),
            }))
            .unwrap()
        });
        Ok(StepInputs {
            items: items.collect(),
            next: (upto < self.texts.len()).then(|| u32::try_from(upto).unwrap()),
            expires_at: Timestamp::from_millis(0),
        })
    }

    async fn identity_token(&self, _: &AskIdentityToken) -> Result<IdentityToken, Error> {
        refused()
    }

    async fn fetch(&self, input: &StepInput, into: &mut File) -> Result<(), TransferError> {
        // A part of it may have come.
        into.write_all(b"part")?;
        if let Some(error) = self.failures.lock().unwrap().pop() {
            return Err(error);
        }
        into.set_len(0)?;
        std::io::Seek::rewind(into)?;
        let number = input.url.expose().rsplit('/').next().unwrap();
        let number: usize = number.parse().unwrap();
        into.write_all(self.texts[number].1.as_bytes())?;
        Ok(())
    }
}

pub fn file(path: &str) -> Value {
    json!({ "kind": "file", "path": path })
}

fn claim(fetches: bool) -> Claim {
    serde_json::from_value(json!({
        "project": "healthcare", "run_id": "run_0198c0de-0000-7000-8000-00000000000a", "step_id": "a", "fence": 1,
        "attempt": 1, "lease_seconds": 30, "mode": "sandboxed", "command": ["true"], "env": {},
        "timeout_seconds": 600, "fetches": fetches
    }))
    .unwrap()
}

/// What has come, in batches.
async fn brought(inputs: &Inputs, claim: &Claim) -> Result<Vec<Vec<(String, String)>>, String> {
    let (mut batches, mut bringing) = (Vec::new(), inputs.of(claim));
    while let Some(batch) = bringing.next().await? {
        let text = |mut file: File| {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            text
        };
        let files = batch.into_iter();
        batches.push(
            files
                .map(|(place, file)| (place.path().unwrap(), text(file)))
                .collect(),
        );
    }
    Ok(batches)
}

fn store(many: usize, page: usize) -> Store {
    let text = |number: usize| (file(&format!("f{number:02}")), format!("text {number}"));
    Store {
        texts: (0..many).map(text).collect(),
        page,
        ..Store::default()
    }
}

#[tokio::test]
async fn all_inputs_come_in_order_a_few_at_a_time() {
    let place = tempfile::tempdir().unwrap();
    for (many, page) in [(1, 50), (8, 50), (21, 5), (21, 8)] {
        let inputs = store(many, page).inputs(place.path());
        let batches = brought(&inputs, &claim(true)).await.unwrap();
        assert!(batches.iter().all(|batch| batch.len() <= MAX_DESCRIPTORS));
        let all: Vec<_> = batches.concat();
        let wanted = (0..many).map(|number| (format!("f{number:02}"), format!("text {number}")));
        assert_eq!(all, wanted.collect::<Vec<_>>());
        // No file has a name that another user could open.
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn who_is_brought_nothing_asks_for_nothing() {
    let place = tempfile::tempdir().unwrap();
    let inputs = store(0, 1).inputs(place.path());
    assert_eq!(brought(&inputs, &claim(false)).await, Ok(vec![]));
}

#[tokio::test]
async fn an_expired_url_is_asked_for_anew_once() {
    let place = tempfile::tempdir().unwrap();
    let expired = |times| {
        let mut store = store(3, 50);
        store.failures = Mutex::new((0..times).map(|_| TransferError::Refused(403)).collect());
        store.inputs(place.path())
    };
    let batches = brought(&expired(1), &claim(true)).await.unwrap();
    assert_eq!(batches.concat().len(), 3);
    let error = brought(&expired(2), &claim(true)).await.unwrap_err();
    assert_eq!(
        error,
        "the step's file `f00` cannot be got: the store refuses with HTTP status 403"
    );
}

#[tokio::test]
async fn what_has_not_come_whole_is_no_input() {
    let place = tempfile::tempdir().unwrap();
    let mut store = store(1, 50);
    let other = TransferError::Other("its SHA-256 is not the one that was promised".to_owned());
    store.failures = Mutex::new(vec![other]);
    let error = brought(&store.inputs(place.path()), &claim(true)).await;
    assert!(error.unwrap_err().contains("SHA-256"));
    // A refusal of the control plane is told in its words.
    let none = Store::default().inputs(place.path());
    assert_eq!(
        brought(&none, &claim(true)).await,
        Err("it has gone".to_owned())
    );
}
