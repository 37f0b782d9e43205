//! The encrypted store, through its command line and its file.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use sealfleet_identity_builtin::store::{self, Opened, StoreError};
use serde_json::Value;

const VALUE: &str = "a-value-nobody-may-find-in-any-file-0123456789";

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn created() -> Self {
        let place = Self::new();
        assert!(
            place
                .run(&["create", "--project", "healthcare"], "")
                .status
                .success()
        );
        place
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("secrets.json")
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("key")
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sealfleet-init"))
            .arg("builtin")
            .args(arguments)
            .arg("--store")
            .arg(self.store())
            .arg("--key-file")
            .arg(self.key())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that takes no input may be gone already.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        child.wait_with_output().unwrap()
    }

    fn put(&self, name: &str, value: &str) -> String {
        let output = self.run(&["put", name], value);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["uri"], format!("builtin://{name}"));
        answer["version"].as_str().unwrap().to_owned()
    }

    fn open(&self, project: &str) -> Result<Opened, StoreError> {
        Opened::open(
            &std::fs::read(self.store()).unwrap(),
            &std::fs::read(self.key()).unwrap(),
            Some(project),
        )
    }

    fn get(&self, name: &str, version: Option<&str>) -> Result<String, StoreError> {
        let (value, _) = self.open("healthcare")?.get(name, version)?;
        Ok(String::from_utf8(value.expose().to_vec()).unwrap())
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut content: Value =
            serde_json::from_slice(&std::fs::read(self.store()).unwrap()).unwrap();
        change(&mut content);
        std::fs::write(self.store(), serde_json::to_vec(&content).unwrap()).unwrap();
    }
}

#[test]
fn values_come_back_by_version_and_the_newest_by_default() {
    let place = Place::created();
    let first = place.put("crm/api-key", VALUE);
    let second = place.put("crm/api-key", "rotated\n");
    assert!(second > first);
    assert_eq!(place.get("crm/api-key", None).unwrap(), "rotated\n");
    assert_eq!(place.get("crm/api-key", Some(&first)).unwrap(), VALUE);
    assert!(
        place
            .run(&["put", "--strip-newline", "crm/api-key"], "rotated\r\n")
            .status
            .success()
    );
    assert_eq!(place.get("crm/api-key", None).unwrap(), "rotated\r");
    let list = place.run(&["list"], "");
    assert_eq!(String::from_utf8(list.stdout).unwrap().lines().count(), 3);
}

#[test]
fn no_file_holds_a_value_and_only_the_owner_reads_them() {
    let place = Place::created();
    place.put("crm/api-key", VALUE);
    let encoded = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(VALUE)
    };
    for entry in std::fs::read_dir(place.directory.path()).unwrap() {
        let entry = entry.unwrap();
        let content = String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned();
        assert!(
            !content.contains(&VALUE[8..24]) && !content.contains(&encoded[8..24]),
            "{}",
            entry.path().display()
        );
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{}",
            entry.path().display()
        );
    }
    let output = place.run(&["list"], "");
    assert!(!String::from_utf8_lossy(&output.stdout).contains(VALUE));
}

