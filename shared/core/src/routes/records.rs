//! The routes of the function `records`: reading and writing records. For admins, the document lists them for each collection.

use crate::operators;

use super::route::Policy::{EachOperation, Rules};
use super::route::{Route, delete, get, patch, post, put};

const RECORDS: &str = "/v1/collections/{collection}/records";
const RECORD: &str = "/v1/collections/{collection}/records/{id}";

/// Every route of `records`.
pub fn records() -> Vec<Route> {
    let mut routes = of_each_collection();
    routes.extend([
        post("/v1/batch", "batch", EachOperation)
            .does("Makes up to 100 writes in any collections, all or nothing.")
            .note(
                "Each operation works like the single request. If one fails nothing is written, and `operations` in the \
                 problem lists the errors of each; the status is that of the first. Malformed operations are reported before \
                 any other, and errors that depend on stored records are reported last.",
            )
            .reads("Batch")
            .idempotency_key()
            .answers(200, "BatchResult", "The answer to each operation, in the same order.")
            .refuses(403, "A rule does not allow one of the records.")
            .refuses(404, "One of the records or collections does not exist, or the caller may not see it.")
            .refuses(412, "A precondition of one of the operations does not hold.")
            .refuses(428, "One of the operations requires `ifMatch` or `ifNoneMatch`.")
            .refuses(501, "Deleting a user is not built yet."),
        get("/v1/changes", "listChanges", Rules(&["list"]))
            .does(
                "Reads the changes of the records in the caller's list: in order within each partition of an index, each \
                 change once.",
            )
            .note(
                "Call with `after=now`, read the list, then continue from each `nextCursor`. If a record changed more than \
                 once between two calls, only its last state is returned. Changes are kept for seven days.",
            )
            .takes(&["CollectionAsked", "After", "Limit"])
            .answers(200, "ChangePage", "The changes since then, and the cursor to continue from.")
            .refuses(410, "The cursor is older than seven days, or the rule now gives another list. Read the list again \
             (`resync`).")
            .refuses(422, "The definition does not have `changes`, and `patch` has the members to add; or no index serves the \
             `list` rule."),
    ]);
    routes
}

/// The routes that every collection has.
pub fn of_each_collection() -> Vec<Route> {
    let mut routes = vec![
        get(RECORDS, "listRecords", Rules(&["list"]))
            .does("Lists records, a page at a time, by key or by a declared index.")
            .note(
                "A query that no index serves is refused, and the problem names the index to add. So the cost of a page does \
                 not grow with the collection.",
            )
            .takes(&["Filter", "Sort", "LimitOrNone", "Cursor", "Fields", "Expand", "Scan", "Count", "Explain", "Deleted"])
            .answers(200, "RecordList", "A page, or the plan with `explain=true`.")
            .refuses(403, "Only admins may list deleted records.")
            .refuses(
                422,
                "No index serves the query, and `addIndex` has the index to add; or the definition keeps no such \
                 count, and `patch` has the members to add; or the expanded records are larger than the maximum \
                 answer.",
            ),
        post(RECORDS, "createRecord", Rules(&["create"]))
            .does("Creates a record under an id chosen by the server.")
            .reads("RecordInput")
            .idempotency_key()
            .answers(201, "WrittenRecord", "The created record, with defaults applied.")
            .with(&["ETag", "Location"])
            .refuses(403, "The rule does not allow this record.")
            .refuses(409, "Another record holds one of its unique values."),
        put(RECORDS, "upsertRecord", Rules(&["create", "update"]))
            .does("Replaces the record that has the same unique value, or creates it.")
            .note(
                "`unique` names a unique constraint, or `id`. A record that the caller may not both read and update is not \
                 replaced: the answer is that of a create whose value is taken. With `unique=id` a deleted record comes back with \
                 this data, if the caller may undelete it.",
            )
            .takes(&["UniqueFields", "IfMatch", "IfNoneMatch"])
            .reads("RecordUpsert")
            .idempotency_key()
            .answers(200, "WrittenRecord", "The replaced record.")
            .with(&["ETag"])
            .answers(201, "WrittenRecord", "The created record.")
            .with(&["ETag", "Location"])
            .refuses(403, "The rule does not allow this record.")
            .refuses(409, "Another record holds one of its unique values.")
            .refuses(422, "The fields are no unique constraint, or one whose values are still being collected."),
        get(RECORD, "readRecord", Rules(&["read"]))
            .does("Reads a record, in one round trip for half a read unit.")
            .note("Each level of `expand` adds one round trip.")
            .takes(&["Expand", "Consistent", "IfMatch", "IfNoneMatch"])
            .answers(200, "Record", "The record.")
            .with(&["ETag"])
            .refuses(
                422,
                "No index serves a back-relation in `expand`: `addIndex` has the index to add, and `collection` the \
                 collection it belongs to; or the expanded records are larger than the maximum answer.",
            ),
    ];
    routes.extend(of_one_record());
    routes
}

