//! The public half of the key that signs digests.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use sealfleet_archive::digest::{ALGORITHM, Signature};

/// The start of a `SubjectPublicKeyInfo` of a P-256 key (RFC 5480): everything except the point.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Length of an uncompressed point, in bytes.
const POINT: usize = 65;

/// A public key on P-256.
pub struct PublicKey {
    point: Vec<u8>,
}

impl PublicKey {
    /// Reads a file in PEM, or in the base64 that KMS answers.
    pub fn read(file: &Path) -> Result<Self, String> {
        let about = |why: &dyn std::fmt::Display| format!("`{}`: {why}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| about(&error))?;
        let base64: String = text
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .map(str::trim)
            .collect();
        let der = BASE64_STANDARD
            .decode(base64)
            .map_err(|_| about(&"it does not hold a public key in PEM"))?;
        Self::of_der(&der).map_err(|error| about(&error))
    }

    /// Parses a `SubjectPublicKeyInfo`.
    pub fn of_der(der: &[u8]) -> Result<Self, &'static str> {
        match der.strip_prefix(&P256) {
            Some(point) if point.len() == POINT => Ok(Self {
                point: point.to_vec(),
            }),
            _ => Err("it is not a public key on the curve P-256"),
        }
    }

    /// Whether this key signed the statement.
    pub fn signed(&self, statement: &[u8], signature: &Signature) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point);
        let bytes = BASE64_STANDARD.decode(&signature.signature);
        signature.algorithm == ALGORITHM
            && bytes.is_ok_and(|bytes| key.verify(statement, &bytes).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

    #[test]
    fn only_the_own_keys_signature_of_these_bytes_is_one() {
        let chance = SystemRandom::new();
        let pair = || {
            let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &chance)
                .expect("a key");
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &chance)
                .expect("a key")
        };
        let (ours, theirs) = (pair(), pair());
        let sign = |pair: &EcdsaKeyPair, algorithm: &str| Signature {
            key: String::new(),
            algorithm: algorithm.to_owned(),
            signature: BASE64_STANDARD.encode(pair.sign(&chance, b"statement").expect("signed")),
        };
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("key.pem");
        let der = BASE64_STANDARD.encode([&P256[..], ours.public_key().as_ref()].concat());
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n",
            &der[..64],
            &der[64..]
        );
        for text in [pem, der] {
            std::fs::write(&file, text).expect("written");
            let key = PublicKey::read(&file).expect("a key");
            assert!(key.signed(b"statement", &sign(&ours, ALGORITHM)));
            assert!(!key.signed(b"Statement", &sign(&ours, ALGORITHM)));
            assert!(!key.signed(b"statement", &sign(&theirs, ALGORITHM)));
            assert!(!key.signed(b"statement", &sign(&ours, "NONE")));
        }
        std::fs::write(&file, "no key").expect("written");
        assert!(PublicKey::read(&file).is_err());
    }
}
