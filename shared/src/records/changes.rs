//! Following changes: what changed of the records in the caller's list, in order for each partition, and the cursor to go on from.

use super::operations::Operations;
use crate::cost;
use crate::error::{Error, Result};
use crate::expr::{Input, Rule};
use crate::id::sha256;
use crate::identity::Caller;
use crate::policy::{Grant, allow};
use crate::query::{ListQuery as Wanted, Range, plan};
use crate::response_size;
use crate::store::change_log::{Follow, Heard, Position, Seen};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Changes looked at for a page unless asked otherwise, and at most.
const PAGE: (usize, usize) = (30, 100);

/// How often a page looks on behind changes of which none may be seen, before the next request has to.
const ROUNDS: usize = 8;
/// No position is longer than this one: until the year 5138, and as many entries as their keys can number.
const LONGEST: Position =
    Position { time: 99_999_999_999_999, sequence: Some(99_999_999_999_999), unread_since: 99_999_999_999_999 };

/// What to follow. The members are the parameters of the HTTP request.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangesRequest {
    /// Whose records.
    pub collection: Option<String>,
    /// A cursor, or `now`; absent: from the oldest change that is kept.
    pub after: Option<String>,
    /// How many changes.
    pub limit: Option<usize>,
}

/// What a cursor holds.
#[derive(Serialize, Deserialize)]
struct FeedPosition {
    /// Of what list: a changed rule or a changed collection makes it another.
    list: String,
    positions: Vec<Position>,
}

impl Operations {
    /// Follows changes.
    ///
    /// # Errors
    /// `Unauthenticated`, `NotFound`; `BadRequest`, naming the parameter; `Gone` where the list has changed since the cursor was made.
    pub async fn changes(&self, caller: &Caller, request: &ChangesRequest) -> Result<Value> {
        let name =
            request.collection.as_deref().ok_or_else(|| Error::bad_request("collection", "say which collection"))?;
        let limit = request.limit.unwrap_or(PAGE.0);
        if !(1..=PAGE.1).contains(&limit) {
            return Err(Error::bad_request("limit", "limit is from 1 to 100"));
        }
        let collection = self.collection(name, caller, Rule::List).await?;
        let grant = allow(caller, Rule::List, &collection, self.clock.millis(), Input::None)?;
        let list = Wanted { rule: grant.residual(), filter: None, sort: &[], scan: None };
        let plan = plan(collection.layout(), &list).map_err(super::refusal::of_list)?;
        let follow = Follow::of(&grant, &plan).ok_or_else(not_followed)?;

        let (purpose, list) = (purpose(caller, name), fingerprint(&grant, &follow));
        let (seen, heard) = match request.after.as_deref() {
            Some("now") => {
                (Seen { entries: Vec::new(), positions: self.change_log.latest(&follow).await?, more: false }, vec![])
            }
            None => page(self, &grant, &follow, &self.change_log.oldest(&follow), limit).await?,
            Some(cursor) => page(self, &grant, &follow, &opened(self, &purpose, cursor, &list).await?, limit).await?,
        };
        if !(plan.residual_filter.is_true() && plan.ranges.iter().all(Range::is_whole)) {
            // Changes of records outside the list may lie between those within.
            cost::withhold();
        }
        let items: Vec<Value> = heard.into_iter().map(|heard| shown(&grant, heard)).collect();
        let next =
            self.cursors.make_lasting(&purpose, &padded(&FeedPosition { list, positions: seen.positions })?).await?;
        Ok(json!({ "items": items, "more": seen.more, "nextCursor": next }))
    }
}

/// What a cursor holds, of a length that tells in how many partitions it lies and nothing of where it is in them.
fn padded(place: &FeedPosition) -> Result<Vec<u8>> {
    let longest = FeedPosition { list: place.list.clone(), positions: vec![LONGEST; place.positions.len()] };
    let longest = serde_json::to_vec(&longest).map_err(Error::internal)?;
    let mut text = serde_json::to_vec(place).map_err(Error::internal)?;
    text.resize(text.len().max(longest.len()), b' ');
    Ok(text)
}

