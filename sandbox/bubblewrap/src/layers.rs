//! The layers of an image that lies in files, put on one another.
//!
//! An image of `docker save` and an OCI image layout, as a tar file or as a directory, hold a
//! manifest, a configuration and layers. Each layer is a tar with what it adds, and with a
//! whiteout `.wh.NAME` for what it takes away
//! (<https://github.com/opencontainers/image-spec/blob/main/layer.md>).
//!
//! [`Image::read`] stacks the layers in memory, by names alone, and [`Image::write`] writes what is
//! left as one tar, as `docker export` does. So there is one way from a tar into a directory,
//! [`unpack_rootfs`](crate::unpack_rootfs). In the tar that is written, no name passes a link:
//! directories come first, files by their real place next, links last. Every byte that counts has
//! the digest that the image's configuration names.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The most bytes of a manifest or configuration.
const DESCRIPTION_BYTES: u64 = 8 * 1024 * 1024;
/// The most files of an image: their names lie in memory.
const MOST_FILES: usize = 2_000_000;
/// The most links that lead to one name (path_resolution(7)).
const MOST_LINKS: usize = 40;
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const INNERMOST: u64 = 8;

/// An image that has been read, and found whole.
pub(crate) struct Image {
    store: Store,
    layers: Vec<Layer>,
    tree: Tree,
}

/// A layer: its file in the store, and the digest of its tar.
struct Layer {
    file: String,
    diff_id: String,
}

impl Image {
    /// Reads every layer once.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let store = Store::open(path)?;
        let layers = store.layers()?;
        let mut tree = Tree::default();
        for (number, layer) in layers.iter().enumerate() {
            let mut changes = Changes::default();
            store.walk(layer, |index, entry| {
                changes.note(
                    Inode {
                        layer: number,
                        index,
                    },
                    entry,
                )
            })?;
            tree.apply(changes)?;
        }
        Ok(Self {
            store,
            layers,
            tree,
        })
    }

    /// Writes the files of the image as one tar. Devices and pipes are left out.
    pub(crate) fn write(&self, into: impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(into);
        let mut left = Left::default();
        let root = &self.tree.root;
        root.write_directories(Path::new(""), &mut archive, &mut left)?;
        for (number, layer) in self.layers.iter().enumerate() {
            self.store.walk(layer, |index, entry| {
                let inode = Inode {
                    layer: number,
                    index,
                };
                let Some((first, others)) =
                    left.files.get(&inode).and_then(|all| all.split_first())
                else {
                    return Ok(());
                };
                let mut header = header(tar::EntryType::Regular, entry.header().mode()?);
                header.set_size(entry.size());
                header.set_mtime(entry.header().mtime()?);
                archive.append_data(&mut header, first, entry)?;
                for other in others {
                    let mut header = self::header(tar::EntryType::Link, 0o644);
                    archive.append_link(&mut header, other, first)?;
                }
                Ok(())
            })?;
        }
        for (path, target) in &left.links {
            let mut header = header(tar::EntryType::Symlink, 0o777);
            archive.append_link(&mut header, path, target)?;
        }
        archive.into_inner()?.flush()
    }
}

fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn wrong(words: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words.into())
}

/// Where the files of an image lie.
enum Store {
    Directory(PathBuf),
    /// A tar file, with the place of each of its files, and what its links lead to.
    Tar {
        path: PathBuf,
        files: HashMap<PathBuf, (u64, u64)>,
        links: HashMap<PathBuf, PathBuf>,
    },
}

