//! `records.import`: creates a record for every valid row of a file, or replaces the one that the row names. Refused rows are counted and listed by line in a separate
//! file.
//!
//! Every step is safe to repeat: a record stores the job and the line of its row. So a slice interrupted by a crash is repeated
//! completely, and records that it had created are recognised and counted.

use super::deferred_rows::{self, At, Queue, Waiting};
use super::failure::{AFTER_FAILURE, Failure};
use super::import_batch::{Behind, Content, Fate, ImportBatch, Read, Tried, defined};
use super::import_row;
use super::import_upsert;
use super::multipart_writer::{Growing, Grown, of_files};
use super::outcome::Outcome;
use super::row_reader::{Row, RowPosition, Rows};
use super::slice::Slice;
use super::tools::Tools;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use undercroft::aws::objects::Head;
use undercroft::error::Error;
use undercroft::files::{Format, refused_key};
use undercroft::jobs::Import;
use undercroft::records::upsert::constraint;
use undercroft::schema::Collection;
use undercroft::store::jobs::Job;

/// Maximum number of rows in memory, and about their maximum bytes.
const IN_HAND: (i32, usize) = (512, 1024 * 1024);
/// Maximum number of refused rows listed in the job, and their maximum bytes.
const LISTED: (usize, usize) = (100, 50_000);

/// The progress of the job.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Progress {
    imported: u64,
    refused: u64,
    /// The first rows that were refused.
    errors: Vec<RejectedRow>,
    /// How many bytes they take.
    listed_bytes: usize,
    #[serde(flatten)]
    place: RowPosition,
    size: u64,
    etag: String,
    /// The generation of the collection.
    generation: u32,
    /// The header of CSV.
    columns: Option<Vec<String>>,
    /// Rows that wait for the record of another row.
    waiting: Waiting,
    /// The file of all refused rows.
    report: Grown,
}

/// A refused row.
#[derive(Debug, Serialize, Deserialize)]
struct RejectedRow {
    line: u64,
    errors: Value,
}

/// Runs a slice of the import.
pub async fn run(tools: &Tools, job: &Job, import: Import, slice: &Slice) -> Result<Outcome, Failure> {
    let key = refused_key(&job.id);
    let known = job.progress.clone().and_then(|progress| serde_json::from_value(progress).ok());
    let progress: Progress = match known {
        Some(progress) => progress,
        None => begin(tools, &import).await?,
    };
    if progress.report.is_closed() {
        progress.report.complete(&tools.files, &key).await?;
        return Ok(progress.done(&key));
    }
    let mut work = Work::open(tools, job, &import, &key, progress, slice).await?;
    let began = work.reached();
    match work.go_on().await {
        Ok(true) => Ok(work.ended(&key)),
        Ok(false) => work.take_break().await.map(Outcome::More),
        // The imported rows are kept, and the next slice starts where this one failed.
        Err(failure) if work.reached() != began => {
            failure.ends_slice(job);
            work.take_break().await.map(|progress| Outcome::Later(progress, AFTER_FAILURE))
        }
        Err(failure) => Err(failure),
    }
}

/// The fixed parameters of the import: the version of the file, and the collection.
async fn begin(tools: &Tools, import: &Import) -> Result<Progress, Failure> {
    let head = tools.files.head(&import.key).await.map_err(of_files)?;
    let head = head.ok_or_else(|| Failure::last("The file does not exist. Upload it before the import."))?;
    let collection = defined(&tools.definitions, import, None).await?;
    if let Some(fields) = import_upsert::named_by(import) {
        constraint(&collection, &fields).map_err(|error| match error {
            Error::Refused { code: "constraint_building", detail, .. } => Failure::new(detail),
            Error::Refused { detail, .. } => Failure::last(detail),
            error => error.into(),
        })?;
    }
    let generation = collection.definition().generation;
    Ok(Progress { size: head.size, etag: head.etag, generation, ..Progress::default() })
}

/// A slice of the import.
struct Work<'a> {
    batch: ImportBatch<'a>,
    slice: &'a Slice,
    progress: Progress,
    report: Growing<'a>,
    queue: Queue<'a>,
    /// Rows so far in this slice.
    worked: usize,
}

