//! Following changes: the changes to records in the caller's list, ordered within each partition, and the cursor to continue
//! from.

use super::operations::Operations;
use crate::cost;
use crate::error::{Error, Result};
use crate::expr::{Input, Rule};
use crate::id::sha256;
use crate::identity::Caller;
use crate::policy::{Grant, allow};
use crate::query::{ListQuery as Wanted, Range, plan};
use crate::response_size;
use crate::store::change_log::{Follow, Position, Seen, VisibleChange};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Default and maximum number of changes per page.
const PAGE: (usize, usize) = (30, 100);

/// How many rounds a page reads past invisible changes before it leaves the rest to the next request.
const ROUNDS: usize = 8;
/// The maximum length of a position: times until the year 5138, and as many entries as their keys can number.
const LONGEST: Position =
    Position { time: 99_999_999_999_999, sequence: Some(99_999_999_999_999), unread_since: 99_999_999_999_999 };

/// The request. The members are the parameters of the HTTP request.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangesRequest {
    /// The collection.
    pub collection: Option<String>,
    /// A cursor, or `now`. If absent, starts at the oldest change that is kept.
    pub after: Option<String>,
    /// The maximum number of changes.
    pub limit: Option<usize>,
}

/// The content of a cursor.
#[derive(Serialize, Deserialize)]
struct FeedPosition {
    /// Identifies the list: a changed rule or collection makes it a different one.
    list: String,
    positions: Vec<Position>,
}

impl Operations {
    /// Reads changes.
    ///
    /// # Errors
    /// `Unauthenticated`, `NotFound`; `BadRequest`, naming the parameter; `Gone` when the list has changed since the cursor
    /// was issued.
    pub async fn changes(&self, caller: &Caller, request: &ChangesRequest) -> Result<Value> {
        let name = request.collection.as_deref().ok_or_else(|| {
            Error::bad_request("collection", "The parameter collection is missing. Send the name of a collection.")
        })?;
        let limit = request.limit.unwrap_or(PAGE.0);
        if !(1..=PAGE.1).contains(&limit) {
            return Err(Error::bad_request("limit", "limit must be from 1 to 100."));
        }
        let collection = self.collection(name, caller, Rule::List).await?;
        let grant = allow(caller, Rule::List, &collection, self.clock.millis(), Input::None)?;
        let list = Wanted { rule: grant.residual(), filter: None, sort: &[], scan: None };
        let plan = plan(collection.layout(), &list).map_err(super::refusal::of_list)?;
        let follow = Follow::of(&grant, &plan).ok_or_else(not_followed)?;

        let (purpose, list) = (purpose(caller, name), fingerprint(&grant, &follow));
        let (seen, changes) = match request.after.as_deref() {
            Some("now") => {
                (Seen { entries: Vec::new(), positions: self.change_log.latest(&follow).await?, more: false }, vec![])
            }
            None => page(self, &grant, &follow, &self.change_log.oldest(&follow), limit).await?,
            Some(cursor) => page(self, &grant, &follow, &opened(self, &purpose, cursor, &list).await?, limit).await?,
        };
        if !(plan.residual_filter.is_true() && plan.ranges.iter().all(Range::is_whole)) {
            // Changes outside the list may be read between those within.
            cost::withhold();
        }
        let items: Vec<Value> = changes.into_iter().map(|change| shown(&grant, change)).collect();
        let next =
            self.cursors.make_lasting(&purpose, &padded(&FeedPosition { list, positions: seen.positions })?).await?;
        Ok(json!({ "items": items, "more": seen.more, "nextCursor": next }))
    }
}

/// The content of a cursor, padded so that its length reveals the number of partitions and not the positions.
fn padded(place: &FeedPosition) -> Result<Vec<u8>> {
    let longest = FeedPosition { list: place.list.clone(), positions: vec![LONGEST; place.positions.len()] };
    let longest = serde_json::to_vec(&longest).map_err(Error::internal)?;
    let mut text = serde_json::to_vec(place).map_err(Error::internal)?;
    text.resize(text.len().max(longest.len()), b' ');
    Ok(text)
}

