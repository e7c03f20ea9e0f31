//! Passwords: which are accepted, and how they are kept. Argon2id with OWASP's first choice of parameters.
//!
//! A password is verified exactly as it was sent: no trimming, no case folding, no Unicode normalisation (ASVS 5.0 6.2.5;
//! NIST suggests normalising, ASVS forbids altering).

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use undercroft::error::{Error, Result};
use undercroft::id;

/// Fewest code points of a password that is the only factor (NIST SP 800-63B-4).
pub const MIN_LENGTH: usize = 15;
/// Most code points. Longer is refused, never cut.
pub const MAX_LENGTH: usize = 256;

/// Memory in KiB, passes, lanes.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);

/// A password of an acceptable length, as it was sent.
pub struct Password(String);

impl Password {
    /// Accepts a new password.
    ///
    /// # Errors
    /// `Invalid` at `/password` saying what length is asked for.
    pub fn new(text: String) -> Result<Self> {
        match text.chars().count() {
            0..MIN_LENGTH => {
                Err(Error::field("/password", "too_short", "use at least 15 characters; any will do, spaces too"))
            }
            MIN_LENGTH..=MAX_LENGTH => Ok(Self(text)),
            _ => Err(Error::field("/password", "too_long", "use at most 256 characters")),
        }
    }

    /// The password itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is kept of it: a PHC string with its own salt.
    ///
    /// # Errors
    /// `Internal` when hashing fails, which only a lack of memory can cause.
    pub fn hash(&self) -> Result<String> {
        let salt = id::random::<16>();
        let hash = hasher()?
            .hash_password_with_salt(self.0.as_bytes(), &salt)
            .map_err(|error| Error::internal(error.to_string()))?;
        Ok(hash.to_string())
    }
}

/// Whether `attempt` is the password that `stored` was made from. Without a stored hash it works as long and says no, so
/// that time does not tell whether an account exists.
///
/// # Errors
/// `Internal` when hashing fails.
pub fn verify(attempt: &str, stored: Option<&str>) -> Result<bool> {
    let hasher = hasher()?;
    if attempt.chars().count() > MAX_LENGTH {
        return Ok(false);
    }
    let Some(stored) = stored else {
        hasher
            .hash_password_with_salt(attempt.as_bytes(), b"no such account.")
            .map_err(|error| Error::internal(error.to_string()))?;
        return Ok(false);
    };
    let hash = PasswordHash::new(stored).map_err(|error| Error::internal(error.to_string()))?;
    Ok(hasher.verify_password(attempt.as_bytes(), &hash).is_ok())
}

/// Whether a stored hash was made with weaker parameters than today's.
pub fn is_outdated(stored: &str) -> bool {
    let (memory, passes, lanes) = COST;
    !stored.starts_with(&format!("$argon2id$v=19$m={memory},t={passes},p={lanes}$"))
}

fn hasher() -> Result<Argon2<'static>> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None).map_err(|error| Error::internal(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(text: &str) -> Password {
        Password::new(text.to_owned()).unwrap_or_else(|_| panic!("{text:?} is accepted"))
    }

    #[test]
    fn length_is_counted_in_code_points_and_composition_does_not_matter() {
        assert!(Password::new("a".repeat(14)).is_err());
        assert!(Password::new("a".repeat(257)).is_err());
        for fine in ["a".repeat(15), "a".repeat(256), "🦀".repeat(15), " ".repeat(15), "onlylowercaseletters".into()]
        {
            accepted(&fine);
        }
    }

    #[test]
    fn every_character_counts_and_nothing_is_altered() {
        let long = "x".repeat(256);
        let stored = accepted(&long).hash().expect("hashes");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify(&long, Some(&stored)).expect("verifies"));
        for position in [72, 254] {
            let mut other = long.clone();
            other.replace_range(position..=position, "y");
            assert!(!verify(&other, Some(&stored)).expect("verifies"), "differs at {position}");
        }
        let stored = accepted("Passphrase With Spaces").hash().expect("hashes");
        for variant in
            ["passphrase with spaces", " Passphrase With Spaces", "Passphrase With Spaces ", "Passphrase  With Spaces"]
        {
            assert!(!verify(variant, Some(&stored)).expect("verifies"), "{variant:?}");
        }
    }

    #[test]
    fn a_hash_with_weaker_parameters_is_outdated() {
        assert!(is_outdated("$argon2id$v=19$m=4096,t=3,p=1$c2FsdA$aGFzaA"));
        assert!(!is_outdated("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"));
    }
}
