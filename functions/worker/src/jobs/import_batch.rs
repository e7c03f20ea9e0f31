//! Creates records from rows: many in parallel, reported in the order of the file.

use super::deferred_rows::At;
use super::failure::Failure;
use super::import_row;
use super::row_reader::RowPosition;
use super::slice::Slice;
use super::tools::Tools;
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use tokio::sync::{Mutex, OwnedMutexGuard};
use undercroft::error::{Error, FieldError};
use undercroft::futures::StreamExt as _;
use undercroft::futures::stream::FuturesOrdered;
use undercroft::jobs::Import;
use undercroft::schema::Collection;
use undercroft::store::definitions::Definitions;
use undercroft::store::jobs::Job;

/// Number of records written in parallel.
pub const SIDE_BY_SIDE: usize = 64;
/// How often a row with a conflict is retried alone.
const TRIES: usize = 3;

/// A row that has been read.
#[derive(Debug)]
pub struct Read {
    /// Its line in the file.
    pub line: u64,
    /// Its content.
    pub content: Content,
    /// The position of the pass after it.
    pub behind: Behind,
}

/// The content of a row.
#[derive(Debug)]
pub enum Content {
    /// Bytes that are not parsed yet.
    Row(Vec<u8>),
    /// The members parsed by an earlier pass.
    Members(Map<String, Value>),
    /// Larger than a record may be.
    TooLong,
}

/// The position of a pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Behind {
    /// The first pass, in the file.
    InFile(RowPosition),
    /// A later pass, over the waiting rows.
    Waiting(At),
}

/// A row after a try to create its record.
#[derive(Debug)]
pub struct Tried {
    /// Its line in the file.
    pub line: u64,
    /// Its members, if it could be parsed.
    pub members: Option<Map<String, Value>>,
    /// Why no record was created from it.
    pub made: Result<(), Error>,
    /// The position of the pass after it.
    pub behind: Behind,
}

/// Creates records for an import.
#[derive(Debug)]
pub struct ImportBatch<'a> {
    /// The services that jobs may use.
    pub tools: &'a Tools,
    /// The import.
    pub job: &'a Job,
    /// The parameters of the import.
    pub import: &'a Import,
    /// The generation of the collection.
    pub generation: u32,
}

