//! From the public half of a key as KMS tells it to a key that verifiers read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealfleet_api::types::Key;
use sealfleet_domain::hash::sha256;

/// The algorithm of all tokens.
pub const ALGORITHM: &str = "RS256";

/// Tags of DER (X.690).
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// `AlgorithmIdentifier` of RSA (RFC 8017, appendix A.1), without its own tag and length.
const RSA: [u8; 13] = [
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// The RSA key of a DER-encoded `SubjectPublicKeyInfo` (RFC 5280, section 4.1). Its `kid` is the
/// thumbprint of RFC 7638, so a key keeps its name wherever it is published. `None` if it is none.
pub fn of_public_key(der: &[u8]) -> Option<Key> {
    let (whole, rest) = element(der, SEQUENCE)?;
    let (algorithm, of_key) = element(whole, SEQUENCE)?;
    let (bits, after) = element(of_key, BIT_STRING)?;
    // No bit of the last byte is unused.
    let (pair, beyond) = element(bits.strip_prefix(&[0])?, SEQUENCE)?;
    let (modulus, of_exponent) = element(pair, INTEGER)?;
    let (exponent, end) = element(of_exponent, INTEGER)?;
    let is_whole = [rest, after, beyond, end]
        .iter()
        .all(|left| left.is_empty());
    if algorithm != RSA || !is_whole {
        return None;
    }
    let [n, e] = [modulus, exponent].map(|number| {
        // An integer begins with a zero where its first bit would make it negative.
        URL_SAFE_NO_PAD.encode(number.strip_prefix(&[0]).unwrap_or(number))
    });
    let thumbprint = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    Some(Key {
        kty: "RSA".to_owned(),
        alg: ALGORITHM.to_owned(),
        usage: "sig".to_owned(),
        kid: URL_SAFE_NO_PAD.encode(sha256(thumbprint.as_bytes())),
        n,
        e,
    })
}

/// The content of the element at the beginning of `der`, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    let (&length, mut rest) = rest.split_first()?;
    let mut length = usize::from(length);
    if length >= 0x80 {
        // Keys of KMS are shorter than 64 KiB.
        let digits = length - 0x80;
        let (long, after) = rest.split_at_checked(digits)?;
        if !(1..=2).contains(&digits) {
            return None;
        }
        length = long
            .iter()
            .fold(0, |sum, digit| (sum << 8) | usize::from(*digit));
        rest = after;
    }
    (first == tag).then_some(())?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7638, section 3.1.
    const MODULUS: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    const THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

    fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).expect("short");
        let [high, low] = length.to_be_bytes();
        [&[tag, 0x82, high, low], content].concat()
    }

    fn der(algorithm: &[u8]) -> Vec<u8> {
        let modulus = URL_SAFE_NO_PAD.decode(MODULUS).expect("base64");
        let modulus = tagged(INTEGER, &[&[0], modulus.as_slice()].concat());
        let pair = [modulus, tagged(INTEGER, &[1, 0, 1])].concat();
        let bits = tagged(BIT_STRING, &[vec![0], tagged(SEQUENCE, &pair)].concat());
        tagged(SEQUENCE, &[tagged(SEQUENCE, algorithm), bits].concat())
    }

    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        let key = of_public_key(&der(&RSA)).expect("a key");
        assert_eq!((key.n.as_str(), key.e.as_str()), (MODULUS, "AQAB"));
        assert_eq!(key.kid, THUMBPRINT);
    }

    #[test]
    fn nothing_but_a_whole_rsa_key_is_one() {
        let whole = der(&RSA);
        for end in 0..whole.len() {
            assert_eq!(whole.get(..end).and_then(of_public_key), None, "{end}");
        }
        assert_eq!(of_public_key(&[whole, vec![0]].concat()), None);
        assert_eq!(of_public_key(&der(&[0x06, 0x01, 0x2a])), None);
    }
}
