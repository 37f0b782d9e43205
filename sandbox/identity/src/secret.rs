//! A secret's value.

use std::fmt;

use zeroize::Zeroizing;

/// A secret's bytes. Nothing can print, copy or serialise them: the type has no `Display`, `Clone`
/// or `Serialize`, and its `Debug` is a fixed text. They are wiped when dropped.
///
/// ```
/// let value = sealfleet_identity::SecretValue::new(b"hunter2".to_vec());
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a type has a trait: where it has, the constant of `Ask` itself hides the one of
    /// `Answer`.
    macro_rules! has {
        ($type:ty: $trait:path) => {{
            #[allow(dead_code, reason = "hidden by the other where that is there")]
            trait Answer {
                const HAS: bool = false;
            }
            struct Ask<T>(std::marker::PhantomData<T>);
            impl<T> Answer for Ask<T> {}
            impl<T: $trait> Ask<T> {
                #[allow(dead_code, reason = "not asked where the trait is not there")]
                const HAS: bool = true;
            }
            Ask::<$type>::HAS
        }};
    }

    #[test]
    fn a_value_cannot_be_copied_printed_or_serialised() {
        for (name, of_the_value, of_its_bytes) in [
            ("Clone", has!(SecretValue: Clone), has!(Vec<u8>: Clone)),
            (
                "Display",
                has!(SecretValue: fmt::Display),
                has!(String: fmt::Display),
            ),
            (
                "Serialize",
                has!(SecretValue: serde::Serialize),
                has!(Vec<u8>: serde::Serialize),
            ),
            (
                "Into<Vec<u8>>",
                has!(SecretValue: Into<Vec<u8>>),
                has!(Vec<u8>: Into<Vec<u8>>),
            ),
            (
                "AsRef<[u8]>",
                has!(SecretValue: AsRef<[u8]>),
                has!(Vec<u8>: AsRef<[u8]>),
            ),
        ] {
            assert!(!of_the_value, "a secret's value has {name}");
            assert!(
                of_its_bytes,
                "the question about {name} does not see what is there"
            );
        }
    }

    #[test]
    fn the_debug_form_is_a_fixed_text() {
        assert_eq!(
            format!("{:?}", SecretValue::new(b"not-to-be-seen".to_vec())),
            "SecretValue(hidden)"
        );
    }
}
