//! Identifiers and random values.
//!
//! A record's id is a UUIDv7 (RFC 9562). It contains the creation time and is never a secret. Secrets come from the operating
//! system's random generator and have at least 128 bits.

use crate::clock::Clock;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::{NoContext, Timestamp, Uuid};

/// A new UUIDv7 with the clock's time.
pub fn new(clock: &Clock) -> String {
    of_time(clock.millis())
}

/// A new UUIDv7 of this time, in milliseconds since the Unix epoch.
pub fn of_time(millis: u64) -> String {
    let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
    Uuid::new_v7(Timestamp::from_unix(NoContext, millis / 1000, nanos)).to_string()
}

/// A UUIDv7 derived from a time and a name: the same input gives the same id.
pub fn derived(millis: u64, name: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let mut chance = [0; 10];
    chance.iter_mut().zip(hash.as_ref()).for_each(|(byte, hashed)| *byte = *hashed);
    uuid::Builder::from_unix_timestamp_millis(millis, &chance).into_uuid().to_string()
}

/// The UUIDv7 of the `number`th item in a series with one time and name: the same input gives the same id, and ids sort by
/// number. The bits before the number are a hash of the name, so that series do not collide. The bits after it are a hash of
/// both, so that the ids spread over shards.
pub fn numbered(millis: u64, name: &str, number: u32) -> String {
    let hash = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let (named, number, whole) = (hash(name), number.to_be_bytes(), hash(&format!("{name}:{number}")));
    let all = named.as_ref().iter().take(3).chain(&number).copied().chain(whole.as_ref().iter().copied());
    let mut chance = [0; 10];
    chance.iter_mut().zip(all).for_each(|(byte, given)| *byte = given);
    uuid::Builder::from_unix_timestamp_millis(millis, &chance).into_uuid().to_string()
}

/// Whether `text` is a UUIDv7 in canonical form (lower case, hyphens).
pub fn is_valid(text: &str) -> bool {
    Uuid::try_parse(text).is_ok_and(|id| id.get_version_num() == 7 && id.to_string() == text)
}

/// The time inside a UUIDv7, in milliseconds since the Unix epoch.
pub fn millis(id: &str) -> Option<u64> {
    let digits: String = id.chars().filter(|char| *char != '-').take(12).collect();
    u64::from_str_radix(&digits, 16).ok().filter(|_| is_valid(id))
}

/// `N` random bytes from the operating system.
///
/// # Panics
/// When the operating system provides no randomness. Continuing would be unsafe.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A code that a person can type from a mail: 30 symbols of Crockford's base 32 in groups of five, 150 bits.
pub fn code() -> String {
    const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let symbols: Vec<char> =
        random::<30>().iter().filter_map(|byte| SYMBOLS.get(usize::from(byte % 32)).copied().map(char::from)).collect();
    symbols.chunks(5).map(String::from_iter).collect::<Vec<_>>().join("-")
}

/// base64url without padding (RFC 4648 section 5).
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of base64url text.
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// SHA-256, as base64url.
pub fn sha256(bytes: &[u8]) -> String {
    base64url(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_are_deterministic_and_valid() {
        let id = derived(1_645_557_742_000, "name");
        assert!(is_valid(&id) && millis(&id) == Some(1_645_557_742_000), "{id}");
        assert_eq!(id, derived(1_645_557_742_000, "name"));
        assert_ne!(id, derived(1_645_557_742_000, "other"));
    }

    #[test]
    fn numbered_ids_sort_by_number_and_spread() {
        let ids: Vec<String> = (0..2_000).map(|number| numbered(1_645_557_742_000, "job", number * 321)).collect();
        assert!(ids.is_sorted_by(|one, next| one < next));
        assert!(ids.iter().all(|id| is_valid(id) && millis(id) == Some(1_645_557_742_000)));
        assert_eq!(ids.first(), Some(&numbered(1_645_557_742_000, "job", 0)));
        assert!(!ids.contains(&numbered(1_645_557_742_000, "other job", 321)));
        let tails: std::collections::BTreeSet<&str> = ids.iter().map(|id| &id[id.len() - 1..]).collect();
        assert_eq!(tails.len(), 16);
    }

    #[test]
    fn the_vector_of_rfc_9562_is_valid_and_other_versions_and_spellings_are_not() {
        assert!(is_valid("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"));
        assert_eq!(millis("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"), Some(1_645_557_742_000));
        assert!(is_valid(&new(&Clock::default())));
        for wrong in [
            "017F22E2-79B0-7CC3-98C4-DC0C0C07398F",
            "017f22e279b07cc398c4dc0c0c07398f",
            "c232ab00-9414-41ec-b3c8-9f6bdeced846",
            "",
            "../x",
        ] {
            assert!(!is_valid(wrong), "{wrong}");
        }
    }

    /// The hardest case: all sixteen workers share every millisecond. Ids of different milliseconds differ by their time, so
    /// it is enough to compare the ids within a round.
    #[test]
    fn sixteen_workers_generate_a_million_distinct_valid_ids_each() {
        const WORKERS: usize = 16;
        const ROUNDS: usize = 32;
        const EACH: usize = 1_000_000 / ROUNDS;
        let clock = Clock::standing_at(1_645_557_742_000);
        let mut all: Vec<u128> = Vec::with_capacity(WORKERS * EACH);
        for _ in 0..ROUNDS {
            all.clear();
            let millis = clock.millis();
            std::thread::scope(|scope| {
                let worker = || (0..EACH).map(|_| checked(&new(&clock), millis)).collect::<Vec<u128>>();
                let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
                all.extend(workers.into_iter().flat_map(|worker| worker.join().expect("a worker ends")));
            });
            all.sort_unstable();
            assert_eq!(all.len(), WORKERS * EACH);
            assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "two are the same");
            clock.advance(std::time::Duration::from_millis(1));
        }
    }

    /// The number in an id, if the id is valid and of this time.
    fn checked(id: &str, at: u64) -> u128 {
        assert!(is_valid(id), "{id}");
        let number = Uuid::try_parse(id).expect("it is valid").as_u128();
        assert_eq!((number >> 80, number >> 76 & 0xf, number >> 62 & 0b11), (at.into(), 7, 0b10), "{id}");
        number
    }

    #[test]
    fn a_code_is_six_groups_of_five_symbols() {
        let code = code();
        assert_eq!(code.len(), 35);
        assert!(code.split('-').all(|group| group.len() == 5));
        assert_ne!(code, super::code());
    }
}
