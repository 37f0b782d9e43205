//! Faults that other products have had.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{in_pieces, oracle, redacted, redactor};

/// actions/runner#326: each line of a value was a secret of its own, down to `{`.
#[test]
fn a_document_does_not_mask_every_brace() {
    let value = "{\n  \"user\": \"admin\",\n  \"password\": \"Tr0ub4dor-and-3\"\n}\n";
    let redactor = redactor(&[("CONFIG", value)]);
    for innocent in [
        "{",
        "}",
        "{\n}\n",
        "fn main() {\n}\n",
        "\"user\": 1",
        "user",
        "admin",
    ] {
        assert_eq!(redacted(&redactor, innocent), innocent);
    }
    assert_eq!(
        redacted(&redactor, "pw is Tr0ub4dor-and-3."),
        "pw is <redacted:CONFIG>."
    );
    assert_eq!(redacted(&redactor, value), "<redacted:CONFIG>");
}

/// The last character of base64 changes with what follows the value.
#[test]
fn base64_is_found_whatever_follows_or_stands_before() {
    let value = "s3cr3t-value-0";
    let redactor = redactor(&[("API_KEY", value)]);
    for before in 0..7 {
        for after in 0..7 {
            let text = format!(
                "{}{value}{}",
                "\u{fffd}x~AbZ"[3..][..before.min(5)].to_owned(),
                "9?>aZ~\u{7f}"[..after].to_owned()
            );
            let encoded = STANDARD.encode(&text);
            let out = redacted(&redactor, &encoded);
            assert!(out.contains("<redacted:API_KEY>"), "{text}: {out}");
            assert!(
                !oracle::finds(out.as_bytes(), value.as_bytes()),
                "{text}: {out}"
            );
        }
    }
}

/// A value of several lines that a shell prints without quotes.
#[test]
fn several_lines_on_one_are_found() {
    let value = "line one of it\nab\nline three of it\n";
    let redactor = redactor(&[("NOTE", value)]);
    for text in [
        "line one of it ab line three of it",
        "line one of itabline three of it",
        "line one of it\\nab\\nline three of it\\n",
        "line one of it\r\nab\r\nline three of it",
    ] {
        let out = redacted(&redactor, text);
        assert!(
            out.starts_with("<redacted:NOTE>") && !out.contains("of it"),
            "{out}"
        );
    }
    // Indented, as in a log: each line is found alone.
    let out = redacted(&redactor, "> line one of it\n> line three of it\n");
    assert_eq!(out, "> <redacted:NOTE>\n> <redacted:NOTE>\n");
}

/// vm0#28474, shipfox#601: a needle that lies across two uploads, or each piece redacted alone.
#[test]
fn a_needle_may_lie_across_any_number_of_pieces() {
    let value = "a-rather-long-token-0123456789";
    let redactor = redactor(&[("TOKEN", value)]);
    let text = format!("{}{value}{}", "x".repeat(100), "y".repeat(100));
    let expected = format!("{}<redacted:TOKEN>{}", "x".repeat(100), "y".repeat(100));
    for size in 1..text.len() {
        let cuts: Vec<usize> = (size..text.len()).step_by(size).collect();
        let out = in_pieces(&redactor, text.as_bytes(), &cuts);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{size}");
    }
}

#[test]
fn a_shorter_secret_leaves_no_tail_of_a_longer_one() {
    for keys in [["LONG", "SHORT"], ["A", "B"]] {
        let (long, short) = ("sk-live-abcdef-0123456789", "sk-live-abcdef");
        let redactor = redactor(&[(keys[0], long), (keys[1], short)]);
        let text = format!("1 {long} 2 {short} 3 {short}-01 4");
        let expected = format!(
            "1 <redacted:{0}> 2 <redacted:{1}> 3 <redacted:{1}>-01 4",
            keys[0], keys[1]
        );
        for cut in 0..=text.len() {
            let out = in_pieces(&redactor, text.as_bytes(), &[cut]);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{cut}");
        }
    }
}

#[test]
fn overlapping_secrets_are_covered_both() {
    let redactor = redactor(&[
        ("A", "abcdefghijkl"),
        ("B", "ghijklmnopqr"),
        ("C", "cdefghij"),
    ]);
    for cut in 0..=18 {
        let out = in_pieces(&redactor, b"abcdefghijklmnopqr", &[cut]);
        assert_eq!(String::from_utf8(out).unwrap(), "<redacted:A><redacted:B>");
    }
    let periodic = redactor_of_periods();
    assert_eq!(
        redacted(&periodic, "abababababababababa."),
        "<redacted:P><redacted:Q>."
    );
}

fn redactor_of_periods() -> sealfleet_redaction::Redactor {
    redactor(&[("P", "abababab"), ("Q", "babababa")])
}

#[test]
fn a_secret_that_contains_another_hides_both() {
    let redactor = redactor(&[
        ("OUTER", "prefix-inner-secret-suffix"),
        ("INNER", "inner-secret"),
    ]);
    assert_eq!(
        redacted(
            &redactor,
            "prefix-inner-secret-suffix / inner-secret / prefix-inner-secret!"
        ),
        "<redacted:OUTER> / <redacted:INNER> / prefix-<redacted:INNER>!"
    );
}

#[test]
fn the_escapes_of_json_hide_nothing() {
    let value = "quote\"back\\slash\nline/<é>";
    let redactor = redactor(&[("API_KEY", value)]);
    let once = serde_json::json!({ "token": value }).to_string();
    let twice = serde_json::json!({ "body": once }).to_string();
    for text in [once, twice] {
        let out = redacted(&redactor, &text);
        assert!(out.contains("<redacted:API_KEY>"), "{out}");
        assert!(!oracle::finds(out.as_bytes(), value.as_bytes()), "{out}");
    }
}

#[test]
fn parts_of_a_value_are_secrets_too() {
    let json = r#"{"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nEFAASCBKcwggSjAgEAAoIBAQC7\n-----END PRIVATE KEY-----\n", "nested": [{"token": "gh\u006f_0123456789"}]}"#;
    let redactor = redactor(&[
        ("BASIC", "some-user:some-password"),
        (
            "DATABASE",
            "postgres://app:p%40ssw0rd-x@db.internal:5432/main",
        ),
        ("SERVICE", json),
    ]);
    for (text, expected) in [
        ("some-user", "<redacted:BASIC>"),
        ("some-password", "<redacted:BASIC>"),
        ("c29tZS1wYXNzd29yZA==", "<redacted:BASIC>"),
        (
            "user `app`, p%40ssw0rd-x",
            "user `app`, <redacted:DATABASE>",
        ),
        ("p@ssw0rd-x", "<redacted:DATABASE>"),
        ("gho_0123456789", "<redacted:SERVICE>"),
        (
            "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7",
            "<redacted:SERVICE>",
        ),
        (
            "MIIEvQIBADANBgkqhkiG9w0BAQ\nEFAASCBKcwggSjAgEAAoIBAQC7",
            "<redacted:SERVICE>",
        ),
        ("-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----"),
        ("private_key nested token", "private_key nested token"),
    ] {
        let out = redacted(&redactor, text);
        let joined = out.replace(
            "<redacted:SERVICE>\n<redacted:SERVICE>",
            "<redacted:SERVICE>",
        );
        assert_eq!(joined, expected);
    }
}