impl<'a> Work<'a> {
    async fn open(
        tools: &'a Tools,
        job: &'a Job,
        import: &'a Import,
        key: &'a str,
        mut progress: Progress,
        slice: &'a Slice,
    ) -> Result<Self, Failure> {
        let grown = std::mem::take(&mut progress.report);
        let report = Growing::open(&tools.files, &job.id, key, Format::Ndjson.content_type(), grown).await?;
        let queue = Queue::new(&tools.files, &job.id, std::mem::take(&mut progress.waiting));
        let batch = ImportBatch { tools, job, import, generation: progress.generation };
        Ok(Self { batch, slice, progress, report, queue, worked: 0 })
    }

    /// Imports until the end (true) or until the slice is over (false).
    async fn go_on(&mut self) -> Result<bool, Failure> {
        loop {
            let is_over = match self.queue.waiting.is_first_pass() {
                true => self.first_pass().await?,
                false => self.later_pass().await?,
            };
            if !is_over {
                return Ok(false);
            }
            if !self.queue.end_pass().await? {
                break;
            }
        }
        if self.report.bytes() > 0 {
            self.report.close().await?;
        }
        Ok(true)
    }

    /// Continues the pass over the file.
    async fn first_pass(&mut self) -> Result<bool, Failure> {
        let (size, etag) = (self.progress.size, self.progress.etag.clone());
        let head = Head { size, etag, content_type: String::new() };
        let (files, import) = (&self.batch.tools.files, self.batch.import);
        let mut rows = Rows::new(files, &import.key, &head, import.format, self.progress.place.clone());
        loop {
            let batch = self.read(&mut rows).await?;
            let (place, is_end) = (rows.place().clone(), rows.is_end());
            if !self.take(batch).await? {
                return Ok(false);
            }
            self.progress.place = place;
            if is_end || self.slice.is_over(self.worked) {
                return Ok(is_end);
            }
        }
    }

    /// The next rows of the file, as many as fit in memory. Skipped lines count towards the slice.
    async fn read(&mut self, rows: &mut Rows<'_>) -> Result<Vec<Read>, Failure> {
        let room = usize::try_from(self.slice.room(self.worked, IN_HAND.0)).unwrap_or(1);
        let (mut batch, mut looked_at, mut bytes) = (Vec::new(), 0, 0);
        while looked_at < room && bytes < IN_HAND.1 {
            let Some(row) = rows.next().await? else { break };
            looked_at += 1;
            let behind = Behind::InFile(rows.place().clone());
            let (line, content) = match row {
                Row::Nothing => continue,
                Row::TooLong(line) => (line, Content::TooLong),
                Row::Bytes(line, row) => (line, Content::Row(row)),
            };
            if self.batch.import.format == Format::Csv && self.progress.columns.is_none() {
                self.progress.columns = Some(columns(&content, &*self.batch.collection().await?)?);
                continue;
            }
            bytes += if let Content::Row(row) = &content { row.len() } else { 0 };
            batch.push(Read { line, content, behind });
        }
        self.worked += looked_at;
        Ok(batch)
    }

    /// Continues the pass over waiting rows.
    async fn later_pass(&mut self) -> Result<bool, Failure> {
        loop {
            let room = usize::try_from(self.slice.room(self.worked, IN_HAND.0)).unwrap_or(1);
            let rows = self.queue.next(room).await?;
            if rows.is_empty() {
                return Ok(true);
            }
            self.worked += rows.len();
            if self.queue.waiting.given_up {
                for (row, at) in rows {
                    self.refuse(row.line, row.errors).await?;
                    self.queue.waiting.goes_on(at);
                }
            } else if !self.take(rows.into_iter().map(read).collect()).await? {
                return Ok(false);
            }
            if self.slice.is_over(self.worked) {
                return Ok(false);
            }
        }
    }

    /// Creates records from these rows and stores the result of each. Returns false if the slice ended before the last row.
    async fn take(&mut self, rows: Vec<Read>) -> Result<bool, Failure> {
        let count = rows.len();
        let (tried, ended) = self.batch.try_all(rows, self.progress.columns.as_deref(), self.slice).await;
        let took_all = tried.len() == count;
        for tried in tried {
            self.note(tried).await?;
        }
        ended.map(|()| took_all)
    }