impl Store {
    fn open(path: &Path) -> io::Result<Self> {
        if fs::metadata(path)?.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let (mut files, mut links) = (HashMap::new(), HashMap::new());
        let mut archive = tar::Archive::new(BufReader::new(File::open(path)?));
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let name = inside(&entry.path()?)?;
            match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    files.insert(name, (entry.raw_file_position(), entry.size()));
                }
                // An engine before 25 stores a layer that occurs twice once, and a link to it.
                tar::EntryType::Symlink => {
                    let target = entry.link_name()?.unwrap_or_default();
                    let folder = name.parent().unwrap_or(Path::new(""));
                    links.insert(name.clone(), inside(&normal(&folder.join(target)))?);
                }
                tar::EntryType::Link => {
                    links.insert(name, inside(&entry.link_name()?.unwrap_or_default())?);
                }
                _ => {}
            }
        }
        Ok(Self::Tar {
            path: path.to_owned(),
            files,
            links,
        })
    }

    /// A file of the image; `None` if there is none of this name.
    fn file(&self, name: &str) -> io::Result<Option<Box<dyn Read>>> {
        let name = inside(Path::new(name))?;
        match self {
            Self::Directory(directory) => match File::open(directory.join(name)) {
                Ok(file) => Ok(Some(Box::new(file))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            Self::Tar { path, files, links } => {
                let name = links.get(&name).unwrap_or(&name);
                let Some(&(begin, length)) = files.get(name) else {
                    return Ok(None);
                };
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(begin))?;
                Ok(Some(Box::new(file.take(length))))
            }
        }
    }

    /// The bytes of a manifest, an index or a configuration.
    fn description(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.file(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(DESCRIPTION_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > DESCRIPTION_BYTES {
            return Err(wrong(format!(
                "`{name}` is larger than a description of an image"
            )));
        }
        Ok(Some(bytes))
    }

    fn layers(&self) -> io::Result<Vec<Layer>> {
        if let Some(manifest) = self.description("manifest.json")? {
            return self.of_docker(&parsed(&manifest)?);
        }
        if let Some(index) = self.description("index.json")? {
            return self.of_oci(&parsed(&index)?, INNERMOST);
        }
        Err(wrong(
            "it has no `manifest.json` and no `index.json`, so it is no image; make one with `docker save`, and give a \
             tar of a root's files by `--from-tar`",
        ))
    }

    /// What `docker save` writes.
    fn of_docker(&self, manifest: &Value) -> io::Result<Vec<Layer>> {
        let Some([image]) = manifest.as_array().map(Vec::as_slice) else {
            return Err(wrong("it holds several images; save one alone"));
        };
        let name = text(image, "Config")?;
        let config = self.description(name)?;
        let config =
            config.ok_or_else(|| wrong(format!("its configuration `{name}` is missing")))?;
        // `DIGEST.json`, `sha256:DIGEST` or `blobs/sha256/DIGEST`.
        let stem = Path::new(name).file_stem().and_then(OsStr::to_str);
        let digest = stem.unwrap_or_default().trim_start_matches("sha256:");
        ensure_digest(&config, digest, name)?;
        let files = list(image, "Layers")?
            .iter()
            .map(|file| match file.as_str() {
                Some(file) => Ok(file.to_owned()),
                None => Err(wrong("its manifest names no file of a layer")),
            });
        with_diff_ids(&parsed(&config)?, files.collect::<io::Result<_>>()?)
    }

    /// An image layout, from its index inwards.
    fn of_oci(&self, index: &Value, deeper: u64) -> io::Result<Vec<Layer>> {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let fits = |entry: &&Value| {
            let platform = entry.get("platform");
            let is = |key: &str, wanted: &str| {
                let told = platform.and_then(|platform| platform.get(key)?.as_str());
                told.is_none_or(|told| told == wanted)
            };
            is("os", "linux") && is("architecture", architecture)
        };
        let manifests = list(index, "manifests")?;
        let fitting: Vec<&Value> = manifests.iter().filter(fits).collect();
        let [one] = fitting.as_slice() else {
            return Err(wrong(format!(
                "it holds {} images for linux/{architecture}, and not one",
                fitting.len()
            )));
        };
        let inner = parsed(&self.blob(one)?)?;
        if inner.get("manifests").is_some() {
            return match deeper.checked_sub(1) {
                Some(deeper) => self.of_oci(&inner, deeper),
                None => Err(wrong("its indexes lead to no image")),
            };
        }
        let config = inner.get("config").unwrap_or(&Value::Null);
        let config = parsed(&self.blob(config)?)?;
        let files = list(&inner, "layers")?.iter().map(blob_name);
        with_diff_ids(&config, files.collect::<io::Result<_>>()?)
    }

    /// What a descriptor names, with its digest.
    fn blob(&self, descriptor: &Value) -> io::Result<Vec<u8>> {
        let name = blob_name(descriptor)?;
        let bytes = self.description(&name)?;
        let bytes = bytes.ok_or_else(|| wrong(format!("`{name}` is missing")))?;
        ensure_digest(&bytes, name.rsplit('/').next().unwrap_or_default(), &name)?;
        Ok(bytes)
    }

    /// Hands on each entry of a layer with its number, and fails if the layer is not the one that
    /// the image's configuration names.
    fn walk(
        &self,
        layer: &Layer,
        mut each: impl FnMut(usize, &mut tar::Entry<'_, &mut Digesting>) -> io::Result<()>,
    ) -> io::Result<()> {
        let file = self.file(&layer.file)?;
        let file = file.ok_or_else(|| wrong(format!("its layer `{}` is missing", layer.file)))?;
        let mut reading = Digesting {
            inner: decompressed(file)?,
            digest: Sha256::new(),
        };
        let mut archive = tar::Archive::new(&mut reading);
        for (index, entry) in archive.entries()?.enumerate() {
            each(index, &mut entry?)?;
        }
        // A tar ends before its file does.
        io::copy(&mut reading, &mut io::sink())?;
        let found = hex(reading.digest);
        if found != layer.diff_id {
            return Err(wrong(format!(
                "its layer `{}` has the digest {found}, and not the one that the image names",
                layer.file
            )));
        }
        Ok(())
    }
}

/// Reads on, and takes the digest of what was read.
struct Digesting {
    inner: Box<dyn Read>,
    digest: Sha256,
}

impl Read for Digesting {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(into)?;
        self.digest.update(into.get(..length).unwrap_or_default());
        Ok(length)
    }
}

fn decompressed(file: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::with_capacity(1 << 16, file);
    let mut magic = [0; 4];
    let mut seen = 0;
    while let Some(rest) = magic.get_mut(seen..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            length => seen += length,
        }
    }
    let begin = io::Cursor::new(magic).take(seen as u64);
    let whole = begin.chain(file);
    match magic {
        [0x1f, 0x8b, ..] => Ok(Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(
            whole,
        )))),
        [0x28, 0xb5, 0x2f, 0xfd] => Err(wrong(
            "its layers are compressed with zstd, which is not read here; load it into an engine, and save it again",
        )),
        _ => Ok(Box::new(whole)),
    }
}

