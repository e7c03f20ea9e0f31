//! The effect of a record's change on the change log. A pure function: it takes a stream record and returns the change of each
//! partition's count.
//!
//! A record names its keys in the generic indexes of the store. Its partitions in the indexes over elements follow from its
//! data and its attribute `ei`, which names those indexes.

use aws_lambda_events::event::dynamodb::EventRecord;
use serde_dynamo::{AttributeValue, Item};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use undercroft::clock::rfc3339;
use undercroft::expr::{FieldTypes, RecordRef};
use undercroft::query::{Index, IndexKey, Layout, MAX_INDEXES};
use undercroft::store::change_log::{Change, Move, Partition, Step};
use undercroft::store::item::number_of;
use undercroft::store::keys::{change_log_scope, of_record_partition};

/// Whether a change is one of the `Records` table.
pub fn is_of_records(record: &EventRecord) -> bool {
    record.change.keys.contains_key("pk")
}

/// Maximum number of partitions of one change: each may need two items of a transaction.
const MOST_STEPS: usize = 45;

/// The effect of a change of the `Records` table on the change log: none, or several changes if it concerns more partitions
/// than one transaction takes.
pub fn changes(record: &EventRecord) -> Vec<Change> {
    let Some(whole) = change(record) else { return Vec::new() };
    let part = |(nth, steps): (usize, &[Step])| {
        let event = if nth == 0 { whole.event.clone() } else { format!("{}.{nth}", whole.event) };
        Change { event, steps: steps.to_vec(), ..whole.clone() }
    };
    whole.steps.chunks(MOST_STEPS).enumerate().map(part).collect()
}

fn change(record: &EventRecord) -> Option<Change> {
    let (pk, id) = (text(&record.change.keys, "pk")?, text(&record.change.keys, "sk")?);
    let (collection, generation) = of_record_partition(pk)?;
    let standing = |image: &Item| Standing::of(image, collection, generation);
    let (old, new) = (standing(&record.change.old_image), standing(&record.change.new_image));
    let scope = change_log_scope(collection, generation);
    // A deleted record leaves the feed it was in. A record that is newly followed was in no feed before.
    let followed = if new.is_alive { new.followed } else { old.followed };
    let is_known = old.followed == followed;
    let keys: BTreeSet<_> = old.places.keys().chain(new.places.keys()).collect();
    let step = |(counted, name): &(u64, String)| {
        let place = |of: &Standing| of.places.get(&(*counted, name.clone())).cloned();
        let (was, is) = (place(&old), place(&new));
        let by = i8::from(is.is_some()) - i8::from(was.is_some());
        let is_rewritten = was.is_some() && old.version != new.version;
        let was_there = was.filter(|_| is_known);
        let entry = followed.filter(|_| was_there != is || is_rewritten);
        let entry = entry.map(|followed| Move { followed, was: was_there, is });
        let partition = Partition { scope: scope.clone(), counted: *counted, name: name.clone() };
        (by != 0 || entry.is_some()).then_some(Step { partition, by, entry })
    };
    let steps: Vec<Step> = keys.into_iter().filter_map(step).collect();
    let stood = [written(&record.change.old_image), ended(record)];
    (!steps.is_empty()).then(|| Change { event: record.event_id.clone(), id: id.to_owned(), stood, steps })
}

/// The time of the last write of a record.
fn written(image: &Item) -> String {
    text(image, "ua").unwrap_or_default().to_owned()
}

/// When the previous state of a record ended: the time of the next write by the writer's clock, because the relay may receive it
/// much later. A change that is not a write has only the time of the stream.
fn ended(record: &EventRecord) -> String {
    let (old, new) = (&record.change.old_image, &record.change.new_image);
    if version(new).is_some() && version(old) != version(new) {
        return written(new);
    }
    rfc3339(record.change.approximate_creation_date_time.timestamp_millis().try_into().unwrap_or_default())
}

/// A record as the change log sees it, before or after a write.
#[derive(Debug, Default)]
struct Standing {
    is_alive: bool,
    version: Option<String>,
    followed: Option<u64>,
    /// Its sort key in each partition that counts it, by the version that began counting and the name of the partition.
    places: BTreeMap<(u64, String), Vec<u8>>,
}