    async fn note(&mut self, mut tried: Tried) -> Result<(), Failure> {
        match self.batch.settle(&mut tried).await? {
            Fate::Made => {
                self.progress.imported += 1;
                self.queue.waiting.made = true;
            }
            Fate::Waits(errors) => {
                let (line, members) = (tried.line, tried.members.unwrap_or_default());
                self.queue.keep(&deferred_rows::Row { line, members, errors: json!(errors) }).await?;
            }
            Fate::Refused(errors) => self.refuse(tried.line, json!(errors)).await?,
        }
        match tried.behind {
            Behind::InFile(place) => self.progress.place = place,
            Behind::Waiting(at) => self.queue.waiting.goes_on(at),
        }
        Ok(())
    }

    /// After an error here the row does not count as refused.
    async fn refuse(&mut self, line: u64, errors: Value) -> Result<(), Failure> {
        let refused = RejectedRow { line, errors };
        let mut row = json!(refused).to_string();
        row.push('\n');
        self.report.push(row.as_bytes()).await?;
        self.progress.refused += 1;
        self.progress.list(refused, row.len());
        Ok(())
    }

    /// The position of the import; it changes with every row.
    fn reached(&self) -> (RowPosition, (u32, bool, Option<At>)) {
        (self.progress.place.clone(), self.queue.waiting.reached())
    }

    /// The progress for the next slice.
    async fn take_break(mut self) -> Result<Value, Failure> {
        self.progress.report = self.report.take_break().await?;
        self.progress.waiting = self.queue.take_break().await?;
        Ok(json!(self.progress))
    }

    /// The outcome of the last slice.
    fn ended(mut self, key: &str) -> Outcome {
        self.progress.report = self.report.grown();
        self.progress.waiting = self.queue.waiting;
        match self.progress.report.is_closed() && !self.progress.report.is_whole() {
            true => Outcome::More(json!(self.progress)),
            false => self.progress.done(key),
        }
    }
}

fn read((row, at): (deferred_rows::Row, At)) -> Read {
    Read { line: row.line, content: Content::Members(row.members), behind: Behind::Waiting(at) }
}

/// The header of CSV: the first row.
fn columns(header: &Content, collection: &Collection) -> Result<Vec<String>, Failure> {
    let Content::Row(header) = header else { return Err(Failure::last("The header row is missing or too long.")) };
    let cells = import_row::cells(header).map_err(|error| {
        let reason =
            if let Error::Invalid(errors) = &error { errors.first().map(|error| error.message.as_str()) } else { None };
        Failure::last(format!("The first row must be a header in CSV. {}", reason.unwrap_or("It cannot be read.")))
    })?;
    if let ([only], true) = (cells.as_slice(), header.iter().any(|byte| matches!(byte, b';' | b'\t')))
        && collection.layout().fields.get(&only.text).is_none()
    {
        return Err(Failure::last(
            "The columns of the header are separated by semicolons or tabs. CSV has commas (RFC 4180).",
        ));
    }
    let mut seen = BTreeSet::new();
    for cell in &cells {
        if collection.layout().fields.get(&cell.text).is_none() {
            return Err(Failure::last(format!(
                "The header names `{}`, which is not a field of the collection.",
                cell.text
            )));
        }
        if !seen.insert(&cell.text) {
            return Err(Failure::last(format!("The header names `{}` twice.", cell.text)));
        }
    }
    Ok(cells.into_iter().map(|cell| cell.text).collect())
}

impl Progress {
    /// Lists a refused row, if it is among the first.
    fn list(&mut self, refused: RejectedRow, bytes: usize) {
        if self.errors.len() < LISTED.0 && self.listed_bytes + bytes <= LISTED.1 {
            self.errors.push(refused);
            self.listed_bytes += bytes;
        }
    }

    fn done(&self, refused_key: &str) -> Outcome {
        let (imported, refused, passes) = (self.imported, self.refused, self.waiting.again + 1);
        let mut result = json!({ "imported": imported, "refused": refused, "passes": passes, "errors": self.errors });
        if let (1.., Some(result)) = (self.refused, result.as_object_mut()) {
            result.insert("key".into(), refused_key.into());
        }
        Outcome::Done(Some(result))
    }
}