#[test]
fn a_wrong_key_or_project_is_said_clearly() {
    let (place, other) = (Place::created(), Place::created());
    place.put("crm/api-key", VALUE);
    assert!(
        matches!(place.open("finance"), Err(StoreError::WrongProject { store, wanted }) if store == "healthcare" && wanted == "finance")
    );
    std::fs::copy(other.key(), place.key()).unwrap();
    assert!(matches!(
        place.open("healthcare"),
        Err(StoreError::WrongKey)
    ));
    let output = place.run(&["list"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("the key does not open this builtin store")
    );
    std::fs::write(place.key(), "sealfleet-key-v1:short").unwrap();
    assert!(matches!(place.open("healthcare"), Err(StoreError::BadKey)));
    // Renaming the project in the header does not make it another project's.
    std::fs::copy(other.key(), place.key()).unwrap();
    other.change(|content| content["project"] = "finance".into());
    assert!(matches!(other.open("finance"), Err(StoreError::WrongKey)));
}

#[test]
fn ciphertexts_that_change_places_are_refused() {
    fn exchange(content: &mut Value, (a, b): (usize, usize), fields: &[&str]) {
        for field in fields {
            let kept = content["entries"][a][field].clone();
            content["entries"][a][field] = content["entries"][b][field].clone();
            content["entries"][b][field] = kept;
        }
    }
    let damaged = |change: fn(&mut Value)| {
        let place = Place::created();
        place.put("one", "value of one");
        place.put("one", "second value of one");
        place.put("two", "value of two");
        place.change(change);
        ["one", "two"].map(|name| matches!(place.get(name, None), Err(StoreError::Damaged(_))))
    };
    assert_eq!(damaged(|_| {}), [false, false]);
    assert_eq!(
        damaged(|content| exchange(content, (1, 2), &["value"])),
        [true, true]
    );
    assert_eq!(
        damaged(|content| exchange(content, (1, 2), &["key"])),
        [true, true]
    );
    assert_eq!(
        damaged(|content| exchange(content, (1, 2), &["key", "value"])),
        [true, true]
    );
    // An older version under the newer one's id.
    assert_eq!(
        damaged(|content| exchange(content, (0, 1), &["key", "value"])),
        [true, false]
    );
    // The wrapped key in the place of the value.
    assert_eq!(
        damaged(|content| content["entries"][2]["value"] = content["entries"][2]["key"].clone()),
        [false, true]
    );
    assert_eq!(
        damaged(|content| content["entries"][2]["name"] = "three".into()),
        [false, false]
    );
}

#[test]
fn a_renamed_entry_does_not_open_under_its_new_name() {
    let place = Place::created();
    place.put("two", VALUE);
    place.change(|content| content["entries"][0]["name"] = "three".into());
    assert!(matches!(
        place.get("three", None),
        Err(StoreError::Damaged(_))
    ));
    assert!(matches!(
        place.get("two", None),
        Err(StoreError::UnknownSecret(_))
    ));
}

#[test]
fn a_passphrase_works_in_the_place_of_a_key() {
    let place = Place::new();
    std::fs::write(place.key(), "correct horse battery staple\n").unwrap();
    assert!(
        place
            .run(&["create", "--project", "healthcare"], "")
            .status
            .success()
    );
    place.put("crm/api-key", VALUE);
    assert_eq!(place.get("crm/api-key", None).unwrap(), VALUE);
    std::fs::write(place.key(), "incorrect horse battery staple").unwrap();
    assert!(matches!(
        place.open("healthcare"),
        Err(StoreError::WrongKey)
    ));
    std::fs::write(place.key(), "short").unwrap();
    assert!(matches!(place.open("healthcare"), Err(StoreError::BadKey)));
}

#[test]
fn unusable_input_is_refused_and_changes_nothing() {
    let place = Place::created();
    place.put("kept", VALUE);
    let before = std::fs::read(place.store()).unwrap();
    let long = "x".repeat(64 * 1024 + 1);
    for (name, value) in [
        ("../up", "v"),
        ("a//b", "v"),
        ("sp ace", "v"),
        ("ok", ""),
        ("ok", "a\0b"),
        ("ok", &long),
    ] {
        let output = place.run(&["put", name], value);
        assert_eq!(output.status.code(), Some(1), "{name:?}");
    }
    assert_eq!(std::fs::read(place.store()).unwrap(), before);
    let again = place.run(&["create", "--project", "healthcare"], "");
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"));
    for project in ["Healthcare", "a--b", "-a", "1a", ""] {
        let output = Place::new().run(&["create", &format!("--project={project}")], "");
        assert_eq!(output.status.code(), Some(1), "{project}");
    }
    assert!(matches!(
        place.get("kept", Some("01890000-0000-7000-8000-000000000000")),
        Err(StoreError::UnknownVersion { .. })
    ));
}

#[test]
fn writers_at_once_lose_nothing() {
    let place = Place::created();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let place = &place;
            scope.spawn(move || place.put(&format!("secret-{number}"), VALUE));
        }
    });
    assert_eq!(
        store::open(&place.store(), &place.key())
            .unwrap()
            .list()
            .len(),
        8
    );
}

#[test]
fn a_write_that_is_cut_off_leaves_the_old_store() {
    let place = Place::created();
    place.put("kept", VALUE);
    let before = std::fs::read(place.store()).unwrap();
    // The file size limit kills the writer in the middle of the new file, as a full disk or a crash
    // would end it.
    let script = format!(
        "ulimit -f 1; printf %s {} | {} builtin put big --store {} --key-file {}",
        "y".repeat(4000),
        env!("CARGO_BIN_EXE_sealfleet-init"),
        place.store().display(),
        place.key().display()
    );
    let status = Command::new("/bin/sh")
        .args(["-c", &script])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success());
    assert_eq!(std::fs::read(place.store()).unwrap(), before);
    assert_eq!(place.get("kept", None).unwrap(), VALUE);
}

