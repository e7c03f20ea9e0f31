//! `records.import`: a record of every row of a file that can be one. The others are counted, and listed by line in a file of
//! their own.
//!
//! Whatever was done may be done again: a row's record says which row of which job it is of. So a slice that a crash cut off
//! is repeated as a whole, and what it had made is met and counted as made.

use super::growing::{Growing, Grown, of_files};
use super::rows::{Place, Row, Rows};
use super::{Failure, Outcome, Slice, Tools, arrival};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use undercroft::aws::objects::Head;
use undercroft::error::{Error, FieldError};
use undercroft::futures::future::join_all;
use undercroft::schema::Collection;
use undercroft::store::files::{Format, Import, refused_key};
use undercroft::store::jobs::Job;

/// Records written side by side.
const SIDE_BY_SIDE: i32 = 16;
/// How often a row that met another write is tried again by itself.
const TRIES: usize = 3;
/// How many refused rows are listed in the job itself, and how many bytes they may take there.
const LISTED: (usize, usize) = (100, 50_000);

/// How far it has come.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Progress {
    imported: u64,
    refused: u64,
    /// The first rows that were refused.
    errors: Vec<Refused>,
    #[serde(flatten)]
    place: Place,
    size: u64,
    etag: String,
    /// Which collection of the name it is.
    generation: u32,
    /// The header of CSV.
    columns: Option<Vec<String>>,
    /// The file of all refused rows.
    report: Grown,
}

/// A row that is no record.
#[derive(Debug, Serialize, Deserialize)]
struct Refused {
    line: u64,
    errors: Value,
}

/// Imports for a slice.
pub async fn run(tools: &Tools, job: &Job, import: Import, slice: &Slice) -> Result<Outcome, Failure> {
    let key = refused_key(&job.id);
    let known = job.progress.clone().and_then(|progress| serde_json::from_value(progress).ok());
    let mut progress = match known {
        Some(progress) => progress,
        None => begin(tools, &import).await?,
    };
    if progress.report.is_closed() {
        progress.report.complete(&tools.files, &key).await?;
        return Ok(progress.done(&key));
    }
    let grown = std::mem::take(&mut progress.report);
    let mut report = Growing::open(&tools.files, &job.id, &key, Format::Ndjson.content_type(), grown).await?;
    if !work(tools, job, &import, &mut progress, &mut report, slice).await? {
        progress.report = report.take_break().await?;
        return Ok(Outcome::More(json!(progress)));
    }
    if report.bytes() == 0 {
        return Ok(progress.done(&key));
    }
    progress.report = report.close().await?;
    Ok(if progress.report.is_whole() { progress.done(&key) } else { Outcome::More(json!(progress)) })
}

/// What the whole import goes by: this file as it is, this collection.
async fn begin(tools: &Tools, import: &Import) -> Result<Progress, Failure> {
    let head = tools.files.head(&import.key).await.map_err(of_files)?;
    let head = head.ok_or_else(|| Failure::last("there is no such file: was it uploaded?"))?;
    let generation = defined(tools, import, None).await?.definition().generation;
    Ok(Progress { size: head.size, etag: head.etag, generation, ..Progress::default() })
}

/// The collection, if it is still the one that the import began with.
async fn defined(tools: &Tools, import: &Import, generation: Option<u32>) -> Result<Arc<Collection>, Failure> {
    let collection = tools.definitions.collection(&import.collection).await?;
    let same = |collection: &Arc<Collection>| generation.is_none_or(|it| it == collection.definition().generation);
    collection.filter(same).ok_or_else(|| Failure::last("there is no such collection any more"))
}

/// Imports until the end, which is true, or until the slice is over.
async fn work(
    tools: &Tools,
    job: &Job,
    import: &Import,
    progress: &mut Progress,
    report: &mut Growing<'_>,
    slice: &Slice,
) -> Result<bool, Failure> {
    let head = Head { size: progress.size, etag: progress.etag.clone(), content_type: String::new() };
    let mut rows = Rows::new(&tools.files, &import.key, &head, import.format, progress.place.clone());
    let mut worked = 0;
    loop {
        // Like every writer, this one goes by a definition a few seconds old at most.
        let collection = defined(tools, import, Some(progress.generation)).await?;
        let room = slice.room(worked, SIDE_BY_SIDE);
        let Some(batch) = batch(&mut rows, usize::try_from(room).unwrap_or(1)).await? else { return Ok(true) };
        worked += batch.len();
        let batch = without_header(batch, import.format, progress, &collection)?;
        for (line, refused) in written(tools, job, &collection, progress.columns.as_deref(), batch).await? {
            match refused {
                None => progress.imported += 1,
                Some(errors) => progress.refuse(line, &errors, report).await?,
            }
        }
        progress.place = rows.place().clone();
        if slice.is_over(worked) {
            return Ok(false);
        }
    }
}

/// The next rows, at most `room`; `None` behind the last.
async fn batch(rows: &mut Rows<'_>, room: usize) -> Result<Option<Vec<Row>>, Failure> {
    let mut batch = Vec::new();
    while batch.len() < room {
        match rows.next().await? {
            Some(row) => batch.push(row),
            None if batch.is_empty() => return Ok(None),
            None => break,
        }
    }
    Ok(Some(batch))
}