/// The routes that change one record of a collection, and the schema of its records.
fn of_one_record() -> Vec<Route> {
    vec![
        put(RECORD, "replaceRecord", Rules(&["update", "create"]))
            .does("Replaces a record (`If-Match`), or creates one under an id chosen by the client (`If-None-Match: *`).")
            .note(
                "One of the two headers is required. The body may repeat the id of the path. Fields that the caller may not \
                 see or write keep their values.",
            )
            .takes(&["IfMatch", "IfNoneMatch"])
            .reads("RecordInput")
            .idempotency_key()
            .answers(200, "WrittenRecord", "The replaced record.")
            .with(&["ETag"])
            .answers(201, "WrittenRecord", "The created record.")
            .with(&["ETag", "Location"])
            .refuses(403, "The rule does not allow this record.")
            .refuses(409, "Another record holds one of its unique values.")
            .refuses(428, "Neither `If-Match` nor `If-None-Match: *` was sent."),
        patch(RECORD, "patchRecord", Rules(&["update"]))
            .does("Changes some members of a record by a JSON Merge Patch (RFC 7396) or by operators.")
            .note(
                "It takes one round trip if schema and rule can be checked without the stored record, otherwise two; \
                 `explain=true` says which, and why. Operators add to a number, append to a list or remove from a list, \
                 and all count if several are sent at once. Such a request is sent to the table once. If the answer is \
                 lost, it is 503 `outcome_unknown`; with an `Idempotency-Key` the request can be repeated safely.",
            )
            .takes(&["ExplainPatch", "IfMatch", "IfNoneMatch"])
            .idempotency_key()
            .reads_as(&["application/merge-patch+json", "application/json"], "RecordPatch")
            .or_reads_as(operators::MEDIA_TYPE, "RecordOperators")
            .answers(200, "PatchedRecord", "The changed record, or the plan with `explain=true`.")
            .with(&["ETagOfRecord"])
            .refuses(403, "The rule allows other changes of this record, and `detail` says which condition does not hold.")
            .refuses(409, "Another record holds one of its unique values."),
        delete(RECORD, "deleteRecord", Rules(&["delete"]))
            .does("Deletes a record. It is absent for everybody at once.")
            .takes(&["IfMatch", "IfNoneMatch"])
            .idempotency_key()
            .answers_empty(204, "The record is deleted.")
            .refuses(409, "Other records point at it by a relation with `onDelete: restrict`.")
            .refuses(501, "Deleting a user is not built yet."),
        post("/v1/collections/{collection}/records/{id}/undelete", "undeleteRecord", Rules(&["undelete", "delete"]))
            .does("Restores a deleted record, within 30 days of its deletion.")
            .note("Allowed to the caller who deleted it and may still delete it, and to callers that the rule `undelete` allows.")
            .takes(&["IfMatch", "IfNoneMatch"])
            .idempotency_key()
            .answers(200, "WrittenRecord", "The restored record.")
            .with(&["ETag"])
            .refuses(409, "It is not deleted, another record holds one of its unique values, or the definition no longer \
             allows it.")
            .refuses(501, "Users cannot be deleted yet, so none can be restored."),
        get("/v1/collections/{collection}/schema", "describeRecords", Rules(&["list", "read", "create"]))
            .does("Reads the JSON Schema (2020-12) of a record as the caller sees it, for code generators.")
            .takes(&["IfMatch", "IfNoneMatch"])
            .answers_as("application/schema+json", 200, "Schema", "The schema.")
            .with(&["ETag"]),
    ]
}
