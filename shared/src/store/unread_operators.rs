//! Operators without a preceding read: one conditional update, whose condition holds only if rule, version and schema allow the
//! result. If it does not hold, the record is read and the write decided on what it says.
//!
//! Making the update twice would count twice, so it is sent once.

use super::conditions::{alive, condition_to_read_and_write, version_condition};
use super::intent::Intent;
use super::item::{self, number, string};
use super::record::{Record, key};
use super::records::Records;
use super::table_errors::INEXACT_CODE;
use super::unread_writes::written;
use super::{Expression, WriteOutcome};
use crate::error::{Error, Result};
use crate::operators::{Operator, Operators};
use crate::query;
use crate::schema::{StoredCheck, ValueTests};
use aws_sdk_dynamodb::types::AttributeValue;

/// Maximum length of a condition (DynamoDB).
const MOST_BYTES: usize = 4_096;

/// Maximum number of operators and functions in a condition: DynamoDB's 300, minus those that are not counted.
const MOST_OPERATORS: usize = 280;

/// An update and its condition, which share their placeholders.
struct Unread {
    sets: Vec<String>,
    change: Expression,
    condition: Expression,
}

impl Records {
    /// Applies operators without reading the record. `None` if a read is needed: DynamoDB cannot check the result, or the
    /// stored record does not satisfy the condition.
    pub(super) async fn operate_unread(
        &self,
        intent: &Intent,
        operators: &Operators,
        request: &str,
    ) -> Result<Option<Record>> {
        self.in_time([intent])?;
        if !self.read_reasons(intent).is_empty() {
            return Ok(None);
        }
        let grant = &intent.grant;
        let Some(rule) = condition_to_read_and_write(grant) else { return Ok(None) };
        let mut unread = Unread {
            sets: vec!["v = v + :one".to_owned(), "ua = :ua".into(), "#by = :by".into(), "rid = :rid".into()],
            change: Expression::default()
                .name("#by", "by")
                .value(":one", number(1))
                .value(":ua", string(self.now()))
                .value(":by", string(grant.caller()))
                .value(":rid", string(request)),
            condition: alive().and(version_condition(&intent.preconditions)).and(rule),
        };
        for (position, (field, operator)) in operators.each().enumerate() {
            let Some(check) = grant.collection().stored_check(field, operator) else { return Ok(None) };
            if !unread.add(position, field, operator, &check) {
                return Ok(None);
            }
        }
        let Unread { sets, mut change, condition } = unread;
        change.text = format!("SET {}", sets.join(", "));
        if condition.text.len() > MOST_BYTES || query::operator_count(&condition.text) > MOST_OPERATORS {
            return Ok(None);
        }
        match self.table().once().update(key(grant.collection(), &intent.id), change, condition).await {
            Ok(WriteOutcome::Done(changed)) => Ok(written(intent, &changed)),
            Ok(WriteOutcome::ConditionFailed(_)) | Err(Error::BadRequest { code: INEXACT_CODE, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Unread {
    /// Adds an operator. `false` if DynamoDB has none like it.
    fn add(&mut self, position: usize, field: &str, operator: &Operator, check: &StoredCheck) -> bool {
        let (name, value, nothing) = (format!("#p{position}"), format!(":p{position}"), format!(":n{position}"));
        let path = format!("d.{name}");
        let (set, sent, empty) = match operator {
            Operator::Add(term) => {
                let sum = format!("{path} = if_not_exists({path}, {nothing}) + {value}");
                (sum, item::from_json(&term.clone().into()), number(0))
            }
            Operator::Append(elements) => {
                let list = format!("{path} = list_append(if_not_exists({path}, {nothing}), {value})");
                (list, item::from_json(&elements.clone().into()), AttributeValue::L(Vec::new()))
            }
            Operator::Remove(_) => return false,
        };
        self.sets.push(set);
        self.change = std::mem::take(&mut self.change).name(&name, field).value(&value, sent).value(&nothing, empty);
        let condition = stored_condition(position, &path, check).name(&name, field);
        self.condition = std::mem::take(&mut self.condition).and(condition);
        true
    }
}

/// The condition that a check of the stored value stands for.
fn stored_condition(position: usize, path: &str, check: &StoredCheck) -> Expression {
    let kind = format!(":t{position}");
    let of_kind = |name: &str| Expression::new(format!("attribute_type({path}, {kind})")).value(&kind, string(name));
    let of_value = match &check.tests {
        ValueTests::Number(bounds) => bounds.iter().enumerate().fold(of_kind("N"), |all, (at, (sign, bound))| {
            let bound_name = format!(":b{position}x{at}");
            let value = item::from_json(&bound.clone().into());
            joined(all, &format!("{path} {sign} {bound_name}"), &bound_name, value)
        }),
        ValueTests::List { most, without } => {
            let most =
                most.map(|most| (format!("size({path}) <= :s{position}"), format!(":s{position}"), number(most)));
            let sought = without.iter().enumerate().map(|(at, element)| {
                let name = format!(":e{position}x{at}");
                (format!("NOT contains({path}, {name})"), name, item::from_json(element))
            });
            most.into_iter()
                .chain(sought)
                .fold(of_kind("L"), |all, (text, name, value)| joined(all, &text, &name, value))
        }
    };
    match check.may_be_absent {
        true => Expression { text: format!("attribute_not_exists({path}) OR {}", of_value.text), ..of_value },
        false => of_value,
    }
}

fn joined(all: Expression, test: &str, name: &str, value: AttributeValue) -> Expression {
    Expression { text: format!("{} AND {test}", all.text), ..all }.value(name, value)
}