/// The visible changes after these positions: up to `limit`, or fewer if they would exceed the size of a page.
async fn page(
    operations: &Operations,
    grant: &Grant,
    follow: &Follow,
    positions: &[Position],
    mut limit: usize,
) -> Result<(Seen, Vec<VisibleChange>)> {
    let (mut positions, mut all, mut rounds) = (positions.to_vec(), Vec::<VisibleChange>::new(), 0);
    while rounds < ROUNDS {
        operations.records.acts_in_time(grant.collection())?;
        let seen = operations.change_log.follow(follow, &positions, limit - all.len()).await?;
        let changes = operations.records.visible_changes(grant, &seen.entries).await?;
        let is_known_anew = |known: &&VisibleChange| changes.iter().any(|change| change.id() == known.id());
        let mut both: Vec<VisibleChange> = all.iter().filter(|known| !is_known_anew(known)).cloned().collect();
        both.extend(changes);
        match fitting(&both, grant) {
            // The records exceed a page: read again with a smaller limit, or leave the rest to the next page.
            fitting if fitting < both.len() && all.is_empty() => {
                limit = fitting;
                continue;
            }
            fitting if fitting < both.len() => {
                limit = all.len();
                break;
            }
            _ => (all, positions) = (both, seen.positions),
        }
        if !seen.more || all.len() >= limit {
            break;
        }
        rounds += 1;
    }
    // A full page may be followed by another. Changes the caller may not see make no difference.
    let more = all.len() >= limit;
    Ok((Seen { entries: Vec::new(), positions, more }, all))
}

/// How many of the first changes fit on one page; at least one.
fn fitting(changes: &[VisibleChange], grant: &Grant) -> usize {
    let weight = |change: &VisibleChange| match change {
        VisibleChange::Put(record) => record.weight(grant),
        VisibleChange::Deleted(_) | VisibleChange::Left(_) => response_size::BESIDE_DATA,
    };
    let so_far = changes.iter().scan(0, |sum, change| {
        *sum += weight(change);
        Some(*sum)
    });
    so_far.take_while(|sum| *sum <= response_size::PAGE).count().max(1)
}

fn not_followed() -> Error {
    Error::Refused {
        code: "changes_off",
        detail: "The changes of this collection are not logged. Add the members in `patch` to its definition."
            .to_owned(),
        advice: Map::from_iter([("patch".to_owned(), json!({ "changes": true }))]),
    }
}

/// The positions in a cursor for this caller's changes of this collection.
async fn opened(operations: &Operations, purpose: &str, cursor: &str, list: &str) -> Result<Vec<Position>> {
    let foreign =
        || Error::bad_request("after", "after must be `now` or a nextCursor from your changes of this collection.");
    let place = operations.cursors.open(purpose, cursor).await.map_err(|error| match error {
        Error::BadRequest { .. } => foreign(),
        other => other,
    })?;
    let place: FeedPosition = serde_json::from_slice(&place).map_err(|_| foreign())?;
    if place.list != list {
        return Err(Error::Gone {
            code: "resync",
            detail:
                "The records you may list have changed since this cursor was issued. Send after=now, read the list, then \
                 continue from there."
                    .to_owned(),
        });
    }
    Ok(place.positions)
}

/// Binds a cursor to its caller and collection.
fn purpose(caller: &Caller, collection: &str) -> String {
    json!(["changes", caller.id(), collection]).to_string()
}

/// Identifies the list that a cursor's positions belong to. A list with other partitions or another rule contains records
/// whose earlier changes this feed has not returned.
fn fingerprint(grant: &Grant, follow: &Follow) -> String {
    let definition = grant.collection().definition();
    let rule = definition.rules.get(&Rule::List);
    sha256(json!([definition.generation, grant.is_admin(), rule, follow.names()]).to_string().as_bytes())
}

fn shown(grant: &Grant, change: VisibleChange) -> Value {
    match change {
        VisibleChange::Put(record) => json!({ "type": "put", "record": record.shown(grant) }),
        VisibleChange::Deleted(id) => json!({ "type": "deleted", "id": id }),
        VisibleChange::Left(id) => json!({ "type": "left", "id": id }),
    }
}
