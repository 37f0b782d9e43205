//! Files that the real `sops` has written.
//!
//! `SEALFLEET_TEST_SOPS` names the program. Without it, these tests are skipped, unless
//! `SEALFLEET_TEST_BACKENDS=required` says that none may be.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use age::secrecy::ExposeSecret as _;
use sealfleet_identity::{Context, IdentityBackend};

struct Place {
    directory: tempfile::TempDir,
    sops: PathBuf,
    identity: age::x25519::Identity,
}

impl Place {
    fn new() -> Option<Self> {
        let Some(sops) = std::env::var_os("SEALFLEET_TEST_SOPS") else {
            let required =
                std::env::var_os("SEALFLEET_TEST_BACKENDS").is_some_and(|it| it == "required");
            assert!(!required, "`SEALFLEET_TEST_SOPS` names no program");
            eprintln!("skipped: `SEALFLEET_TEST_SOPS` names no program");
            return None;
        };
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
            sops: sops.into(),
            identity: age::x25519::Identity::generate(),
        };
        place.have_key(&place.identity);
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn have_key(&self, identity: &age::x25519::Identity) {
        let other = age::x25519::Identity::generate();
        let key = format!(
            "# created: today\n{}\n# another\n{}\n",
            other.to_string().expose_secret(),
            identity.to_string().expose_secret()
        );
        std::fs::write(self.path("key"), key).unwrap();
    }

    fn sops(&self, words: &[&str], file: &str) -> Vec<u8> {
        let done = Command::new(&self.sops)
            .args(words)
            .arg(self.path(file))
            .env_clear()
            .env("SOPS_AGE_KEY_FILE", self.path("key"))
            .env("HOME", self.directory.path())
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        done.stdout
    }

    /// Encrypts a file by a rule of `.sops.yaml` that says this besides.
    fn encrypt(&self, file: &str, text: &[u8], more: &str) {
        std::fs::write(self.path(file), text).unwrap();
        let recipient = self.identity.to_public();
        let rule = format!("creation_rules:\n  - age: {recipient}\n    {more}\n");
        std::fs::write(self.path(".sops.yaml"), rule).unwrap();
        self.sops(&["encrypt", "--in-place"], file);
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }

    fn change(&self, file: &str, with: impl FnOnce(String) -> String) {
        let changed = with(self.read(file));
        assert_ne!(changed, self.read(file), "nothing was changed");
        std::fs::write(self.path(file), changed).unwrap();
    }

    fn backend(&self, file: &str) -> Box<dyn IdentityBackend> {
        let mut files = BTreeMap::from([(
            format!("file.healthcare/{file}"),
            File::open(self.path(file)).unwrap(),
        )]);
        if let Ok(key) = File::open(self.path("key")) {
            files.insert("key".to_owned(), key);
        }
        sealfleet_identity_sops::open(Context {
            project: "healthcare".to_owned(),
            files,
            ..Context::default()
        })
    }

    fn resolve(&self, file: &str, key: &str, version: Option<&str>) -> Result<Vec<u8>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let name = format!("healthcare/{file}#{key}");
        let backend = self.backend(file);
        let resolved = runtime.block_on(backend.resolve(&name, version));
        match resolved {
            Ok(resolved) => Ok(resolved.value.expose().to_vec()),
            Err(error) => {
                assert!(error.message.contains("healthcare/") || error.code == "no_file");
                assert!(!error.message.contains("canary"), "{error}");
                Err(error.code.to_owned())
            }
        }
    }

    fn version(&self, file: &str) -> String {
        let document = sealfleet_identity_sops::document::Document::parse(
            &std::fs::read(self.path(file)).unwrap(),
        );
        document.unwrap().version()
    }
}

const YAML: &str = r#"# a comment
database:
  # another
  password: "canary: with ünïcode, \"quotes\" and
    lines"
  port: 5432
  ratio: 0.25
  large: 12345678901234567
  on: true
  off: false
  nothing: null
  empty: ""
  nul: "a\0b"
