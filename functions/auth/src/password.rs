//! Password rules and hashing: Argon2id with the parameters that OWASP lists first.
//!
//! A password is verified exactly as sent: no trimming, no case folding, no Unicode normalisation (ASVS 5.0 6.2.5 forbids
//! changes; NIST suggests normalisation).

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use std::sync::{Arc, Mutex, PoisonError};
use undercroft::error::{Error, Result};
use undercroft::id;

/// Minimum number of code points of a password that is the only factor (NIST SP 800-63B-4).
pub const MIN_LENGTH: usize = 15;
/// Maximum number of code points. A longer password is refused, never truncated.
pub const MAX_LENGTH: usize = 256;

/// Memory in KiB, passes, lanes.
const COST: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Bytes of a hash.
const HASH_BYTES: usize = 32;
/// Maximum memory that a stored hash may require, in KiB. No version of this code has made one that requires more.
const MOST_MEMORY: u32 = 64 * 1024;

/// A password of valid length, exactly as sent.
pub struct Password(String);

impl Password {
    /// Accepts a new password.
    ///
    /// # Errors
    /// `Invalid` at `/password` with the required length.
    pub fn new(text: String) -> Result<Self> {
        match text.chars().count() {
            0..MIN_LENGTH => Err(Error::field(
                "/password",
                "too_short",
                "Use at least 15 characters. Every character is allowed, spaces too.",
            )),
            MIN_LENGTH..=MAX_LENGTH => Ok(Self(text)),
            _ => Err(Error::field("/password", "too_long", "Use at most 256 characters.")),
        }
    }
}

/// Hashes passwords, one at a time, in memory that it keeps after the first hash. Allocating and freeing it for every hash made
/// glibc place a new block of 19 MiB each time.
///
/// The memory is not cleared. Guessing a password from it takes at least half of the work of a hash for each guess, because every
/// block of the last pass depends on the whole first pass.
#[derive(Debug, Clone, Default)]
pub struct Hasher {
    memory: Arc<Mutex<Vec<Block>>>,
}

impl Hasher {
    /// Returns the hash to store: a PHC string with its own salt.
    ///
    /// # Errors
    /// `Unavailable` if there is not enough memory.
    pub fn hash(&self, password: &Password) -> Result<String> {
        let (params, salt) = (todays()?, id::random::<16>());
        let mut out = [0; HASH_BYTES];
        self.fill(Algorithm::Argon2id, Version::V0x13, params.clone(), password.0.as_bytes(), &salt, &mut out)?;
        let hash = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: (&params).try_into().map_err(broken)?,
            salt: Some(Salt::new(&salt).map_err(broken)?),
            hash: Some(Output::new(&out).map_err(broken)?),
        };
        Ok(hash.to_string())
    }

    /// Whether `attempt` is the password of the hash `stored`. Without a stored hash it takes the same time and returns false, so
    /// that the time does not reveal whether an account exists. It returns false only for a wrong password.
    ///
    /// # Errors
    /// `Unavailable` if there is not enough memory; `Internal` if `stored` is malformed.
    pub fn verify(&self, attempt: &str, stored: Option<&str>) -> Result<bool> {
        if attempt.chars().count() > MAX_LENGTH {
            return Ok(false);
        }
        let Some(stored) = stored else {
            let mut out = [0; HASH_BYTES];
            let salt = b"no such account.";
            self.fill(Algorithm::Argon2id, Version::V0x13, todays()?, attempt.as_bytes(), salt, &mut out)?;
            return Ok(false);
        };
        let stored = PasswordHash::new(stored).map_err(broken)?;
        let params = Params::try_from(&stored).map_err(broken)?;
        let (Some(salt), Some(expected), Some(version)) = (&stored.salt, &stored.hash, stored.version) else {
            return Err(Error::internal("A stored password hash has no version, no salt or no hash."));
        };
        if params.m_cost() > MOST_MEMORY {
            return Err(Error::internal("A stored password hash requires more memory than this version ever uses."));
        }
        let algorithm = Algorithm::try_from(stored.algorithm.as_str()).map_err(broken)?;
        let version = Version::try_from(version).map_err(broken)?;
        let mut out = vec![0; expected.len()];
        self.fill(algorithm, version, params, attempt.as_bytes(), salt, &mut out)?;
        // Compares in constant time.
        Ok(Output::new(&out).map_err(broken)? == *expected)
    }

    fn fill(
        &self,
        algorithm: Algorithm,
        version: Version,
        params: Params,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> Result<()> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = params.block_count().saturating_sub(memory.len());
        memory.try_reserve_exact(missing).map_err(|error| Error::Unavailable {
            retry_after: 1,
            source: Some(format!("There is not enough memory to hash a password: {error}").into()),
        })?;
        let blocks = memory.len() + missing;
        memory.resize(blocks, Block::new());
        let hasher = Argon2::new(algorithm, version, params);
        hasher.hash_password_into_with_memory(password, salt, out, memory.as_mut_slice()).map_err(broken)
    }
}

