//! Images of every kind, through the directory that they become.

use super::*;
use crate::image::unpack_image;
use std::os::unix::fs::MetadataExt as _;

/// An entry of a layer.
enum Of<'a> {
    Directory(&'a str),
    File(&'a str, &'a str),
    Name(&'a str, &'a str),
    Link(&'a str, &'a str),
    Device(&'a str),
}
use Of::{Device, Directory, Name};

/// Files of an archive, by name.
type Files<'a> = &'a [(&'a str, &'a [u8])];

/// A tar of these entries. Names are written as they are, also hostile ones.
fn layer(entries: &[Of<'_>]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        let (kind, name, target, content) = match entry {
            Directory(name) => (tar::EntryType::Directory, name, "", ""),
            Of::File(name, content) => (tar::EntryType::Regular, name, "", *content),
            Name(name, target) => (tar::EntryType::Link, name, *target, ""),
            Of::Link(name, target) => (tar::EntryType::Symlink, name, *target, ""),
            Device(name) => (tar::EntryType::Char, name, "", ""),
        };
        let mut header = header(kind, 0o755);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        archive.append(&header, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    hex(Sha256::new_with_prefix(bytes))
}

fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let digests: Vec<_> = layers
        .iter()
        .map(|layer| format!("sha256:{}", sha256(layer)))
        .collect();
    serde_json::json!({ "rootfs": { "type": "layers", "diff_ids": digests } })
        .to_string()
        .into_bytes()
}

/// What `docker save` writes.
fn saved(place: &Path, layers: &[Vec<u8>]) -> PathBuf {
    let config = config(layers);
    let name = format!("{}.json", sha256(&config));
    let names: Vec<_> = (0..layers.len())
        .map(|number| format!("{number}/layer.tar"))
        .collect();
    let manifest = serde_json::json!([{ "Config": name, "RepoTags": ["a:1"], "Layers": names }]);
    let mut files = vec![
        (name, config),
        ("manifest.json".to_owned(), manifest.to_string().into()),
    ];
    files.extend(names.into_iter().zip(layers.iter().cloned()));
    packed(place, &files)
}

fn packed(place: &Path, files: &[(String, Vec<u8>)]) -> PathBuf {
    let path = place.join("image.tar");
    let mut archive = tar::Builder::new(File::create(&path).unwrap());
    for (name, content) in files {
        let mut header = header(tar::EntryType::Regular, 0o644);
        header.set_size(content.len() as u64);
        archive
            .append_data(&mut header, name, content.as_slice())
            .unwrap();
    }
    archive.into_inner().unwrap();
    path
}

fn unpacked(place: &Path, archive: &Path) -> Result<PathBuf, String> {
    let init = place.join("init");
    fs::write(&init, "init").unwrap();
    let root = place.join("root");
    unpack_image(&root, archive, &init).map_err(|error| error.to_string())
}

/// The root of an image of these layers; each image has programs.
fn root_of(place: &Path, layers: &[&[Of<'_>]]) -> Result<PathBuf, String> {
    let programs = layer(&[
        Directory("usr"),
        Directory("usr/bin"),
        Of::File("usr/bin/tool", "tool"),
    ]);
    let above = layers.iter().map(|entries| layer(entries));
    let all: Vec<_> = std::iter::once(programs).chain(above).collect();
    unpacked(place, &saved(place, &all))
}

fn read(root: &Path, name: &str) -> String {
    fs::read_to_string(root.join(name)).unwrap()
}

#[test]
fn what_a_layer_takes_away_is_gone_and_the_last_one_wins() {
    let place = tempfile::tempdir().unwrap();
    let root = root_of(
        place.path(),
        &[
            &[
                Of::File("changed", "old"),
                Of::File("removed", ""),
                Directory("emptied"),
                Of::File("emptied/old", ""),
                Directory("was-directory"),
                Of::File("was-directory/in", ""),
                Of::File("was-file", ""),
                Directory("gone"),
                Of::File("gone/in", ""),
            ],
            &[
                Of::File("changed", "new"),
                Of::File(".wh.removed", ""),
                Of::File("emptied/new", ""),
                // After what it does not concern.
                Of::File("emptied/.wh..wh..opq", ""),
                Of::File("was-directory", "now a file"),
                Directory("was-file"),
                Of::File("was-file/in", ""),
                Of::File(".wh.gone", ""),
                Directory("gone"),
                Of::File("gone/again", ""),
            ],
        ],
    )
    .unwrap();
    assert_eq!(read(&root, "changed"), "new");
    assert!(!root.join("removed").exists());
    assert!(root.join("emptied/new").exists() && !root.join("emptied/old").exists());
    assert_eq!(read(&root, "was-directory"), "now a file");
    assert!(root.join("was-file/in").exists());
    assert!(root.join("gone/again").exists() && !root.join("gone/in").exists());
    assert_eq!(read(&root, "usr/bin/tool"), "tool");
    assert_eq!(read(&root, "sealfleet-init"), "init");
    let left = |name: &str| root.join(name).symlink_metadata().is_ok();
    assert!(!left(".wh.removed") && !left(".wh.gone") && !left("emptied/.wh..wh..opq"));
}

#[test]
fn names_of_a_file_stay_one_file_and_keep_what_a_later_layer_replaces() {
    let place = tempfile::tempdir().unwrap();
    let root = root_of(
        place.path(),
        &[
            &[
                Of::File("one", "first"),
                Name("two", "one"),
                Name("three", "/one"),
                Name("four", "./two"),
            ],
            &[Of::File("one", "second"), Of::File(".wh.three", "")],
        ],
    )
    .unwrap();
    assert_eq!(
        (read(&root, "one"), read(&root, "two")),
        ("second".into(), "first".into())
    );
    assert!(!root.join("three").exists());
    let inode = |name: &str| fs::metadata(root.join(name)).unwrap().ino();
    assert_eq!(inode("two"), inode("four"));
    assert_ne!(inode("one"), inode("two"));
}

#[test]
fn links_lead_to_nothing_but_the_image_s_own_files() {
    let place = tempfile::tempdir().unwrap();
    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "of the host").unwrap();
    let absolute = outside.to_str().unwrap();
    let root = root_of(
        place.path(),
        &[
            &[
                Of::Link("lib", "usr/lib"),
                Of::Link("way-out", absolute),
                Of::Link("climbs", "../../../../../../../../../../tmp"),
            ],
            &[
                Of::File("lib/tool", "tool"),
                Of::File("way-out/file", "of the image"),
                Of::File("climbs/file", "of the image"),
            ],
        ],
    )
    .unwrap();
    assert_eq!(read(&outside, "file"), "of the host");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(read(&root, "usr/lib/tool"), "tool");
    assert_eq!(read(&root, "tmp/file"), "of the image");
    let inside = root.join(absolute.trim_start_matches('/'));
    assert_eq!(read(&inside, "file"), "of the image");
    assert_eq!(fs::read_link(root.join("way-out")).unwrap(), outside);
}

#[test]
fn an_image_that_would_leave_its_root_is_refused_and_nothing_is_left() {
    let place = tempfile::tempdir().unwrap();
    let refused = |entries: &[Of<'_>]| root_of(place.path(), &[entries]).unwrap_err();
    let cases: [(&[Of<'_>], &str); 6] = [
        (&[Of::File("../out", "")], "outside of its root"),
        (&[Of::File("usr/../../out", "")], "outside of its root"),
        (&[Name("name", "../../etc/passwd")], "outside of its root"),
        (&[Name("name", "/etc/passwd")], "no file of it"),
        (&[Name("name", "usr")], "no file of it"),
        (
            &[
                Of::Link("a", "b"),
                Of::Link("b", "a"),
                Of::File("a/file", ""),
            ],
            "too many links",
        ),
    ];
    for (entries, told) in cases {
        let words = refused(entries);
        assert!(words.contains(told), "{told}: {words}");
    }
    let names = fs::read_dir(place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["image.tar", "init"]);
}

#[test]
fn devices_are_left_out() {
    let place = tempfile::tempdir().unwrap();
    let root = root_of(
        place.path(),
        &[&[Device("usr/bin/disk"), Of::File("usr/bin/last", "")]],
    );
    let root = root.unwrap();
    assert!(root.join("usr/bin/last").exists());
    assert!(root.join("usr/bin/disk").symlink_metadata().is_err());
}

#[test]
fn an_image_layout_is_read_as_a_directory_for_this_machine() {
    let place = tempfile::tempdir().unwrap();
    let layout = place.path().join("layout");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = sha256(bytes);
        fs::write(blobs.join(&digest), bytes).unwrap();
        serde_json::json!({ "digest": format!("sha256:{digest}"), "size": bytes.len() })
    };
    let layers = [
        layer(&[Directory("usr"), Of::File("usr/tool", "tool")]),
        layer(&[Of::File("usr/more", "more")]),
    ];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&layers[1]).unwrap();
    let descriptors = [put(&layers[0]), put(&gzip.finish().unwrap())];
    let config = put(&config(&layers));
    let manifest = put(
        serde_json::json!({ "config": config, "layers": descriptors })
            .to_string()
            .as_bytes(),
    );
    let mut own = manifest;
    own["platform"] = serde_json::json!({ "os": "linux", "architecture": match std::env::consts::ARCH {
        "x86_64" => "amd64",
        _ => "arm64",
    } });
    let other = serde_json::json!({
        "digest": format!("sha256:{}", "0".repeat(64)),
        "platform": { "os": "linux", "architecture": "s390x" },
    });
    let inner = put(serde_json::json!({ "manifests": [other, own] })
        .to_string()
        .as_bytes());
    let index = serde_json::json!({ "manifests": [inner] });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    let root = unpacked(place.path(), &layout).unwrap();
    assert_eq!(
        (read(&root, "usr/tool"), read(&root, "usr/more")),
        ("tool".into(), "more".into())
    );
}

#[test]
fn what_does_not_have_its_digest_or_is_no_image_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let good = layer(&[Directory("usr"), Of::File("usr/tool", "tool")]);
    let bad = layer(&[Directory("usr"), Of::File("usr/tool", "evil")]);
    let refused = |files: Files<'_>| {
        let files: Vec<_> = files
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()))
            .collect();
        unpacked(place.path(), &packed(place.path(), &files)).unwrap_err()
    };
    let config = config(std::slice::from_ref(&good));
    let config_name = format!("{}.json", sha256(&config));
    let manifest = |config: &str, layers: &[&str]| {
        serde_json::json!([{ "Config": config, "Layers": layers }])
            .to_string()
            .into_bytes()
    };
    let one = manifest(&config_name, &["layer"]);
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd], good.as_slice()].concat();
    let two = [one.strip_suffix(b"]").unwrap(), b",{}]"].concat();
    let other_config = manifest("another.json", &["layer"]);
    let fewer = manifest(&config_name, &[]);
    let cases: [(Files<'_>, &str); 7] = [
        (
            &[
                ("manifest.json", &one),
                (&config_name, &config),
                ("layer", &bad),
            ],
            "not the one that the image names",
        ),
        (
            &[
                ("manifest.json", &other_config),
                ("another.json", &config),
                ("layer", &good),
            ],
            "the digest of its name",
        ),
        (
            &[("manifest.json", &one), (&config_name, &config)],
            "layer` is missing",
        ),
        (
            &[("manifest.json", &fewer), (&config_name, &config)],
            "other layers",
        ),
        (
            &[
                ("manifest.json", &one),
                (&config_name, &config),
                ("layer", &zstd),
            ],
            "zstd",
        ),
        (&[("manifest.json", &two)], "several images"),
        (&[("usr/bin/tool", b"a root")], "--from-tar"),
    ];
    for (files, told) in cases {
        let words = refused(files);
        assert!(words.contains(told), "{told}: {words}");
        assert!(!place.path().join("root").exists(), "{told}");
    }
}
