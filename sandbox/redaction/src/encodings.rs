//! How programs write a value: each function answers some needles of it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose::NO_PAD};
use sealfleet_domain::redaction::Encoding;
use zeroize::Zeroizing;

use crate::forms::Bytes;

/// The widths at which programs break base64: PEM and openssl, and MIME and coreutils.
const WIDTHS: [usize; 2] = [64, 76];

/// All encodings of `value` but itself. Some are equal to it or to each other.
pub fn of(value: &[u8]) -> Vec<(Encoding, Bytes)> {
    let mut all: Vec<(Encoding, Bytes)> = Vec::new();
    let mut add = |encoding, needles: Vec<Vec<u8>>| {
        all.extend(
            needles
                .into_iter()
                .map(|bytes| (encoding, Zeroizing::new(bytes))),
        );
    };
    add(Encoding::Newlines, newlines(value));
    if let Ok(text) = std::str::from_utf8(value) {
        add(Encoding::Json, json(text));
        add(Encoding::Xml, xml(text));
        add(Encoding::Utf16, vec![utf16(text)]);
    }
    add(Encoding::Literal, literals(value));
    add(Encoding::Shell, shell(value));
    add(Encoding::Percent, percent(value));
    add(Encoding::Hex, hex(value));
    for alphabet in [STANDARD, URL_SAFE] {
        add(Encoding::Base64, base64(value, &alphabet));
        add(Encoding::Base64Wrapped, wrapped(value, &alphabet));
    }
    all
}

fn replaced(value: &[u8], by: impl Fn(u8, &mut Vec<u8>)) -> Vec<u8> {
    let mut written = Vec::with_capacity(value.len() * 2);
    for &byte in value {
        by(byte, &mut written);
    }
    written
}

/// Other line ends, escaped ones, and all on one line.
fn newlines(value: &[u8]) -> Vec<Vec<u8>> {
    if !value.contains(&b'\n') {
        return Vec::new();
    }
    let unix = replaced(value, |byte, written| {
        if byte != b'\r' {
            written.push(byte);
        }
    });
    let ends: [&[u8]; 7] = [b"\n", b"\r\n", b"\\n", b"\\r\\n", b"\\\\n", b" ", b""];
    ends.map(|end| {
        replaced(&unix, |byte, written| match byte {
            b'\n' => written.extend_from_slice(end),
            other => written.push(other),
        })
    })
    .into()
}

/// How a writer of JSON treats what it need not escape.
#[derive(Clone, Copy)]
struct Json {
    /// `/` as `\/`.
    slash: bool,
    /// `<`, `>`, `&` as Go does, and the single quote.
    html: bool,
    /// All but ASCII as `\u....`.
    ascii: bool,
}

/// As inside a string of JSON, and as inside JSON inside a string of JSON.
fn json(text: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for bits in 0_u8..8 {
        let how = Json {
            slash: bits & 1 != 0,
            html: bits & 2 != 0,
            ascii: bits & 4 != 0,
        };
        for upper in [false, true] {
            let once = json_string(text, how, upper);
            if bits == 0 || bits == 4 {
                all.push(json_string(&once, how, upper).into_bytes());
            }
            all.push(once.into_bytes());
        }
    }
    all
}

fn json_string(text: &str, how: Json, upper: bool) -> String {
    let mut written = String::with_capacity(text.len() * 2);
    for letter in text.chars() {
        match letter {
            '"' => written.push_str("\\\""),
            '\\' => written.push_str("\\\\"),
            '\n' => written.push_str("\\n"),
            '\r' => written.push_str("\\r"),
            '\t' => written.push_str("\\t"),
            '\u{8}' => written.push_str("\\b"),
            '\u{c}' => written.push_str("\\f"),
            '/' if how.slash => written.push_str("\\/"),
            '<' | '>' | '&' | '\'' | '\u{2028}' | '\u{2029}' if how.html => {
                code_units(letter, upper, &mut written);
            }
            '\0'..='\u{1f}' | '\u{7f}' => code_units(letter, upper, &mut written),
            other if how.ascii && !other.is_ascii() => code_units(other, upper, &mut written),
            other => written.push(other),
        }
    }
    written
}