/// What is heard of the changes after these positions: of up to `limit`, and of fewer where the records weigh more than a page
/// may.
async fn page(
    operations: &Operations,
    grant: &Grant,
    follow: &Follow,
    positions: &[Position],
    mut limit: usize,
) -> Result<(Seen, Vec<Heard>)> {
    let (mut positions, mut all, mut rounds) = (positions.to_vec(), Vec::<Heard>::new(), 0);
    while rounds < ROUNDS {
        operations.records.acts_in_time(grant.collection())?;
        let seen = operations.change_log.follow(follow, &positions, limit - all.len()).await?;
        let heard = operations.records.hear(grant, &seen.entries).await?;
        let is_known_anew = |known: &&Heard| heard.iter().any(|heard| heard.id() == known.id());
        let mut both: Vec<Heard> = all.iter().filter(|known| !is_known_anew(known)).cloned().collect();
        both.extend(heard);
        match fitting(&both, grant) {
            // Too much for a page: fewer are read anew, fewer each time, or the next page reads them.
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
    // A full page may have another behind it. What lies between and is not the caller's makes no difference.
    let more = all.len() >= limit;
    Ok((Seen { entries: Vec::new(), positions, more }, all))
}

/// How many of the first fit on a page; one always does.
fn fitting(heard: &[Heard], grant: &Grant) -> usize {
    let weight = |heard: &Heard| match heard {
        Heard::Put(record) => record.weight(grant),
        Heard::Deleted(_) | Heard::Left(_) => response_size::BESIDE_DATA,
    };
    let so_far = heard.iter().scan(0, |sum, heard| {
        *sum += weight(heard);
        Some(*sum)
    });
    so_far.take_while(|sum| *sum <= response_size::PAGE).count().max(1)
}

fn not_followed() -> Error {
    Error::Refused {
        code: "changes_off",
        detail: "the changes of this collection are not kept: put its definition with what stands in `patch`"
            .to_owned(),
        advice: Map::from_iter([("patch".to_owned(), json!({ "changes": true }))]),
    }
}

/// The positions in a cursor of this caller's feed of this collection.
async fn opened(operations: &Operations, purpose: &str, cursor: &str, list: &str) -> Result<Vec<Position>> {
    let foreign = || Error::bad_request("after", "after is `now`, or a nextCursor of your changes of this collection");
    let place = operations.cursors.open(purpose, cursor).await.map_err(|error| match error {
        Error::BadRequest { .. } => foreign(),
        other => other,
    })?;
    let place: FeedPosition = serde_json::from_slice(&place).map_err(|_| foreign())?;
    if place.list != list {
        return Err(Error::Gone {
            code: "resync",
            detail:
                "what you may list has changed since this cursor was made: take after=now, read the list, go on from \
                     there"
                    .to_owned(),
        });
    }
    Ok(place.positions)
}

/// Whose cursor it is, and of which collection.
fn purpose(caller: &Caller, collection: &str) -> String {
    json!(["changes", caller.id(), collection]).to_string()
}

/// What list the positions of a cursor lie in. One that reads other partitions, or by another rule, holds records whose past
/// this feed has not told.
fn fingerprint(grant: &Grant, follow: &Follow) -> String {
    let definition = grant.collection().definition();
    let rule = definition.rules.get(&Rule::List);
    sha256(json!([definition.generation, grant.is_admin(), rule, follow.names()]).to_string().as_bytes())
}

fn shown(grant: &Grant, heard: Heard) -> Value {
    match heard {
        Heard::Put(record) => json!({ "type": "put", "record": record.shown(grant) }),
        Heard::Deleted(id) => json!({ "type": "deleted", "id": id }),
        Heard::Left(id) => json!({ "type": "left", "id": id }),
    }
}