fn with_diff_ids(config: &Value, files: Vec<String>) -> io::Result<Vec<Layer>> {
    let rootfs = config.get("rootfs").unwrap_or(&Value::Null);
    let diff_ids = list(rootfs, "diff_ids")?;
    if diff_ids.len() != files.len() {
        return Err(wrong(
            "its configuration names other layers than its manifest",
        ));
    }
    let layers = files.into_iter().zip(diff_ids).map(|(file, diff_id)| {
        let diff_id = diff_id.as_str().unwrap_or_default();
        Ok(Layer {
            file,
            diff_id: sha256_of(diff_id)?.to_owned(),
        })
    });
    layers.collect()
}

fn blob_name(descriptor: &Value) -> io::Result<String> {
    Ok(format!(
        "blobs/sha256/{}",
        sha256_of(text(descriptor, "digest")?)?
    ))
}

/// The hexadecimal part of `sha256:DIGEST`.
fn sha256_of(digest: &str) -> io::Result<&str> {
    let hex = digest.strip_prefix("sha256:");
    hex.filter(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .ok_or_else(|| wrong(format!("`{digest}` is no SHA-256 digest")))
}

fn ensure_digest(bytes: &[u8], wanted: &str, name: &str) -> io::Result<()> {
    if hex(Sha256::new_with_prefix(bytes)) == wanted {
        Ok(())
    } else {
        Err(wrong(format!(
            "`{name}` does not have the digest of its name"
        )))
    }
}

fn hex(digest: Sha256) -> String {
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn parsed(json: &[u8]) -> io::Result<Value> {
    serde_json::from_slice(json)
        .map_err(|error| wrong(format!("its description is no JSON: {error}")))
}

fn text<'a>(value: &'a Value, key: &str) -> io::Result<&'a str> {
    let found = value.get(key).and_then(Value::as_str);
    found.ok_or_else(|| wrong(format!("its description has no `{key}`")))
}