impl Standing {
    /// A deleted or uncounted record has no entries.
    fn of(image: &Item, collection: &str, generation: u32) -> Self {
        let is_alive = image.contains_key("pk") && !image.contains_key("del");
        let standing = Self { is_alive, version: version(image), followed: whole(image, "cf"), ..Self::default() };
        let Some(counted) = whole(image, "cn").filter(|_| is_alive) else { return standing };
        let slots = (1..=MAX_INDEXES).map(|slot| (format!("ix{slot}p"), format!("ix{slot}s")));
        let places = std::iter::once(("pk".to_owned(), "sk".to_owned())).chain(slots);
        let places = places.filter_map(|(partition, sort)| {
            Some(((counted, text(image, &partition)?.to_owned()), bytes(image, &sort)?))
        });
        let of_elements = element_keys(image, collection, generation).unwrap_or_default();
        let of_elements = of_elements.into_iter().map(|key| ((counted, key.partition), key.sort));
        Self { places: places.chain(of_elements).collect(), ..standing }
    }
}

/// The keys of a record's entries in the indexes over elements that count it.
fn element_keys(image: &Item, collection: &str, generation: u32) -> Option<Vec<IndexKey>> {
    let indexes: Vec<Index> = serde_json::from_str(text(image, "ei")?).ok()?;
    let AttributeValue::M(data) = image.get("d")? else { return None };
    let data = data.iter().map(|(name, value)| (name.clone(), to_json(value))).collect();
    let record = RecordRef {
        id: text(image, "sk")?,
        created_at: text(image, "ca")?,
        updated_at: text(image, "ua")?,
        version: whole(image, "v")?,
        data: &data,
    };
    let layout = Layout { collection: collection.to_owned(), generation, indexes, fields: FieldTypes::new([]) };
    let keys = |index: &Index| index.keys(&layout, &record).unwrap_or_default();
    Some(layout.indexes.iter().flat_map(keys).collect())
}

/// An attribute of a record's data as JSON.
fn to_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Bool(flag) => Value::Bool(*flag),
        AttributeValue::N(text) => Value::Number(number_of(text)),
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::L(elements) => elements.iter().map(to_json).collect(),
        AttributeValue::M(members) => members.iter().map(|(name, value)| (name.clone(), to_json(value))).collect(),
        _ => Value::Null,
    }
}

fn text<'a>(image: &'a Item, name: &str) -> Option<&'a str> {
    match image.get(name)? {
        AttributeValue::S(text) => Some(text),
        _ => None,
    }
}

fn bytes(image: &Item, name: &str) -> Option<Vec<u8>> {
    match image.get(name)? {
        AttributeValue::B(bytes) => Some(bytes.clone()),
        AttributeValue::S(text) => Some(text.clone().into_bytes()),
        _ => None,
    }
}

fn version(image: &Item) -> Option<String> {
    match image.get("v")? {
        AttributeValue::N(number) => Some(number.clone()),
        _ => None,
    }
}

