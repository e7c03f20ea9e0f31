//! Names to relations that this caller may follow: a field that points at a record, or another collection whose field points
//! back here.

use super::super::operations::Operations;
use super::super::refusal;
use super::parse::{BACK, EXPANDED, Term, shown};
use crate::cost;
use crate::error::{Error, Result};
use crate::expr::{Expr, Input, Op, Operand, Rule, Test, Variable};
use crate::id;
use crate::identity::Caller;
use crate::policy::{Grant, allow};
use crate::query::{ListQuery, Plan, plan};
use crate::schema::Collection;
use crate::store::explain::Expected;
use crate::store::record::Record;
use serde_json::{Map, Value, json};

/// What stands between collection and field in the name of a back-relation.
const VIA: &str = "_via_";

/// A relation, ready to be followed.
#[derive(Debug)]
pub struct Way {
    /// Its member in `expanded`.
    pub name: String,
    /// Where in `expand` it stands: no two ways stand at one place.
    pub column: usize,
    /// Where it leads.
    pub leads: Leads,
    /// What the caller may see there. `None`: nothing, whatever is stored.
    pub grant: Option<Grant>,
    /// What to expand of the records it leads to.
    pub under: Vec<Way>,
}

/// Where a relation leads.
#[derive(Debug)]
pub enum Leads {
    /// To the record whose id is in this field.
    To {
        /// The field.
        field: String,
    },
    /// Back, to the records of the other collection in whose field this record's id is.
    Back {
        /// The field, of the other collection.
        field: String,
        /// At most this many.
        limit: usize,
    },
}

/// Finds the relations of `collection` that `terms` name, and those of the collections they lead to.
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
        let detail =
            format!("{} has a field `{EXPANDED}` of its own, so nothing can be shown there", collection.name());
        return Err(Error::bad_request("expand", detail));
    }
    let mut ways = Vec::new();
    for term in terms {
        let (leads, grant) = relation(operations, caller, collection, term).await?;
        let under = match &grant {
            Some(grant) => Box::pin(resolve(operations, caller, grant.collection(), &term.under)).await?,
            // What is closed to the caller tells nothing of its relations either.
            None => Vec::new(),
        };
        let way = Way { name: term.name.clone(), column: term.column, leads, grant, under };
        way.check_served()?;
        ways.push(way);
    }
    Ok(ways)
}

/// The one relation of that name.
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
        // What looking for it cost would tell a collection that is closed from one that is not there.
        cost::withhold();
        Err(Error::bad_request("expand", format!("expand, column {}: {message}", term.column)))
    };
    match (found.pop(), found.is_empty()) {
        (None, _) => problem(format!(
            "there is no relation `{name}`: name a field that has one, or collection{VIA}field of one that points here"
        )),
        (Some(_), false) => {
            problem(format!("`{name}` could be more than one relation: rename a field or a collection"))
        }
        (Some((Leads::To { .. }, _)), true) if term.limit.is_some() => {
            problem(format!("`{name}` leads to one record, so it takes no limit"))
        }
        (Some(only), true) => Ok(only),
    }
}

/// The field of that name, if it is one that points at a record and clients see it.
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
    Ok(Some((Leads::To { field: name.to_owned() }, grant)))
}

/// The other collection's field, if it points here and the caller may list that collection at all. One that they may not list
/// is not there, as for its list.
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

/// How the records are read whose `field` holds this id.
///
/// # Errors
/// `Refused` as the other collection's list would be, naming it.
pub fn back_plan(way: &Way, grant: &Grant, field: &str, id: &str) -> Result<Plan> {
    let points_at = Expr::Is(Test::compare(
        Operand::Variable(Variable::Record(field.to_owned())),
        Op::Eq,
        Operand::Constant(id.into()),
    ));
    let query = ListQuery { rule: grant.residual(), filter: Some(&points_at), sort: &[], scan: None };
    plan(grant.collection().layout(), &query)
        .map_err(|refused| refusal::of_expand(refused, way.column, &way.name, grant.collection().name()))
}

impl Way {
    /// How many records it leads to from one, at most.
    pub fn most(&self) -> usize {
        match self.leads {
            Leads::To { .. } => 1,
            Leads::Back { limit, .. } => limit,
        }
    }

    /// The id that a record is left by: the one it holds going forward, its own going back. What cannot be an id leads nowhere.
    pub fn id_of<'a>(&self, record: &'a Record) -> Option<&'a str> {
        match &self.leads {
            Leads::To { field } => record.data.get(field).and_then(Value::as_str).filter(|id| id::is_valid(id)),
            Leads::Back { .. } => Some(&record.id),
        }
    }

    /// Refuses a back-relation that no index serves before anything is read, whichever records there are.
    fn check_served(&self) -> Result<()> {
        self.sample().map(|_| ())
    }

    /// How a back-relation is read, for an id like any other.
    fn sample(&self) -> Result<Option<(Plan, &Grant)>> {
        match (&self.leads, &self.grant) {
            (Leads::Back { field, .. }, Some(grant)) => Ok(Some((back_plan(self, grant, field, "id")?, grant))),
            _ => Ok(None),
        }
    }

    /// This way and those under it, for `explain=true`: of up to `records` records.
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
                explained.insert("by".into(), "id, in one batch with all that its level points at".into());
                explained.insert("expected".into(), json!(Expected::batch(most)));
            }
        }
        let under = self.under.iter().flat_map(|way| way.explain(operations, &format!("{path}."), most));
        std::iter::once(Value::Object(explained)).chain(under).collect()
    }
}
