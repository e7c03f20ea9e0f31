//! Undeletes many records for a job. One that cannot come back stops no other.

use super::failure::Failure;
use super::tools::Tools;
use std::sync::Arc;
use undercroft::error::Error;
use undercroft::futures::future::try_join_all;
use undercroft::preconditions::{IfMatch, IfNoneMatch, Preconditions};
use undercroft::schema::Collection;
use undercroft::store::intent::{Failed, Intent, What};
use undercroft::store::jobs::Job;
use undercroft::store::record::Record;
use undercroft::store::targets::{Referring, targets};

/// Records undeleted in one transaction.
const TOGETHER: usize = 10;
/// Transactions at the same time.
const SIDE_BY_SIDE: usize = 4;

/// What became of some tombstones.
#[derive(Debug, Default)]
pub struct Undeleted {
    /// Number of records undeleted.
    pub written: u64,
    /// The records that cannot come back, and why not.
    pub refused: Vec<(String, Error)>,
}

/// Undeletes these tombstones.
pub async fn undelete(
    tools: &Tools,
    job: &Job,
    tombstones: &[(Arc<Collection>, Record)],
) -> Result<Undeleted, Failure> {
    let mut all = Undeleted::default();
    for some in tombstones.chunks(TOGETHER * SIDE_BY_SIDE) {
        for done in try_join_all(some.chunks(TOGETHER).map(|few| together(tools, job, few))).await? {
            all.written += done.written;
            all.refused.extend(done.refused);
        }
    }
    Ok(all)
}

/// The undelete of a tombstone, on the condition that it is unchanged.
pub async fn intent(tools: &Tools, collection: &Arc<Collection>, tombstone: &Record) -> Result<Intent, Error> {
    let now = tools.clock.millis();
    let by = Referring::System(&tools.system);
    let targets = targets(&tools.definitions, collection, by, &tombstone.data, now).await?;
    let preconditions =
        Preconditions { if_match: IfMatch::Versions(vec![tombstone.version]), if_none_match: IfNoneMatch::Absent };
    let grant = tools.system.grant(collection, now);
    Ok(Intent { grant, id: tombstone.id.clone(), what: What::Undelete, preconditions, targets, cause: None })
}

/// Undeletes these together, or without those that cannot come back, or each alone where together is too much.
async fn together(tools: &Tools, job: &Job, tombstones: &[(Arc<Collection>, Record)]) -> Result<Undeleted, Failure> {
    let (mut intents, mut done) = (Vec::new(), Undeleted::default());
    for (collection, tombstone) in tombstones {
        match intent(tools, collection, tombstone).await {
            Ok(intent) => intents.push(intent),
            Err(error) => done.refuse(&tombstone.id, error)?,
        }
    }
    while !intents.is_empty() {
        match tools.records.write(&intents, &job.id, None).await {
            Ok(written) => {
                done.written += u64::try_from(written.len()).unwrap_or_default();
                break;
            }
            Err(Failed::Each(errors)) => {
                let positions: Vec<usize> = errors.iter().map(|(position, _)| *position).collect();
                for (position, error) in errors {
                    if let Some(intent) = intents.get(position) {
                        done.refuse(&intent.id, error)?;
                    }
                }
                let mut position = 0..;
                intents.retain(|_| position.next().is_some_and(|position| !positions.contains(&position)));
            }
            Err(Failed::Whole(Error::BadRequest { .. } | Error::Refused { .. })) => {
                for intent in &intents {
                    match tools.records.write_one(intent, &job.id, None).await {
                        Ok(_) => done.written += 1,
                        Err(error) => done.refuse(&intent.id, error)?,
                    }
                }
                break;
            }
            Err(Failed::Whole(error)) => return Err(error.into()),
        }
    }
    Ok(done)
}

impl Undeleted {
    /// Keeps the error of a record that cannot come back. A record that was changed meanwhile is no error; a failed call is.
    fn refuse(&mut self, id: &str, error: Error) -> Result<(), Failure> {
        match error {
            Error::NotFound(_) | Error::PreconditionFailed(_) | Error::Conflict { code: "not_deleted", .. } => {}
            Error::Conflict { .. } | Error::Invalid(_) | Error::BadRequest { .. } | Error::Refused { .. } => {
                self.refused.push((id.to_owned(), error));
            }
            error => return Err(error.into()),
        }
        Ok(())
    }
}