#[test]
fn a_rotation_takes_every_version_to_the_new_key() {
    let place = Place::created();
    let versions: Vec<(&str, String, String)> = [
        ("crm/api-key", VALUE),
        ("crm/api-key", "rotated"),
        ("ehr", "other"),
    ]
    .map(|(name, value)| (name, place.put(name, value), value.to_owned()))
    .into();
    let before = place.run(&["list"], "").stdout;
    let (old, new) = (
        place.directory.path().join("old"),
        place.directory.path().join("new"),
    );
    std::fs::copy(place.key(), &old).unwrap();
    store::create_key(&new).unwrap();
    assert!(matches!(
        store::create_key(&new),
        Err(StoreError::Exists(_))
    ));
    let rotated = place.run(&["rotate-key", "--new-key-file", new.to_str().unwrap()], "");
    assert!(
        rotated.status.success(),
        "{}",
        String::from_utf8_lossy(&rotated.stderr)
    );
    assert_eq!(rotated.stdout, before, "names, versions and their ids");

    assert!(
        matches!(place.open("healthcare"), Err(StoreError::WrongKey)),
        "the old key opens nothing"
    );
    std::fs::copy(&new, place.key()).unwrap();
    for (name, version, value) in &versions {
        assert_eq!(
            place.get(name, Some(version)).unwrap(),
            *value,
            "{name} {version}"
        );
    }
    assert_eq!(place.run(&["verify"], "").stdout, before);
    place.put("crm/api-key", "newer");
    // Once more under the same key is a mistake, and changes nothing.
    let again = place.run(&["rotate-key", "--new-key-file", new.to_str().unwrap()], "");
    assert!(String::from_utf8_lossy(&again.stderr).contains("under that key already"));
    // No data key is left that the old master key opens: an old header over the new entries does
    // not help.
    let old_key = std::fs::read(&old).unwrap();
    assert!(matches!(
        Opened::open(&std::fs::read(place.store()).unwrap(), &old_key, None),
        Err(StoreError::WrongKey)
    ));
}

#[test]
fn a_key_file_may_hold_both_keys_while_a_rotation_is_on() {
    let place = Place::created();
    place.put("crm/api-key", VALUE);
    let new = place.directory.path().join("new");
    store::create_key(&new).unwrap();
    let both = [
        std::fs::read(&new).unwrap(),
        std::fs::read(place.key()).unwrap(),
    ]
    .concat();
    std::fs::write(place.key(), &both).unwrap();
    assert_eq!(
        place.get("crm/api-key", None).unwrap(),
        VALUE,
        "before the store is under the new key"
    );
    store::rotate_key(&place.store(), &place.key(), &new).unwrap();
    assert_eq!(place.get("crm/api-key", None).unwrap(), VALUE, "and after");
    std::fs::write(
        place.key(),
        [b"sealfleet-key-v1:short\n".as_slice(), &both].concat(),
    )
    .unwrap();
    assert!(
        matches!(place.open("healthcare"), Err(StoreError::BadKey)),
        "a line that is not a key"
    );
}

#[test]
fn keys_and_passphrases_take_each_others_place() {
    let place = Place::created();
    let version = place.put("crm/api-key", VALUE);
    let (phrase, key) = (
        place.directory.path().join("phrase"),
        place.directory.path().join("key-2"),
    );
    std::fs::write(&phrase, "correct horse battery staple\n").unwrap();
    store::create_key(&key).unwrap();
    for new in [&phrase, &key] {
        store::rotate_key(&place.store(), &place.key(), new).unwrap();
        assert!(matches!(
            place.open("healthcare"),
            Err(StoreError::WrongKey)
        ));
        std::fs::copy(new, place.key()).unwrap();
        assert_eq!(place.get("crm/api-key", Some(&version)).unwrap(), VALUE);
    }
}

#[test]
fn a_rotation_that_is_cut_off_or_finds_damage_changes_nothing() {
    let place = Place::created();
    let new = place.directory.path().join("new");
    store::create_key(&new).unwrap();
    for name in ["one", "two", "three"] {
        place.put(name, VALUE);
    }
    let before = std::fs::read(place.store()).unwrap();
    let script = format!(
        "ulimit -f 1; {} builtin rotate-key --store {} --key-file {} --new-key-file {}",
        env!("CARGO_BIN_EXE_sealfleet-init"),
        place.store().display(),
        place.key().display(),
        new.display()
    );
    let status = Command::new("/bin/sh")
        .args(["-c", &script])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success());
    assert_eq!(std::fs::read(place.store()).unwrap(), before);
    assert_eq!(place.get("two", None).unwrap(), VALUE);

    place.change(|content| content["entries"][1]["value"] = content["entries"][0]["value"].clone());
    let damaged = std::fs::read(place.store()).unwrap();
    let verified = place.run(&["verify"], "");
    assert_eq!(
        String::from_utf8(verified.stdout).unwrap().lines().count(),
        2
    );
    assert!(
        String::from_utf8_lossy(&verified.stderr).contains("`builtin://two`"),
        "the damaged one is named"
    );
    assert!(matches!(
        store::rotate_key(&place.store(), &place.key(), &new),
        Err(StoreError::Damaged(_))
    ));
    assert_eq!(std::fs::read(place.store()).unwrap(), damaged);
}
