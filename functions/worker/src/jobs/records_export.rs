//! `records.export`: every living record of a collection into one file, shard after shard in the order of their ids.
//!
//! It is not a snapshot: each record is in the state of the moment its page was read. Records that do not change during the
//! export are in it once; records created meanwhile may be in it.

use super::csv;
use super::failure::{AFTER_FAILURE, Failure};
use super::multipart_writer::{Growing, Grown};
use super::outcome::Outcome;
use super::slice::Slice;
use super::tools::Tools;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use undercroft::expr::SYSTEM_FIELDS;
use undercroft::files::{Format, export_key};
use undercroft::jobs::Export;
use undercroft::policy::Grant;
use undercroft::schema::Collection;
use undercroft::store::item::text;
use undercroft::store::jobs::Job;
use undercroft::store::record::Record;

/// Maximum number of items read at once; a page has at most 1 MB.
const PAGE: i32 = 500;

/// The progress of the job.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Progress {
    records: u64,
    /// The generation of the collection.
    generation: u32,
    shard: u16,
    /// The last id of this shard that was written.
    after: Option<String>,
    /// The columns of CSV, by the definition at the start.
    columns: Vec<String>,
    file: Grown,
}

impl Progress {
    /// The shard, and the last id of it.
    fn reached(&self) -> (u16, Option<String>) {
        (self.shard, self.after.clone())
    }
}

/// Runs a slice of the export.
pub async fn run(tools: &Tools, job: &Job, export: Export, slice: &Slice) -> Result<Outcome, Failure> {
    let known = job.progress.clone().and_then(|progress| serde_json::from_value::<Progress>(progress).ok());
    let is_first = known.is_none();
    let (key, mut progress) = (export_key(&job.id, export.format), known.unwrap_or_default());
    if progress.file.is_closed() {
        progress.file.complete(&tools.files, &key).await?;
        return Ok(done(&progress, &key));
    }
    let grown = std::mem::take(&mut progress.file);
    let mut file = Growing::open(&tools.files, &job.id, &key, export.format.content_type(), grown).await?;
    if is_first {
        begin(tools, &export, &mut progress, &mut file).await?;
    }
    let began = progress.reached();
    match go_on(tools, &export, &mut progress, &mut file, slice).await {
        Ok(true) => {
            progress.file = file.grown();
            Ok(if progress.file.is_whole() { done(&progress, &key) } else { Outcome::More(json!(progress)) })
        }
        Ok(false) => {
            progress.file = file.take_break().await?;
            Ok(Outcome::More(json!(progress)))
        }
        // The written rows are kept, and the next slice starts where this one failed.
        Err(failure) if progress.reached() != began => {
            failure.ends_slice(job);
            progress.file = file.take_break().await?;
            Ok(Outcome::Later(json!(progress), AFTER_FAILURE))
        }
        Err(failure) => Err(failure),
    }
}

/// The fixed parameters of the export: the collection, and the columns of CSV.
async fn begin(tools: &Tools, export: &Export, progress: &mut Progress, file: &mut Growing<'_>) -> Result<(), Failure> {
    let collection = defined(tools, export, None).await?;
    progress.generation = collection.definition().generation;
    if export.format == Format::Csv {
        progress.columns = columns(&collection);
        let mut header = Vec::new();
        csv::write_header(&mut header, &progress.columns);
        file.push(&header).await?;
    }
    Ok(())
}

fn done(progress: &Progress, key: &str) -> Outcome {
    Outcome::Done(Some(json!({ "records": progress.records, "bytes": progress.file.bytes, "key": key })))
}

/// Writes until the file is closed (true) or the slice is over (false).
async fn go_on(
    tools: &Tools,
    export: &Export,
    progress: &mut Progress,
    file: &mut Growing<'_>,
    slice: &Slice,
) -> Result<bool, Failure> {
    let is_end = visit_shards(tools, export, progress, file, slice).await?;
    if is_end {
        file.close().await?;
    }
    Ok(is_end)
}

/// Writes until there are no more records (true) or the slice is over (false).
async fn visit_shards(
    tools: &Tools,
    export: &Export,
    progress: &mut Progress,
    file: &mut Growing<'_>,
    slice: &Slice,
) -> Result<bool, Failure> {
    let mut worked = 0;
    loop {
        let collection = defined(tools, export, Some(progress.generation)).await?;
        if progress.shard >= u16::from(collection.definition().shards_ever()) {
            return Ok(true);
        }
        let (shard, after) = (progress.shard, progress.after.as_deref());
        let page = tools.records.in_shard(&tools.system, &collection, shard, after, slice.room(worked, PAGE)).await?;
        let records = page.items.iter().filter_map(Record::from_item).filter(|record| !record.deleted);
        let (mut rows, mut written) = (Vec::new(), 0);
        let grant = tools.system.grant(&collection, tools.clock.millis());
        for record in records {
            write(&mut rows, &grant, export, &progress.columns, &record);
            written += 1;
        }
        file.push(&rows).await?;
        progress.records += written;
        worked += page.items.len().max(1);
        progress.after = page.items.last().and_then(|last| text(last, "sk")).map(str::to_owned);
        if page.last_key.is_none() {
            progress.shard += 1;
            progress.after = None;
        }
        if slice.is_over(worked) {
            return Ok(false);
        }
    }
}

/// The collection, if it is still the one that the export began with.
async fn defined(tools: &Tools, export: &Export, generation: Option<u32>) -> Result<Arc<Collection>, Failure> {
    let collection = tools.definitions.collection(&export.collection).await?;
    let same = |collection: &Arc<Collection>| generation.is_none_or(|it| it == collection.definition().generation);
    collection.filter(same).ok_or_else(|| Failure::last("The collection no longer exists."))
}

/// The server's fields, then the properties of the schema.
fn columns(collection: &Collection) -> Vec<String> {
    let properties = collection.definition().schema.get("properties").and_then(Value::as_object);
    let names = properties.into_iter().flat_map(Map::keys).map(String::as_str);
    SYSTEM_FIELDS.into_iter().chain(names).map(str::to_owned).collect()
}

fn write(rows: &mut Vec<u8>, grant: &Grant, export: &Export, columns: &[String], record: &Record) {
    let shown = record.shown(grant);
    match export.format {
        Format::Ndjson => {
            rows.extend_from_slice(Value::Object(shown).to_string().as_bytes());
            rows.push(b'\n');
        }
        Format::Csv => {
            let cell = |name: &String| (grant.collection().layout().fields.get(name), shown.get(name));
            csv::write_values(rows, columns.iter().map(cell), export.escape_formulas);
        }
    }
}