fn todays() -> Result<Params> {
    let (memory, passes, lanes) = COST;
    Params::new(memory, passes, lanes, Some(HASH_BYTES)).map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::internal(error.to_string())
}

/// Whether a stored hash has weaker parameters than the current ones.
pub fn is_outdated(stored: &str) -> bool {
    let (memory, passes, lanes) = COST;
    !stored.starts_with(&format!("$argon2id$v=19$m={memory},t={passes},p={lanes}$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(text: &str) -> Password {
        Password::new(text.to_owned()).unwrap_or_else(|_| panic!("{text:?} is accepted"))
    }

    #[test]
    fn length_is_counted_in_code_points_and_no_composition_is_required() {
        assert!(Password::new("a".repeat(14)).is_err());
        assert!(Password::new("a".repeat(257)).is_err());
        for fine in ["a".repeat(15), "a".repeat(256), "🦀".repeat(15), " ".repeat(15), "onlylowercaseletters".into()]
        {
            accepted(&fine);
        }
    }

    #[test]
    fn every_character_counts_and_nothing_is_altered() {
        let hasher = Hasher::default();
        let (hash, verify) =
            (|text: &str| hasher.hash(&accepted(text)), |text: &str, stored| hasher.verify(text, stored));
        let long = "x".repeat(256);
        let stored = hash(&long).expect("hashes");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify(&long, Some(&stored)).expect("verifies"));
        for position in [72, 254] {
            let mut other = long.clone();
            other.replace_range(position..=position, "y");
            assert!(!verify(&other, Some(&stored)).expect("verifies"), "differs at {position}");
        }
        let stored = hash("Passphrase With Spaces").expect("hashes");
        for variant in
            ["passphrase with spaces", " Passphrase With Spaces", "Passphrase With Spaces ", "Passphrase  With Spaces"]
        {
            assert!(!verify(variant, Some(&stored)).expect("verifies"), "{variant:?}");
        }
    }

    #[test]
    fn reused_memory_gives_the_same_hashes() {
        // A hash made by another implementation of RFC 9106, with the password and salt of its own tests.
        let known = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let hasher = Hasher::default();
        for _ in 0..2 {
            let stored = hasher.hash(&accepted("used before, and used again")).expect("hashes");
            assert!(hasher.verify("used before, and used again", Some(&stored)).expect("verifies"));
            assert!(hasher.verify("password", Some(known)).expect("verifies"), "larger than today's");
            assert!(!hasher.verify("Password", Some(known)).expect("verifies"));
            assert!(!hasher.verify("used before, and used again", None).expect("verifies"));
        }
    }

    #[test]
    fn a_malformed_stored_hash_is_an_error_and_not_a_wrong_password() {
        let hash =
            |head: &str| format!("$argon2{head}$c29tZXNhbHRzb21lc2FsdA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc");
        for (what, stored) in [
            ("memory that nobody has", hash("id$v=19$m=4294967295,t=2,p=1")),
            ("too little memory", hash("id$v=19$m=7,t=2,p=1")),
            ("no such version", hash("id$v=18$m=19456,t=2,p=1")),
            ("no such algorithm", hash("x$v=19$m=19456,t=2,p=1")),
            ("no hash", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA".to_owned()),
            ("no PHC string", "correct horse battery staple".to_owned()),
        ] {
            assert!(Hasher::default().verify("correct horse battery staple", Some(&stored)).is_err(), "{what}");
        }
    }

    #[test]
    fn a_hash_with_weaker_parameters_is_outdated() {
        assert!(is_outdated("$argon2id$v=19$m=4096,t=3,p=1$c2FsdA$aGFzaA"));
        assert!(!is_outdated("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"));
    }
}
