//! Every key of the `Records` table. The first letters of a partition key determine who may write it: the IAM policies in
//! template.yaml name these prefixes.
//!
//! | prefix | what | written by |
//! |---|---|---|
//! | `k` | published signing keys | auth |
//! | `d` | definitions of collections | collections, and worker when a job on a definition is done |
//! | `c#` | records | records (auth for `users`, worker for imports, cascades and the attributes beside the data) |
//! | `u#` | uniqueness markers | records, and worker for records older than a constraint |
//! | `e#` | entries in indexes over elements of arrays | records, worker |
//! | `r#` | references: what restricts a record's deletion, and what was deleted with it | records, worker |
//! | `i#` | responses stored for idempotency keys | records, collections, jobs |
//! | `n#` | the change log's heads: counts and last sequences | relay |
//! | `f#` | the change log's entries, in order | relay |
//! | `m#` | the change log's markers: the stream records already applied | relay |

use ring::digest::{SHA256, digest};

/// Partition of all definitions; the sort key is the collection's name.
pub const DEFINITIONS: &str = "d";

/// Partition of a record: its collection, the collection's generation, and one of its shards.
pub fn record_partition(collection: &str, generation: u32, shard: u16) -> String {
    format!("c#{collection}#{generation}#{shard}")
}

/// The collection and the generation in the name of a partition of records; `None` for any other partition.
pub fn of_record_partition(partition: &str) -> Option<(&str, u32)> {
    let mut parts = partition.strip_prefix("c#")?.split('#');
    Some((parts.next()?, parts.next()?.parse().ok()?))
}

/// Which of `shards` (a power of two) holds a record. The definition gives the number of shards for the time in the record's
/// id. The last bytes of an id are random, so records spread evenly.
pub fn shard_of(id: &str, shards: u16) -> u16 {
    let tail = id.get(id.len().saturating_sub(4)..).unwrap_or_default();
    u16::from_str_radix(tail, 16).unwrap_or(0) % shards.max(1)
}

/// Partition of the marker that reserves a unique value. The value is hashed because a key holds at most 2 KB.
pub fn unique_partition(collection: &str, generation: u32, fields: &[String], values: &str) -> String {
    let hash = crate::id::base64url(digest(&SHA256, values.as_bytes()).as_ref());
    format!("u#{collection}#{generation}#{}#{hash}", fields.join(","))
}

/// Partition of the entries with this partition key in an index over elements.
pub fn element_partition(partition: &str) -> String {
    format!("e#{partition}")
}

/// Sort key of an entry in an index over elements, as text: a character for each byte, so that texts sort as the bytes do.
pub fn element_sort(sort: &[u8]) -> String {
    sort.iter().map(|byte| char::from(*byte)).collect()
}

/// The bytes of such a sort key.
pub fn element_sort_bytes(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|char| u8::try_from(char).ok()).collect()
}

/// What a change log belongs to: a collection and its generation, as in the keys of its records.
pub fn change_log_scope(collection: &str, generation: u32) -> String {
    format!("{collection}#{generation}")
}

/// Key of the head of a partition's change log. All heads of a collection share one partition key, so that a purge can find
/// them. Partition names are hashed: a name of 2 KB with a prefix would exceed the key length.
pub fn head_key(scope: &str, counted: u64, partition: &str) -> (String, String) {
    (format!("n#{scope}"), format!("{counted}#{}", crate::id::sha256(partition.as_bytes())))
}

/// Partition of the entries of a partition's change log since changes were turned on.
pub fn feed_partition(scope: &str, followed: u64, partition: &str) -> String {
    format!("f#{scope}#{followed}#{}", crate::id::sha256(partition.as_bytes()))
}

/// Sort key of an entry: by time, so that the oldest unexpired entry is found without reading expired ones.
pub fn entry_sort(time: u64, sequence: u64) -> String {
    format!("{time:014}#{sequence:014}")
}

/// Partition of the marker of a stream record that the change log has applied.
pub fn taken_partition(event: &str) -> String {
    format!("m#{event}")
}

/// Sort key of every such marker.
pub const TAKEN_SORT: &str = "m";

/// Sort key of every uniqueness marker.
pub const UNIQUE_SORT: &str = "u";

/// Partition of the references to a record: the records that point at it and restrict its deletion.
pub fn reference_partition(collection: &str, generation: u32, id: &str) -> String {
    format!("r#{collection}#{generation}#{id}")
}

/// Partition of the references to a record from the records that are deleted with it: apart from those that restrict its
/// deletion, so that nobody who deletes it reads them.
pub fn follower_partition(collection: &str, generation: u32, id: &str) -> String {
    format!("{}#f", reference_partition(collection, generation, id))
}

/// Partition of the response stored for an idempotency key, by the hash of the key and its scope.
pub fn idempotency_partition(hash: &str) -> String {
    format!("i#{hash}")
}

/// Sort key of every stored response.
pub const IDEMPOTENCY_SORT: &str = "i";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_sort_by_time_and_then_by_sequence() {
        let sorted = [(0, 1), (9, 2), (10, 3), (10, 20), (1_700_000_000_000, 100)].map(|(t, s)| entry_sort(t, s));
        assert!(sorted.is_sorted(), "{sorted:?}");
    }

    proptest! {
        #[test]
        fn sort_keys_of_entries_order_as_their_bytes(left: Vec<u8>, right: Vec<u8>) {
            let (low, high) = (element_sort(&left), element_sort(&right));
            prop_assert_eq!(low.as_bytes().cmp(high.as_bytes()), left.cmp(&right));
            prop_assert_eq!(element_sort_bytes(&low), Some(left));
        }
    }

    #[test]
    fn a_record_stays_in_its_shard_and_shards_fill_evenly() {
        let clock = crate::clock::Clock::default();
        let mut filled = [0_u32; 8];
        for _ in 0..8_000 {
            let id = crate::id::new(&clock);
            let shard = shard_of(&id, 8);
            assert_eq!(shard, shard_of(&id, 8));
            filled[usize::from(shard)] += 1;
        }
        assert!(filled.iter().all(|count| (800..1_200).contains(count)), "{filled:?}");
    }
}
