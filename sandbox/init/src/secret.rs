//! The value of a Tier-2 key.

use std::fmt;

use zeroize::Zeroizing;

/// A secret's bytes. There is no way to print, copy or serialise it: no `Display`, `Clone` or `Serialize`, and `Debug`
/// is a fixed text. It is wiped when dropped.
///
/// ```
/// let value = sealfleet_init::SecretValue::new(b"hunter2".to_vec());
/// assert_eq!(format!("{value:?}"), "SecretValue(hidden)");
/// assert_eq!(value.expose(), b"hunter2");
/// ```
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for handing them to the command or to a cipher.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretValue(hidden)")
    }
}
