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
        public_key(&self.client, &self.key).await
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

/// Signs identity tokens (RS256 of RFC 7518: PKCS #1 v1.5 with SHA-256).
#[async_trait]
pub trait TokenSigner: Send + Sync {
    /// The signature, by the first key, of the message whose SHA-256 this is.
    async fn sign(&self, sha256: [u8; 32]) -> Result<Vec<u8>, Unavailable>;

    /// The public half of each key, the one that signs first: DER-encoded `SubjectPublicKeyInfo`s
    /// (RFC 5280).
    async fn public_keys(&self) -> Result<Vec<Vec<u8>>, Unavailable>;
}

/// Keys of AWS KMS, `RSA_2048` for signatures: the first one signs, and tokens of all of them hold.
#[derive(Clone, Debug)]
pub struct TokenKeys {
    client: aws_sdk_kms::Client,
    keys: Vec<String>,
}

impl TokenKeys {
    /// The keys of these ids or ARNs, with commas between them.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, keys: &str) -> Self {
        Self {
            client: aws_sdk_kms::Client::new(config),
            keys: keys.split(',').map(|key| key.trim().to_owned()).collect(),
        }
    }
}

#[async_trait]
impl TokenSigner for TokenKeys {
    async fn sign(&self, sha256: [u8; 32]) -> Result<Vec<u8>, Unavailable> {
        let key = self.keys.first().ok_or_else(|| unavailable("no key"))?;
        let request = self.client.sign().key_id(key).message(Blob::new(sha256));
        let request = request
            .message_type(MessageType::Digest)
            .signing_algorithm(SigningAlgorithmSpec::RsassaPkcs1V15Sha256);
        let signed = request.send().await;
        let signed = signed.map_err(|error| unavailable(chain(&error)))?;
        let signature = signed.signature.map(Blob::into_inner);
        signature.ok_or_else(|| unavailable("an answer without a signature"))
    }

    async fn public_keys(&self) -> Result<Vec<Vec<u8>>, Unavailable> {
        let mut all = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            all.push(public_key(&self.client, key).await?);
        }
        Ok(all)
    }
}

async fn public_key(client: &aws_sdk_kms::Client, key: &str) -> Result<Vec<u8>, Unavailable> {
    let got = client.get_public_key().key_id(key).send().await;
    let key = got.map_err(|error| unavailable(chain(&error)))?.public_key;
    key.map(Blob::into_inner)
        .ok_or_else(|| unavailable("an answer without a public key"))
}

fn unavailable(error: impl std::fmt::Display) -> Unavailable {
    Unavailable {
        service: "KMS",
        detail: error.to_string(),
    }
}