list: [canary-one, {inner: canary-two}, [canary-three]]
multi: |
  first
  second
plain_unencrypted: seen
port_unencrypted: 80
"#;

fn values() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            "database.password",
            "canary: with ünïcode, \"quotes\" and lines",
        ),
        ("database.port", "5432"),
        ("database.ratio", "0.25"),
        ("database.large", "12345678901234567"),
        ("database.on", "true"),
        ("database.off", "false"),
        ("database.empty", ""),
        ("database.nul", "a\0b"),
        ("list.0", "canary-one"),
        ("list.1.inner", "canary-two"),
        ("list.2.0", "canary-three"),
        ("multi", "first\nsecond\n"),
        ("plain_unencrypted", "seen"),
        ("port_unencrypted", "80"),
    ]
}

#[test]
fn what_the_real_program_has_encrypted_is_read() {
    let Some(place) = Place::new() else { return };
    for (file, more) in [
        ("a.yaml", ""),
        ("b.yaml", "mac_only_encrypted: true"),
        ("c.yaml", "encrypted_regex: ^(database|list|multi)$"),
    ] {
        place.encrypt(file, YAML.as_bytes(), more);
        assert!(!place.read(file).contains("canary"), "{file} is encrypted");
        for (key, value) in values() {
            let read = place.resolve(file, key, None);
            // In such a file nothing holds what is not encrypted; SOPS encrypts no empty text.
            let is_open = key.ends_with("_unencrypted") || value.is_empty();
            let expected = match is_open && more.starts_with("mac_only") {
                true => Err("unprotected".to_owned()),
                false => Ok(value.as_bytes().to_vec()),
            };
            assert_eq!(read, expected, "{file} {key}");
        }
        let unknown = Err("unknown_secret".to_owned());
        for key in [
            "database",
            "list",
            "list.3",
            "other",
            "database.nothing",
            "sops.mac",
        ] {
            assert_eq!(place.resolve(file, key, None), unknown, "{file} {key}");
        }
    }
    let json = serde_json::json!({
        "api": { "key": "canary", "count": 3, "half": 0.5, "big": 1e21 }, "list": ["canary"],
    });
    place.encrypt("e.json", json.to_string().as_bytes(), "");
    assert_eq!(
        place.resolve("e.json", "api.key", None),
        Ok(b"canary".to_vec())
    );
    assert_eq!(
        place.resolve("e.json", "list.0", None),
        Ok(b"canary".to_vec())
    );
    assert_eq!(
        place.resolve("e.json", "api.half", None),
        Ok(b"0.5".to_vec())
    );
    // A file of any other kind is a JSON file with one value.
    let bytes: Vec<u8> = (0..=255).cycle().take(64 * 1024).collect();
    place.encrypt("f.bin", &bytes, "");
    assert_eq!(place.resolve("f.bin", "data", None), Ok(bytes));
}

#[test]
fn a_version_is_of_the_file_and_changes_with_it() {
    let Some(place) = Place::new() else { return };
    place.encrypt("a.yaml", b"key: canary-before\nother: canary\n", "");
    let first = place.version("a.yaml");
    assert_eq!(
        place.resolve("a.yaml", "key", Some(&first)),
        Ok(b"canary-before".to_vec())
    );
    let set = Command::new(&place.sops)
        .args(["set"])
        .arg(place.path("a.yaml"))
        .args(["[\"key\"]", "\"canary-after\""])
        .env("SOPS_AGE_KEY_FILE", place.path("key"))
        .output()
        .unwrap();
    assert!(set.status.success());
    let second = place.version("a.yaml");
    assert_ne!(first, second);
    assert_eq!(
        place.resolve("a.yaml", "key", Some(&second)),
        Ok(b"canary-after".to_vec())
    );
    let old = place.resolve("a.yaml", "key", Some(&first));
    assert_eq!(old, Err("unknown_version".to_owned()));
}

