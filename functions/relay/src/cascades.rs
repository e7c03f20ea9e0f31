//! The job that follows a deletion, and the one that follows its undelete. A pure function: it takes a stream record and returns
//! a job to enqueue.

use aws_lambda_events::event::dynamodb::EventRecord;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use undercroft::id;
use undercroft::jobs::{CASCADE_JOB, MAX_ATTEMPTS, RESTORE_JOB};
use undercroft::schema::{OnDelete, Referrer};
use undercroft::store::jobs::Job;
use undercroft::store::keys::of_record_partition;

/// The part of a record's image that decides on the cascade.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Image {
    pk: String,
    sk: String,
    v: u64,
    del: Option<String>,
    follow: Option<String>,
    rid: String,
}

/// The job for a record that became a tombstone, or that was one. The same change always gives the same job, so relaying it twice
/// is harmless.
pub fn job(record: &EventRecord) -> Option<Job> {
    let image = |item: &serde_dynamo::Item| serde_dynamo::from_item::<_, Image>(item.clone()).unwrap_or_default();
    let (old, new) = (image(&record.change.old_image), image(&record.change.new_image));
    let (collection, generation) = of_record_partition(&new.pk)?;
    let mut payload = Map::from_iter(
        [("collection", json!(collection)), ("generation", json!(generation)), ("id", json!(new.sk))]
            .map(|(name, value)| (name.to_owned(), value)),
    );
    let millis = u64::try_from(record.change.approximate_creation_date_time.timestamp_millis()).unwrap_or_default();
    let id = id::derived(millis, &format!("{}#{}#{}", new.pk, new.sk, new.v));
    match (old.del, new.del) {
        (None, Some(_)) => {
            let follow: Value = serde_json::from_str(new.follow.as_deref()?).ok()?;
            payload.insert("follow".to_owned(), follow);
            Some(Job { max_attempts: MAX_ATTEMPTS, ..Job::new(id, CASCADE_JOB, payload, &new.rid) })
        }
        (Some(_), None) if has_followers(old.follow.as_deref()?) => {
            Some(Job { max_attempts: MAX_ATTEMPTS, ..Job::new(id, RESTORE_JOB, payload, &new.rid) })
        }
        _ => None,
    }
}

/// Whether a cascade may have deleted records with this one.
fn has_followers(follow: &str) -> bool {
    let referrers: Vec<Referrer> = serde_json::from_str(follow).unwrap_or_default();
    referrers.iter().any(|referrer| referrer.on_delete == OnDelete::Cascade)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(old: Value, new: Value) -> EventRecord {
        let event = json!({ "Records": [{
            "eventID": "1", "eventName": "MODIFY", "awsRegion": "us-east-1",
            "dynamodb": { "OldImage": old, "NewImage": new, "SequenceNumber": "1", "SizeBytes": 1,
                          "ApproximateCreationDateTime": 1_700_000_000 },
        }]});
        let event: aws_lambda_events::event::dynamodb::Event = serde_json::from_value(event).expect("a stream event");
        event.records.into_iter().next().expect("one record")
    }

    fn tombstone() -> Value {
        json!({ "pk": { "S": "c#posts#2#0" }, "sk": { "S": "p1" }, "v": { "N": "4" }, "del": { "S": "now" }, "rid": { "S": "r1" },
                "follow": { "S": r#"[{"collection":"comments","field":"post","onDelete":"cascade"}]"# } })
    }

    #[test]
    fn a_deletion_with_followers_is_one_job_however_often_it_is_relayed() {
        let alive = json!({ "pk": { "S": "c#posts#2#0" }, "sk": { "S": "p1" }, "v": { "N": "3" } });
        let job = job(&record(alive.clone(), tombstone())).expect("a job");
        assert_eq!(super::job(&record(alive, tombstone())).map(|job| job.id), Some(job.id.clone()));
        assert!(id::is_valid(&job.id));
        assert_eq!((job.payload["collection"].as_str(), job.payload["generation"].as_u64()), (Some("posts"), Some(2)));
        assert_eq!((job.payload["id"].as_str(), job.request_id.as_str()), (Some("p1"), "r1"));
        assert_eq!(job.payload["follow"][0]["collection"], "comments");
    }

    #[test]
    fn an_undelete_is_one_job_if_a_cascade_may_have_deleted_records() {
        let alive =
            json!({ "pk": { "S": "c#posts#2#0" }, "sk": { "S": "p1" }, "v": { "N": "5" }, "rid": { "S": "r2" } });
        let job = job(&record(tombstone(), alive.clone())).expect("a job");
        assert_eq!((job.kind.as_str(), job.payload["id"].as_str()), (RESTORE_JOB, Some("p1")));
        assert_eq!(super::job(&record(tombstone(), alive.clone())).map(|job| job.id), Some(job.id));
        let mut without = tombstone();
        without["follow"]["S"] = json!(r#"[{"collection":"comments","field":"post","onDelete":"setNull"}]"#);
        assert!(super::job(&record(without, alive)).is_none());
        assert!(super::job(&record(tombstone(), json!({}))).is_none(), "the tombstone has expired");
    }

    #[test]
    fn a_changed_tombstone_or_a_deletion_without_referrers_makes_no_job() {
        assert!(job(&record(tombstone(), tombstone())).is_none());
        let mut quiet = tombstone();
        quiet.as_object_mut().expect("an object").remove("follow");
        assert!(job(&record(json!({}), quiet)).is_none());
        assert!(job(&record(tombstone(), json!({}))).is_none());
    }
}