fn list<'a>(value: &'a Value, key: &str) -> io::Result<&'a [Value]> {
    let found = value.get(key).and_then(Value::as_array);
    found
        .map(Vec::as_slice)
        .ok_or_else(|| wrong(format!("its description has no list `{key}`")))
}

/// A name as a path from the root, without `.` and without a leading `/`. One with `..` is refused.
fn inside(name: &Path) -> io::Result<PathBuf> {
    let mut path = PathBuf::new();
    for component in name.components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(wrong(format!(
                    "it has a file outside of its root: `{}`",
                    name.display()
                )));
            }
        }
    }
    Ok(path)
}

/// Without `..`, as far as it does not lead out.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut done, part| {
        if part == Component::ParentDir && done.pop() {
            return done;
        }
        done.push(part);
        done
    })
}

/// A file's content: which entry of which layer has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Inode {
    layer: usize,
    index: usize,
}

/// What a layer does.
#[derive(Default)]
struct Changes {
    removed: Vec<PathBuf>,
    emptied: Vec<PathBuf>,
    added: Vec<(PathBuf, Added)>,
}

enum Added {
    Directory {
        mode: u32,
    },
    File(Inode),
    /// Another name of a file.
    Name(PathBuf),
    Link(PathBuf),
}

impl Changes {
    fn note(&mut self, inode: Inode, entry: &tar::Entry<'_, impl Read>) -> io::Result<()> {
        let path = inside(&entry.path()?)?;
        let name = path.file_name().unwrap_or_default().as_bytes();
        if name == OPAQUE {
            self.emptied
                .push(path.parent().unwrap_or(Path::new("")).to_owned());
            return Ok(());
        }
        if let Some(name) = name.strip_prefix(WHITEOUT) {
            self.removed
                .push(path.with_file_name(OsStr::from_bytes(name)));
            return Ok(());
        }
        let target = || -> io::Result<PathBuf> {
            let bytes = entry.link_name_bytes().unwrap_or_default().into_owned();
            Ok(PathBuf::from(OsString::from_vec(bytes)))
        };
        let added = match entry.header().entry_type() {
            tar::EntryType::Directory => Added::Directory {
                mode: entry.header().mode()?,
            },
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                Added::File(inode)
            }
            tar::EntryType::Link => Added::Name(inside(&target()?)?),
            tar::EntryType::Symlink => Added::Link(target()?),
            _ => return Ok(()),
        };
        self.added.push((path, added));
        Ok(())
    }
}

/// The files of an image, from its root.
#[derive(Default)]
struct Tree {
    root: Node,
    files: usize,
}

#[derive(Clone)]
struct Node {
    what: What,
    /// Of a directory.
    children: BTreeMap<OsString, Node>,
}

#[derive(Clone)]
enum What {
    Directory { mode: u32 },
    File(Inode),
    Link(PathBuf),
}

/// What is written after the directories.
#[derive(Default)]
struct Left {
    /// The names of each file.
    files: HashMap<Inode, Vec<PathBuf>>,
    links: Vec<(PathBuf, PathBuf)>,
}

