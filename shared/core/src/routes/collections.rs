//! The routes of the function `collections`: what may be stored.

use super::route::Policy::Admin;
use super::route::{Route, delete, get, put};

/// Every route of `collections`.
pub fn collections() -> Vec<Route> {
    vec![
        get("/v1/collections", "listCollections", Admin).does("All definitions, by name.").answers(
            200,
            "DefinitionList",
            "The definitions; the built-in `users` is among them.",
        ),
        get("/v1/collections/{collection}", "readCollection", Admin)
            .does("One definition.")
            .takes(&["IfMatch", "IfNoneMatch"])
            .answers(200, "Definition", "The definition.")
            .with(&["ETag"]),
        put("/v1/collections/{collection}", "putCollection", Admin)
            .does("Defines a collection, or changes its definition.")
            .note(
                "One write, whatever changes; what has to be done to stored records is a job's, and reads and writes go on. Rules are held against the indexes: a `list` rule that no index serves is refused, naming the index. So are relations: `cascade` and `setNull` find the records that point at a deleted one through an index whose partition is just that field.",
            )
            .takes(&["DryRun", "IfMatch", "IfNoneMatch"])
            .idempotency_key()
            .reads("DefinitionInput")
            .answers(201, "Definition", "The collection is new.")
            .with(&["ETag"])
            .answers(202, "Definition", "Something is taken away: nobody has it any more from `inForceAt` on. `next`, if there is one, is in force once every stored record fits it: `job` finds out.")
            .with(&["ETag"])
            .answers(200, "Put", "The definition as it stands now; with `dryRun=true` what would be done.")
            .refuses(409, "Somebody else has changed it meanwhile, or there are as many collections as there may be.")
            .refuses(501, "A change of `users`.")
            .refuses(503, "A collection of this name is being deleted: try again when Retry-After says."),
        delete("/v1/collections/{collection}", "deleteCollection", Admin)
            .does("Deletes a collection. A job clears what is left of it.")
            .note("Until `inForceAt` some functions may still go by the definition. With `records=delete` what they write goes with the collection; without, it takes the deletion back, and `job` fails.")
            .takes(&["FateOfRecords", "IfMatch", "IfNoneMatch"])
            .idempotency_key()
            .answers(202, "Deletion", "It is gone from `inForceAt` on.")
            .refuses(403, "The collection `users` is part of the system.")
            .refuses(409, "It holds records, another collection points at it, or somebody else has changed it meanwhile."),
    ]
}
