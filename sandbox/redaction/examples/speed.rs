//! How long redaction takes, as JSON: an array of rows. `scripts/bench` runs it as it is released.

#![expect(clippy::unwrap_used, reason = "a tool fails by panicking")]

use std::fmt::Write as _;
use std::time::Instant;

use sealfleet_redaction::{Redactor, Secret};

const MEBIBYTE: usize = 1 << 20;
/// As init reads.
const PIECE: usize = 64 * 1024;
const ROUNDS: usize = 64;

fn main() {
    let mut rows = Vec::new();
    for needles in [1, 50, 500] {
        let values = values_for(needles);
        let secrets: Vec<Secret<'_>> = values
            .iter()
            .map(|(key, value)| Secret {
                key,
                value: value.as_bytes(),
            })
            .collect();
        let redactor = Redactor::new(&secrets).unwrap();
        for (text, content) in [
            ("log", log(&values)),
            ("base64", base64()),
            ("beginnings of values", beginnings(&values)),
        ] {
            rows.push(serde_json::json!({
                "secrets": secrets.len(),
                "needles": redactor.needles(),
                "text": text,
                "ms_per_mib": milliseconds(&redactor, &content),
            }));
        }
    }
    println!("{}", serde_json::Value::from(rows));
}

/// The median over all rounds.
fn milliseconds(redactor: &Redactor, content: &[u8]) -> f64 {
    let mut times = Vec::with_capacity(ROUNDS);
    let mut out = Vec::with_capacity(2 * PIECE);
    for _ in 0..ROUNDS {
        let mut stream = redactor.stream();
        let began = Instant::now();
        for piece in content.chunks(PIECE) {
            out.clear();
            stream.push(piece, &mut out);
        }
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let mebibytes = content.len() as f64 / MEBIBYTE as f64;
    times.get(ROUNDS / 2).unwrap().as_secs_f64() * 1000.0 / mebibytes
}

/// Secrets that have so many needles or a few more.
fn values_for(needles: usize) -> Vec<(String, String)> {
    let mut values: Vec<(String, String)> = Vec::new();
    loop {
        let number = values.len() as u64 + 1;
        let random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let value = format!("sk-{random:016x}/{:x}+Q", random.rotate_left(17));
        values.push((format!("KEY_{number}"), value));
        let secrets: Vec<Secret<'_>> = values
            .iter()
            .map(|(key, value)| Secret {
                key,
                value: value.as_bytes(),
            })
            .collect();
        if Redactor::new(&secrets).unwrap().needles() >= needles {
            return values;
        }
    }
}

/// Lines of a build, some of which hold a value.
fn log(values: &[(String, String)]) -> Vec<u8> {
    let mut text = String::new();
    let mut number = 0_usize;
    while text.len() < MEBIBYTE {
        number += 1;
        let hash = number.wrapping_mul(0x9E37_79B1) % 0xffff_ffff;
        writeln!(
            text,
            "2026-11-29T12:00:{:02}Z INFO  step{}: compiled src/module_{hash:08x}.rs in {} ms (cache {})",
            number % 60,
            number % 7,
            number % 900,
            if number.is_multiple_of(3) { "hit" } else { "miss" },
        )
        .unwrap();
        if number.is_multiple_of(1000) {
            let (key, value) = values.get(number / 1000 % values.len()).unwrap();
            writeln!(text, "{key}={value}").unwrap();
        }
    }
    text.into_bytes()
}

/// The worst: nothing but beginnings of needles.
fn beginnings(values: &[(String, String)]) -> Vec<u8> {
    let begins = values.iter().map(|(_, value)| value.get(..12).unwrap());
    let text: String = begins.cycle().take(MEBIBYTE / 12).collect();
    text.into_bytes()
}

/// What a program prints that dumps a binary file.
fn base64() -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let digits = (0..MEBIBYTE).map(|place| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match place % 77 {
            76 => b'\n',
            _ => *DIGITS.get((state >> 32) as usize % 64).unwrap(),
        }
    });
    digits.collect()
}
