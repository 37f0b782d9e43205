//! S3 as `export` sees it: one bucket, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

#[derive(Default)]
pub struct Store {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl Store {
    pub fn objects(&self) -> usize {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.len()
    }

    /// Puts, gets and lists, path style.
    pub fn serve(&self, method: &Method, uri: &Uri, body: Bytes) -> Response {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let path = uri.path().trim_start_matches('/');
        let key = decoded(path.split_once('/').map_or("", |(_, key)| key));
        if *method == Method::PUT {
            objects.insert(key, body);
            return StatusCode::OK.into_response();
        }
        if key.is_empty() {
            let listed = listed(&objects, uri.query().unwrap_or_default());
            return ([("content-type", "application/xml")], listed).into_response();
        }
        match objects.get(&key) {
            Some(bytes) => bytes.clone().into_response(),
            None => {
                let error = "<Error><Code>NoSuchKey</Code></Error>";
                (StatusCode::NOT_FOUND, error).into_response()
            }
        }
    }
}

/// `ListObjectsV2` in one page.
fn listed(objects: &BTreeMap<String, Bytes>, query: &str) -> String {
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.find(|(key, _)| *key == name);
        found.map(|(_, value)| decoded(value)).unwrap_or_default()
    };
    let (prefix, after) = (parameter("prefix"), parameter("start-after"));
    let delimiter = parameter("delimiter");
    let (mut folders, mut contents) = (BTreeSet::new(), String::new());
    for key in objects.keys().filter(|key| **key > after) {
        let Some(below) = key.strip_prefix(&prefix) else {
            continue;
        };
        match below.split_once('/') {
            Some((folder, _)) if !delimiter.is_empty() => {
                folders.insert(format!(
                    "<CommonPrefixes><Prefix>{prefix}{folder}/</Prefix></CommonPrefixes>"
                ));
            }
            _ => contents.push_str(&format!(
                "<Contents><Key>{key}</Key><LastModified>2099-01-01T00:00:00.000Z</LastModified></Contents>"
            )),
        }
    }
    let folders: String = folders.into_iter().collect();
    format!(
        "<ListBucketResult><IsTruncated>false</IsTruncated>{folders}{contents}</ListBucketResult>"
    )
}

/// A part of a URL without its percent-encoding.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut letters = text.bytes();
    while let Some(letter) = letters.next() {
        let mut hex = || char::from(letters.next()?).to_digit(16);
        if letter != b'%' {
            bytes.push(letter);
        } else if let (Some(high), Some(low)) = (hex(), hex()) {
            bytes.extend(u8::try_from(high * 16 + low));
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