impl ImportBatch<'_> {
    /// The collection, if it is still the one that the import began with. It is read before every row, because every writer
    /// uses a definition that is at most a few seconds old.
    pub async fn collection(&self) -> Result<Arc<Collection>, Failure> {
        defined(&self.tools.definitions, self.import, Some(self.generation)).await
    }

    /// Tries to create records from these rows. Ends with the slice, or with a failure that prevents further rows.
    pub async fn try_all(
        &self,
        rows: Vec<Read>,
        columns: Option<&[String]>,
        slice: &Slice,
    ) -> (Vec<Tried>, Result<(), Failure>) {
        let in_time = |nth: usize| nth < SIDE_BY_SIDE || !slice.is_over(0);
        let mut rows = rows.into_iter().enumerate().take_while(|(nth, _)| in_time(*nth));
        let turns = Turns::default();
        let (mut tries, mut tried, mut ended) = (FuturesOrdered::new(), Vec::new(), Ok(()));
        loop {
            while ended.is_ok() && tries.len() < SIDE_BY_SIDE {
                let Some((_, row)) = rows.next() else { break };
                match self.collection().await {
                    Ok(collection) => tries.push_back(self.try_one(row, columns, collection, &turns)),
                    Err(failure) => ended = Err(failure),
                }
            }
            match tries.next().await {
                Some(one) => tried.push(one),
                None => return (tried, ended),
            }
        }
    }

    async fn try_one(
        &self,
        row: Read,
        columns: Option<&[String]>,
        collection: Arc<Collection>,
        turns: &Turns,
    ) -> Tried {
        let Read { line, content, behind } = row;
        match members(content, columns, &collection) {
            Ok(members) => {
                let made = self.make(&collection, line, &members, turns).await;
                Tried { line, members: Some(members), made, behind }
            }
            Err(error) => Tried { line, members: None, made: Err(error), behind },
        }
    }

    /// Retries a row alone if it conflicted with another write or points at a row of this file that may have a record by now. The
    /// result is final.
    pub async fn settle(&self, tried: &mut Tried) -> Result<Fate, Failure> {
        let mut made = std::mem::replace(&mut tried.made, Ok(()));
        let Some(members) = tried.members.as_ref().filter(|_| made.is_err()) else { return fate(made, false) };
        let (collection, alone) = (self.collection().await?, Turns::default());
        if waits(&made, &collection) {
            made = self.make(&collection, tried.line, members, &alone).await;
        }
        for _ in 0..TRIES {
            if matches!(made, Err(Error::Unavailable { .. })) {
                made = self.make(&collection, tried.line, members, &alone).await;
            }
        }
        let waits = waits(&made, &collection);
        fate(made, waits)
    }

    /// Creates the record of a row, unless this job has already created it.
    async fn make(
        &self,
        collection: &Arc<Collection>,
        line: u64,
        members: &Map<String, Value>,
        turns: &Turns,
    ) -> Result<(), Error> {
        let intent = import_row::intent(self.tools, collection, self.job, line, members.clone()).await?;
        let _turns = turns.take(intent.targets.iter().map(|target| target.id.as_str())).await;
        match self.tools.records.write_one(&intent, &format!("{}:{line}", self.job.id), None).await {
            Ok(_) => Ok(()),
            // Only this job creates a record with this id, so it was created before and changed since.
            Err(Error::PreconditionFailed(_)) if !import_row::has_own_id(self.job, line, &intent.id) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Rows that point at the same record are written one at a time: each write checks that record in its transaction, concurrent
/// checks conflict (TransactionConflict), and DynamoDB charges for them.
#[derive(Debug, Default)]
struct Turns(std::sync::Mutex<HashMap<String, Arc<Mutex<()>>>>);

impl Turns {
    /// Waits for a lock on each of these records. Dropping the result releases them.
    async fn take(&self, ids: impl Iterator<Item = &str>) -> Vec<OwnedMutexGuard<()>> {
        // In one order, each once, to avoid deadlocks.
        let ids: BTreeSet<&str> = ids.collect();
        let mut taken = Vec::new();
        for id in ids {
            let turn = self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_owned()).or_default().clone();
            taken.push(turn.lock_owned().await);
        }
        taken
    }
}

/// The collection, if it is of this generation.
pub async fn defined(
    definitions: &Definitions,
    import: &Import,
    generation: Option<u32>,
) -> Result<Arc<Collection>, Failure> {
    let collection = definitions.collection(&import.collection).await?;
    let same = |collection: &Arc<Collection>| generation.is_none_or(|it| it == collection.definition().generation);
    collection.filter(same).ok_or_else(|| Failure::last("The collection no longer exists."))
}

fn members(content: Content, columns: Option<&[String]>, collection: &Collection) -> Result<Map<String, Value>, Error> {
    match (content, columns) {
        (Content::Members(members), _) => Ok(members),
        (Content::Row(row), Some(columns)) => import_row::of_csv(&row, columns, collection),
        (Content::Row(row), None) => import_row::of_json(&row),
        (Content::TooLong, _) => {
            Err(Error::field("", "too_large", "The row is longer than 400 KB, the maximum size of a record."))
        }
    }
}

/// The result of a row.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// The record exists.
    Made,
    /// It points at a record of the same collection that does not exist yet.
    Waits(Vec<FieldError>),
    /// It was refused, for these reasons.
    Refused(Vec<FieldError>),
}

/// Whether only a referenced record of its own collection is missing.
fn waits(made: &Result<(), Error>, collection: &Collection) -> bool {
    let Err(Error::Invalid(errors)) = made else { return false };
    let mut inward = collection.relations().filter(|(_, relation)| relation.collection == collection.name());
    errors.iter().all(|error| error.code == "relation")
        && inward.any(|(field, _)| errors.iter().any(|error| error.pointer.split('/').nth(1) == Some(field)))
}

/// Turns the result of a write into that of a row; a failure if the row is not the cause.
fn fate(made: Result<(), Error>, waits: bool) -> Result<Fate, Failure> {
    let refused = |code, message: String| Ok(Fate::Refused(vec![FieldError::new("", code, message)]));
    match made {
        Ok(()) => Ok(Fate::Made),
        Err(Error::Invalid(errors)) if waits => Ok(Fate::Waits(errors)),
        Err(Error::Invalid(errors)) => Ok(Fate::Refused(errors)),
        Err(Error::PreconditionFailed(message)) => refused("exists", message.to_owned()),
        Err(
            Error::BadRequest { code, detail } | Error::Conflict { code, detail } | Error::Refused { code, detail, .. },
        ) => refused(code, detail),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use undercroft::futures::FutureExt as _;

    #[tokio::test]
    async fn rows_that_point_at_the_same_record_are_written_one_at_a_time() {
        let turns = Turns::default();
        let first = turns.take(["b", "a", "b"].into_iter()).await;
        let second = turns.take(["c", "a"].into_iter());
        let mut second = std::pin::pin!(second);
        assert!(second.as_mut().now_or_never().is_none());
        assert!(turns.take(["c", "d"].into_iter()).now_or_never().is_some());
        drop(first);
        assert_eq!(second.await.len(), 2);
    }
}
