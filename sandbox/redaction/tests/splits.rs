//! Every encoding, cut at every place.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use sealfleet_redaction::Encoding;

use crate::{in_pieces, oracle, redactor};

/// Every kind of byte that some encoding treats apart.
const VALUE: &str = "pa55\"w<o>r&d'/+ $k`~!(x)=\\é€-_:;";
const LINES: &str = "first-line-of-it\nsecond \"line\" <of> it\n3rd\nthe-last-line/of+it";
const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\nVJTUt9Us8cKjMzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDu\nictGeurT8jNbvJZHtCSu\n-----END PRIVATE KEY-----\n";

fn replace_all(text: &str, pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        let found = pairs.iter().find(|(from, _)| from.chars().eq([letter]));
        match found {
            Some((_, to)) => out.push_str(to),
            None => out.push(letter),
        }
    }
    out
}

fn escaped_unicode(text: &str, upper: bool) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            other if other.is_ascii() => out.push(other),
            other if upper => out.push_str(&format!("\\u{:04X}", other as u32)),
            other => out.push_str(&format!("\\u{:04x}", other as u32)),
        }
    }
    out
}

fn percent(text: &str, kept: &str, upper: bool, plus: bool) -> String {
    let mut out = String::new();
    for &byte in text.as_bytes() {
        match byte {
            b' ' if plus => out.push('+'),
            _ if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) => {
                out.push(byte as char);
            }
            _ if upper => out.push_str(&format!("%{byte:02X}")),
            _ => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}

fn broken(text: &str, width: usize, end: &str) -> String {
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(width)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    lines.join(end)
}

/// `value` as programs write it, by the name that the match must have.
pub fn written(value: &str) -> Vec<(Encoding, Vec<u8>)> {
    use Encoding::{
        Base64, Base64Wrapped, Hex, Json, Literal, Newlines, Percent, Raw, Shell, Utf16, Xml,
    };
    let json = serde_json::to_string(value).unwrap();
    let json = json.trim_matches('"').to_owned();
    // The value ends in no quote, so nothing of it was trimmed.
    assert!(!value.ends_with(['"', '\\']) && !value.starts_with('"'));
    let html = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")];
    let quoted = |double, single| {
        let mut pairs = html.to_vec();
        pairs.extend([("\"", double), ("'", single)]);
        replace_all(value, &pairs)
    };
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut all: Vec<(Encoding, String)> = vec![
        (Raw, value.to_owned()),
        (Newlines, value.replace('\n', "\r\n")),
        (Newlines, value.replace('\n', "\\n")),
        (Newlines, value.replace('\n', " ")),
        (Newlines, value.replace('\n', "")),
        (Json, json.replace('/', "\\/")),
        (Json, escaped_unicode(value, false)),
        (Json, escaped_unicode(value, true)),
        (
            Json,
            json.replace('<', "\\u003c")
                .replace('>', "\\u003e")
                .replace('&', "\\u0026")
                .replace('\'', "\\u0027"),
        ),
        (
            Json,
            serde_json::to_string(&json)
                .unwrap()
                .trim_matches('"')
                .to_owned(),
        ),
        (Json, json),
        (
            Literal,
            value
                .replace('\\', "\\\\")
                .replace('\'', "\\'")
                .replace('\n', "\\n"),
        ),
        (
            Literal,
            value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n"),
        ),
        (
            Literal,
            value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n")
                .replace('é', "\\xc3\\xa9")
                .replace('€', "\\xe2\\x82\\xac"),
        ),
        (Shell, value.replace('\'', "'\\''")),
        (Shell, value.replace('\'', "'\"'\"'")),
        (
            Shell,
            replace_all(
                value,
                &[("\\", "\\\\"), ("\"", "\\\""), ("$", "\\$"), ("`", "\\`")],
            ),
        ),
        (Xml, replace_all(value, &html)),
        (Xml, quoted("&quot;", "&apos;")),
        (Xml, quoted("&quot;", "&#39;")),
        (Xml, quoted("&quot;", "&#x27;")),
        (Xml, quoted("&#34;", "&#39;")),
        (Hex, hex.to_uppercase()),
        (Hex, hex),
    ];
    for kept in ["-._~", "-._~!'()*", "-._~/", "-._*", ""] {
        for (upper, plus) in [(true, true), (true, false), (false, true), (false, false)] {
            all.push((Percent, percent(value, kept, upper, plus)));
        }
    }
    for engine in [STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        let whole = engine.encode(value);
        for (width, end) in [(64, "\n"), (76, "\n"), (64, "\r\n"), (76, "\r\n")] {
            if whole.len() > width {
                all.push((Base64Wrapped, broken(&whole, width, end)));
            }
        }
        all.push((Base64, whole));
        // Inside of longer texts.
        for before in ["", "u", "us", "user", "Authorization: Basic me"] {
            for after in ["", "\n", "@h", "and what follows"] {
                all.push((Base64, engine.encode(format!("{before}{value}{after}"))));
            }
        }
    }
    let mut all: Vec<(Encoding, Vec<u8>)> = all
        .into_iter()
        .map(|(encoding, text)| (encoding, text.into_bytes()))
        .collect();
    let wide = value.encode_utf16().flat_map(u16::to_le_bytes).collect();
    all.push((Utf16, wide));
    all
}

#[test]
fn every_encoding_cut_at_every_place_is_found() {
    for value in [VALUE, LINES, PEM.trim(), "0123456789abcdef0123456789abcdef"] {
        let redactor = redactor(&[("API_KEY", value)]);
        for (encoding, written) in written(value) {
            let name = || format!("{encoding:?} {}", String::from_utf8_lossy(&written));
            for (before, after) in [("", ""), ("token=[", "]\n"), ("\n\t", " ")] {
                let text = [before.as_bytes(), &written, after.as_bytes()].concat();
                let whole = redactor.bytes(&text);
                let shown = String::from_utf8_lossy(&whole.content).into_owned();
                assert!(shown.contains("<redacted:API_KEY>"), "{}", name());
                assert!(
                    !oracle::finds(&whole.content, value.as_bytes()),
                    "{}: {shown}",
                    name()
                );
                for cut in 0..=text.len() {
                    let out = in_pieces(&redactor, &text, &[cut]);
                    assert_eq!(out, whole.content, "{} cut at {cut}", name());
                }
                let everywhere: Vec<usize> = (0..text.len()).collect();
                assert_eq!(in_pieces(&redactor, &text, &everywhere), whole.content);
                if encoding != Encoding::Base64 {
                    assert_eq!(
                        shown,
                        format!("{before}<redacted:API_KEY>{after}"),
                        "{}",
                        name()
                    );
                }
            }
        }
    }
}

/// So that the test above cannot pass by an oracle that sees nothing.
#[test]
fn the_oracle_reads_every_encoding() {
    for value in [VALUE, LINES] {
        for (encoding, written) in written(value) {
            let shown = String::from_utf8_lossy(&written);
            assert!(
                oracle::finds(&written, value.as_bytes()),
                "{encoding:?} {shown}"
            );
        }
    }
}

/// The filter before the automaton looks at groups of bytes: none may be missed, however it lies.
#[test]
fn the_shortest_value_is_found_at_every_place() {
    let redactor = redactor(&[("K", "Zq8-Jw5+"), ("L", "Zq8-Jw5+and+more")]);
    for before in 0..48 {
        for after in 0..12 {
            let around = |text: &str| format!("{}{text}{}", ".".repeat(before), ".".repeat(after));
            let (text, expected) = (around("Zq8-Jw5+"), around("<redacted:K>"));
            for cut in 0..=text.len() {
                let out = in_pieces(&redactor, text.as_bytes(), &[cut]);
                assert_eq!(String::from_utf8(out).unwrap(), expected, "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_match_says_its_key_encoding_and_count() {
    let redactor = redactor(&[("API_KEY", "0a-value-of-one"), ("OTHER", "another+value/x")]);
    let text = "0a-value-of-one 0a-value-of-one another%2Bvalue%2Fx";
    let found = redactor.text(text);
    assert_eq!(
        found.content,
        "<redacted:API_KEY> <redacted:API_KEY> <redacted:OTHER>"
    );
    let matches: Vec<_> = found.matches.iter().collect();
    assert_eq!(
        matches,
        [
            ("API_KEY", Encoding::Raw, 2),
            ("OTHER", Encoding::Percent, 1)
        ]
    );
    assert!(redactor.finds(text.as_bytes()));
    assert!(!redactor.finds(b"nothing of it"));
}

#[test]
fn what_can_be_no_needle_is_let_through_at_once() {
    let redactor = redactor(&[("API_KEY", "correct-horse-battery")]);
    let (mut stream, mut out) = (redactor.stream(), Vec::new());
    stream.push(b"Password: ", &mut out);
    assert_eq!(
        (out.as_slice(), stream.held_back()),
        (b"Password: ".as_slice(), 0)
    );
    stream.push(b"correct-", &mut out);
    assert_eq!(
        (out.as_slice(), stream.held_back()),
        (b"Password: ".as_slice(), 8)
    );
    stream.push(b"me", &mut out);
    assert_eq!(
        (out.as_slice(), stream.held_back()),
        (b"Password: correct-me".as_slice(), 0)
    );
    stream.push(b" correct-horse-battery", &mut out);
    // Nothing longer begins so.
    assert_eq!(out, b"Password: correct-me <redacted:API_KEY>");
    stream.push(b"correct", &mut out);
    stream.finish(&mut out);
    assert_eq!(out, b"Password: correct-me <redacted:API_KEY>correct");
}