#[test]
fn what_was_changed_by_anybody_else_is_refused() {
    let Some(place) = Place::new() else { return };
    let text =
        b"one: canary-one\ntwo: canary-two\nplain_unencrypted: seen\nlist: [canary-a, canary-b]\n";
    let line = |text: &str, begins: &str| {
        text.lines()
            .find(|line| line.starts_with(begins))
            .unwrap()
            .to_owned()
    };
    let changes: [(&str, &dyn Fn(String) -> String); 5] = [
        ("values changed places", &|text| {
            let [one, two] = ["one: ", "two: "].map(|begins| line(&text, begins));
            let [in_one, in_two] = [&one[5..], &two[5..]];
            text.replace(&one, &format!("one: {in_two}"))
                .replace(&two, &format!("two: {in_one}"))
        }),
        ("a plain value", &|text| text.replace("seen", "forged")),
        ("a value is gone", &|text| {
            let two = line(&text, "two: ");
            text.replace(&format!("{two}\n"), "")
        }),
        ("a value in plain text", &|text| {
            let two = line(&text, "two: ");
            text.replace(&two, "two: forged")
        }),
        ("a later date", &|text| {
            let date = line(&text, "    lastmodified: ");
            text.replace(&date, "    lastmodified: \"2100-01-01T00:00:00Z\"")
        }),
    ];
    for (what, change) in changes {
        place.encrypt("a.yaml", text, "");
        place.change("a.yaml", change);
        let refused = Err("changed".to_owned());
        assert_eq!(place.resolve("a.yaml", "one", None), refused, "{what}");
    }
    // Items of a list have no place of their own in SOPS: only the hash of the file holds them.
    place.encrypt("a.yaml", text, "");
    place.change("a.yaml", |text| {
        let items: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("    - ENC"))
            .collect();
        let [one, two] = [items[0], items[1]];
        text.replace(&format!("{one}\n{two}"), &format!("{two}\n{one}"))
    });
    assert_eq!(
        place.resolve("a.yaml", "list.0", None),
        Err("changed".to_owned())
    );
}

#[test]
fn each_thing_that_is_missing_has_its_code() {
    let Some(place) = Place::new() else { return };
    place.encrypt("a.yaml", b"key: canary\n", "");
    std::fs::write(place.path("plain.yaml"), "key: canary\n").unwrap();
    std::fs::write(place.path("empty.yaml"), "").unwrap();
    std::fs::write(place.path("broken.yaml"), "key: [canary\n").unwrap();
    for file in ["plain.yaml", "empty.yaml", "broken.yaml"] {
        assert_eq!(
            place.resolve(file, "key", None),
            Err("bad_file".to_owned()),
            "{file}"
        );
    }
    let large = vec![b'#'; usize::try_from(sealfleet_identity_sops::MAX_FILE).unwrap() + 1];
    std::fs::write(place.path("large.yaml"), large).unwrap();
    assert_eq!(
        place.resolve("large.yaml", "key", None),
        Err("no_file".to_owned())
    );
    place.have_key(&age::x25519::Identity::generate());
    assert_eq!(
        place.resolve("a.yaml", "key", None),
        Err("wrong_key".to_owned())
    );
    std::fs::write(place.path("key"), "no key\n").unwrap();
    assert_eq!(
        place.resolve("a.yaml", "key", None),
        Err("wrong_key".to_owned())
    );
    std::fs::remove_file(place.path("key")).unwrap();
    assert_eq!(
        place.resolve("a.yaml", "key", None),
        Err("no_key".to_owned())
    );
}

#[test]
fn names_are_listed_without_a_key() {
    let Some(place) = Place::new() else { return };
    place.encrypt("a.yaml", YAML.as_bytes(), "");
    let text = std::fs::read(Path::new(&place.path("a.yaml"))).unwrap();
    let names = sealfleet_identity_sops::document::Document::parse(&text)
        .unwrap()
        .names();
    for (key, _) in values() {
        assert!(names.iter().any(|name| name == key), "{key}: {names:?}");
    }
}
