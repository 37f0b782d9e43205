//! The sops backend in the suite of all identity backends.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Mutex;

use age::secrecy::ExposeSecret as _;
use async_trait::async_trait;
use sealfleet_identity::{Given, Open};
use sealfleet_identity_conformance::{Lacks, Store, Way, conforms};
use sealfleet_identity_sops::{SCHEME, open};
use serde_json::{Value, json};

use crate::Place;

const LOCAL: Lacks = Lacks("the files are beside the worker");
/// The one file of all secrets.
const FILE: &str = "all.json";

struct Files {
    place: Place,
    values: Mutex<BTreeMap<String, Value>>,
}

impl Files {
    /// Encrypts the file anew, with these values besides those that it has.
    fn write(&self, more: &[(&str, &str)]) -> String {
        let mut values = self.values.lock().unwrap();
        let more = more.iter();
        values.extend(more.map(|(name, value)| ((*name).to_owned(), json!(value))));
        let text = json!(*values).to_string();
        self.place.encrypt(FILE, text.as_bytes(), "");
        self.place.version(FILE)
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
        format!("healthcare/{FILE}#{secret}")
    }

    async fn given(&self, way: Way) -> Result<Given, Lacks> {
        let key = match way {
            Way::Good => "key",
            Way::WrongLogin => "other",
            Way::ExpiredLogin => return Err(Lacks("a key does not expire")),
            Way::Denied => return Err(Lacks("a key opens all of a file")),
            Way::Down | Way::Slow | Way::WrongTls => return Err(LOCAL),
        };
        let file = |name: &str| File::open(self.place.path(name)).unwrap();
        let files = [
            (format!("{SCHEME}.key"), file(key)),
            (format!("{SCHEME}.file.healthcare/{FILE}"), file(FILE)),
        ];
        Ok(Given {
            files: files.into(),
            ..Given::default()
        })
    }

    fn keeps_versions(&self) -> Result<(), Lacks> {
        Err(Lacks("a file is what it is now"))
    }

    async fn put(&self, secret: &str, value: &[u8]) -> Result<String, Lacks> {
        let text = std::str::from_utf8(value).map_err(|_| Lacks("a file of SOPS holds text"))?;
        Ok(self.write(&[(secret, text)]))
    }

    fn logins(&self) -> Vec<String> {
        let identity = self.place.identity.to_string();
        vec![identity.expose_secret().to_owned()]
    }

    fn unknown_version(&self) -> String {
        "0".repeat(32)
    }

    async fn put_two(&self, secret: &str, one: &str, other: &str) -> Result<[String; 2], Lacks> {
        let names = ["one", "other"].map(|name| format!("{secret}-{name}"));
        let [first, second] = names.each_ref();
        self.write(&[(first, one), (second, other)]);
        Ok(names.map(|name| self.name(&name)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sops_conforms() {
    let Some(place) = Place::new() else {
        return;
    };
    let other = age::x25519::Identity::generate();
    let other = other.to_string();
    std::fs::write(place.path("other"), other.expose_secret()).unwrap();
    let files = Files {
        place,
        values: Mutex::default(),
    };
    conforms(&files).await.unwrap();
}