/// Takes the header of CSV for what it is: the first row that is one.
fn without_header(
    mut batch: Vec<Row>,
    format: Format,
    progress: &mut Progress,
    collection: &Collection,
) -> Result<Vec<Row>, Failure> {
    if format == Format::Csv && progress.columns.is_none() {
        let first = batch.iter().position(|row| *row != Row::Nothing);
        match first.map(|first| batch.remove(first)) {
            None => {}
            Some(Row::Bytes(_, header)) => progress.columns = Some(columns(&header, collection)?),
            Some(_) => return Err(Failure::last("the header is no row of names")),
        }
    }
    Ok(batch)
}

fn columns(header: &[u8], collection: &Collection) -> Result<Vec<String>, Failure> {
    let cells = arrival::cells(header).map_err(|_| Failure::last("the header is no row of CSV"))?;
    let mut seen = BTreeSet::new();
    for cell in &cells {
        if collection.layout().fields.get(&cell.text).is_none() {
            return Err(Failure::last(format!(
                "the header names `{}`, which is no field of the collection",
                cell.text
            )));
        }
        if !seen.insert(&cell.text) {
            return Err(Failure::last(format!("the header names `{}` twice", cell.text)));
        }
    }
    Ok(cells.into_iter().map(|cell| cell.text).collect())
}

/// Makes records of these rows, side by side. Says of each row what is wrong with it, or nothing.
async fn written(
    tools: &Tools,
    job: &Job,
    collection: &Arc<Collection>,
    columns: Option<&[String]>,
    rows: Vec<Row>,
) -> Result<Vec<(u64, Option<Vec<FieldError>>)>, Failure> {
    let each = rows.into_iter().filter_map(|row| match row {
        Row::Nothing => None,
        Row::TooLong(line) => {
            Some((line, Err(Error::field("", "too_large", "the row is longer than any record: 400 KB"))))
        }
        Row::Bytes(line, bytes) => Some((line, members(&bytes, columns, collection))),
    });
    let writes = each.map(async |(line, members)| {
        let made = match &members {
            Ok(members) => make(tools, job, collection, line, members).await,
            Err(_) => Ok(()),
        };
        (line, members, made)
    });
    let mut all = Vec::new();
    for (line, members, mut made) in join_all(writes).await {
        // What met another write, perhaps one of these, is tried again when nothing stands beside it.
        for _ in 0..TRIES {
            if let (Err(Error::Unavailable { .. }), Ok(members)) = (&made, &members) {
                made = make(tools, job, collection, line, members).await;
            }
        }
        all.push((line, refusal(members.map(drop).and(made))?));
    }
    Ok(all)
}

fn members(row: &[u8], columns: Option<&[String]>, collection: &Collection) -> Result<Map<String, Value>, Error> {
    match columns {
        Some(columns) => arrival::of_csv(row, columns, collection),
        None => arrival::of_json(row),
    }
}

/// Makes the record of a row, unless this job has made it before.
async fn make(
    tools: &Tools,
    job: &Job,
    collection: &Arc<Collection>,
    line: u64,
    members: &Map<String, Value>,
) -> Result<(), Error> {
    let intent = arrival::intent(tools, collection, job, line, members.clone()).await?;
    match tools.records.write_one(&intent, &format!("{}:{line}", job.id), None).await {
        Ok(_) => Ok(()),
        // Nobody else makes a record of this id: it was made, and somebody has changed it since.
        Err(Error::PreconditionFailed(_)) if !arrival::has_own_id(job, line, &intent.id) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What is wrong with a row; a failure where the row is not to blame.
fn refusal(made: Result<(), Error>) -> Result<Option<Vec<FieldError>>, Failure> {
    let of_row = |code, message: String| Ok(Some(vec![FieldError::new("", code, message)]));
    match made {
        Ok(()) => Ok(None),
        Err(Error::Invalid(errors)) => Ok(Some(errors)),
        Err(Error::PreconditionFailed(message)) => of_row("exists", message.to_owned()),
        Err(
            Error::BadRequest { code, detail } | Error::Conflict { code, detail } | Error::Refused { code, detail, .. },
        ) => of_row(code, detail),
        Err(error) => Err(error.into()),
    }
}

impl Progress {
    async fn refuse(&mut self, line: u64, errors: &[FieldError], report: &mut Growing<'_>) -> Result<(), Failure> {
        self.refused += 1;
        let refused = Refused { line, errors: json!(errors) };
        let mut row = json!(refused).to_string();
        let taken: usize = self.errors.iter().map(|refused| json!(refused).to_string().len()).sum();
        if self.errors.len() < LISTED.0 && taken + row.len() <= LISTED.1 {
            self.errors.push(refused);
        }
        row.push('\n');
        report.push(row.as_bytes()).await
    }

    fn done(&self, refused_key: &str) -> Outcome {
        let mut result = json!({ "imported": self.imported, "refused": self.refused, "errors": self.errors });
        if let (1.., Some(result)) = (self.refused, result.as_object_mut()) {
            result.insert("key".into(), refused_key.into());
        }
        Outcome::Done(Some(result))
    }
}