fn code_units(letter: char, upper: bool, written: &mut String) {
    for unit in letter.encode_utf16(&mut [0; 2]) {
        // Writing to a string does not fail.
        let _: std::fmt::Result = if upper {
            write!(written, "\\u{unit:04X}")
        } else {
            write!(written, "\\u{unit:04x}")
        };
    }
}

/// As inside a literal of Go, Python or C, by the quote that stands around it.
fn literals(value: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for quote in [b'"', b'\''] {
        // Letters beyond ASCII are kept, or each of their bytes is escaped.
        for ascii in [false, true] {
            all.push(replaced(value, |byte, written| match byte {
                b'\\' => written.extend_from_slice(b"\\\\"),
                b'\n' => written.extend_from_slice(b"\\n"),
                b'\r' => written.extend_from_slice(b"\\r"),
                b'\t' => written.extend_from_slice(b"\\t"),
                byte if byte == quote => written.extend_from_slice(&[b'\\', byte]),
                byte if byte < b' ' || byte == 0x7f || (ascii && byte >= 0x80) => {
                    written.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
                }
                byte => written.push(byte),
            }));
        }
    }
    // Go's names for control characters.
    all.push(replaced(value, |byte, written| {
        let name = match byte {
            b'\\' => b'\\',
            b'"' => b'"',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x07 => b'a',
            0x08 => b'b',
            0x0b => b'v',
            0x0c => b'f',
            byte if byte < b' ' || byte == 0x7f => {
                return written.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
            }
            byte => return written.push(byte),
        };
        written.extend_from_slice(&[b'\\', name]);
    }));
    all
}

/// As shells and libraries quote for shells.
fn shell(value: &[u8]) -> Vec<Vec<u8>> {
    let with_quote = |quote: &[u8]| {
        replaced(value, |byte, written| match byte {
            b'\'' => written.extend_from_slice(quote),
            other => written.push(other),
        })
    };
    let escaped = |is_special: fn(u8) -> bool| {
        replaced(value, |byte, written| {
            if is_special(byte) {
                written.push(b'\\');
            }
            written.push(byte);
        })
    };
    // In $'...': as printf %q and set -x write what has control characters.
    let dollar = replaced(value, |byte, written| match byte {
        b'\'' | b'\\' => written.extend_from_slice(&[b'\\', byte]),
        b'\n' => written.extend_from_slice(b"\\n"),
        b'\r' => written.extend_from_slice(b"\\r"),
        b'\t' => written.extend_from_slice(b"\\t"),
        byte if !(b' '..0x7f).contains(&byte) => {
            written.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        }
        byte => written.push(byte),
    });
    vec![
        with_quote(b"'\\''"),
        with_quote(b"'\"'\"'"),
        escaped(|byte| matches!(byte, b'"' | b'\\' | b'$' | b'`')),
        escaped(|byte| matches!(byte, b'"' | b'\\' | b'$' | b'`' | b'!')),
        // printf %q.
        escaped(|byte| {
            byte.is_ascii_punctuation() && !b"%+-./:=@_,".contains(&byte) || byte == b' '
        }),
        escaped(|byte| {
            byte.is_ascii_punctuation() && !b"%+-./:=@_".contains(&byte) || byte == b' '
        }),
        dollar,
    ]
}

