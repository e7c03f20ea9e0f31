//! Writes records from rows: many in parallel, reported in the order of the file.

use super::deferred_rows::At;
use super::failure::Failure;
use super::import_row;
use super::import_upsert;
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
use undercroft::jobs::{Import, ImportMode};
use undercroft::schema::Collection;
use undercroft::store::definitions::Definitions;
use undercroft::store::intent::{ImportedRow, What};
use undercroft::store::jobs::Job;
use undercroft::store::unique_values;

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

impl Tried {
    /// Whether rows behind it were tried before.
    fn is_late(&self) -> bool {
        matches!(self.behind, Behind::Waiting(_))
    }
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
        let (turns, mut claimed) = (Turns::default(), BTreeSet::new());
        let (mut tries, mut tried, mut ended) = (FuturesOrdered::new(), Vec::new(), Ok(()));
        loop {
            while ended.is_ok() && tries.len() < SIDE_BY_SIDE {
                let Some((_, row)) = rows.next() else { break };
                match self.collection().await {
                    Ok(collection) => {
                        let row = parsed(row, columns, &collection);
                        let is_later = row.members.as_ref().is_some_and(|row| !claims(row, &collection, &mut claimed));
                        tries.push_back(self.try_one(row, is_later, collection, &turns));
                    }
                    Err(failure) => ended = Err(failure),
                }
            }
            match tries.next().await {
                Some(one) => tried.push(one),
                None => return (tried, ended),
            }
        }
    }

    /// A row that claims what an earlier row of the batch claims (`is_later`) is left to [`ImportBatch::settle`], which takes the rows in
    /// their order. So the result does not depend on how the file is read: of rows that create, the first line has the value, of rows that
    /// replace or merge, the last.
    async fn try_one(&self, mut row: Tried, is_later: bool, collection: Arc<Collection>, turns: &Turns) -> Tried {
        if let (Some(members), Ok(())) = (&row.members, &row.made) {
            row.made = match is_later {
                true => Err(Error::Unavailable { retry_after: 0, source: None }),
                false => self.make(&collection, row.line, members, (turns, row.is_late())).await,
            };
        }
        row
    }

    /// Retries a row alone if it conflicted with another write or points at a row of this file that may have a record by now. The
    /// result is final.
    pub async fn settle(&self, tried: &mut Tried) -> Result<Fate, Failure> {
        let is_late = tried.is_late();
        let mut made = std::mem::replace(&mut tried.made, Ok(()));
        let Some(members) = tried.members.as_ref().filter(|_| made.is_err()) else { return fate(made, false) };
        let (collection, alone) = (self.collection().await?, Turns::default());
        if waits(&made, &collection) {
            made = self.make(&collection, tried.line, members, (&alone, is_late)).await;
        }
        for _ in 0..TRIES {
            if matches!(made, Err(Error::Unavailable { .. })) {
                made = self.make(&collection, tried.line, members, (&alone, is_late)).await;
            }
        }
        let waits = waits(&made, &collection);
        fate(made, waits)
    }

    /// Writes the record of a row, unless this job has already done so. `is_late`: rows behind it were tried before.
    async fn make(
        &self,
        collection: &Arc<Collection>,
        line: u64,
        members: &Map<String, Value>,
        (turns, is_late): (&Turns, bool),
    ) -> Result<(), Error> {
        let intent = match import_upsert::key(self.import, collection, members)? {
            None => import_row::intent(self.tools, collection, self.job, line, members.clone()).await?,
            Some(key) => {
                let of = (self.job, self.import);
                import_upsert::intent(self.tools, collection, of, line, (key, members.clone())).await?
            }
        };
        let _turns = turns.take(intent.every_target().map(|target| target.id.as_str())).await;
        let request = ImportedRow { job: self.job.id.clone(), line }.request();
        match self.tools.records.write_one(&intent, &request, None).await {
            Ok(_) => Ok(()),
            // This row wrote it before.
            Err(Error::PreconditionFailed(_)) if matches!(intent.what, What::Upsert(_)) => Ok(()),
            // A later row with the same key wrote it. This one did before, or does not count, unless it was to be merged.
            Err(Error::Conflict { code: ImportedRow::OVERTAKEN, .. })
                if !is_late || self.import.mode != ImportMode::Merge =>
            {
                Ok(())
            }
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

/// A row before the try, with its members or why it has none.
fn parsed(row: Read, columns: Option<&[String]>, collection: &Collection) -> Tried {
    let Read { line, content, behind } = row;
    match members(content, columns, collection) {
        Ok(members) => Tried { line, members: Some(members), made: Ok(()), behind },
        Err(error) => Tried { line, members: None, made: Err(error), behind },
    }
}

/// Whether no earlier row claimed the id or a unique value of this row, which it claims now.
fn claims(row: &Map<String, Value>, collection: &Collection, claimed: &mut BTreeSet<String>) -> bool {
    let mut stored = row.clone();
    collection.apply_defaults(&mut stored);
    collection.canonicalise(&mut stored);
    let id = row.get("id").and_then(Value::as_str).map(str::to_owned);
    let mut is_first = true;
    for value in unique_values(collection, &stored).into_iter().chain(id) {
        is_first &= claimed.insert(value);
    }
    is_first
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
