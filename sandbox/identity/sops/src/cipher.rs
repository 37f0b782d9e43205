//! How SOPS encrypts: a data key for the file, which age wraps, and AES-256-GCM for each value.

use std::io::Read as _;

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Key, Nonce};
use age::armor::ArmoredReader;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Its nonces have 32 bytes.
type Cipher = AesGcm<Aes256, U32>;

/// How a text that is encrypted begins.
const BEGINS: &str = "ENC[AES256_GCM,";

/// The key of one file's values.
pub(crate) struct DataKey(Cipher);

/// What a value was before it was encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text, bytes, or a number as it was written.
    Plain,
    /// SOPS writes it with a capital letter, YAML without.
    Boolean,
}

/// Whether a text is an encrypted value.
pub(crate) fn is_encrypted(text: &str) -> bool {
    text.starts_with(BEGINS)
}

impl DataKey {
    /// Unwraps it with the first identity of a file of age identities that fits.
    ///
    /// `None`: none fits, or what is wrapped is no key.
    pub(crate) fn unwrap(wrapped: &str, identities: &[age::x25519::Identity]) -> Option<Self> {
        let decryptor = age::Decryptor::new(ArmoredReader::new(wrapped.as_bytes())).ok()?;
        let identities = identities.iter().map(|one| one as &dyn age::Identity);
        let mut key = Zeroizing::new(Vec::new());
        let mut reader = decryptor.decrypt(identities).ok()?;
        reader.by_ref().take(64).read_to_end(&mut key).ok()?;
        (key.len() == 32).then(|| Self(Cipher::new(Key::<Cipher>::from_slice(&key))))
    }

    /// Opens an encrypted value that stands at `place`: the keys that lead to it, each followed by
    /// a colon.
    ///
    /// `None`: it was made for another place or by another key, or is not whole.
    pub(crate) fn open(&self, text: &str, place: &str) -> Option<(Zeroizing<Vec<u8>>, Kind)> {
        let inner = text.strip_prefix(BEGINS)?.strip_suffix(']')?;
        let [mut data, mut iv, mut tag, mut kind] = [None; 4];
        for part in inner.split(',') {
            let (name, value) = part.split_once(':')?;
            let field = match name {
                "data" => &mut data,
                "iv" => &mut iv,
                "tag" => &mut tag,
                "type" => &mut kind,
                _ => return None,
            };
            if field.replace(value).is_some() {
                return None;
            }
        }
        let [mut sealed, iv, tag] = [
            STANDARD.decode(data?),
            STANDARD.decode(iv?),
            STANDARD.decode(tag?),
        ]
        .map(|decoded| decoded.ok())
        .into_iter()
        .collect::<Option<Vec<_>>>()?
        .try_into()
        .ok()?;
        if iv.len() != 32 || tag.len() != 16 {
            return None;
        }
        sealed.extend(tag);
        let payload = Payload {
            msg: &sealed,
            aad: place.as_bytes(),
        };
        let opened = self.0.decrypt(Nonce::from_slice(&iv), payload).ok()?;
        let kind = match kind? {
            "bool" => Kind::Boolean,
            "str" | "int" | "float" | "bytes" | "time" => Kind::Plain,
            _ => return None,
        };
        Some((Zeroizing::new(opened), kind))
    }
}