fn whole(image: &Item, name: &str) -> Option<u64> {
    match image.get(name)? {
        AttributeValue::N(number) => number.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(old: Value, new: Value) -> EventRecord {
        let event = json!({ "Records": [{
            "eventID": "e1", "eventName": "MODIFY", "awsRegion": "us-east-1",
            "dynamodb": { "Keys": { "pk": { "S": "c#tasks#2#0" }, "sk": { "S": "id" } }, "OldImage": old, "NewImage": new,
                          "SequenceNumber": "1", "SizeBytes": 1, "ApproximateCreationDateTime": 0 },
        }]});
        let event: aws_lambda_events::event::dynamodb::Event = serde_json::from_value(event).expect("a stream event");
        event.records.into_iter().next().expect("one record")
    }

    /// A record of version `v` in the index partition `of`, counted since 3 and followed since 4.
    fn image(v: u64, of: &str) -> Value {
        json!({ "pk": { "S": "c#tasks#2#0" }, "sk": { "S": "id" }, "v": { "N": v.to_string() }, "cn": { "N": "3" },
                "cf": { "N": "4" }, "ix1p": { "S": of }, "ix1s": { "B": "aWQ=" } })
    }

    fn with(mut image: Value, name: &str, value: Value) -> Value {
        image[name] = value;
        image
    }

    fn without(mut image: Value, names: &[&str]) -> Value {
        names.iter().for_each(|name| drop(image.as_object_mut().expect("an object").remove(*name)));
        image
    }

    /// A change of a partition: its name, the change of its count, and whether its feed had and has the record.
    type Seen = (String, i8, Option<(bool, bool)>);

    fn steps(old: Value, new: Value) -> Vec<Seen> {
        let change = change(&record(old, new));
        let steps = change.into_iter().flat_map(|change| change.steps).map(|step| {
            assert_eq!((step.partition.scope.as_str(), step.partition.counted), ("tasks#2", 3));
            (step.partition.name, step.by, step.entry.map(|entry| (entry.was.is_some(), entry.is.is_some())))
        });
        steps.collect()
    }

    fn step(name: &str, by: i8, entry: (bool, bool)) -> Seen {
        (name.to_owned(), by, Some(entry))
    }

    #[test]
    fn a_record_is_counted_in_its_collection_and_each_index_from_creation_to_deletion() {
        let (made, gone) = ((false, true), (true, false));
        assert_eq!(steps(json!({}), image(1, "a")), [step("a", 1, made), step("c#tasks#2#0", 1, made)]);
        let deleted = with(without(image(2, "a"), &["ix1p", "ix1s"]), "del", json!({ "S": "now" }));
        assert_eq!(steps(image(1, "a"), deleted.clone()), [step("a", -1, gone), step("c#tasks#2#0", -1, gone)]);
        assert_eq!(
            steps(deleted.clone(), image(3, "a")),
            [step("a", 1, made), step("c#tasks#2#0", 1, made)],
            "undeleted"
        );
        assert_eq!(steps(deleted, json!({})), [], "the tombstone's time is over");
        assert_eq!(steps(image(1, "a"), json!({})), [step("a", -1, gone), step("c#tasks#2#0", -1, gone)], "purged");
    }

    #[test]
    fn a_record_that_moves_leaves_one_partition_and_enters_the_other() {
        let moved = steps(image(1, "a"), image(2, "b"));
        assert_eq!(
            moved,
            [step("a", -1, (true, false)), step("b", 1, (false, true)), step("c#tasks#2#0", 0, (true, true))]
        );
        let out = steps(image(1, "a"), without(image(2, "a"), &["ix1p", "ix1s"]));
        assert_eq!(out, [step("a", -1, (true, false)), step("c#tasks#2#0", 0, (true, true))]);
    }

    #[test]
    fn a_write_that_changes_no_key_is_in_the_feed_and_changes_no_count() {
        let stayed = [step("a", 0, (true, true)), step("c#tasks#2#0", 0, (true, true))];
        assert_eq!(steps(image(1, "a"), image(2, "a")), stayed);
        let quiet = |v| without(image(v, "a"), &["cf"]);
        assert_eq!(steps(quiet(1), quiet(2)), [], "not followed: nothing at all");
    }

    #[test]
    fn a_rederived_record_is_counted_only_in_partitions_that_did_not_count_it() {
        let made = (false, true);
        let before = without(image(1, "a"), &["ix1p", "ix1s"]);
        assert_eq!(steps(before, image(1, "a")), [step("a", 1, made)], "an index that was built");
        let unknown = without(image(1, "a"), &["cn", "cf"]);
        assert_eq!(steps(unknown.clone(), image(1, "a")), [step("a", 1, made), step("c#tasks#2#0", 1, made)]);
        let counted = without(image(1, "a"), &["cf"]);
        assert_eq!(
            steps(counted, image(1, "a")),
            [step("a", 0, made), step("c#tasks#2#0", 0, made)],
            "followed from now"
        );
        let stopped = steps(image(1, "a"), unknown);
        assert_eq!(stopped, [("a".to_owned(), -1, None), ("c#tasks#2#0".to_owned(), -1, None)]);
        let again = with(with(image(1, "a"), "cn", json!({ "N": "8" })), "cf", json!({ "N": "9" }));
        let change = change(&record(image(1, "a"), again)).expect("counted anew");
        let of = |counted| change.steps.iter().filter(move |step| step.partition.counted == counted);
        assert!(of(3).all(|step| step.by == -1 && step.entry.is_none()) && of(3).count() == 2, "{change:?}");
        assert!(of(8).all(|step| step.by == 1 && step.entry.as_ref().is_some_and(|entry| entry.was.is_none())));
    }

    #[test]
    fn a_change_carries_the_times_of_the_previous_and_the_current_write() {
        let written = |v: u64, at: &str| with(image(v, "a"), "ua", json!({ "S": at }));
        let stood = |old: Value, new: Value| change(&record(old, new)).expect("a change").stood;
        assert_eq!(stood(written(1, "monday"), written(2, "friday")), ["monday", "friday"]);
        let moved = without(written(1, "monday"), &["ix1p", "ix1s"]);
        let now = "1970-01-01T00:00:00.000Z";
        assert_eq!(stood(written(1, "monday"), moved), ["monday", now], "an index was dropped: the stream says when");
        assert_eq!(stood(written(1, "monday"), json!({})), ["monday", now], "it was purged");
    }

    #[test]
    fn an_item_that_is_not_a_counted_record_is_not_in_the_change_log() {
        let plain = |v| without(image(v, "a"), &["cn", "cf"]);
        assert_eq!(steps(json!({}), plain(1)), []);
        assert_eq!(steps(plain(1), plain(2)), []);
        let mut other = record(json!({}), image(1, "a"));
        other.change.keys.insert("pk".into(), AttributeValue::S("u#tasks#2#slug#x".into()));
        assert_eq!(change(&other), None);
    }
}
