//! Decodes text in every way that it knows, also ways in ways, and searches for values. Written
//! from the formats' definitions, with none of the code under test.

/// Whether a reader of `text` can find `LENGTH` bytes in a row of `value`.
pub fn finds(text: &[u8], value: &[u8]) -> bool {
    const LENGTH: usize = 7;
    let mut readings = vec![text.to_vec()];
    for _ in 0..2 {
        let once: Vec<Vec<u8>> = readings.iter().flat_map(|text| decoded(text)).collect();
        readings.extend(once);
        readings.sort();
        readings.dedup();
    }
    let pieces: Vec<&[u8]> = value.windows(LENGTH.min(value.len())).collect();
    readings.iter().any(|text| {
        let windows = text.windows(LENGTH.min(value.len()));
        windows.into_iter().any(|window| pieces.contains(&window))
    })
}

/// All that `text` may stand for.
fn decoded(text: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![
        escapes(text),
        entities(text),
        percent(text, false),
        percent(text, true),
        every_second(text),
        joined(text),
        quotes(text),
    ];
    all.extend(digits(text, 16));
    all.extend(digits(text, 64));
    let unbroken: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !b"\r\n".contains(byte))
        .collect();
    all.extend(digits(&unbroken, 64));
    all.retain(|reading| !reading.is_empty() && reading != text);
    all
}

/// Backslash escapes of JSON, Go, C, Python and shells.
fn escapes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let code = |length: usize, radix: u32| {
            let digits = text.get(at + 2..at + 2 + length)?;
            u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
        };
        let next = text.get(at + 1).copied().unwrap_or_default();
        if text[at] != b'\\' {
            out.push(text[at]);
            at += 1;
            continue;
        }
        let (byte, length) = match next {
            b'n' => (vec![b'\n'], 2),
            b'r' => (vec![b'\r'], 2),
            b't' => (vec![b'\t'], 2),
            b'x' => (code(2, 16).map_or(vec![], |code| vec![code as u8]), 4),
            b'u' => {
                let letter = code(4, 16).and_then(char::from_u32).unwrap_or('?');
                (letter.to_string().into_bytes(), 6)
            }
            b'0'..=b'3' => {
                let digits = text.get(at + 1..at + 4).unwrap_or(b"0");
                let code = std::str::from_utf8(digits).ok();
                let code = code.and_then(|digits| u8::from_str_radix(digits, 8).ok());
                (vec![code.unwrap_or(b'?')], 4)
            }
            other => (vec![other], 2),
        };
        out.extend(byte);
        at += length;
    }
    out
}

fn entities(text: &[u8]) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(text).into_owned();
    for (entity, letter) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&#039;", "'"),
        ("&#x27;", "'"),
        ("&#34;", "\""),
        ("&#43;", "+"),
        ("&amp;", "&"),
    ] {
        text = text.replace(entity, letter);
    }
    text.into_bytes()
}

fn percent(text: &[u8], plus_is_blank: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let code = text
            .get(at + 1..at + 3)
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (text[at], code) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 2;
            }
            (b'+', _) if plus_is_blank => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    out
}

/// UTF-16 of ASCII, in either order of bytes.
fn every_second(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|&byte| byte != 0).collect()
}

/// On one line.
fn joined(text: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = text
        .split(|byte| b"\r\n".contains(byte))
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(b"\n".as_slice())
}

/// Without what shells put around quotes.
fn quotes(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    text.replace("'\\''", "'").replace("'\"'\"'", "'").into()
}

/// Runs of hexadecimal or base64 digits, from each of the places where a group may begin.
fn digits(text: &[u8], base: u32) -> Vec<Vec<u8>> {
    let value = |byte: u8| -> Option<u32> {
        match (base, byte) {
            (16, _) => (byte as char).to_digit(16),
            (_, b'A'..=b'Z') => Some(u32::from(byte - b'A')),
            (_, b'a'..=b'z') => Some(u32::from(byte - b'a') + 26),
            (_, b'0'..=b'9') => Some(u32::from(byte - b'0') + 52),
            (_, b'+' | b'-') => Some(62),
            (_, b'/' | b'_') => Some(63),
            _ => None,
        }
    };
    let (bits, group) = if base == 16 { (4, 2) } else { (6, 4) };
    let mut all = Vec::new();
    for run in text.split(|&byte| value(byte).is_none()) {
        for skipped in 0..group.min(run.len()) {
            let (mut word, mut filled, mut bytes) = (0_u32, 0, Vec::new());
            for digit in run[skipped..].iter().filter_map(|&byte| value(byte)) {
                word = word << bits | digit;
                filled += bits;
                if filled >= 8 {
                    filled -= 8;
                    bytes.push((word >> filled & 0xff) as u8);
                }
            }
            all.push(bytes);
        }
    }
    all
}

#[test]
fn the_oracle_finds_what_is_there() {
    let value = b"Zebra-Quartz/42";
    for text in [
        "Zebra-Quartz/42",
        "x Zebra-Quartz\\/42",
        "WmVicmEtUXVhcnR6LzQy",
        "IFplYnJhLVF1YXJ0ei80Mg",
        "5a656272612d51756172747a2f3432",
        "Zebra%2DQuartz%2f42",
        "%5Cu005aebra-Quartz/42",
        "\\u005a\\x65bra-Quartz/42",
        "WmVicmEtUX\nVhcnR6LzQy",
    ] {
        assert!(finds(text.as_bytes(), value), "{text}");
        assert!(!finds(text.as_bytes(), b"Another-value"), "{text}");
    }
    let wide: Vec<u8> = value.iter().flat_map(|&byte| [byte, 0]).collect();
    assert!(finds(&wide, value));
}
