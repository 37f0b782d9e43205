//! The builtin backend in the suite of all identity backends.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::path::PathBuf;

use async_trait::async_trait;
use sealfleet_identity::{Given, Open, SecretValue};
use sealfleet_identity_builtin::store::{self, StoreError};
use sealfleet_identity_builtin::{SCHEME, open};
use sealfleet_identity_conformance::{Lacks, PROJECT, Store, Way, conforms};
use tempfile::TempDir;

const LOCAL: Lacks = Lacks("the store is a file beside the worker");

struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Self { directory };
        store::create(&files.path("store"), &files.path("key"), PROJECT).unwrap();
        store::create_key(&files.path("other")).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

#[async_trait]
impl Store for Files {
    fn scheme(&self) -> &'static str {
        SCHEME
    }

    fn backend(&self) -> Open {
        open
    }

    fn name(&self, secret: &str) -> String {
        format!("crm/{secret}")
    }

    async fn given(&self, way: Way) -> Result<Given, Lacks> {
        let key = match way {
            Way::Good => "key",
            Way::WrongLogin => "other",
            Way::ExpiredLogin => return Err(Lacks("a key does not expire")),
            Way::Denied => return Err(Lacks("a key opens all of the store")),
            Way::Down | Way::Slow | Way::WrongTls => return Err(LOCAL),
        };
        let open = |path: &str| File::open(self.path(path)).unwrap();
        let files = [("builtin.store", open("store")), ("builtin.key", open(key))];
        let files = files.map(|(name, file)| (name.to_owned(), file));
        Ok(Given {
            files: files.into(),
            ..Given::default()
        })
    }

    async fn put(&self, secret: &str, value: &[u8]) -> Result<String, Lacks> {
        let (store, key) = (self.path("store"), self.path("key"));
        let value = SecretValue::new(value.to_vec());
        match store::put(&store, &key, &self.name(secret), &value) {
            Err(StoreError::BadValue) => Err(Lacks("the store refuses such a value")),
            put => Ok(put.unwrap().version),
        }
    }

    fn unknown_version(&self) -> String {
        "0198c0de-0000-7000-8000-00000000000a".to_owned()
    }

    async fn put_two(&self, _: &str, _: &str, _: &str) -> Result<[String; 2], Lacks> {
        Err(Lacks("a name has one value"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_builtin_store_conforms() {
    conforms(&Files::new()).await.unwrap();
}
