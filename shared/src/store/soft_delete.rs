//! Soft deletion: a record becomes a tombstone that no read returns and that can be undeleted.

use super::Expression;
use super::intent::Intent;
use super::item::{number, string};
use super::records::{Records, TOMBSTONE_SECONDS};
use crate::schema::{OnDelete, Referrer};

impl Records {
    /// The update that turns a record into a tombstone: removes its index keys and keeps its data for an undelete. It also
    /// stores what must happen to the records that point at it, so that the stream can start it.
    pub(super) fn soft_delete(&self, intent: &Intent, request: &str) -> Expression {
        let grant = &intent.grant;
        let definition = grant.collection().definition();
        let remove: String = definition
            .indexes
            .iter()
            .filter(|index| !index.is_of_elements())
            .map(|index| format!(", ix{0}p, ix{0}s", index.slot))
            .collect();
        let follow: Vec<&Referrer> =
            definition.referrers.iter().filter(|referrer| referrer.on_delete != OnDelete::Restrict).collect();
        let deleted = Expression::new("SET v = v + :one, ua = :now, del = :now, #ttl = :ttl, #by = :by, rid = :rid")
            .name("#ttl", "ttl")
            .name("#by", "by")
            .value(":one", number(1))
            .value(":now", string(self.now()))
            .value(":ttl", number(self.seconds() + TOMBSTONE_SECONDS))
            .value(":by", string(grant.caller()))
            .value(":rid", string(request));
        let mut deleted = match serde_json::to_string(&follow) {
            Ok(follow) if follow != "[]" => {
                let text = format!("{}, follow = :follow", deleted.text);
                Expression { text, ..deleted.value(":follow", string(follow)) }
            }
            _ => deleted,
        };
        if let Some(cause) = &intent.cause {
            deleted.text.push_str(", cause = :cause");
            deleted = deleted.value(":cause", string(cause.partition()));
        }
        deleted.text.push_str(&format!(" REMOVE lk, lr{remove}"));
        deleted
    }
}
