//! One page of 30, from what DynamoDB answered to what the client gets, with nothing around it: the rule folded, the list
//! planned, every record read out of its item, held against the rule, shown and written as JSON.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use undercroft::clock::Clock;
use undercroft::error::{Result, Source};
use undercroft::expr::{Expr, Input, Rule};
use undercroft::id;
use undercroft::identity::{Caller, User};
use undercroft::policy::allow;
use undercroft::query::{ListQuery, parse_sort, plan};
use undercroft::schema::{Collection, Definition};
use undercroft::store::item::{self, Item};
use undercroft::store::record::Record;

/// How many records a page has.
pub const PAGE: usize = 30;

/// What a list is asked of.
pub struct Asked {
    collection: Arc<Collection>,
    caller: Caller,
    items: Vec<Item>,
    now: u64,
}

impl Asked {
    /// The example collection of the design, with a page of one owner's tasks in it.
    ///
    /// # Errors
    /// When the collection is refused, which it is not.
    pub fn new() -> std::result::Result<Self, Source> {
        let definition = Definition::parse("tasks", tasks(), None).map_err(|problems| format!("{problems:?}"))?;
        let collection = Arc::new(Collection::compile(definition).map_err(|problems| format!("{problems:?}"))?);
        let clock = Clock::standing_at(1_795_348_800_000);
        let owner = id::new(&clock);
        let items = (0..PAGE).map(|number| stored(&owner, number, &clock)).collect();
        let user = User {
            id: owner.clone(),
            session: owner,
            email: "ada@example.org".into(),
            verified: true,
            roles: Vec::new(),
        };
        Ok(Self { collection, caller: Caller::User(user), items, now: clock.millis() })
    }

    /// The page. Not inlined, so that callgrind can tell it from the rest.
    ///
    /// # Errors
    /// When a rule or the planner refuses, which they do not.
    #[inline(never)]
    pub fn page(&self) -> Result<Vec<u8>> {
        let grant = allow(&self.caller, Rule::List, &self.collection, self.now, Input::None)?;
        let layout = self.collection.layout();
        let bad = |error: String| undercroft::error::Error::internal(error);
        let filter =
            Expr::filter("status == \"open\" && priority >= 2", &layout.fields).map_err(|e| bad(e.to_string()))?;
        let sort = parse_sort("-priority", &layout.fields).map_err(|error| bad(error.to_string()))?;
        let query = ListQuery { rule: grant.residual(), filter: Some(&filter), sort: &sort, scan: None };
        let plan = plan(layout, &query).map_err(|refusal| bad(refusal.message))?;
        let records = self.items.iter().filter_map(Record::from_item);
        let fitting = records
            .filter(|record| plan.residual_filter.matches(&record.view()) && grant.allows(&record.view(), Input::None));
        let shown: Vec<Value> = fitting.map(|record| Value::Object(record.shown(&grant))).collect();
        serde_json::to_vec(&json!({ "items": shown })).map_err(undercroft::error::Error::internal)
    }
}

fn stored(owner: &str, number: usize, clock: &Clock) -> Item {
    let title = format!("{number}: all that is solid stands on something that nobody looks at");
    let data =
        json!({ "title": title, "slug": format!("task-{number}"), "status": "open", "priority": 3, "owner": owner });
    let members: Map<String, Value> = data.as_object().cloned().unwrap_or_default();
    let at = undercroft::clock::rfc3339(clock.millis());
    let mut stored = item::key("c#tasks#1#0", &id::new(clock));
    stored.extend([
        ("d".to_owned(), item::from_json(&Value::Object(members))),
        ("v".to_owned(), item::number(1)),
        ("ca".to_owned(), item::string(at.clone())),
        ("ua".to_owned(), item::string(at)),
    ]);
    stored
}

/// The design's example, as far as a list is concerned.
fn tasks() -> Value {
    json!({
        "name": "tasks",
        "schema": { "type": "object", "required": ["title"], "additionalProperties": false, "properties": {
            "title": { "type": "string", "minLength": 1, "maxLength": 200 },
            "slug": { "type": "string", "pattern": "^[a-z0-9-]{1,60}$" },
            "status": { "enum": ["open", "done"], "default": "open" },
            "priority": { "type": "integer", "minimum": 0, "maximum": 9 },
            "owner": { "type": "string" } } },
        "indexes": [{ "name": "mine", "partition": ["owner"], "sort": ["status", "-priority"] }],
        "rules": { "list": "record.owner == auth.id" }
    })
}