/// With entities: each library has its own taste for quotes.
fn xml(text: &str) -> Vec<Vec<u8>> {
    let tastes = [
        ("\"", "'", "+"),
        ("&quot;", "'", "+"),
        ("&quot;", "&#39;", "+"),
        ("&quot;", "&#039;", "+"),
        ("&quot;", "&#x27;", "+"),
        ("&quot;", "&apos;", "+"),
        ("&#34;", "&#39;", "+"),
        ("&#34;", "&#39;", "&#43;"),
        ("\"", "&#39;", "+"),
        ("\"", "&apos;", "+"),
    ];
    tastes
        .map(|(double, single, plus)| {
            let mut written = String::with_capacity(text.len() * 2);
            for letter in text.chars() {
                match letter {
                    '&' => written.push_str("&amp;"),
                    '<' => written.push_str("&lt;"),
                    '>' => written.push_str("&gt;"),
                    '"' => written.push_str(double),
                    '\'' => written.push_str(single),
                    '+' => written.push_str(plus),
                    other => written.push(other),
                }
            }
            written.into_bytes()
        })
        .into()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Percent-encoded: the sets of bytes that libraries leave alone, both cases of digits, and blanks
/// as `%20` or `+`.
fn percent(value: &[u8]) -> Vec<Vec<u8>> {
    // RFC 3986's unreserved bytes; encodeURIComponent; HTML forms; quote() of Python; paths;
    // encodeURI; none but letters and digits.
    let kept: [&[u8]; 7] = [
        b"",
        b"-._~",
        b"-._~!'()*",
        b"-._*",
        b"-._~/",
        b"-._~$&+,/:;=@!'()*",
        b"-._~$&+,/:;=@!'()*?#",
    ];
    let mut all = Vec::new();
    for upper in [true, false] {
        for blank_as_plus in [true, false] {
            for kept in kept {
                all.push(replaced(value, |byte, written| match byte {
                    b' ' if blank_as_plus => written.push(b'+'),
                    byte if byte.is_ascii_alphanumeric() || kept.contains(&byte) => {
                        written.push(byte);
                    }
                    byte => percent_byte(byte, upper, written),
                }));
            }
        }
        all.push(replaced(value, |byte, written| {
            percent_byte(byte, upper, written);
        }));
    }
    all
}

fn percent_byte(byte: u8, upper: bool, written: &mut Vec<u8>) {
    let digits = if upper {
        format!("%{byte:02X}")
    } else {
        format!("%{byte:02x}")
    };
    written.extend_from_slice(digits.as_bytes());
}

fn hex(value: &[u8]) -> Vec<Vec<u8>> {
    let lower = replaced(value, |byte, written| {
        written.extend_from_slice(format!("{byte:02x}").as_bytes());
    });
    vec![lower.to_ascii_uppercase(), lower]
}

fn engine(alphabet: &Alphabet, padding: bool) -> GeneralPurpose {
    let config = if padding {
        GeneralPurposeConfig::new()
    } else {
        NO_PAD
    };
    GeneralPurpose::new(alphabet, config)
}

/// The padded whole, the whole without padding, and what base64 of a longer text has of the value:
/// a text may stand before it and after it, so the characters that depend on the value alone, for
/// each of the three places that its first byte can have in a group.
fn base64(value: &[u8], alphabet: &Alphabet) -> Vec<Vec<u8>> {
    let unpadded = engine(alphabet, false);
    let mut all = vec![
        engine(alphabet, true).encode(value).into_bytes(),
        unpadded.encode(value).into_bytes(),
    ];
    for before in 0..3 {
        all.push(aligned(value, before, &unpadded));
    }
    all
}

fn aligned(value: &[u8], before: usize, engine: &GeneralPurpose) -> Vec<u8> {
    let mut text = Zeroizing::new(vec![0; before]);
    text.extend_from_slice(value);
    let encoded = engine.encode(&*text).into_bytes();
    // A character has six bits.
    let (first, end) = ((before * 8).div_ceil(6), text.len() * 8 / 6);
    encoded.get(first..end).unwrap_or_default().to_vec()
}

/// In lines, from the beginning of a line on: all of it, and without the characters that depend on
/// what follows.
fn wrapped(value: &[u8], alphabet: &Alphabet) -> Vec<Vec<u8>> {
    let whole = [
        engine(alphabet, true).encode(value).into_bytes(),
        engine(alphabet, false).encode(value).into_bytes(),
        aligned(value, 0, &engine(alphabet, false)),
    ];
    let mut all = Vec::new();
    for width in WIDTHS {
        for end in [b"\n".as_slice(), b"\r\n"] {
            for encoded in &whole {
                if encoded.len() > width {
                    let lines: Vec<&[u8]> = encoded.chunks(width).collect();
                    all.push(lines.join(end));
                }
            }
        }
    }
    all
}
