//! How Bitwarden encrypts: AES-256-CBC, and HMAC-SHA-256 over the initialisation vector and what is
//! encrypted.

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut as _, KeyIvInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{hkdf, hmac};
use zeroize::Zeroizing;

/// A key for values.
pub struct Key {
    encryption: Zeroizing<[u8; 32]>,
    authentication: hmac::Key,
}

/// The access token of a machine account: `0.ID.SECRET:KEY`.
pub struct AccessToken {
    pub(crate) id: String,
    pub(crate) secret: Zeroizing<String>,
    /// Opens the organisation's key.
    pub(crate) key: Key,
}

impl AccessToken {
    /// Reads one. `None`: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (head, seed) = text.trim().split_once(':')?;
        let mut parts = head.split('.');
        let (Some("0"), Some(id), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let seed = Zeroizing::new(STANDARD.decode(seed).ok()?);
        if seed.len() != 16 || id.is_empty() || secret.is_empty() {
            return None;
        }
        Some(Self {
            id: id.to_owned(),
            secret: Zeroizing::new(secret.to_owned()),
            key: Key::derived(&seed)?,
        })
    }
}

/// 64 bytes of a key.
struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        64
    }
}

impl Key {
    /// Of 64 bytes: one half encrypts, the other authenticates.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let (encryption, authentication) = bytes.split_at_checked(32)?;
        if authentication.len() != 32 {
            return None;
        }
        Some(Self {
            encryption: Zeroizing::new(encryption.try_into().ok()?),
            authentication: hmac::Key::new(hmac::HMAC_SHA256, authentication),
        })
    }

    /// The key that an access token's seed stands for: HKDF (RFC 5869) with the salt and the
    /// purpose that Bitwarden has for access tokens.
    fn derived(seed: &[u8]) -> Option<Self> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"bitwarden-accesstoken");
        let extracted = salt.extract(seed);
        let expanded = extracted.expand(&[b"sm-access-token"], Length).ok()?;
        let mut bytes = Zeroizing::new([0; 64]);
        expanded.fill(&mut *bytes).ok()?;
        Self::new(&*bytes)
    }

    /// Opens a text of the form `2.IV|DATA|MAC`, each in base64.
    ///
    /// `None`: another key has made it, or it is not whole.
    #[must_use]
    pub fn open(&self, text: &str) -> Option<Zeroizing<Vec<u8>>> {
        let mut parts = text.strip_prefix("2.")?.split('|');
        let (Some(iv), Some(data), Some(mac), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let decode = |part| STANDARD.decode(part).ok();
        let (iv, data, mac) = (decode(iv)?, decode(data)?, decode(mac)?);
        let signed = [iv.as_slice(), data.as_slice()].concat();
        hmac::verify(&self.authentication, &signed, &mac).ok()?;
        let iv: [u8; 16] = iv.try_into().ok()?;
        let decryptor = cbc::Decryptor::<Aes256>::new((&*self.encryption).into(), (&iv).into());
        let opened = decryptor.decrypt_padded_vec_mut::<Pkcs7>(&data).ok()?;
        Some(Zeroizing::new(opened))
    }
}
