//! The forms that a value may have been written in, so that a search for a secret finds each of
//! them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::hash::hex;

/// The middle half of a value. A search for it also finds a value whose ends were cut off or
/// overwritten.
#[must_use]
pub fn middle(value: &[u8]) -> &[u8] {
    let quarter = value.len() / 4;
    value
        .get(quarter..value.len() - quarter)
        .unwrap_or_default()
}

/// Every form that these bytes may have been written in, by its name.
#[must_use]
pub fn forms(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let in_hex = hex(bytes);
    let mut forms = vec![
        ("plain text", bytes.to_vec()),
        ("hexadecimal", in_hex.to_uppercase().into_bytes()),
        ("hexadecimal", in_hex.into_bytes()),
        ("URL encoding", percent_encoded(bytes, true).into_bytes()),
        ("URL encoding", percent_encoded(bytes, false).into_bytes()),
        ("UTF-16", bytes.iter().flat_map(|byte| [*byte, 0]).collect()),
    ];
    // The value may stand anywhere in what was encoded: three ways to fall on base64's groups of
    // three bytes. The first and the last group also hold neighbours, so they are left out.
    for skipped in 0..3 {
        let rest = bytes.get(skipped..).unwrap_or_default();
        let groups = rest.get(..rest.len() / 3 * 3).unwrap_or_default();
        forms.push(("base64", STANDARD_NO_PAD.encode(groups).into_bytes()));
        forms.push(("base64", URL_SAFE_NO_PAD.encode(groups).into_bytes()));
    }
    forms
}

/// As RFC 3986, section 2.3, says, with hexadecimal digits in upper or lower case.
fn percent_encoded(bytes: &[u8], upper: bool) -> String {
    let encode = |byte: &u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) => {
            char::from(*byte).to_string()
        }
        byte if upper => format!("%{byte:02X}"),
        byte => format!("%{byte:02x}"),
    };
    bytes.iter().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its middle tells all alphabets of base64 and both cases of hexadecimal digits apart.
    const VALUE: &str = "sk-canary-0123456789 /+:=~~~~~????? abcdefghijklmnopqrst";

    /// The name of the form in which the middle of the value stands in a text.
    fn found(text: &[u8]) -> Option<&'static str> {
        let stands = |form: &[u8]| text.windows(form.len()).any(|window| window == form);
        let mut forms = forms(middle(VALUE.as_bytes())).into_iter();
        forms.find(|(_, form)| stands(form)).map(|(name, _)| name)
    }

    #[test]
    fn a_value_is_found_in_each_form_and_wherever_it_stands() {
        for before in ["", "x", "xy", "xyz"] {
            let text = format!("{before}{VALUE}{before}");
            let bytes = text.as_bytes();
            assert_eq!(found(bytes), Some("plain text"));
            for (name, written) in [
                ("base64", STANDARD_NO_PAD.encode(bytes)),
                ("base64", URL_SAFE_NO_PAD.encode(bytes)),
                ("hexadecimal", hex(bytes)),
                ("hexadecimal", hex(bytes).to_uppercase()),
                ("URL encoding", percent_encoded(bytes, true)),
                ("URL encoding", percent_encoded(bytes, false)),
            ] {
                assert_eq!(found(written.as_bytes()), Some(name));
            }
            let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            assert_eq!(found(&wide), Some("UTF-16"));
        }
        let cut = VALUE.get(14..42).expect("ASCII");
        assert_eq!(found(cut.as_bytes()), Some("plain text"));
        assert_eq!(found(b"nothing of it"), None);
        assert_eq!(percent_encoded(b"a/b-c", true), "a%2Fb-c");
    }
}
