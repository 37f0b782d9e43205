//! Packed values: JSON, deflated against a dictionary of the words that rows repeat.
//!
//! DynamoDB bills a write by the size of the whole row, in steps of 1 KB. Most rows of runs are a
//! few hundred bytes of field names that every row has, so a shared dictionary halves them. The
//! first byte names the dictionary. A dictionary is part of the stored format: to change it, add a
//! new one under a new number and keep the old one for reading.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::store::WriteError;

/// The number of [`DICTIONARY`].
const FORMAT: u8 = 1;
/// The most bytes that a packed value may have when it is unpacked.
const UNPACKED_BYTES: usize = 16 * 1024 * 1024;

/// Words that packed values repeat. Deflate finds those at the end most cheaply.
const DICTIONARY: &[u8] = include_bytes!("dictionary.1");

/// Packs a value.
///
/// # Errors
/// [`WriteError::Refused`] when it cannot be serialised.
pub fn pack(value: &impl Serialize) -> Result<Vec<u8>, WriteError> {
    let failed = |detail: String| WriteError::Refused(format!("cannot pack a row: {detail}"));
    let text = serde_json::to_vec(value).map_err(|error| failed(error.to_string()))?;
    let mut packer = Compress::new(Compression::default(), false);
    packer
        .set_dictionary(DICTIONARY)
        .map_err(|error| failed(error.to_string()))?;
    let mut packed = Vec::with_capacity(text.len() + 64);
    packed.push(FORMAT);
    let status = packer
        .compress_vec(&text, &mut packed, FlushCompress::Finish)
        .map_err(|error| failed(error.to_string()))?;
    if status == Status::StreamEnd {
        Ok(packed)
    } else {
        Err(failed("it does not shrink".to_owned()))
    }
}

/// Unpacks what [`pack`] made.
///
/// # Errors
/// [`Error::Unreadable`] when it is cut off, too large, or of another format or type.
pub fn unpack<T: DeserializeOwned>(packed: &[u8]) -> Result<T, Error> {
    let unreadable = |detail: String| Error::Unreadable(format!("a packed value: {detail}"));
    let Some((&FORMAT, packed)) = packed.split_first() else {
        return Err(unreadable("its format is not known".to_owned()));
    };
    let mut unpacker = Decompress::new(false);
    unpacker
        .set_dictionary(DICTIONARY)
        .map_err(|error| unreadable(error.to_string()))?;
    let mut text = Vec::with_capacity(packed.len().saturating_mul(4).max(512));
    loop {
        let read = usize::try_from(unpacker.total_in()).unwrap_or(usize::MAX);
        let rest = packed.get(read..).unwrap_or_default();
        let status = unpacker
            .decompress_vec(rest, &mut text, FlushDecompress::None)
            .map_err(|error| unreadable(error.to_string()))?;
        match status {
            Status::StreamEnd => break,
            _ if text.len() == text.capacity() && text.len() < UNPACKED_BYTES => {
                text.reserve(text.len());
            }
            _ => return Err(unreadable("it is cut off or too large".to_owned())),
        }
    }
    serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_value_comes_back_and_known_words_cost_little() {
        let small = json!([{"type": "step.succeeded", "step_id": "a", "fence": 1}]);
        let large = json!({ "text": (0..20_000).map(|n| n.to_string()).collect::<Vec<_>>() });
        for value in [&small, &large, &Value::Null] {
            let packed = pack(value).expect("packed");
            assert_eq!(unpack::<Value>(&packed).ok().as_ref(), Some(value));
        }
        let packed = pack(&small).expect("packed");
        assert!(
            packed.len() * 3 < small.to_string().len(),
            "{}",
            packed.len()
        );
    }

    #[test]
    fn the_dictionary_of_a_format_never_changes() {
        let hash = sealfleet_domain::hash::sha256_hex(DICTIONARY);
        assert_eq!(
            hash,
            "d75325cc0ff51c12b93b298382232a4c7dbb7b45e12da3664c2488bb1606a741"
        );
    }

    #[test]
    fn what_is_cut_off_or_of_another_format_is_not_read() {
        let packed = pack(&json!({ "a": "something that has to be stored" })).expect("packed");
        let cut = packed.get(..packed.len() - 4).unwrap_or_default();
        assert!(unpack::<Value>(cut).is_err());
        let mut other = packed.clone();
        if let Some(first) = other.first_mut() {
            *first = 2;
        }
        assert!(unpack::<Value>(&other).is_err());
        assert!(unpack::<Value>(&[]).is_err());
    }
}
