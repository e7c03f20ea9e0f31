//! Resolves names to relations that this caller may follow: a field that points at a record, or another collection whose
//! field points back here.

use super::super::operations::Operations;
use super::super::refusal;
use super::parse::{BACK, EXPANDED, Term, shown};
use crate::cost;
use crate::error::{Error, Result};
use crate::expr::{Expr, Input, Op, Operand, Rule, Test, Variable};
use crate::id;
use crate::identity::Caller;
use crate::policy::{Grant, allow};
use crate::query::{ListQuery, MAX_ELEMENTS, Plan, plan};
use crate::schema::{Collection, Field, related_ids};
use crate::store::explain::Expected;
use crate::store::record::Record;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The separator of collection and field in the name of a back-relation.
const VIA: &str = "_via_";

/// A resolved relation.
#[derive(Debug)]
pub struct Way {
    /// Its member in `expanded`.
    pub name: String,
    /// Its column in `expand`, which identifies it.
    pub column: usize,
    /// Its target.
    pub leads: Leads,
    /// What the caller may see there. `None`: nothing, regardless of what is stored.
    pub grant: Option<Grant>,
    /// What to expand of the records it leads to.
    pub under: Vec<Way>,
}

/// The target of a relation.
#[derive(Debug)]
pub enum Leads {
    /// The record whose id is in this field.
    To {
        /// The field.
        field: String,
    },
    /// The records whose ids are in this array.
    ToMany {
        /// The field.
        field: String,
        /// The maximum number of ids.
        most: usize,
    },
    /// Back-relation: the records of the other collection whose field contains this record's id.
    Back {
        /// The field, of the other collection.
        field: String,
        /// The maximum number of records.
        limit: usize,
    },
}

/// Resolves the relations of `collection` in `terms`, and those of the collections they lead to.
///
/// # Errors
/// See [`Expand::read`](super::Expand::read).
pub async fn resolve(
    operations: &Operations,
    caller: &Caller,
    collection: &Collection,
    terms: &[Term],
) -> Result<Vec<Way>> {
    if terms.is_empty() {
        return Ok(Vec::new());
    }
    let own = collection.field(EXPANDED).is_some_and(|field| !field.value.hidden || caller.is_admin());
    if own {
        let detail = format!(
            "{} has its own field `{EXPANDED}`, so expand is not available; rename the field.",
            collection.name()
        );
        return Err(Error::bad_request("expand", detail));
    }
    let mut ways = Vec::new();
    for term in terms {
        let (leads, grant) = relation(operations, caller, collection, term).await?;
        let under = match &grant {
            Some(grant) => Box::pin(resolve(operations, caller, grant.collection(), &term.under)).await?,
            // A collection that is closed to the caller does not reveal its relations either.
            None => Vec::new(),
        };
        let way = Way { name: term.name.clone(), column: term.column, leads, grant, under };
        way.check_served()?;
        ways.push(way);
    }
    Ok(ways)
}

/// The relation with that name.
async fn relation(
    operations: &Operations,
    caller: &Caller,
    collection: &Collection,
    term: &Term,
) -> Result<(Leads, Option<Grant>)> {
    let mut found: Vec<(Leads, Option<Grant>)> = Vec::new();
    found.extend(forward(operations, caller, collection, &term.name).await?);
    for (at, _) in term.name.match_indices(VIA) {
        let (other, field) = (term.name.get(..at), term.name.get(at + VIA.len()..));
        if let (Some(other), Some(field)) = (other, field) {
            found.extend(back(operations, caller, collection, (other, field), term.limit.unwrap_or(BACK)).await?);
        }
    }
    let name = shown(&term.name);
    let problem = |message: String| {
        // The cost of the lookup would reveal whether a closed collection exists.
        cost::withhold();
        Err(Error::bad_request("expand", format!("expand, column {}: {message}", term.column)))
    };
    match (found.pop(), found.is_empty()) {
        (None, _) => problem(format!(
            "There is no relation `{name}`; name a field with a relation, or collection{VIA}field of a collection that points \
             here."
        )),
        (Some(_), false) => {
            problem(format!("`{name}` could mean more than one relation; rename a field or a collection."))
        }
        (Some((Leads::ToMany { .. }, _)), true) if term.limit.is_some() => {
            problem(format!("`{name}` leads to every record of its array and has no limit; leave the limit out."))
        }
        (Some((Leads::To { .. }, _)), true) if term.limit.is_some() => {
            problem(format!("`{name}` leads to one record and has no limit; leave the limit out."))
        }
        (Some(only), true) => Ok(only),
    }
}

