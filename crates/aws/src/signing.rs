//! Signatures by a key of KMS, which never leaves it.

use async_trait::async_trait;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sealfleet_archive::digest::{ALGORITHM, Signature};
use sealfleet_domain::cause::chain;

use crate::Unavailable;

/// Signs digests of the archive.
#[async_trait]
pub trait Signer: Send + Sync {
    /// Signs the message whose SHA-256 this is.
    async fn sign(&self, sha256: [u8; 32]) -> Result<Signature, Unavailable>;
}

/// An asymmetric key of AWS KMS: `ECC_NIST_P256`, for signatures.
#[derive(Clone, Debug)]
pub struct Kms {
    client: aws_sdk_kms::Client,
    key: String,
}

impl Kms {
    /// The key of this id, ARN or alias.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, key: String) -> Self {
        Self {
            client: aws_sdk_kms::Client::new(config),
            key,
        }
    }

    /// Its public half: a DER-encoded `SubjectPublicKeyInfo` (RFC 5280).
    ///
    /// # Errors
    /// When KMS does not answer, or refuses.
    pub async fn public_key(&self) -> Result<Vec<u8>, Unavailable> {
        let got = self.client.get_public_key().key_id(&self.key).send().await;
        let key = got.map_err(|error| unavailable(chain(&error)))?.public_key;
        key.map(Blob::into_inner)
            .ok_or_else(|| unavailable("an answer without a public key"))
    }
}

#[async_trait]
impl Signer for Kms {
    async fn sign(&self, sha256: [u8; 32]) -> Result<Signature, Unavailable> {
        let request = self
            .client
            .sign()
            .key_id(&self.key)
            .message(Blob::new(sha256));
        let request = request
            .message_type(MessageType::Digest)
            .signing_algorithm(SigningAlgorithmSpec::EcdsaSha256);
        let signed = request
            .send()
            .await
            .map_err(|error| unavailable(chain(&error)))?;
        let (Some(key), Some(signature)) = (signed.key_id, signed.signature) else {
            return Err(unavailable("an answer without a signature"));
        };
        let signature = BASE64_STANDARD.encode(signature.as_ref());
        Ok(Signature {
            key,
            algorithm: ALGORITHM.to_owned(),
            signature,
        })
    }
}

fn unavailable(error: impl std::fmt::Display) -> Unavailable {
    Unavailable {
        service: "KMS",
        detail: error.to_string(),
    }
}
