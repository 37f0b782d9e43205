//! What cannot be redacted is refused, and nothing of a value can be printed.

use sealfleet_redaction::{LARGEST_VALUE, Redactor, Refusal, Secret, is_short};

use crate::{redacted, redactor};

fn refusal(values: &[&[u8]]) -> Refusal {
    let secrets: Vec<Secret<'_>> = values
        .iter()
        .map(|value| Secret { key: "K", value })
        .collect();
    Redactor::new(&secrets).unwrap_err()
}

#[test]
fn a_value_of_less_than_eight_bytes_is_refused() {
    let key = || "K".to_owned();
    for short in [
        "",
        "12345",
        "1234567",
        "  12345  \n\n\n",
        "\n\n\n\n\n\n\n\n\n",
    ] {
        assert_eq!(
            refusal(&[short.as_bytes()]),
            Refusal::TooShort { key: key() }
        );
        assert!(is_short(short.as_bytes()));
    }
    assert!(!is_short(b"12345678"));
    assert_eq!(
        redacted(&redactor(&[("K", "12345678")]), "12345678"),
        "<redacted:K>"
    );
}

#[test]
fn what_is_too_large_is_refused_and_never_passed() {
    let most = vec![b'x'; LARGEST_VALUE];
    assert!(
        Redactor::new(&[Secret {
            key: "K",
            value: &most
        }])
        .is_ok()
    );
    let large = vec![b'x'; LARGEST_VALUE + 1];
    assert_eq!(
        refusal(&[&large]),
        Refusal::TooLarge {
            key: "K".to_owned()
        }
    );
    let many: Vec<Vec<u8>> = (0..40_u8)
        .map(|number| vec![number; LARGEST_VALUE])
        .collect();
    let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    assert_eq!(
        refusal(&many),
        Refusal::TooMany {
            key: "K".to_owned()
        }
    );
}

#[test]
fn nothing_prints_a_value() {
    let value = "not-to-be-seen";
    let secret = Secret {
        key: "K",
        value: value.as_bytes(),
    };
    let redactor = Redactor::new(&[secret]).unwrap();
    let mut stream = redactor.stream();
    stream.push(b"not-to-be-s", &mut Vec::new());
    let found = redactor.text("a not-to-be-seen b");
    for shown in [
        format!("{secret:?}"),
        format!("{redactor:?}"),
        format!("{stream:?}"),
        format!("{found:?}"),
        format!("{}", refusal(&[b"short"])),
    ] {
        assert!(
            !shown.contains("not-to") && !shown.contains("short\""),
            "{shown}"
        );
        assert!(!shown.contains("110, 111"), "{shown}");
    }
    assert!(stream.held_back() > 0);
}

#[test]
fn a_value_that_is_no_text_is_found() {
    let value = [0xff, 0xfe, 0, 1, 2, 3, 0x80, 0x81, 0x82];
    let redactor = Redactor::new(&[Secret {
        key: "K",
        value: &value,
    }])
    .unwrap();
    let text = [b"<".as_slice(), &value, b">"].concat();
    assert_eq!(redactor.bytes(&text).content, b"<<redacted:K>>");
    assert_eq!(redacted(&redactor, "//4AAQIDgIGC"), "<redacted:K>");
}

#[test]
fn without_secrets_all_is_let_through() {
    let redactor = Redactor::new(&[]).unwrap();
    assert_eq!(redactor.needles(), 0);
    assert_eq!(redacted(&redactor, "all of it"), "all of it");
}
