//! What of a value is searched for: the value itself, and the parts of it that are secrets on their
//! own.

use sealfleet_domain::redaction::Encoding;
use zeroize::Zeroizing;

/// Bytes of a value. Wiped when dropped.
pub type Bytes = Zeroizing<Vec<u8>>;

/// A value or a part of it, which is searched for in every encoding.
pub struct Form {
    pub bytes: Bytes,
    /// What its unencoded form is called.
    pub encoding: Encoding,
}

/// The forms of a value, with the value first.
pub fn of(value: &[u8]) -> Vec<Form> {
    let mut forms = vec![form(value, Encoding::Raw)];
    // A value that was read from a file often has a line end that programs leave out.
    let trimmed = value.trim_ascii();
    if trimmed != value {
        forms.push(form(trimmed, Encoding::Raw));
    }
    let Ok(text) = std::str::from_utf8(trimmed) else {
        return forms;
    };
    let mut parts = halves(text);
    parts.extend(of_url(text));
    parts.extend(of_json(text));
    // Documents hold keys: a service account's JSON has its private key as PEM.
    let bodies: Vec<Bytes> = parts
        .iter()
        .filter_map(|part| std::str::from_utf8(part).ok())
        .chain([text])
        .flat_map(pem_bodies)
        .collect();
    parts.extend(bodies);
    forms.extend(parts.into_iter().map(|bytes| Form {
        bytes,
        encoding: Encoding::Part,
    }));
    forms
}

/// The lines of a value that has several, without their indentation.
pub fn lines(value: &[u8]) -> Vec<&[u8]> {
    let lines: Vec<&[u8]> = value
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.len() < 2 {
        return Vec::new();
    }
    // The frame of a PEM block is in every other one, too.
    let is_frame = |line: &&[u8]| line.starts_with(b"-----");
    lines.into_iter().filter(|line| !is_frame(line)).collect()
}

fn form(bytes: &[u8], encoding: Encoding) -> Form {
    Form {
        bytes: owned(bytes),
        encoding,
    }
}

fn owned(bytes: &[u8]) -> Bytes {
    Zeroizing::new(bytes.to_vec())
}

/// Both halves of `NAME:PASSWORD`.
fn halves(text: &str) -> Vec<Bytes> {
    let Some((one, other)) = text.split_once(':') else {
        return Vec::new();
    };
    // The first colon of a document means something else.
    if text.contains('\n') || text.starts_with(['{', '[']) {
        return Vec::new();
    }
    [one, other].map(|half| owned(half.as_bytes())).into()
}

/// The password of `SCHEME://NAME:PASSWORD@HOST`, and both together.
fn of_url(text: &str) -> Vec<Bytes> {
    let user = text
        .split_once("://")
        .and_then(|(_, rest)| rest.split(['/', '?', '#']).next())
        .and_then(|authority| authority.rsplit_once('@'));
    let Some((user, _)) = user else {
        return Vec::new();
    };
    let password = user.split_once(':').map_or(user, |(_, password)| password);
    let mut parts = vec![owned(user.as_bytes()), owned(password.as_bytes())];
    // Programs read it without its percent signs.
    parts.extend([user, password].map(|part| Zeroizing::new(unpercented(part))));
    parts
}

fn unpercented(text: &str) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .filter(|_| byte == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(code.unwrap_or(byte));
        let taken = if code.is_some() { 2 } else { 0 };
        rest = after.get(taken..).unwrap_or_default();
    }
    plain
}

/// The strings inside a value that is a document of JSON, but not the names of its members.
fn of_json(text: &str) -> Vec<Bytes> {
    if !text.starts_with(['{', '[', '"']) {
        return Vec::new();
    }
    let mut strings = Vec::new();
    if let Ok(document) = serde_json::from_str::<serde_json::Value>(text) {
        strings_of(document, &mut strings);
    }
    strings
}

fn strings_of(value: serde_json::Value, strings: &mut Vec<Bytes>) {
    match value {
        serde_json::Value::String(text) => strings.push(Zeroizing::new(text.into_bytes())),
        serde_json::Value::Array(values) => values
            .into_iter()
            .for_each(|value| strings_of(value, strings)),
        serde_json::Value::Object(members) => members
            .into_iter()
            .for_each(|(_, value)| strings_of(value, strings)),
        _ => {}
    }
}

/// The bodies of PEM blocks, on one line each (RFC 7468).
fn pem_bodies(text: &str) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    for block in text.split("-----BEGIN ").skip(1) {
        let body = block
            .split_once("-----")
            .and_then(|(_, rest)| rest.split_once("-----END "));
        if let Some((body, _)) = body {
            let body: Vec<u8> = body.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
            bodies.push(Zeroizing::new(body));
        }
    }
    bodies
}