impl Tree {
    /// A layer on top: what it takes away goes first, wherever it says so.
    fn apply(&mut self, changes: Changes) -> io::Result<()> {
        for path in changes.emptied {
            let path = self.real(&path)?;
            if let Some(node) = self.root.at_mut(&path) {
                node.children.clear();
            }
        }
        for path in changes.removed {
            let (parent, name) = self.place_of(&path)?;
            if let Some(node) = self.root.at_mut(&parent) {
                node.children.remove(&name);
            }
        }
        for (path, added) in changes.added {
            self.files += 1;
            if self.files > MOST_FILES {
                return Err(wrong("it has too many files"));
            }
            if path.as_os_str().is_empty() {
                continue;
            }
            let what = match added {
                Added::Directory { mode } => What::Directory { mode },
                Added::File(inode) => What::File(inode),
                Added::Link(target) => What::Link(target),
                Added::Name(target) => self.file(&target).ok_or_else(|| {
                    wrong(format!(
                        "`{}` is a link to `{}`, which is no file of it",
                        path.display(),
                        target.display()
                    ))
                })?,
            };
            let (parent, name) = self.place_of(&path)?;
            let node = self.root.make(&parent).children.entry(name).or_default();
            if !(node.is_directory() && matches!(what, What::Directory { .. })) {
                node.children.clear();
            }
            node.what = what;
        }
        Ok(())
    }

    /// What a hard link to this name is.
    fn file(&self, target: &Path) -> Option<What> {
        let (parent, name) = self.place_of(target).ok()?;
        let node = self.root.at(&parent)?.children.get(&name)?;
        (!node.is_directory()).then(|| node.what.clone())
    }

    /// Where a name stands: its real directory, and its last part.
    fn place_of(&self, path: &Path) -> io::Result<(Vec<OsString>, OsString)> {
        let parent = self.real(path.parent().unwrap_or(Path::new("")))?;
        Ok((parent, path.file_name().unwrap_or_default().to_owned()))
    }

    /// A directory's path without links. They lead to nothing but the image's own files.
    fn real(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut waiting = parts(path);
        waiting.reverse();
        let (mut done, mut links) = (Vec::new(), 0);
        while let Some(part) = waiting.pop() {
            if part == ".." {
                done.pop();
                continue;
            }
            done.push(part);
            let Some(What::Link(target)) = self.root.at(&done).map(|node| &node.what) else {
                continue;
            };
            links += 1;
            if links > MOST_LINKS {
                return Err(wrong(format!(
                    "`{}` leads through too many links",
                    path.display()
                )));
            }
            done.pop();
            if target.is_absolute() {
                done.clear();
            }
            waiting.extend(parts(target).into_iter().rev());
        }
        Ok(done)
    }
}

/// The names of a path, `..` included.
fn parts(path: &Path) -> Vec<OsString> {
    let named = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    named.collect()
}

impl Default for Node {
    fn default() -> Self {
        Self {
            what: What::Directory { mode: 0o755 },
            children: BTreeMap::new(),
        }
    }
}

impl Node {
    fn is_directory(&self) -> bool {
        matches!(self.what, What::Directory { .. })
    }

    fn at(&self, path: &[OsString]) -> Option<&Self> {
        path.iter()
            .try_fold(self, |node, part| node.children.get(part))
    }

    fn at_mut(&mut self, path: &[OsString]) -> Option<&mut Self> {
        path.iter()
            .try_fold(self, |node, part| node.children.get_mut(part))
    }

    /// The directory at `path`, which is made if there is none.
    fn make(&mut self, path: &[OsString]) -> &mut Self {
        path.iter().fold(self, |node, part| {
            let next = node.children.entry(part.clone()).or_default();
            if !next.is_directory() {
                *next = Self::default();
            }
            next
        })
    }

    /// Writes this directory and those below it, and notes what else is there.
    fn write_directories(
        &self,
        path: &Path,
        archive: &mut tar::Builder<impl Write>,
        left: &mut Left,
    ) -> io::Result<()> {
        match &self.what {
            What::File(inode) => left.files.entry(*inode).or_default().push(path.to_owned()),
            What::Link(target) => left.links.push((path.to_owned(), target.clone())),
            What::Directory { mode } => {
                if !path.as_os_str().is_empty() {
                    // Its owner can fill it, whatever the image says.
                    let mut header = header(tar::EntryType::Directory, mode | 0o700);
                    archive.append_data(&mut header, path, io::empty())?;
                }
                for (name, node) in &self.children {
                    node.write_directories(&path.join(name), archive, left)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