/// The field with that name, if it is a relation and visible to clients.
async fn forward(
    operations: &Operations,
    caller: &Caller,
    collection: &Collection,
    name: &str,
) -> Result<Option<(Leads, Option<Grant>)>> {
    let field = collection.field(name).filter(|field| !field.value.hidden);
    let Some(relation) = field.and_then(|field| field.relation.as_ref()) else { return Ok(None) };
    let other = operations.definitions.collection(&relation.collection).await?;
    let grant = other.and_then(|other| allow(caller, Rule::Read, &other, operations.clock.millis(), Input::None).ok());
    let most = field.filter(|field| field.is_many()).map(|field| field.max_items.unwrap_or(MAX_ELEMENTS));
    let field = name.to_owned();
    let leads = match most {
        Some(most) => Leads::ToMany { field, most: usize::try_from(most).unwrap_or(usize::MAX) },
        None => Leads::To { field },
    };
    Ok(Some((leads, grant)))
}

/// The other collection's field, if it points here and the caller may list that collection. A collection they may not list is
/// treated as missing.
async fn back(
    operations: &Operations,
    caller: &Caller,
    collection: &Collection,
    (other, field): (&str, &str),
    limit: usize,
) -> Result<Option<(Leads, Option<Grant>)>> {
    let Some(other) = operations.definitions.collection(other).await? else { return Ok(None) };
    let Ok(grant) = allow(caller, Rule::List, &other, operations.clock.millis(), Input::None) else { return Ok(None) };
    let named = other.field(field).filter(|field| !field.value.hidden);
    let points_here =
        named.and_then(|field| field.relation.as_ref()).is_some_and(|to| to.collection == collection.name());
    Ok(points_here.then(|| (Leads::Back { field: field.to_owned(), limit }, Some(grant))))
}

/// The grant to read the records whose `field` contains this id.
///
/// # Errors
/// `Refused` like the other collection's list, naming that collection.
pub fn back_plan(way: &Way, grant: &Grant, field: &str, id: &str) -> Result<Plan> {
    let place = Operand::Variable(Variable::Record(field.to_owned()));
    let is_many = grant.collection().field(field).is_some_and(Field::is_many);
    let points_at = Expr::Is(match is_many {
        true => Test::In { item: Operand::Constant(id.into()), list: place },
        false => Test::compare(place, Op::Eq, Operand::Constant(id.into())),
    });
    let query = ListQuery { rule: grant.residual(), filter: Some(&points_at), sort: &[], scan: None };
    plan(grant.collection().layout(), &query)
        .map_err(|refused| refusal::of_expand(refused, way.column, &way.name, grant.collection().name()))
}

impl Way {
    /// The maximum number of records that it leads to from one.
    pub fn most(&self) -> usize {
        match self.leads {
            Leads::To { .. } => 1,
            Leads::ToMany { most, .. } => most,
            Leads::Back { limit, .. } => limit,
        }
    }

    /// The ids to follow from a record, each once: the field's value or elements forward, the record's own id backward. A
    /// malformed id leads nowhere.
    pub fn ids_of<'a>(&self, record: &'a Record) -> Vec<&'a str> {
        match &self.leads {
            Leads::To { field } | Leads::ToMany { field, .. } => {
                let mut known = BTreeSet::new();
                let ids = record.data.get(field).into_iter().flat_map(related_ids).map(|(_, id)| id);
                ids.filter(|id| id::is_valid(id) && known.insert(*id)).take(self.most()).collect()
            }
            Leads::Back { .. } => vec![&record.id],
        }
    }

    /// Refuses a back-relation that no index serves before anything is read, regardless of the stored records.
    fn check_served(&self) -> Result<()> {
        self.sample().map(|_| ())
    }

    /// The plan of a back-relation, for any id.
    fn sample(&self) -> Result<Option<(Plan, &Grant)>> {
        match (&self.leads, &self.grant) {
            (Leads::Back { field, .. }, Some(grant)) => Ok(Some((back_plan(self, grant, field, "id")?, grant))),
            _ => Ok(None),
        }
    }

    /// This relation and those below it, for `explain=true` of up to `records` records.
    pub fn explain(&self, operations: &Operations, before: &str, records: usize) -> Vec<Value> {
        let path = format!("{before}{}", self.name);
        let most = records * self.most();
        let mut explained = Map::from_iter([("path".to_owned(), path.clone().into()), ("records".into(), most.into())]);
        match self.sample() {
            Ok(Some((plan, grant))) => {
                let expected = operations.records.expected(grant, &plan, self.most());
                explained.insert("eachOf".into(), records.into());
                explained.insert("plan".into(), plan.explain());
                explained.insert("expected".into(), json!(expected));
            }
            _ => {
                explained.insert("by".into(), "id, in one batch with all forward relations of its level".into());
                explained.insert("expected".into(), json!(Expected::batch(most)));
            }
        }
        let under = self.under.iter().flat_map(|way| way.explain(operations, &format!("{path}."), most));
        std::iter::once(Value::Object(explained)).chain(under).collect()
    }
}
