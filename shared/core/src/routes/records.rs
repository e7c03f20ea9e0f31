//! The routes of the function `records`: the data. In the document for admins, each collection has them under its own name.

use super::route::Policy::{EachOperation, Rules};
use super::route::{Route, delete, get, patch, post, put};

const RECORDS: &str = "/v1/collections/{collection}/records";
const RECORD: &str = "/v1/collections/{collection}/records/{id}";

/// Every route of `records`.
pub fn records() -> Vec<Route> {
    let mut routes = of_each_collection();
    routes.extend([
        post("/v1/batch", "batch", EachOperation)
            .does("Up to 100 writes in any collections, all or nothing.")
            .note("Each operation is the request it would be by itself. When one fails nothing is written, and `operations` of the problem says what is wrong with which; its status is that of the first. Malformed operations are told before any other, and what only stored records can refuse comes last.")
            .reads("Batch")
            .idempotency_key()
            .answers(200, "BatchResult", "What each operation answers, in their order.")
            .refuses(403, "A rule does not allow one of the records.")
            .refuses(404, "One of the records or collections is absent, or not the caller's to see.")
            .refuses(412, "A condition of one of the operations does not hold.")
            .refuses(428, "One of the operations needs `ifMatch` or `ifNoneMatch`.")
            .refuses(501, "Erasing a user."),
        get("/v1/changes", "listChanges", Rules(&["list"]))
            .does("What changed of the records in the caller's list: in order for each partition of an index, and nothing twice.")
            .note("Take `after=now`, read the list, then go on from each `nextCursor`. Of a record that changed more than once between two readings, the last state is told. Changes are kept for seven days.")
            .takes(&["CollectionAsked", "After", "Limit"])
            .answers(200, "ChangePage", "What changed since, and where to go on from.")
            .refuses(410, "The cursor is older than seven days, or of another list than the rule gives now: `resync`.")
            .refuses(422, "The definition does not have `changes`, and `patch` says what to add; or no index serves the `list` rule."),
    ]);
    routes
}

/// The routes that every collection has.
pub fn of_each_collection() -> Vec<Route> {
    let mut routes = vec![
        get(RECORDS, "listRecords", Rules(&["list"]))
            .does("A page of records, from a key or a declared index.")
            .note("A page costs a page: what no index serves is refused with the index that would serve it.")
            .takes(&["Filter", "Sort", "LimitOrNone", "Cursor", "Fields", "Expand", "Scan", "Count", "Explain", "Deleted"])
            .answers(200, "RecordList", "A page; with `explain=true` the plan instead.")
            .refuses(403, "Only admins see what is deleted.")
            .refuses(422, "No index serves this, and `addIndex` says which one would; or there is no such count, and `patch` says what to add; or what is expanded is larger than an answer may be."),
        post(RECORDS, "createRecord", Rules(&["create"]))
            .does("Creates a record with an id of the server's.")
            .reads("RecordInput")
            .idempotency_key()
            .answers(201, "WrittenRecord", "The record, with defaults applied.")
            .with(&["ETag", "Location"])
            .refuses(403, "The rule does not allow this record.")
            .refuses(409, "Another record has one of its unique values."),
        get(RECORD, "readRecord", Rules(&["read"]))
            .does("Reads a record: one round trip, half a read unit.")
            .note("Each level of `expand` is one round trip more.")
            .takes(&["Expand", "Consistent", "IfMatch", "IfNoneMatch"])
            .answers(200, "Record", "The record.")
            .with(&["ETag"])
            .refuses(422, "No index serves a relation that is expanded backwards: `addIndex` says which one would, in which `collection`; or what is expanded is larger than an answer may be."),
    ];
    routes.extend(of_one_record());
    routes
}

/// The routes that change one record of a collection, and the schema of its records.
fn of_one_record() -> Vec<Route> {
    vec![
        put(RECORD, "replaceRecord", Rules(&["update", "create"]))
            .does("Replaces a record (`If-Match`), or makes one with an id of the client's (`If-None-Match: *`).")
            .note("One of the two must be sent. The body may repeat the id of the path. Fields the caller does not see or write stay as they are.")
            .takes(&["IfMatch", "IfNoneMatch"])
            .reads("RecordInput")
            .idempotency_key()
            .answers(200, "WrittenRecord", "The record, replaced.")
            .with(&["ETag"])
            .answers(201, "WrittenRecord", "The record, made.")
            .with(&["ETag", "Location"])
            .refuses(403, "The rule does not allow this record.")
            .refuses(409, "Another record has one of its unique values.")
            .refuses(428, "Neither `If-Match` nor `If-None-Match: *` was sent."),
        patch(RECORD, "patchRecord", Rules(&["update"]))
            .does("Changes some members of a record: a JSON Merge Patch (RFC 7396).")
            .note("One round trip where schema and rule can be held without the stored record, else two: `explain=true` says which, and why.")
            .takes(&["ExplainPatch", "IfMatch", "IfNoneMatch"])
            .idempotency_key()
            .reads_as(&["application/merge-patch+json", "application/json"], "RecordPatch")
            .answers(200, "PatchedRecord", "The record, changed; with `explain=true` the plan instead.")
            .with(&["ETagOfRecord"])
            .refuses(409, "Another record has one of its unique values."),
        delete(RECORD, "deleteRecord", Rules(&["delete"]))
            .does("Deletes a record. It is gone for everybody at once.")
            .takes(&["IfMatch", "IfNoneMatch"])
            .idempotency_key()
            .answers_empty(204, "It is gone.")
            .refuses(409, "Other records point at it, and their relation says `restrict`.")
            .refuses(501, "Erasing a user."),
        post("/v1/collections/{collection}/records/{id}/undelete", "undeleteRecord", Rules(&["undelete", "delete"]))
            .does("Brings a deleted record back, within 30 days.")
            .note("For whoever deleted it and may still delete it, and for those whom the rule `undelete` lets.")
            .takes(&["IfMatch", "IfNoneMatch"])
            .idempotency_key()
            .answers(200, "WrittenRecord", "The record, as it was.")
            .with(&["ETag"])
            .refuses(409, "It is not deleted, another record has one of its unique values, or the definition does not allow it any more.")
            .refuses(501, "Users are not erased, so none comes back."),
        get("/v1/collections/{collection}/schema", "describeRecords", Rules(&["list", "read", "create"]))
            .does("The JSON Schema (2020-12) of a record as the caller sees it, for code generators.")
            .takes(&["IfMatch", "IfNoneMatch"])
            .answers_as("application/schema+json", 200, "Schema", "The schema.")
            .with(&["ETag"]),
    ]
}
