//! Prints the document as an admin with one example collection gets it, for tools that read OpenAPI.
//!
//!     cargo run --quiet -p collections --example openapi > openapi.json

use serde_json::json;
use std::io::Write;
use undercroft::schema::Definition;

fn main() -> std::io::Result<()> {
    let tasks = json!({
        "name": "tasks",
        "schema": { "type": "object", "required": ["title"], "additionalProperties": false,
            "$defs": { "step": { "type": "object", "properties": { "text": { "type": "string" }, "done": { "type": "boolean" } } } },
            "properties": {
                "title": { "type": "string", "minLength": 1, "maxLength": 200 },
                "status": { "enum": ["open", "done"], "default": "open" },
                "priority": { "type": "integer", "minimum": 0, "maximum": 9 },
                "due": { "type": "string", "format": "date-time" },
                "steps": { "type": "array", "items": { "$ref": "#/$defs/step" } },
                "secret": { "type": "string", "hidden": true },
                "owner": { "type": "string", "writeOnce": true, "relation": { "collection": "users", "onDelete": "cascade" } } } },
        "indexes": [{ "name": "mine", "partition": ["owner"], "sort": ["status", "-priority"] }],
        "rules": { "list": "record.owner == auth.id", "read": "record.owner == auth.id",
                   "create": "auth.id != '' && input.owner == auth.id" }
    });
    let tasks = Definition::parse("tasks", tasks, None).expect("the example is a good definition");
    let document = undercroft_docs::openapi::document(&[tasks, Definition::users()]);
    writeln!(std::io::stdout(), "{document:#}")
}
