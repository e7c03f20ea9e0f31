//! Sealing: authenticated encryption of small values that clients or mails return, such as cursors and mailed codes.
//!
//! AES-256-GCM with a random 96-bit nonce. The associated data contains purpose and owner, so a sealed value opens only in
//! the same context. There is no default key: without Parameter Store nothing is sealed.

use super::parameters::Parameters;
use crate::error::{Error, Result};
use crate::id;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use tokio::sync::OnceCell;

/// A key that seals and opens, fetched on first use.
#[derive(Debug)]
pub struct Seal {
    parameters: Parameters,
    name: &'static str,
    key: OnceCell<LessSafeKey>,
}

impl Seal {
    /// The key named `name` in this stack's parameters.
    pub fn new(parameters: Parameters, name: &'static str) -> Self {
        Self { parameters, name, key: OnceCell::new() }
    }

    /// Seals `plain` for the purpose in `associated`.
    ///
    /// # Errors
    /// `Unavailable` when the key cannot be fetched.
    pub async fn seal(&self, associated: &str, plain: &[u8]) -> Result<String> {
        let nonce = id::random::<NONCE_LEN>();
        let mut sealed = plain.to_vec();
        self.key()
            .await?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut sealed)
            .map_err(|_| Error::internal("sealing failed"))?;
        Ok(id::base64url(&[nonce.as_slice(), &sealed].concat()))
    }

    /// Opens what `seal` returned for the same purpose. `None` for anything else.
    ///
    /// # Errors
    /// `Unavailable` when the key cannot be fetched.
    pub async fn open(&self, associated: &str, sealed: &str) -> Result<Option<Vec<u8>>> {
        let Some(mut bytes) = id::from_base64url(sealed) else { return Ok(None) };
        let Some((nonce, ciphertext)) = bytes.split_at_mut_checked(NONCE_LEN) else { return Ok(None) };
        let Ok(nonce) = Nonce::try_assume_unique_for_key(nonce) else { return Ok(None) };
        let key = self.key().await?;
        Ok(key.open_in_place(nonce, Aad::from(associated), ciphertext).ok().map(|plain| plain.to_vec()))
    }

    async fn key(&self) -> Result<&LessSafeKey> {
        self.key
            .get_or_try_init(async || {
                let text = self.parameters.get_or_create(self.name, || id::base64url(&id::random::<32>())).await?;
                let bytes = id::from_base64url(&text).ok_or_else(|| Error::internal("sealing key is not base64url"))?;
                let key = UnboundKey::new(&AES_256_GCM, &bytes)
                    .map_err(|_| Error::internal("sealing key has a wrong length"))?;
                Ok(LessSafeKey::new(key))
            })
            .await
    }
}
