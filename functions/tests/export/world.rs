//! What `export` works with, in memory: a bucket that counts its calls and fails on demand, a key,
//! a table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sealfleet_archive::digest::Signature;
use sealfleet_archive::digest::verify::Verified;
use sealfleet_aws::Unavailable;
use sealfleet_aws::objects::{Listed, Objects};
use sealfleet_aws::signing::Signer;
use sealfleet_domain::{Clock as _, Timestamp};
use sealfleet_functions::export::ocsf::Version;
use sealfleet_functions::export::{self, Done, Ports};
use sealfleet_functions::shared::metrics::Metrics;
use sealfleet_ledger::store::{Condition, Item, Table, Write};
use sealfleet_test_fakes::archive::{Archive, signature_of};
use sealfleet_test_fakes::handlers::ledger;
use sealfleet_test_fakes::memory::Tables;
use sealfleet_test_fakes::random::Random;
use sealfleet_test_fakes::stage::{self, Stage};
use sealfleet_test_fakes::time::WorldClock;
use serde_json::Value;

pub struct World {
    pub bucket: Arc<Bucket>,
    stage: Stage<()>,
    pub metrics: Arc<Mutex<Vec<String>>>,
    pub ports: Ports,
}

impl World {
    /// At noon of 2026-01-31.
    pub fn new() -> Self {
        let noon = 1_769_860_800_000;
        let stage = Stage::new(stage::World::new(
            Tables::default(),
            noon,
            Random::new(1),
            (),
        ));
        let bucket = Arc::new(Bucket {
            objects: Mutex::default(),
            calls: Mutex::default(),
            broken: Mutex::default(),
            faster: Mutex::default(),
            takes: AtomicI64::default(),
            time: WorldClock(stage.clone()),
        });
        let metrics = Arc::new(Mutex::new(Vec::new()));
        let ports = Ports {
            objects: Box::new(Shared(bucket.clone())),
            signer: Box::new(Ink),
            ledger: ledger(&stage, 1),
            metrics: Metrics::to("export", metrics.clone()),
            version: Version::default(),
        };
        Self {
            bucket,
            stage,
            metrics,
            ports,
        }
    }

    pub fn now(&self) -> Timestamp {
        self.bucket.time.now()
    }

    pub fn time_goes_by(&self, seconds: i64) {
        self.stage.lock().time += seconds * 1000;
    }

    /// Puts a row into the audit table.
    pub fn put(&self, item: Item) {
        let put = Write::Put {
            table: Table::Audit,
            item,
            only_if: Condition::Absent,
        };
        self.stage.lock().write(vec![put], None).unwrap();
    }

    pub async fn send(&self, event: &Value) -> Done {
        let until = self.now().plus_seconds(100);
        export::handle(&self.ports, event.clone(), until)
            .await
            .unwrap()
    }

    /// Has the digest made that is due.
    pub async fn digest(&self) -> export::digest::Made {
        self.digest_within(100).await
    }

    pub async fn digest_within(&self, seconds: i64) -> export::digest::Made {
        let until = self.now().plus_seconds(seconds);
        export::digest::make(&self.ports, until).await.unwrap()
    }

    /// Has a digest made of what the last one left.
    pub async fn go_on(&self, seconds: i64) -> export::digest::Made {
        let until = self.now().plus_seconds(seconds);
        export::digest::go_on(&self.ports, until).await.unwrap()
    }

    /// From now on it takes so many milliseconds to read an object.
    pub fn reading_takes(&self, millis: i64) {
        self.bucket.takes.store(millis, Ordering::Relaxed);
    }

    /// Objects that digests vouch for.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.bucket.objects.lock().unwrap().digested()
    }

    /// What verification says of the bucket now.
    pub fn verified(&self) -> Verified {
        self.bucket.objects.lock().unwrap().verified(self.now())
    }
}

struct Ink;

#[async_trait]
impl Signer for Ink {
    async fn sign(&self, sha256: [u8; 32]) -> Result<Signature, Unavailable> {
        Ok(signature_of(sha256))
    }
}

/// A bucket in memory.
pub struct Bucket {
    pub objects: Mutex<Archive>,
    /// Each call, as `create audit/…`.
    pub calls: Mutex<Vec<String>>,
    /// Writes below these prefixes fail.
    pub broken: Mutex<BTreeSet<String>>,
    /// What is put just before a write of a digest: somebody was faster.
    pub faster: Mutex<Option<Vec<u8>>>,
    /// Milliseconds that it takes to read an object.
    takes: AtomicI64,
    time: WorldClock<()>,
}

impl Bucket {
    /// The calls since the last time.
    pub fn called(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    fn call(&self, name: &str, key: &str) {
        self.calls.lock().unwrap().push(format!("{name} {key}"));
    }
}

struct Shared(Arc<Bucket>);

#[async_trait]
impl Objects for Shared {
    async fn create(&self, key: &str, _: &str, bytes: Vec<u8>) -> Result<bool, Unavailable> {
        self.0.call("create", key);
        if self
            .0
            .broken
            .lock()
            .unwrap()
            .iter()
            .any(|prefix| key.starts_with(prefix))
        {
            return Err(Unavailable {
                service: "S3",
                detail: "broken".to_owned(),
            });
        }
        let now = self.0.time.now();
        let mut objects = self.0.objects.lock().unwrap();
        if let Some(faster) = self.0.faster.lock().unwrap().take() {
            objects.create(key, faster, now);
        }
        Ok(objects.create(key, bytes, now))
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        self.0.call("get", key);
        self.0.time.0.lock().time += self.0.takes.load(Ordering::Relaxed);
        Ok(self.0.objects.lock().unwrap().get(key))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<Listed>, Unavailable> {
        self.0.call("list", prefix);
        Ok(self.0.objects.lock().unwrap().list(prefix, after))
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Unavailable> {
        self.0.call("folders", prefix);
        Ok(self.0.objects.lock().unwrap().folders(prefix))
    }
}
