//! The routes of the function `collections`: definitions.

use super::route::Policy::Admin;
use super::route::{Route, delete, get, put};

/// Every route of `collections`.
pub fn collections() -> Vec<Route> {
    vec![
        get("/v1/collections", "listCollections", Admin).does("Lists all definitions, by name.").answers(
            200,
            "DefinitionList",
            "The definitions, including the built-in `users`.",
        ),
        get("/v1/collections/{collection}", "readCollection", Admin)
            .does("One definition.")
            .takes(&["IfMatch", "IfNoneMatch"])
            .answers(200, "Definition", "The definition.")
            .with(&["ETag"]),
        put("/v1/collections/{collection}", "putCollection", Admin)
            .does("Defines a collection, or changes its definition.")
            .note(
                "Every change is one write. A job updates stored records where necessary, while reads and writes go on. A \
                 `list` rule that no index serves is refused, and the error names the index. `cascade` and `setNull` require \
                 an index whose partition is only the relation's field, to find the records that point at a deleted one.",
            )
            .takes(&["DryRun", "IfMatch", "IfNoneMatch"])
            .idempotency_key()
            .reads("DefinitionInput")
            .answers(201, "Definition", "The collection is new.")
            .with(&["ETag"])
            .answers(
                202,
                "Definition",
                "The change withdraws something, which is refused to everybody from `inForceAt` on, or it waits for `job`, which \
                 updates or checks stored records. `next`, if present, takes effect once every stored record fits it.",
            )
            .with(&["ETag"])
            .answers(200, "Put", "The current definition; with `dryRun=true` what the put would do.")
            .refuses(409, "Somebody else changed it at the same time, or the maximum number of collections is reached.")
            .refuses(501, "Changing `users` is not built yet.")
            .refuses(503, "A collection of this name is being deleted. Try again after `Retry-After`."),
        delete("/v1/collections/{collection}", "deleteCollection", Admin)
            .does("Deletes a collection. A job removes its remaining items.")
            .note(
                "Until `inForceAt` some functions may still use the definition. With `records=delete`, records they write are \
                 deleted with the collection; without it, such a record cancels the deletion and `job` fails.",
            )
            .takes(&["FateOfRecords", "IfMatch", "IfNoneMatch"])
            .idempotency_key()
            .answers(202, "Deletion", "The collection does not exist from `inForceAt` on.")
            .refuses(403, "The collection `users` is built in and cannot be deleted.")
            .refuses(409, "It holds records, another collection points at it, or somebody else changed it at the same time."),
    ]
}
